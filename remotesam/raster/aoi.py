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


def read_aoi(
    aoi: str | os.PathLike[str] | Bounds, crs: str | None, transform: Affine, shape: tuple[int, int]
) -> BaseGeometry:
    """The AOI as one polygon in pixels (x right, y down, edges at integers) of the full file.

    Args:
        aoi: A vector file, "W,S,E,N", or the four numbers. Numbers are in the coordinates of the raster:
            its CRS, or pixels where it has none.
        crs: CRS of the raster; None takes the coordinates of a file as they are.
        transform: Pixels → `crs`.
        shape: (rows, columns) of the full file; what lies far outside may be left out.

    Raises:
        ConfigError: the bounds are not in order.
        InputError: the file cannot be read, holds no polygon, or cannot be brought into `crs`.
    """
    bounds = parse_bounds(",".join(map(str, aoi)) if isinstance(aoi, tuple) else os.fspath(aoi))
    if bounds:
        polygon = shapely.box(*bounds)
    else:
        rows, cols = shape
        corners = [transform @ corner for corner in ((0, 0), (cols, 0), (cols, rows), (0, rows))]
        extent = shapely.MultiPoint(corners).bounds
        polygon = _read_polygons(Path(os.fspath(aoi)), crs, extent)  # type: ignore[arg-type]
    inverse = ~transform
    return shapely.transform(polygon, lambda x, y: inverse @ (x, y), interleaved=False)


def _read_polygons(path: Path, crs: str | None, extent: Bounds) -> BaseGeometry:
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
    moved = _reproject(merged, move, extent)
    if not np.isfinite(moved.bounds).all() and not moved.is_empty:
        raise InputError(f"aoi {path}: lies outside the area where the raster's CRS {crs[:40]} is defined")
    return shapely.make_valid(moved)


def _reproject(polygon: BaseGeometry, move: pyproj.Transformer, extent: Bounds) -> BaseGeometry:
    """The part of `polygon` near the raster, in its CRS.

    A country or a whole world as AOI must not be sent through a projection that is only defined round the
    raster, so it is cut first, generously, in its own CRS; in two where that extent crosses 180°.
    """
    west, south, east, north = move.transform_bounds(*extent, densify_pts=21, direction="INVERSE")
    if not np.isfinite([west, south, east, north]).all():
        return shapely.transform(polygon, move.transform, interleaved=False)
    x, y = (east - west) % 360 if east < west else east - west, north - south
    spans = [(west - x, 180), (-180, east + x)] if east < west else [(west - x, east + x)]
    parts = [shapely.clip_by_rect(polygon, low, south - y, high, north + y) for low, high in spans]
    dense = [shapely.segmentize(part, max(x, y) / _EDGE_PARTS) for part in parts if not part.is_empty]
    moved = [shapely.transform(part, move.transform, interleaved=False) for part in dense]
    return shapely.union_all(shapely.make_valid(moved))


def pixel_window(polygon: BaseGeometry, height: int, width: int) -> Window:
    """The smallest window of a `height` × `width` grid that holds every pixel centre inside `polygon`."""
    if polygon.is_empty:
        return Window(0, 0, 0, 0)
    west, north, east, south = polygon.bounds
    corners = np.ceil([north - 0.5, west - 0.5]), np.floor([south + 0.5, east + 0.5])
    limits = np.clip(np.concatenate(corners), 0, [height, width, height, width])
    return Window.from_bounds(*(int(limit) for limit in limits))


def inside(polygon: BaseGeometry, window: Window) -> NDArray[np.bool_]:
    """(height, width) bool, True where a pixel of `window` has its centre in `polygon`; both in raster px."""
    near = shapely.clip_by_rect(
        polygon, window.col - 1, window.row - 1, window.col_stop + 1, window.row_stop + 1
    )
    # Cutting can leave lines and points behind, which would be burnt in too.
    shapes = [(part, 1) for part in shapely.get_parts(near) if shapely.get_dimensions(part) == 2]
    if not shapes:
        return np.zeros(window.shape, bool)
    corner = Affine.translation(window.col, window.row)
    burnt = rasterize(shapes, window.shape, transform=corner, dtype="uint8")
    return np.asarray(burnt == 1)
