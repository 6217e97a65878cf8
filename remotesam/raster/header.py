"""From a file's header and the user's wishes: the grid to work on, and how to read it."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.io import DatasetReader
from shapely.geometry.base import BaseGeometry

from remotesam.errors import ConfigError, InputError
from remotesam.raster import aoi as areas
from remotesam.raster.gdal import identity_of, open_dataset
from remotesam.raster.georeference import georeference, rescale
from remotesam.raster.spec import RasterSpec
from remotesam.raster.stretch import StretchSpec
from remotesam.windows import Window

_COARSEST = 11
"""Highest overview level: its blocks of 4096² pixels are what one read may hold."""

_LOSSY = ("jpeg", "webp", "jxl")
"""Compressions after which a nodata value is no longer exact along its border."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """The arguments of `open_raster`, complete and checked."""

    path: str
    bands: tuple[int, ...] | None
    nodata: float | None
    overview: int | None
    aoi: str | tuple[float, float, float, float] | None
    stretch: StretchSpec


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """How a window of the spec's grid is read from the file."""

    level: int | None
    """Overview to open, None = full resolution."""
    factor: int
    """Pixels of the opened level per pixel of the grid; > 1 only where the overview does not exist."""
    height: int
    """Rows of the opened level."""
    width: int
    """Columns of the opened level."""
    row: int
    """Grid row 0 in rows of the whole level's grid: > 0 with an AOI."""
    col: int
    """Grid column 0, likewise."""
    dtype: np.dtype[Any]
    """Common type of the chosen bands."""
    uniform: bool
    """True when all chosen bands are stored in that type, False in some VRTs."""
    nodata: tuple[float | None, ...]
    """Per chosen band."""
    alpha: int | None
    """1-based alpha band."""
    masked: bool
    """True when the file has a mask band that is neither alpha nor a nodata value."""
    palette: NDArray[np.uint8] | None
    """(n, 4) RGBA when the one chosen band is a palette index."""
    area: BaseGeometry | None
    """AOI polygon in pixels of the grid."""
    levels: tuple[int, ...]
    """Decimation factors of the file's overviews."""
    full: tuple[int, int]
    """(rows, columns) at full resolution."""


def plan_raster(request: Request, dataset: DatasetReader) -> tuple[RasterSpec, tuple[str, ...], Source]:
    """Decide everything about a raster from its header.

    Args:
        request: What was asked for.
        dataset: The file at full resolution.

    Returns:
        The grid, what its georeferencing leaves to say, and how to read it.

    Raises:
        InputError: the raster has nothing to show, or the AOI holds none of it.
        ConfigError: bands or an overview that this raster does not have.
    """
    chosen = _choose_bands(request, dataset)
    placed = georeference(dataset)
    level, factor, height, width = _choose_level(request, dataset, chosen[0])
    x_scale = factor if level is None else dataset.width / width
    y_scale = factor if level is None else dataset.height / height
    grid = Window(0, 0, math.ceil(height / factor), math.ceil(width / factor))
    area = None
    crs = placed.crs.to_string() if placed.crs else None
    if request.aoi is not None:
        full = areas.read_aoi(request.aoi, crs, placed.transform, dataset.shape)
        area = shapely.transform(full, lambda xy: xy / (x_scale, y_scale))
        grid = areas.pixel_window(area, grid.height, grid.width)
        if grid.empty:
            raise InputError(f"{request.path}: the aoi does not overlap the raster")
        area = shapely.transform(area, lambda xy: xy - (grid.col, grid.row))
    nodata = _nodata(request, dataset, chosen)
    dtypes = {dataset.dtypes[band - 1] for band in chosen}
    flags = dataset.mask_flag_enums[chosen[0] - 1]
    alpha = next((i + 1 for i, c in enumerate(dataset.colorinterp) if c == ColorInterp.alpha), None)
    spec = RasterSpec(
        path=request.path,
        height=grid.height,
        width=grid.width,
        dtype=np.result_type(*dtypes).name,
        count=dataset.count,
        crs=crs,
        transform=rescale(placed.transform, grid.col * x_scale, grid.row * y_scale, x_scale, y_scale),
        georeferencing=placed.kind,
        bands=chosen,
        nodata=None if nodata == (None,) * len(chosen) else tuple(f"{value:.17g}" for value in nodata),
        area="" if area is None else hashlib.sha256(shapely.to_wkb(area)).hexdigest(),
        identity=identity_of(request.path, dataset),
    )
    source = Source(
        level=level,
        factor=factor,
        height=height,
        width=width,
        row=grid.row,
        col=grid.col,
        dtype=np.result_type(*dtypes),
        uniform=len(dtypes) == 1,
        nodata=nodata,
        alpha=None if alpha in chosen else alpha,
        masked=alpha is None and not {MaskFlags.all_valid, MaskFlags.nodata} & set(flags),
        palette=_palette(dataset, chosen),
        area=area,
        levels=tuple(dataset.overviews(chosen[0])),
        full=(dataset.height, dataset.width),
    )
    return spec, placed.notes + _lossy_nodata(dataset, spec), source


