"""Vectors and label rasters as label maps on one grid, read window by window."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import geopandas
import numpy as np
import pyogrio
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.features import rasterize
from rasterio.vrt import WarpedVRT

from remotesam.errors import ConfigError, InputError, RasterError
from remotesam.raster.gdal import gdal_env, gdal_name
from remotesam.vector.formats import suffixes
from remotesam.windows import Window

_ONLY_READ = (".json", ".gml")
"""Files with these endings, or with those that can be written, are polygons; all others are label rasters."""

_ALIGNED = 0.01
"""Grids whose corners differ by less than this, in pixels, are one: formats round their transforms."""


@dataclass(frozen=True, slots=True)
class PixelGrid:
    """The pixels on which everything is compared."""

    height: int
    """Rows, px."""
    width: int
    """Columns, px."""
    crs: str | None
    """`EPSG:…` or WKT; None = coordinates are taken as they are."""
    transform: Affine
    """(x, y) in pixels, edges at integers → `crs`."""

    @property
    def window(self) -> Window:
        """The whole grid."""
        return Window(0, 0, self.height, self.width)


class LabelSource(Protocol):
    """Labels on a grid."""

    name: str
    """What messages call it."""
    classes: dict[int, str]
    """Class of each object by id; empty when there are no classes."""

    def read(self, window: Window) -> NDArray[np.uint32]:
        """Ids of a window inside the grid, (layers, H, W); 0 = none. A pixel has each id at most once."""
        ...


class ArrayLabels:
    """A label map in memory.

    Args:
        name: what messages call it.
        labels: (H, W) ids, 0 = none.
    """

    def __init__(self, name: str, labels: NDArray[np.integer]) -> None:
        self.name = name
        self.classes: dict[int, str] = {}
        self._labels = labels.astype(np.uint32, copy=False)[None]

    def read(self, window: Window) -> NDArray[np.uint32]:
        """See `LabelSource`."""
        return self._labels[:, *window.slices]


class RasterLabels:
    """The first band of a label raster; values up to 0 and nodata are no label.

    Args:
        path: any raster of integers that GDAL reads.
        grid: where it is wanted; another grid or CRS is warped, nearest neighbour.

    Raises:
        RasterError: it cannot be opened, or read (from `read`).
        InputError: it holds no integers, or cannot be placed on the grid.
    """

    def __init__(self, path: str, grid: PixelGrid) -> None:
        self.name = path
        self.classes: dict[int, str] = {}
        try:
            with gdal_env(path):
                self._dataset: Any = rasterio.open(gdal_name(path), sharing=False)
        except RasterioError as error:
            raise RasterError(f"{path}: cannot be opened as vectors or label raster ({error})") from error
        if np.dtype(self._dataset.dtypes[0]).kind not in "iu":
            raise InputError(f"{path}: a label raster holds integers, this one {self._dataset.dtypes[0]}")
        self._nodata = self._dataset.nodata
        if not _same(raster_grid(path, self._dataset), grid):
            self._dataset = self._warped(grid)

    def _warped(self, grid: PixelGrid) -> WarpedVRT:
        own = self._dataset.crs
        if (own is None) != (grid.crs is None) or own is None:
            raise InputError(
                f"{self.name}: {self._dataset.height}×{self._dataset.width} px cannot be placed on the grid "
                f"of {grid.height}×{grid.width} px without a CRS on both; use rasters of one size"
            )
        return WarpedVRT(
            self._dataset,
            crs=CRS.from_user_input(grid.crs),
            transform=grid.transform,
            height=grid.height,
            width=grid.width,
            resampling=Resampling.nearest,
            # Both or neither: with only the second, GDAL turns labels equal to it into the next number.
            src_nodata=self._nodata,
            nodata=self._nodata,
        )

    def read(self, window: Window) -> NDArray[np.uint32]:
        """See `LabelSource`."""
        span = ((window.row, window.row_stop), (window.col, window.col_stop))
        try:
            with gdal_env(self.name):
                values = self._dataset.read(1, window=span)
        except RasterioError as error:
            raise RasterError(f"{self.name}: labels cannot be read ({error}); the file is damaged") from error
        if values.dtype.itemsize > 4 and values.max(initial=0) >= 2**32:
            raise InputError(f"{self.name}: labels above 2³² − 1; renumber them")
        none = values <= 0
        if self._nodata is not None:
            none |= values == self._nodata
        return np.where(none, 0, values).astype(np.uint32)[None]


def raster_grid(path: str, dataset: Any = None) -> PixelGrid:
    """The grid of a raster file (or of one that is open).

    Raises:
        RasterError: the file cannot be opened.
    """
    if dataset is None:
        try:
            with gdal_env(path), rasterio.open(gdal_name(path), sharing=False) as opened:
                return raster_grid(path, opened)
        except RasterioError as error:
            raise RasterError(f"{path}: cannot be opened as a raster ({error})") from error
    crs = dataset.crs.to_string() if dataset.crs else None
    return PixelGrid(dataset.height, dataset.width, crs, dataset.transform)


def _same(one: PixelGrid, other: PixelGrid) -> bool:
    """True when pixels of one are those of the other; a missing CRS is made up for by an equal size."""
    if (one.height, one.width) != (other.height, other.width):
        return False
    if one.crs is None or other.crs is None:
        return True
    corners = ((0, 0), (one.width, 0), (0, one.height))
    shifts = [np.subtract(~one.transform @ (other.transform @ xy), xy) for xy in corners]
    aligned = bool(np.abs(shifts).max() < _ALIGNED)
    return aligned and CRS.from_user_input(one.crs) == CRS.from_user_input(other.crs)


def is_vector(path: str | os.PathLike[str]) -> bool:
    """True when the file's name says that it holds polygons."""
    return os.fspath(path).lower().endswith((*suffixes(), *_ONLY_READ))


