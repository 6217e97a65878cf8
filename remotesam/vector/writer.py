"""Vector files written feature by feature: one process, one file, complete or not there at all.

Rows go to a folder `<name>.part` beside the output and are moved into place when the last one is written; an
error leaves an earlier output as it was. What a format cannot do is refused before the first row.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from remotesam.errors import OutputError, RemotesamError
from remotesam.files import unwritable
from remotesam.vector.transform import reproject

SUFFIXES = (".gpkg", ".parquet", ".fgb", ".geojson", ".geojsonl", ".geojsons", ".shp")
"""Formats by the end of the file name: GeoPackage, GeoParquet, FlatGeobuf, GeoJSON, GeoJSON text sequence
(two names), Shapefile."""

WGS84 = "OGC:CRS84"

GEOMETRY = "geometry"
"""Name of the geometry column."""


class Sink(Protocol):
    """What a format has to offer."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Take rows: the columns of the schema, then `GEOMETRY` as WKB."""

    def close(self) -> None:
        """Finish the file and check that it holds every row."""

    def abort(self) -> None:
        """Let go of the file; it will be deleted."""


class Writer:
    """An open output file; use it in a `with` block, which closes it or, on an error, takes it away."""

    def __init__(
        self, path: Path, staging: Path, sink: Sink, schema: pa.Schema, crs: str | None, target: str | None
    ) -> None:
        """Use `open_writer` instead."""
        self.path = path
        self.rows = 0
        """Rows written so far."""
        self._staging = staging
        self._sink = sink
        self._schema = schema.append(pa.field(GEOMETRY, pa.binary()))
        self._crs = crs
        self._target = target
        self._multi = path.suffix.lower() in (".gpkg", ".fgb", ".shp")
        self._open = True

    def write(self, geometries: NDArray[np.object_], attributes: pa.RecordBatch | pa.Table) -> None:
        """Append features.

        Args:
            geometries: (n,) Polygons and MultiPolygons in the CRS given to `open_writer`, see
                `remotesam.vector.transform.place`.
            attributes: n rows with the columns of the schema.

        Raises:
            OutputError: the file cannot be written.
        """
        if len(geometries) == 0:
            return
        if self._crs is not None and self._target is not None:
            geometries = reproject(geometries, self._crs, self._target)
        if self._multi:
            parts, owner = shapely.get_parts(geometries, return_index=True)
            geometries = shapely.multipolygons(parts, indices=owner)
        columns = [
            attributes.column(name).cast(self._schema.field(name).type) for name in self._schema.names[:-1]
        ]
        wkb = pa.array(shapely.to_wkb(geometries), pa.binary())
        table = pa.table([*columns, wkb], schema=self._schema)
        with self._explained():
            for batch in table.combine_chunks().to_batches():
                self._sink.write(batch)
        self.rows += len(geometries)

    def close(self) -> None:
        """Finish the file and put it in its place.

        Raises:
            OutputError: the file cannot be written; what was there before is still there.
        """
        if not self._open:
            return
        with self._explained():
            self._sink.close()
            self._open = False
            for part in sorted(self._staging.iterdir(), key=lambda part: part.suffix == self.path.suffix):
                part.replace(self.path.parent / part.name)
            self._staging.rmdir()

    def abort(self) -> None:
        """Drop everything written; what was there before is still there."""
        if self._open:
            self._open = False
            self._sink.abort()
        shutil.rmtree(self._staging, ignore_errors=True)

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    @contextlib.contextmanager
    def _explained(self):  # type: ignore[no-untyped-def]  # a generator of nothing
        try:
            yield
        except RemotesamError:
            self.abort()
            raise
        except Exception as error:
            explained = unwritable(self.path, error)
            self.abort()
            raise explained from error


def open_writer(
    path: str | os.PathLike[str],
    *,
    crs: str | None,
    schema: pa.Schema,
    layer: str = "segments",
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = False,
    dst_crs: str | None = None,
) -> Writer:
    """Start a vector file whose format follows from its name (`SUFFIXES`).

    GeoJSON is always written in WGS 84, after RFC 7946: right-hand rings, cut at the antimeridian, with
    bounding boxes. Vertices are transformed, no vertices are added
    (see `remotesam.vector.transform.reproject`).

    Args:
        path: the file to make.
        crs: CRS of the geometries that will come; None = unknown (pixels, for example).
        schema: columns other than the geometry.
        layer: name of the layer, where the format has names.
        metadata: settings and facts to keep in the file: a table `metadata` in a GeoPackage, key-value pairs
            in GeoParquet and FlatGeobuf, the description in GeoJSON; nowhere in the others.
        overwrite: replace a file that exists.
        dst_crs: CRS to write; default is `crs`.

    Raises:
        OutputError: the name says no known format, the file exists or its folder cannot be written, or the
            CRS cannot be what is asked for.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise OutputError(f"{path}: unknown vector format; name it *{', *'.join(SUFFIXES)}")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists already; pass --overwrite or choose another name")
    if dst_crs is not None and crs is None:
        raise OutputError(f"{path}: no CRS to reproject from; leave out --dst-crs or give the raster a CRS")
    if crs is not None and suffix.startswith(".geojson"):
        dst_crs = _geojson_crs(path, dst_crs)
    staging = path.with_name(path.name + ".part")
    try:
        if staging.exists():
            shutil.rmtree(staging)
        staging.mkdir(parents=False)
        (staging / "probe").touch()
        (staging / "probe").unlink()
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{path}: folder cannot be written ({reason}); choose another place") from error
    written = dst_crs or crs
    sink = _open_sink(staging / path.name, written, schema, layer, dict(metadata or {}))
    return Writer(path, staging, sink, schema, crs, dst_crs)


def _geojson_crs(path: Path, dst_crs: str | None) -> str:
    """Raises OutputError when something else than WGS 84 is asked for."""
    import pyproj

    if dst_crs is not None and not pyproj.CRS.from_user_input(dst_crs).equals("EPSG:4326", True):
        raise OutputError(f"{path}: GeoJSON is always WGS 84 (RFC 7946); leave out --dst-crs or write *.gpkg")
    return WGS84


def _open_sink(path: Path, crs: str | None, schema: pa.Schema, layer: str, metadata: dict[str, str]) -> Sink:
    if path.suffix.lower() == ".parquet":
        from remotesam.vector.geoparquet import GeoParquetSink

        return GeoParquetSink(path, crs, schema, metadata)
    from remotesam.vector.ogr import OgrSink

    return OgrSink(path, crs, schema, layer, metadata)
