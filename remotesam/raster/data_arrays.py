"""An xarray.DataArray as a source of pixels, by its dimensions and coordinates; xarray is never imported.

What is read from it:

* **Dimensions** by name, in any order: rows (`y`, `lat`, `latitude`, `northing`), columns (`x`, `lon`,
  `longitude`, `easting`) and, if there is a third, bands (`band`, `bands`, `channel`, `variable`,
  `wavelength`). Where rioxarray is imported its `.rio.y_dim` and `.rio.x_dim` go before.
* **CRS**: `.rio.crs`; without rioxarray the attribute `crs_wkt` or `spatial_ref` of the grid-mapping
  coordinate (the one that the CF attribute `grid_mapping` names, else `spatial_ref`).
* **Transform**: the attribute `GeoTransform` of that coordinate (six numbers in GDAL's order, as rioxarray
  and GDAL write it) where the coordinates agree with it, because it is exact; else the coordinates, which
  are centres of pixels and must be evenly spaced. Without either: pixel coordinates.
* **Nodata**: `.rio.nodata`; without rioxarray the attribute `_FillValue`, `missing_value`, `fill_value` or
  `nodata`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from remotesam.errors import InputError
from remotesam.raster.arrays import MEMORY, ArraySource

if TYPE_CHECKING:
    import xarray

_ROWS = ("y", "lat", "latitude", "northing")
_COLUMNS = ("x", "lon", "longitude", "easting")
_BANDS = ("band", "bands", "channel", "variable", "wavelength")
_NODATA = ("_FillValue", "missing_value", "fill_value", "nodata")

_TOLERANCE = 0.1
"""How far a pixel may lie from its place on the even grid, px; longitudes in float32 with pixels of 10 m
are off by 0.04."""


def is_xarray(thing: object) -> TypeGuard[xarray.DataArray]:
    """True for a DataArray; true for a Dataset too, which `source_of_data_array` refuses in its own words."""
    return hasattr(thing, "isel") and hasattr(thing, "dims")


def source_of_data_array(array: xarray.DataArray) -> ArraySource:
    """The source behind a DataArray; one that is not in memory stays so, and is read window by window.

    Raises:
        InputError: its dimensions, coordinates or CRS do not say which pixel lies where.
    """
    if hasattr(array, "data_vars"):
        raise InputError(
            f"Dataset: choose one variable ({', '.join(map(str, array.data_vars))}), "
            "or make bands of them with .to_dataarray('band')"
        )
    name = str(array.name or "array")
    rows, columns, *bands = dims = _dimensions(array, name)
    ordered = array.variable.transpose(*bands, rows, columns)
    mapping = _grid_mapping(array)
    rio = getattr(array, "rio", None)
    crs = rio.crs if rio is not None else mapping.get("crs_wkt") or mapping.get("spatial_ref")
    attributes = (array.attrs[key] for key in _NODATA if key in array.attrs)
    nodata = rio.nodata if rio is not None else next(attributes, None)
    transform = _transform(array, dims, _stored(mapping), name)
    if transform is None and crs is not None:
        raise InputError(
            f"{MEMORY}{name}: has a CRS, but no coordinates along {columns} and {rows}; assign them"
        )
    in_memory = getattr(array, "_in_memory", False)
    return ArraySource(
        ordered.values if in_memory else ordered,
        transform,
        crs,
        None if nodata is None else float(nodata),
        name,
    )


def _dimensions(array: xarray.DataArray, name: str) -> list[str]:
    """Names of rows, columns and, if there is a third, bands."""
    left = [str(dim) for dim in array.dims]
    dimensions = []
    rio = getattr(array, "rio", None)
    for axis, usual in (("y_dim", _ROWS), ("x_dim", _COLUMNS), ("", _BANDS)):
        told = _told(rio, axis) if rio is not None and axis else None
        match = [dim for dim in left if dim == told] or [dim for dim in left if dim.lower() in usual]
        if len(match) == 1:
            dimensions.append(match[0])
            left.remove(match[0])
    if left or len(dimensions) < 2:
        raise InputError(
            f"{MEMORY}{name}: has dimensions {array.dims}; give y and x and, for several bands, band: choose "
            "one entry of any other with .isel(), or .rename() it"
        )
    return dimensions


def _told(rio: Any, axis: str) -> str | None:
    """The dimension that rioxarray takes for an axis; None when it knows none."""
    try:
        return str(getattr(rio, axis))
    except RuntimeError:  # rioxarray's MissingSpatialDimensionError is one
        return None


def _grid_mapping(array: xarray.DataArray) -> dict[str, Any]:
    """Attributes of the coordinate that names CRS and transform; empty when there is none."""
    name = array.encoding.get("grid_mapping", array.attrs.get("grid_mapping", "spatial_ref"))
    return dict(array.coords[name].attrs) if name in array.coords else {}


def _stored(mapping: dict[str, Any]) -> Affine | None:
    """The transform that the grid mapping holds."""
    text = mapping.get("GeoTransform")
    if text is None:
        return None
    return Affine.from_gdal(*(float(number) for number in str(text).split()))


def _transform(array: xarray.DataArray, dims: list[str], stored: Affine | None, name: str) -> Affine | None:
    """Pixels → coordinates; None when nothing says so."""
    rows, columns = dims[:2]
    axes = {
        dim: np.asarray(array.coords[dim].values, np.float64)
        for dim in (columns, rows)
        if dim in array.coords
    }
    if not axes:
        curved = [
            str(key) for key, coordinate in array.coords.items() if set(coordinate.dims) == {rows, columns}
        ]
        if curved:
            raise InputError(
                f"{MEMORY}{name}: has a place for each pixel ({', '.join(curved)}); resample it to an even "
                "grid, or give remotesam.ArraySource its transform"
            )
        return stored
    if len(axes) == 1:
        raise InputError(
            f"{MEMORY}{name}: has coordinates along {next(iter(axes))} only; assign those of the other axis"
        )
    x, y = axes.values()
    if (
        stored is not None
        and stored.b == stored.d == 0
        and _follows(x, stored.c, stored.a)
        and _follows(y, stored.f, stored.e)
    ):
        return stored
    (x_step, left), (y_step, top) = (_even(axis, f"{MEMORY}{name}: {dim}") for dim, axis in axes.items())
    return Affine(x_step, 0, left, 0, y_step, top)


def _even(axis: NDArray[np.float64], what: str) -> tuple[float, float]:
    """(step, edge of the first pixel) of coordinates that are centres of pixels."""
    if len(axis) == 1:
        raise InputError(f"{what} has one coordinate, which gives no pixel size; use .rio.write_transform()")
    step = float(axis[-1] - axis[0]) / (len(axis) - 1)
    start = float(axis[0]) - step / 2
    if step == 0 or not _follows(axis, start, step):
        raise InputError(f"{what} has coordinates that are not evenly spaced; resample it to an even grid")
    return step, start


def _follows(axis: NDArray[np.float64], start: float, step: float) -> bool:
    """True when the coordinates are the centres of the pixels of an even grid."""
    expected = start + (np.arange(len(axis)) + 0.5) * step
    return bool((np.abs(axis - expected) <= _TOLERANCE * abs(step)).all())