@dataclass(frozen=True, slots=True, eq=False)
class Polygons:
    """The polygons of a file, in its own coordinates."""

    path: str
    """The file."""
    crs: str | None
    """What the file says of its coordinates."""
    geometries: NDArray[np.object_]
    """(n,) shapely polygons and multipolygons, valid, not empty."""
    classes: list[str]
    """Class of each, empty without `class_field`."""

    def in_pixels(self, grid: PixelGrid) -> NDArray[np.object_]:
        """The polygons in pixels of a grid.

        On a grid without CRS coordinates are taken as they are, whatever the file says: GeoJSON cannot say
        that its coordinates are pixels.

        Raises:
            InputError: the CRSs cannot be brought together.
        """
        moved = self.geometries
        if grid.crs and self.crs:
            try:
                moved = geopandas.GeoSeries(moved, crs=self.crs).to_crs(grid.crs).to_numpy()
            except RuntimeError as error:
                raise InputError(f"{self.path}: cannot be brought into {grid.crs} ({error})") from error
        inverse = ~grid.transform
        moved = shapely.transform(moved, lambda x, y: inverse @ (x, y), interleaved=False)
        return np.asarray(moved, object)


def read_polygons(path: str, class_field: str | None = None) -> Polygons:
    """Read the polygons of a file; of a file with several layers the one called segments, or the first.

    Args:
        path: GeoPackage, GeoJSON, GeoParquet, FlatGeobuf, shapefile, …
        class_field: Attribute that holds the class.

    Raises:
        InputError: the file cannot be read, or has features but no polygon. (A file without features is a
            result too: nothing was found.)
        ConfigError: there is no such attribute.
    """
    try:
        frame = geopandas.read_parquet(path) if path.endswith(".parquet") else _read_layer(path)
    except (DataSourceError, DataLayerError, OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as polygons ({' '.join(str(error).split())})") from error
    geometries = np.asarray(frame.geometry.to_numpy(), object)
    keep = (shapely.get_dimensions(geometries) == 2) & ~shapely.is_empty(geometries)
    if len(keep) and not keep.any():
        raise InputError(f"{path}: holds {len(keep)} features but no polygon")
    classes: list[str] = []
    if class_field is not None:
        if class_field not in frame.columns:
            names = ", ".join(name for name in frame.columns if name != frame.geometry.name)
            raise ConfigError(f"{path}: no attribute {class_field!r}; there are: {names or 'none'}")
        classes = [str(value) for value in frame[class_field][keep]]
    crs = frame.crs.to_string() if frame.crs is not None else None
    flat = shapely.force_2d(geometries[keep])
    return Polygons(path, crs, shapely.make_valid(flat, method="structure", keep_collapsed=False), classes)


def _read_layer(path: str) -> geopandas.GeoDataFrame:
    layers = pyogrio.list_layers(path)
    spatial = [name for name, kind in layers if kind is not None] or [layers[0][0]]
    return pyogrio.read_dataframe(path, layer="segments" if "segments" in spatial else spatial[0])


class VectorLabels:
    """Polygons burnt into windows; a pixel belongs to a polygon when its centre does. Ids are 1, 2, ….

    Args:
        polygons: what to burn.
        grid: onto which.
        overlapping: keep every object of a pixel, each in a layer (references); False = the smallest object
            wins (segments, which must not overlap).

    Raises:
        InputError: the polygons cannot be brought onto the grid.
    """

    def __init__(self, polygons: Polygons, grid: PixelGrid, *, overlapping: bool) -> None:
        self.name = polygons.path
        self.geometries = polygons.in_pixels(grid)
        self.classes = dict(enumerate(polygons.classes, start=1))
        self._tree = shapely.STRtree(self.geometries)
        count = len(self.geometries)
        self._layer = _separate(self.geometries, self._tree) if overlapping else np.zeros(count, int)
        # Burnt in this order, later ones on top.
        self._rank = np.argsort(np.argsort(-shapely.area(self.geometries), kind="stable"))

    def read(self, window: Window) -> NDArray[np.uint32]:
        """See `LabelSource`."""
        bounds = (window.col, window.row, window.col_stop, window.row_stop)
        near = self._tree.query(shapely.box(*bounds))
        near = near[np.argsort(self._rank[near])]
        layers = np.zeros((int(self._layer.max(initial=0)) + 1, *window.shape), np.uint32)
        # Clipped, because burning costs by vertex; a margin keeps the clip's own edge out of the window.
        parts = shapely.clip_by_rect(self.geometries[near], *(np.add(bounds, (-1, -1, 1, 1))))
        for layer in np.unique(self._layer[near]):
            chosen = (self._layer[near] == layer) & (shapely.get_dimensions(parts) == 2)
            if chosen.any():
                burnt = rasterize(
                    zip(parts[chosen], near[chosen] + 1, strict=True),
                    window.shape,
                    transform=Affine.translation(window.col, window.row),
                    dtype="int32",
                )
                layers[layer] = burnt
        return layers


def _separate(geometries: NDArray[np.object_], tree: shapely.STRtree) -> NDArray[np.intp]:
    """A layer for each polygon, so that no two of one layer share an area; the first fit, in order."""
    one, other = tree.query(geometries, predicate="intersects")
    pairs = one > other
    one, other = one[pairs], other[pairs]
    shared = shapely.relate_pattern(geometries[one], geometries[other], "T********")
    conflicts: dict[int, list[int]] = {}
    for late, early in zip(one[shared].tolist(), other[shared].tolist(), strict=True):
        conflicts.setdefault(late, []).append(early)
    layer = np.zeros(len(geometries), np.intp)
    for late in sorted(conflicts):
        taken = {int(layer[early]) for early in conflicts[late]}
        layer[late] = next(number for number in range(len(taken) + 1) if number not in taken)
    return layer


def stored_facts(path: str) -> dict[str, str]:
    """The metadata table of a GeoPackage written by remotesam: raster, tile_size, …; empty elsewhere."""
    if not path.endswith(".gpkg"):
        return {}
    try:
        names: Sequence[str] = [str(name) for name, _ in pyogrio.list_layers(path)]
        if "metadata" not in names:
            return {}
        table = pyogrio.read_dataframe(path, layer="metadata", read_geometry=False)
    except (DataSourceError, DataLayerError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    if not {"key", "value"} <= set(table.columns):
        return {}
    return {str(key): str(value) for key, value in zip(table["key"], table["value"], strict=True)}