def _choose_bands(request: Request, dataset: DatasetReader) -> tuple[int, ...]:
    if dataset.count == 0:
        inner = f"; name one of those inside, such as {dataset.subdatasets[0]}" if dataset.subdatasets else ""
        raise InputError(f"{request.path}: holds no bands{inner}")
    tags = list(dataset.colorinterp)
    colours = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
    if request.bands is not None:
        chosen = request.bands
        if len(chosen) not in (1, 3):
            raise ConfigError(f"bands {_listed(chosen)}: give one (grey) or three (red, green, blue)")
        if not all(1 <= band <= dataset.count for band in chosen):
            raise ConfigError(f"bands {_listed(chosen)}: {request.path} has bands 1 to {dataset.count}")
    elif all(colour in tags for colour in colours):
        chosen = tuple(tags.index(colour) + 1 for colour in colours)
    else:
        data = [band for band, tag in enumerate(tags, 1) if tag != ColorInterp.alpha] or [1]
        chosen = tuple(data[:3]) if len(data) >= 3 else (data[0],)
    if any("complex" in dataset.dtypes[band - 1] for band in chosen):
        raise InputError(f"{request.path}: complex samples; make an amplitude raster of it first")
    return chosen


def _listed(bands: tuple[int, ...]) -> str:
    return ",".join(map(str, bands))


def _choose_level(request: Request, dataset: DatasetReader, band: int) -> tuple[int | None, int, int, int]:
    """(overview to open, further reduction, rows and columns of what is opened)."""
    wanted = request.overview
    if wanted is None:
        return None, 1, dataset.height, dataset.width
    if not 0 <= wanted <= _COARSEST:
        raise ConfigError(f"overview {wanted}: give a level from 0 (half size) to {_COARSEST}")
    if wanted >= len(dataset.overviews(band)):
        return None, 2 ** (wanted + 1), dataset.height, dataset.width
    with open_dataset(request.path, wanted) as level:
        return wanted, 1, level.height, level.width


def _nodata(request: Request, dataset: DatasetReader, chosen: tuple[int, ...]) -> tuple[float | None, ...]:
    if request.nodata is not None:
        return (request.nodata,) * len(chosen)
    return tuple(dataset.nodatavals[band - 1] for band in chosen)


def _lossy_nodata(dataset: DatasetReader, spec: RasterSpec) -> tuple[str, ...]:
    method = dataset.compression.name.lower() if dataset.compression else ""
    if spec.nodata is None or method not in _LOSSY:
        return ()
    return (
        f"{method} compression has changed some nodata pixels beside data: thin leftovers may stay along the "
        "border; a mask band has no such border",
    )


def _palette(dataset: DatasetReader, chosen: tuple[int, ...]) -> NDArray[np.uint8] | None:
    if len(chosen) != 1 or dataset.colorinterp[chosen[0] - 1] != ColorInterp.palette:
        return None
    entries = dataset.colormap(chosen[0])
    palette = np.zeros((max(entries) + 1, 4), np.uint8)
    for index, colour in entries.items():
        palette[index] = colour
    return palette
