"""Formats that GDAL writes, fed row by row: `pyogrio.write_arrow` pulls, we push, a thread stands between."""

from __future__ import annotations

import json
import os
import queue
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyogrio

_GDAL = {
    # How long SQLite waits for a reader (QGIS) to let go of a GeoPackage, ms.
    "SQLITE_BUSY_TIMEOUT": "60000",
    # GDAL says its errors twice: in the exception, and on the terminal, where they are not wanted.
    "CPL_LOG": os.devnull,
}

_DRIVERS = {
    ".gpkg": "GPKG",
    ".fgb": "FlatGeobuf",
    ".geojson": "GeoJSON",
    ".geojsonl": "GeoJSONSeq",
    ".geojsons": "GeoJSONSeq",
    ".shp": "ESRI Shapefile",
}

_JSON = {"WRITE_BBOX": "YES", "COORDINATE_PRECISION": "9"}
"""Nine decimals of a degree are 0.1 mm; GDAL's seven are a centimetre, a whole pixel of drone imagery."""

_QUEUE = 4
"""Batches between the two threads: enough to keep GDAL busy, few enough to keep memory flat."""

_SHP_NAME = 10
"""Longest column name of a Shapefile, characters."""


class _Abort(Exception):
    """Ends GDAL's pull when the rows are no longer wanted."""


class OgrSink:
    """One layer in one file."""

    def __init__(
        self, path: Path, crs: str | None, schema: pa.Schema, layer: str, metadata: dict[str, str]
    ) -> None:
        """Start the writing thread.

        Args:
            path: file to make; its suffix is the format.
            crs: CRS of the geometries.
            schema: columns other than the geometry.
            layer: name of the layer, for GeoPackage.
            metadata: see `remotesam.vector.writer.open_writer`.
        """
        self._path = path
        self._suffix = path.suffix.lower()
        self._crs = crs
        self._layer = layer if self._suffix in (".gpkg", ".geojson") else path.stem
        self._metadata = metadata
        names = list(schema.names)
        if self._suffix == ".shp":
            names = short_names(names)
        fields = [schema.field(i).with_name(name) for i, name in enumerate(names)]
        self._schema = pa.schema([*fields, pa.field("geometry", pa.binary())])
        self._rows = 0
        self._queue: queue.Queue[pa.RecordBatch | type[_Abort] | None] = queue.Queue(_QUEUE)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="vector-writer", daemon=True)
        self._thread.start()

    def write(self, batch: pa.RecordBatch) -> None:
        """Hand a batch over; waits while GDAL is busy."""
        self._put(pa.record_batch(batch.columns, schema=self._schema))
        self._rows += batch.num_rows

    def close(self) -> None:
        """Wait until GDAL has written and closed the file, add the metadata, count the rows."""
        self._put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error
        if self._suffix == ".gpkg" and self._metadata:
            _write_metadata(self._path, self._metadata)
        _check_complete(self._path, self._rows)

    def abort(self) -> None:
        """Stop GDAL; the file is left half written."""
        while self._thread.is_alive():
            try:
                self._queue.put(_Abort, timeout=0.05)
            except queue.Full:
                continue
            self._thread.join(timeout=0.05)

    def _put(self, item: pa.RecordBatch | None) -> None:
        while self._thread.is_alive():
            try:
                self._queue.put(item, timeout=0.2)
            except queue.Full:
                continue
            return
        raise self._error or RuntimeError("the writer thread has ended")

    def _batches(self) -> Iterator[pa.RecordBatch]:
        while (item := self._queue.get()) is not None:
            if item is _Abort:
                raise _Abort
            yield item

    def _run(self) -> None:
        try:
            write_rows(
                pa.RecordBatchReader.from_batches(self._schema, self._batches()),
                self._path,
                self._crs,
                self._layer,
                self._options(),
            )
        except BaseException as error:  # noqa: BLE001 - handed to the thread that writes
            self._error = error

    def _options(self) -> dict[str, str]:
        match self._suffix:
            case ".geojson":
                about = {"DESCRIPTION": json.dumps(self._metadata)} if self._metadata else {}
                rfc = {"RFC7946": "YES"} if self._crs is not None else {}
                return {**_JSON, **rfc, **about}
            case ".geojsonl" | ".geojsons":
                return {**_JSON, "RS": "NO"}
            case ".shp":
                return {"2GB_LIMIT": "YES"}
            case ".fgb":
                about = {"DESCRIPTION": json.dumps(self._metadata)} if self._metadata else {}
                return {"SPATIAL_INDEX": "YES", "TEMPORARY_DIR": str(self._path.parent), **about}
            case _:
                return {"SPATIAL_INDEX": "YES"}


def write_rows(
    rows: pa.RecordBatchReader | pa.Table,
    path: Path,
    crs: str | None,
    layer: str,
    options: dict[str, str],
    *,
    append: bool = False,
) -> None:
    """Write or append rows whose column `geometry` is WKB.

    Args:
        rows: read lazily, batch by batch.
        path: the file.
        crs: CRS of the geometries; None = unknown.
        layer: layer to make or to append to.
        options: GDAL's layer and dataset creation options.
        append: add to an existing file.
    """
    suffix = path.suffix.lower()
    pyogrio.set_gdal_config_options(_GDAL)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*crs.*not provided", category=UserWarning)
        pyogrio.write_arrow(
            rows,
            path,
            layer=layer,
            driver=_DRIVERS[suffix],
            geometry_name="geometry",
            geometry_type="Unknown" if suffix.startswith(".geojson") else "MultiPolygon",
            crs=crs,
            append=append,
            **options,
        )


def short_names(names: list[str]) -> list[str]:
    """Column names cut to the ten characters of a Shapefile, kept apart by a number at their end."""
    short: list[str] = []
    for name in names:
        candidate, number = name[:_SHP_NAME], 1
        while candidate.lower() in (taken.lower() for taken in short):
            tail = f"_{number}"
            candidate, number = name[: _SHP_NAME - len(tail)] + tail, number + 1
        short.append(candidate)
    return short


def _write_metadata(path: Path, metadata: dict[str, str]) -> None:
    table = pa.table({"key": list(metadata), "value": list(metadata.values())})
    pyogrio.write_arrow(table, path, layer="metadata", driver="GPKG", append=True)


def _check_complete(path: Path, rows: int) -> None:
    """Raise OSError when the file on disk does not hold all rows: GDAL forgives a full disk on closing."""
    if path.suffix.lower().startswith(".geojson"):
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - 64, 0))
            end = file.read().rstrip()
        if rows and not end.endswith(b"}"):
            raise OSError("the file ends in the middle")
        return
    count = pyogrio.read_info(path, layer=0, force_feature_count=True)["features"]
    if count != rows:
        raise OSError(f"{count} of {rows} features are in the file")
