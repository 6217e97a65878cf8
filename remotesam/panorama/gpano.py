"""Photo Sphere metadata (GPano XMP): where a partial panorama lies on its sphere, and where north is.

Google's "Photo Sphere XMP Metadata": FullPanoWidthPixels, FullPanoHeightPixels, CroppedAreaLeftPixels,
CroppedAreaTopPixels, CroppedAreaImageWidthPixels, CroppedAreaImageHeightPixels, PoseHeadingDegrees.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from remotesam.errors import InputError
from remotesam.sphere.equirect import Equirect

NAMESPACE = "http://ns.google.com/photos/1.0/panorama/"

PACKET = re.compile(r"<(?:\w+:)?xmpmeta\b.*?</(?:\w+:)?xmpmeta\s*>|<rdf:RDF\b.*?</rdf:RDF\s*>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PanoMetadata:
    """What the picture's metadata says about its sphere."""

    grid: Equirect
    """Place of the picture on the sphere, in its own pixels."""
    heading: float
    """True compass direction of the panorama's middle column, degrees; 0 when unknown."""


def read_gpano(xmp: str, width: int, height: int) -> PanoMetadata | None:
    """Read GPano metadata.

    Args:
        xmp: text that holds an XMP packet, or nothing.
        width: columns of the picture as it is read, px.
        height: rows of the picture, px.

    Returns:
        The picture's place, in its present pixels (metadata is scaled when the picture was resized after the
        metadata was written), or None when there is no size in the metadata.

    Raises:
        InputError: the metadata is not about an equirectangular panorama, or contradicts itself.
    """
    values = _values(xmp)
    projection = values.get("ProjectionType", "equirectangular")
    if projection.lower() != "equirectangular":
        raise InputError(
            f"GPano projection '{projection}' is not supported; convert the picture to equirectangular"
        )
    heading = _number(values, "PoseHeadingDegrees") or 0.0
    full_width, full_height = _number(values, "FullPanoWidthPixels"), _number(values, "FullPanoHeightPixels")
    if not full_width or not full_height:
        return None
    area_width = _number(values, "CroppedAreaImageWidthPixels") or full_width
    area_height = _number(values, "CroppedAreaImageHeightPixels") or full_height
    across, down = width / area_width, height / area_height
    if abs(across - down) > 0.02 * across:
        raise InputError(
            f"GPano metadata describe {area_width:.0f}×{area_height:.0f} px but the picture has "
            f"{width}×{height}; strip or correct the metadata"
        )
    grid = Equirect(
        width=width,
        height=height,
        full_width=max(round(full_width * across), width),
        full_height=max(round(full_height * down), height),
        left=round((_number(values, "CroppedAreaLeftPixels") or 0) * across),
        top=round((_number(values, "CroppedAreaTopPixels") or 0) * down),
    )
    return PanoMetadata(grid, heading)


def _values(text: str) -> dict[str, str]:
    """GPano properties, whether they were written as attributes or as elements."""
    packet = PACKET.search(text)
    if packet is None:
        return {}
    try:
        root = ET.fromstring(packet.group())  # noqa: S314 (expat stops entity bombs; no network)
    except ET.ParseError as error:
        raise InputError(f"the picture's XMP metadata is damaged ({error}); strip it and try again") from None
    prefix = f"{{{NAMESPACE}}}"
    found: dict[str, str] = {}
    for element in root.iter():
        found |= {key.removeprefix(prefix): value for key, value in element.items() if key.startswith(prefix)}
        if element.tag.startswith(prefix) and element.text:
            found[element.tag.removeprefix(prefix)] = element.text.strip()
    return found


def _number(values: dict[str, str], name: str) -> float | None:
    if name not in values:
        return None
    try:
        return float(values[name])
    except ValueError:
        raise InputError(
            f"GPano {name} is '{values[name]}', not a number; strip or correct the metadata"
        ) from None
