"""From a source's header and the user's wishes: the grid to work on, and how to read it."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from remotesam.errors import ConfigError, InputError
from remotesam.raster import aoi as areas
from remotesam.raster.georeference import rescale
from remotesam.raster.protocol import Header, PixelSource
from remotesam.raster.spec import RasterSpec
from remotesam.raster.stretch import StretchSpec
from remotesam.windows import Window

_COARSEST = 11
"""Highest overview level: its blocks of 4096² pixels are what one read may hold."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """The arguments of `open_raster` besides the source, complete and checked."""

    bands: tuple[int, ...] | None
    nodata: float | None
    overview: int | None
    aoi: str | tuple[float, float, float, float] | None
    stretch: StretchSpec


@dataclass(frozen=True, slots=True, eq=False)
class ReadPlan:
    """How a window of the spec's grid is read from the source."""

    header: Header
    """Of the source."""
    level: int | None
    """Overview to read, None = full resolution."""
    factor: int
    """Pixels of that level per pixel of the grid; > 1 only where the overview does not exist."""
    height: int
    """Rows of the level."""
    width: int
    """Columns of the level."""
    row: int
    """Grid row 0 in rows of the whole level's grid: > 0 with an AOI."""
    col: int
    """Grid column 0, likewise."""
    nodata: tuple[float | None, ...]
    """Per chosen band."""
    palette: NDArray[np.uint8] | None
    """(n, 4) RGBA when the one chosen band is a palette index."""
    area: BaseGeometry | None
    """AOI polygon in pixels of the grid."""


def plan_raster(
    request: Request, source: PixelSource, header: Header
) -> tuple[RasterSpec, tuple[str, ...], ReadPlan]:
    """Decide everything about a raster from its header.

    Args:
        request: What was asked for.
        source: Where the pixels come from.
        header: The source's.

    Returns:
        The grid, what its georeferencing leaves to say, and how to read it.

    Raises:
        InputError: the raster has nothing to show, or the AOI holds none of it.
        ConfigError: bands or an overview that this raster does not have.
    """
    chosen = _choose_bands(request.bands, source.name, header)
    bands = [header.bands[band - 1] for band in chosen]
    placed = header.placed
    level, factor, height, width = _choose_level(request.overview, source, header, bands[0].levels)
    x_scale = factor if level is None else header.width / width
    y_scale = factor if level is None else header.height / height
    grid = Window(0, 0, math.ceil(height / factor), math.ceil(width / factor))
    area = None
    crs = placed.crs.to_string() if placed.crs else None
    if request.aoi is not None:
        full = areas.read_aoi(request.aoi, crs, placed.transform, (header.height, header.width))
        area = shapely.transform(full, lambda xy: xy / (x_scale, y_scale))
        grid = areas.pixel_window(area, grid.height, grid.width)
        if grid.empty:
            raise InputError(f"{source.name}: the aoi does not overlap the raster")
        area = shapely.transform(area, lambda xy: xy - (grid.col, grid.row))
    nodata = tuple(band.nodata if request.nodata is None else request.nodata for band in bands)
    spec = RasterSpec(
        path=source.name,
        height=grid.height,
        width=grid.width,
        dtype=np.result_type(*(band.dtype for band in bands)).name,
        count=len(header.bands),
        crs=crs,
        transform=rescale(placed.transform, grid.col * x_scale, grid.row * y_scale, x_scale, y_scale),
        georeferencing=placed.kind,
        bands=chosen,
        nodata=None if nodata == (None,) * len(chosen) else tuple(f"{value:.17g}" for value in nodata),
        area="" if area is None else hashlib.sha256(shapely.to_wkb(area)).hexdigest(),
        identity=header.identity,
    )
    plan = ReadPlan(
        header=header,
        level=level,
        factor=factor,
        height=height,
        width=width,
        row=grid.row,
        col=grid.col,
        nodata=nodata,
        palette=bands[0].palette if len(bands) == 1 else None,
        area=area,
    )
    return spec, placed.notes + _lossy_nodata(header.lossy, spec), plan


def _choose_bands(wanted: tuple[int, ...] | None, name: str, header: Header) -> tuple[int, ...]:
    tags = [band.colour for band in header.bands]
    colours = ["red", "green", "blue"]
    if wanted is not None:
        chosen = wanted
        if len(chosen) not in (1, 3):
            raise ConfigError(f"bands {_listed(chosen)}: give one (grey) or three (red, green, blue)")
        if not all(1 <= band <= len(tags) for band in chosen):
            raise ConfigError(f"bands {_listed(chosen)}: {name} has bands 1 to {len(tags)}")
    elif all(colour in tags for colour in colours):
        chosen = tuple(tags.index(colour) + 1 for colour in colours)
    else:
        data = [band for band, tag in enumerate(tags, 1) if tag != "alpha"] or [1]
        chosen = tuple(data[:3]) if len(data) >= 3 else (data[0],)
    if any("complex" in header.bands[band - 1].dtype for band in chosen):
        raise InputError(f"{name}: complex samples; make an amplitude raster of it first")
    return chosen


def _listed(bands: tuple[int, ...]) -> str:
    return ",".join(map(str, bands))


def _choose_level(
    wanted: int | None, source: PixelSource, header: Header, levels: tuple[int, ...]
) -> tuple[int | None, int, int, int]:
    """(overview to read, further reduction, rows and columns of what is read)."""
    if wanted is None:
        return None, 1, header.height, header.width
    if not 0 <= wanted <= _COARSEST:
        raise ConfigError(f"overview {wanted}: give a level from 0 (half size) to {_COARSEST}")
    if wanted >= len(levels):
        return None, 2 ** (wanted + 1), header.height, header.width
    return wanted, 1, *source.level_shape(wanted)


def _lossy_nodata(method: str, spec: RasterSpec) -> tuple[str, ...]:
    if spec.nodata is None or not method:
        return ()
    return (
        (
            f"{method} compression has changed some nodata pixels beside data: thin leftovers may stay along "
            "the border; a mask band has no such border"
        ),
    )
