"""The area of interest: a file of polygons or four bounds → one polygon in pixels."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyogrio
import pyproj
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyogrio.errors import DataSourceError
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from remotesam.errors import ConfigError, InputError
from remotesam.windows import Window

Bounds = tuple[float, float, float, float]

_EDGE_PARTS = 64
"""A straight edge is curved in another CRS; it is cut into this many parts per extent before reprojection."""


def parse_bounds(text: str) -> Bounds | None:
    """Read "W,S,E,N"; None when `text` is not four numbers (and so is a path).

    Raises:
        ConfigError: four numbers, but west is not below east or south not below north.
    """
    parts = text.split(",")
    try:
        west, south, east, north = (float(part) for part in parts)
    except ValueError:
        return None
    if not (west < east and south < north) or not np.isfinite([west, south, east, north]).all():
        raise ConfigError(f"aoi {text!r}: give W,S,E,N with W below E and S below N")
    return west, south, east, north


def read_aoi(aoi: str | os.PathLike[str] | Bounds, crs: str | None, transform: Affine) -> BaseGeometry:
    """The AOI as one polygon in pixels (x right, y down, edges at integers) of the full file.

    Args:
        aoi: A vector file, "W,S,E,N", or the four numbers. Numbers are in the coordinates of the raster:
            its CRS, or pixels where it has none.
        crs: CRS of the raster; None takes the coordinates of a file as they are.
        transform: Pixels → `crs`.

    Raises:
        ConfigError: the bounds are not in order.
        InputError: the file cannot be read, holds no polygon, or cannot be brought into `crs`.
    """
    bounds = parse_bounds(",".join(map(str, aoi)) if isinstance(aoi, tuple) else os.fspath(aoi))
    polygon = shapely.box(*bounds) if bounds else _read_polygons(Path(os.fspath(aoi)), crs)  # type: ignore[arg-type]
    inverse = ~transform
    return shapely.transform(
        polygon,
        lambda x, y: (inverse.a * x + inverse.b * y + inverse.c, inverse.d * x + inverse.e * y + inverse.f),
        interleaved=False,
    )


def _read_polygons(path: Path, crs: str | None) -> BaseGeometry:
    if not path.exists():
        raise InputError(f"aoi {path}: no such file; give a vector file or W,S,E,N")
    try:
        meta, _, wkb, _ = pyogrio.raw.read(path, columns=[], force_2d=True)
    except (DataSourceError, ValueError) as error:
        raise InputError(f"aoi {path}: not a vector file ({' '.join(str(error).split())})") from error
    parts = [part for part in shapely.from_wkb(wkb) if part is not None]
    polygons = [part for part in parts if shapely.get_dimensions(part) == 2 and not part.is_empty]
    if not polygons:
        raise InputError(f"aoi {path}: holds no polygon; draw one round the area to segment")
    merged = shapely.union_all(shapely.make_valid(polygons))
    source = meta["crs"]
    if crs is None or source is None:
        return merged
    try:
        # In a full GeoJSON no CRS means EPSG:4326, which the driver reports by itself.
        move = pyproj.Transformer.from_crs(source, crs, always_xy=True)
    except pyproj.exceptions.ProjError as error:
        raise InputError(f"aoi {path}: its CRS cannot be brought into the raster's ({error})") from error
    if move.source_crs == move.target_crs:
        return merged
    west, south, east, north = merged.bounds
    dense = shapely.segmentize(merged, max(east - west, north - south) / _EDGE_PARTS)
    moved = shapely.transform(dense, move.transform, interleaved=False)
    if not np.isfinite(moved.bounds).all():
        raise InputError(f"aoi {path}: lies outside the area where the raster's CRS {crs[:40]} is defined")
    return shapely.make_valid(moved)


def pixel_window(polygon: BaseGeometry, height: int, width: int) -> Window:
    """The smallest window of a `height` × `width` grid that holds every pixel centre inside `polygon`."""
    west, north, east, south = polygon.bounds
    corners = np.ceil([north - 0.5, west - 0.5]), np.floor([south + 0.5, east + 0.5])
    limits = np.clip(np.concatenate(corners), 0, [height, width, height, width])
    return Window.from_bounds(*(int(limit) for limit in limits))


def inside(polygon: BaseGeometry, window: Window) -> NDArray[np.bool_]:
    """(height, width) bool, True where a pixel of `window` has its centre in `polygon`; both in raster px."""
    near = shapely.clip_by_rect(
        polygon, window.col - 1, window.row - 1, window.col_stop + 1, window.row_stop + 1
    )
    if near.is_empty or shapely.get_dimensions(near) < 2:
        return np.zeros(window.shape, bool)
    burnt = rasterize(
        [(near, 1)], window.shape, transform=Affine.translation(window.col, window.row), dtype="uint8"
    )
    return np.asarray(burnt == 1)
