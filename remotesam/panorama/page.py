"""A page to look around in a panorama with its segments on it: one file, no server, no network."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import msgspec
import numpy as np
import shapely
from numpy.typing import NDArray

from remotesam.panorama.annotations import attributes
from remotesam.report.overlay import colours
from remotesam.report.templates import jpeg_uri, render
from remotesam.sphere.objects import SphereObjects

MAX_WIDTH = 4096
"""Columns of the picture in the page: the largest texture that every WebGL 2 device has, and a few MB."""

JPEG_QUALITY = 85
"""Of that picture, 0..100."""


class DrawnObject(msgspec.Struct, frozen=True):
    """A segment as the page's script reads it."""

    rings: list[list[float]]
    """x, y, x, y, … of each ring in px of the page's picture, to a tenth; even-odd inside."""
    colour: str
    """`#rrggbb`."""
    attributes: Mapping[str, object]
    """What the page shows of it when it is clicked on."""


class Scene(msgspec.Struct, frozen=True):
    """What the page's script draws."""

    name: str
    """What the picture is called."""
    width: int
    """Columns of the page's picture, px."""
    height: int
    """Rows of it, px."""
    look: tuple[float, float]
    """Longitude and latitude to look at first, degrees."""
    area: tuple[float, float, float, float]
    """Left, top, width and height of the picture, as shares of the whole sphere's 2:1 picture."""
    objects: list[DrawnObject]
    """The segments; where a click meets several, the first counts."""
    picture: str
    """`data:` address of the picture."""


def look_around_page(
    name: str,
    image: NDArray[np.uint8],
    objects: SphereObjects,
    *,
    look: tuple[float, float] = (0.0, 0.0),
) -> bytes:
    """The page as UTF-8 HTML.

    Args:
        name: what the picture is called.
        image: (H, W, 3) uint8 RGB picture that the outlines belong to.
        objects: the segments.
        look: longitude and latitude to look at first, degrees.
    """
    scale = min(1.0, MAX_WIDTH / image.shape[1])
    width, height = max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1)
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) if scale < 1 else image
    grid = objects.grid
    scene = Scene(
        name=name,
        width=width,
        height=height,
        look=look,
        area=(
            grid.left / grid.full_width,
            grid.top / grid.full_height,
            grid.width / grid.full_width,
            grid.height / grid.full_height,
        ),
        objects=_drawn(objects, width / grid.width, height / grid.height),
        picture=jpeg_uri(np.asarray(small, np.uint8), JPEG_QUALITY),
    )
    return render("panorama/page.html", scene=msgspec.to_builtins(scene)).encode()


def _drawn(objects: SphereObjects, across: float, down: float) -> list[DrawnObject]:
    """Every segment; `across` and `down` are columns and rows of the page's picture per px of the objects."""
    if len(objects) == 0:
        return []
    paints = colours(objects.ids)
    shapes = shapely.simplify(objects.outlines, 0.5 / across) if across < 1 else objects.outlines
    return [
        DrawnObject(
            rings=[
                np.round(shapely.get_coordinates(ring) * (across, down), 1).ravel().tolist()
                for ring in shapely.get_rings(shapely.get_parts(geometry))
            ],
            colour="#{:02x}{:02x}{:02x}".format(*paints[k]),
            attributes={"id": int(objects.ids[k]), **attributes(objects, k)},
        )
        for k, geometry in enumerate(shapes)
    ]
