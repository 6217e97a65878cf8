"""Polygons to vector files: rows are made while the format asks for them; no file is ever seen half."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyproj
import shapely
from numpy.typing import NDArray

from remotesam.errors import OutputError
from remotesam.files import staged, unwritable
from remotesam.vector.formats import GEOMETRY, WGS84, Format, Layer, format_of
from remotesam.vector.transform import reproject

Features = tuple[NDArray[np.object_], pa.RecordBatch | pa.Table]
"""(n,) Polygons and MultiPolygons, and n rows with their attributes."""


def write_features(
    path: str | os.PathLike[str],
    features: Iterable[Features],
    *,
    crs: str | None,
    schema: pa.Schema,
    layer: str = "segments",
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = False,
    dst_crs: str | None = None,
) -> int:
    """Write a vector file whose format follows from its name (`remotesam.vector.formats`).

    `features` is asked for the next ones when the last are on their way to disk, so one batch is in memory.
    What the format cannot do is refused before it is asked at all; an error, of the disk or of `features`,
    leaves an earlier file as it was.

    GeoJSON is always written in WGS 84, after RFC 7946: right-hand rings, cut at the antimeridian, with
    bounding boxes. Vertices are moved and none are added, see `remotesam.vector.transform.reproject`.

    Args:
        path: the file to make.
        features: geometries in `crs`, see `remotesam.vector.transform.place`, with the columns of the schema.
        crs: CRS of the geometries; None = unknown (pixels, for example).
        schema: columns other than the geometry.
        layer: name of the layer, where the format has names.
        metadata: settings and facts to keep in the file, where the format has a place for them.
        overwrite: replace a file that exists.
        dst_crs: CRS to write; default is `crs`.

    Returns:
        Number of features written.

    Raises:
        OutputError: the name says no known format, the file exists or cannot be written, or the CRS cannot be
            what is asked for.
        Exception: whatever `features` raises, as it is.
    """
    path = Path(path)
    file_format = format_of(path)
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists already; pass --overwrite or choose another name")
    dst_crs = _dst_crs(path, file_format, crs, dst_crs)
    move = None if crs is None or dst_crs is None else (crs, dst_crs)
    rows = _Rows(features, schema.append(pa.field(GEOMETRY, pa.binary())), file_format.multi, move)
    companions = [name.format(name=path.name, stem=path.stem) for name in file_format.companions]
    with staged(path, companions) as part:
        try:
            file_format.write(Layer(part, dst_crs or crs, rows.schema, layer, metadata or {}, rows.batches()))
        except BaseException as error:
            if rows.error is not None:  # all that GDAL says of it is that the next rows did not come
                raise rows.error from None
            if isinstance(error, Exception):
                raise unwritable(path, error) from error
            raise
    return rows.count


def as_rows(
    geometries: NDArray[np.object_], attributes: pa.RecordBatch | pa.Table, schema: pa.Schema, *, multi: bool
) -> pa.Table:
    """Features as a table.

    Args:
        geometries: (n,) Polygons and MultiPolygons.
        attributes: n rows with the columns of the schema but the last.
        schema: columns of the result, the last of them `GEOMETRY`.
        multi: make every geometry a MultiPolygon.
    """
    if multi:
        parts, owner = shapely.get_parts(geometries, return_index=True)
        geometries = shapely.multipolygons(parts, indices=owner)
    columns = [attributes.column(field.name).cast(field.type) for field in schema if field.name != GEOMETRY]
    return pa.table([*columns, pa.array(shapely.to_wkb(geometries), pa.binary())], schema=schema)


@dataclass(slots=True)
class _Rows:
    """Features as record batches."""

    features: Iterable[Features]
    """Where they come from."""
    schema: pa.Schema
    """Columns, the geometry last."""
    multi: bool
    """True = every geometry becomes a MultiPolygon."""
    move: tuple[str, str] | None
    """CRS from which and CRS to which; None = geometries stay as they are."""
    count: int = 0
    """Rows made so far."""
    error: BaseException | None = None
    """What `features` raised."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Make the rows."""
        try:
            for placed, attributes in self.features:
                if len(placed) == 0:
                    continue
                geometries = placed if self.move is None else reproject(placed, *self.move)
                self.count += len(geometries)
                rows = as_rows(geometries, attributes, self.schema, multi=self.multi)
                yield from rows.combine_chunks().to_batches()
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise


def _dst_crs(path: Path, file_format: Format, crs: str | None, dst_crs: str | None) -> str | None:
    """The CRS to write, None = that of the geometries.

    Raises:
        OutputError: nobody knows the CRS of the geometries, or the format has another.
    """
    if crs is None:
        if dst_crs is not None:
            raise OutputError(
                f"{path}: no CRS to reproject from; leave out --dst-crs or give the raster a CRS"
            )
        return None
    if not file_format.wgs84:
        return dst_crs
    if dst_crs is not None and not pyproj.CRS.from_user_input(dst_crs).equals(
        "EPSG:4326", ignore_axis_order=True
    ):
        raise OutputError(
            f"{path}: {file_format.title} is always WGS 84 (RFC 7946); leave out --dst-crs or write *.gpkg"
        )
    return WGS84
