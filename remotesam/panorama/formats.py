"""What a panorama's objects can be written as: documents of their own, and every vector format.

To add a document, write a function that takes `SphereObjects` and a `Context` and gives text, and add a row.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from remotesam import files
from remotesam.vector.formats import FORMATS, Format

if TYPE_CHECKING:
    from remotesam.panorama.locate import Frame
    from remotesam.sphere.objects import SphereObjects

Coordinates = Literal["lonlat", "pixel"]
"""Degrees, or pixels of the picture (y down)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a document may say besides the objects."""

    image: str
    """File name of the panorama."""
    coordinates: Coordinates
    """What coordinates of outlines are."""
    frame: Frame
    """What longitude and latitude mean. GeoJSON has to say it: readers take its coordinates for WGS 84."""
    metadata: Mapping[str, str]
    """Settings and facts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document(files.FileKind):
    """A document that is made in memory, because it says more than a vector format can."""

    encoder: str
    """`module:function`, imported when first used: (objects, context) → text."""
    in_pixels: bool = False
    """True = only in pixels, as annotation tools work."""

    def encode(self, objects: SphereObjects, context: Context) -> str:
        """The text of the file."""
        text: str = pkgutil.resolve_name(self.encoder)(objects, context)
        return text


DOCUMENTS = [
    Document(
        title="COCO",
        suffixes=(".coco.json",),
        encoder="remotesam.panorama.annotations:coco_text",
        in_pixels=True,
    ),
    Document(
        title="LabelMe",
        suffixes=(".labelme.json",),
        encoder="remotesam.panorama.annotations:labelme_text",
        in_pixels=True,
    ),
    # Not GDAL's, which knows nothing of poles: their boxes go all round (RFC 7946, 5.3).
    Document(title="GeoJSON", suffixes=(".geojson",), encoder="remotesam.panorama.annotations:geojson_text"),
    Document(
        title="GeoJSON text sequence",
        suffixes=(".geojsonl", ".geojsons"),
        encoder="remotesam.panorama.annotations:geojson_lines",
    ),
]
"""Documents by the end of the file name; they come before vector formats of the same name."""


def suffixes() -> tuple[str, ...]:
    """Ends of the names of files that can be written."""
    return files.suffixes([*DOCUMENTS, *FORMATS])


def format_of(path: str) -> Document | Format:
    """What a file's name asks for.

    Raises:
        OutputError: nothing that is known.
    """
    kinds: list[Document | Format] = [*DOCUMENTS, *FORMATS]
    return files.kind_of(path, kinds)


def default_coordinates(path: str) -> Coordinates:
    """The coordinates that a file has when nobody asks for others."""
    in_pixels = files.suffixes([document for document in DOCUMENTS if document.in_pixels])
    return "pixel" if path.lower().endswith(in_pixels) else "lonlat"
