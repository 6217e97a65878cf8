"""Where a panorama file lies on the sphere, and on which grid its result is given."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import pyproj
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from remotesam.errors import ConfigError, InputError
from remotesam.panorama.gpano import read_gpano
from remotesam.raster.protocol import Raster
from remotesam.sphere.equirect import Equirect

Frame = Literal["camera", "north", "earth"]
"""What longitude and latitude mean: yaw and pitch of the camera; compass direction and pitch; WGS 84."""


@dataclass(frozen=True, slots=True)
class Place:
    """A panorama on its sphere."""

    grid: Equirect
    """The picture as it is read."""
    heading: float
    """Compass direction of the middle column, degrees, 0..360; 0 when unknown."""
    frame: Frame
    """What the longitudes and latitudes of the result mean."""

    def result_grid(self, *, turned: bool) -> Equirect:
        """The grid of the result.

        Args:
            turned: True = longitudes count from north; the whole panorama is turned by the heading, so that
                its seam lies where longitude jumps from 180 to -180. False = the picture's own pixels.
        """
        if not turned or self.heading == 0:
            return self.grid
        return Equirect(
            width=self.grid.full_width,
            height=self.grid.full_height,
            full_width=self.grid.full_width,
            full_height=self.grid.full_height,
            centre=(180.0 - self.heading) % 360.0 - 180.0,
        )


def locate(raster: Raster, heading: float | None, *, earth: bool = False) -> Place:
    """Find out where a panorama lies: by its geographic CRS, its GPano metadata, or its 2:1 shape.

    Args:
        raster: the opened picture.
        heading: compass direction of the middle column, degrees; None = what the metadata say, else 0.
        earth: True = the picture is a map of the whole earth without georeferencing, -180..180 by 90..-90.

    Raises:
        InputError: it cannot be a panorama.
        ConfigError: a heading for a map of the earth, or out of range.
    """
    spec = raster.spec
    if heading is not None and not -360 <= heading <= 360:
        raise ConfigError(f"heading {heading} is out of range; give degrees between -360 and 360")
    georeferenced = spec.georeferencing == "affine" and spec.crs and pyproj.CRS(spec.crs).is_geographic
    if georeferenced or earth:
        if heading:
            raise ConfigError(
                f"{spec.path}: is a map of the earth, which has no heading; leave --heading out"
            )
        return Place(_geographic(raster) if georeferenced else _whole(raster), 0.0, "earth")
    gpano = read_gpano(_xmp(spec.path), spec.width, spec.height)
    grid = gpano.grid if gpano else _whole(raster)
    turn = heading if heading is not None else (gpano.heading if gpano else 0.0)
    return Place(grid, turn % 360.0, "north" if turn % 360.0 else "camera")


def _whole(raster: Raster) -> Equirect:
    try:
        return Equirect.whole(raster.spec.width, raster.spec.height)
    except InputError as error:
        raise InputError(f"{raster.spec.path}: {error}") from None


def _geographic(raster: Raster) -> Equirect:
    """The grid of a picture in geographic coordinates, snapped to whole pixels."""
    spec = raster.spec
    a, b, c, d, e, f = spec.transform
    if b or d or a <= 0 or e >= 0:
        raise InputError(f"{spec.path}: is rotated or south-up; warp it to a north-up EPSG:4326 raster first")
    try:
        return Equirect(
            width=spec.width,
            height=spec.height,
            full_width=max(round(360 / a), spec.width),
            full_height=max(round(180 / -e), spec.height),
            left=max(round((c + 180) / a), 0),
            top=max(round((90 - f) / -e), 0),
        )
    except InputError:
        raise InputError(
            f"{spec.path}: its extent is not within ±180°, ±90°; "
            "shift its longitudes or use `remotesam segment`"
        ) from None


def _xmp(path: str) -> str:
    """The XMP packet of a picture, or nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            dataset = rasterio.open(path)
        with dataset:
            domain = dataset.tags(ns="xml:XMP")
    except RasterioError:
        return ""
    return "\n".join(f"{name}={value}" for name, value in domain.items())


def frame_crs(frame: Frame, coordinates: str) -> str:
    """The CRS of the result: WGS 84 for the earth, else a local system that no tool mistakes for a map.

    Args:
        frame: what longitude and latitude mean.
        coordinates: `lonlat` or `pixel`.

    Returns:
        `EPSG:4326` or WKT 2 of an engineering CRS in degrees or pixels.
    """
    if coordinates == "pixel":
        unit = 'SCALEUNIT["pixel",1]'
        return _ENGINEERING.format(
            name="Panorama pixels", first="column", second="row", axis2="south", unit=unit
        )
    if frame == "earth":
        return "EPSG:4326"
    name = "Panorama direction, true north" if frame == "north" else "Panorama direction, camera"
    unit = 'ANGLEUNIT["degree",0.0174532925199433]'
    return _ENGINEERING.format(name=name, first="longitude", second="latitude", axis2="north", unit=unit)


_ENGINEERING = (
    'ENGCRS["{name}",EDATUM["Centre of the panorama"],CS[Cartesian,2],'
    'AXIS["{first}",east,ORDER[1],{unit}],AXIS["{second}",{axis2},ORDER[2],{unit}]]'
)
