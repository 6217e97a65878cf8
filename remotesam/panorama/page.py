"""A page to look around in a panorama with its segments on it: one file, no server, no network."""

from __future__ import annotations

import base64
import json
from importlib.resources import files
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from remotesam.errors import OutputError
from remotesam.panorama.annotations import attributes
from remotesam.report.overlay import colours
from remotesam.sphere.objects import SphereObjects

MAX_WIDTH = 4096
"""Columns of the picture in the page: the largest texture that every WebGL 2 device has, and a few MB."""

JPEG_QUALITY = 85


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

    Raises:
        OutputError: the picture cannot be encoded.
    """
    scale = min(1.0, MAX_WIDTH / image.shape[1])
    width, height = max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1)
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) if scale < 1 else image
    encoded, jpeg = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not encoded:
        raise OutputError(f"{name}: the picture cannot be encoded as JPEG for the page")
    grid = objects.grid
    scene = {
        "name": name,
        "width": width,
        "height": height,
        "look": look,
        "area": [
            grid.left / grid.full_width,
            grid.top / grid.full_height,
            grid.width / grid.full_width,
            grid.height / grid.full_height,
        ],
        "objects": _drawn(objects, width / grid.width, height / grid.height),
        "picture": "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode(),
    }
    # A '<' inside the JSON could end its script element.
    text = json.dumps(scene, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    template = files("remotesam.panorama").joinpath("panorama.html").read_text(encoding="utf-8")
    return template.replace("/*SCENE*/", text).encode()


def _drawn(objects: SphereObjects, across: float, down: float) -> list[dict[str, Any]]:
    """Rings in pixels of the page's picture, to a tenth of a pixel."""
    if len(objects) == 0:
        return []
    paints = colours(objects.ids)
    shapes = shapely.simplify(objects.outlines, 0.5 / across) if across < 1 else objects.outlines
    drawn = []
    for k, geometry in enumerate(shapes):
        rings = shapely.get_rings(shapely.get_parts(geometry))
        drawn.append(
            {
                "rings": [
                    np.round(shapely.get_coordinates(ring) * (across, down), 1).ravel().tolist()
                    for ring in rings
                ],
                "colour": "#{:02x}{:02x}{:02x}".format(*paints[k]),
                "attributes": {"id": int(objects.ids[k]), **attributes(objects, k)},
            }
        )
    return drawn
