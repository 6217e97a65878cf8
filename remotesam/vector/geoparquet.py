"""GeoParquet 1.1: bounding boxes as a column and rows along a Hilbert curve, in bounded memory.

Neighbours on the ground are neighbours in the file, so a reader that wants one place skips nearly all row
groups by the statistics of the `bbox` column (GeoParquet 1.1.0, "covering"). Rows wait in a spool file until
all are known, are dealt into buckets along the curve, and each bucket is sorted in memory.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import shapely
from numpy.typing import NDArray

from remotesam.vector.formats import GEOMETRY, Format, Layer

BUCKET_BYTES = 64 << 20
"""Rows that are sorted in memory at once, bytes."""

ROW_GROUP = 8192
"""Rows of a group, the unit that readers skip."""

_BBOX = pa.struct([(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax")])


def write(_: Format, layer: Layer) -> None:
    """Write a layer.

    Raises:
        OSError, pyarrow.ArrowException: the disk is full.
    """
    spool = _Spool(layer)
    buckets = spool.along_curve()
    schema = spool.schema.with_metadata({**layer.metadata, "geo": json.dumps(spool.geo(layer.crs))})
    with pq.ParquetWriter(layer.path, schema, compression="zstd") as writer:
        for path, order in buckets:
            with pa.ipc.open_file(path) as file:
                rows = file.read_all().take(order)
            path.unlink()
            writer.write_table(rows.replace_schema_metadata(schema.metadata), row_group_size=ROW_GROUP)
    spool.path.unlink(missing_ok=True)


class _Spool:
    """All rows in a file of their own, with what must be known of them all before one can be written."""

    def __init__(self, layer: Layer) -> None:
        """Take the rows of a layer; the spool lies beside its file."""
        self.schema = layer.schema.append(pa.field("bbox", _BBOX)).remove_metadata()
        """Columns of the file."""
        self.path = layer.path.with_suffix(".spool")
        """The file."""
        self._bytes = 0
        self._centres: list[NDArray[np.float64]] = []
        self._bounds = np.array([np.inf, np.inf, -np.inf, -np.inf])
        self._types: set[str] = set()
        with (
            # Closed for itself: a full disk refuses the footer that the spool writes when it is closed.
            pa.OSFile(str(self.path), "wb") as file,
            pa.ipc.new_file(file, self.schema, options=_compressed()) as spool,
        ):
            for batch in layer.batches:
                spool.write(self._with_box(batch))

    def _with_box(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Rows with their bounding boxes, which are noted."""
        geometries = shapely.from_wkb(np.array(batch.column(GEOMETRY).to_pylist(), object))
        bounds = shapely.bounds(geometries)
        boxes = pa.StructArray.from_arrays(list(bounds.T), fields=list(_BBOX))
        self._bytes += batch.nbytes
        self._centres.append((bounds[:, :2] + bounds[:, 2:]) / 2)
        self._bounds[:2] = np.minimum(self._bounds[:2], bounds[:, :2].min(axis=0))
        self._bounds[2:] = np.maximum(self._bounds[2:], bounds[:, 2:].max(axis=0))
        self._types.update(geometry.geom_type for geometry in geometries)
        return pa.record_batch([*batch.columns, boxes], schema=self.schema)

    def along_curve(self) -> list[tuple[Path, NDArray[np.intp]]]:
        """Split the spool along the curve: files in curve order, with the order of the rows in each."""
        if not self._centres:
            return []
        centres = np.concatenate(self._centres)
        points = geopandas.GeoSeries(geopandas.points_from_xy(*centres.T))
        curve = points.hilbert_distance(total_bounds=tuple(self._bounds)).to_numpy()
        order = np.argsort(curve, kind="stable")
        count = -(-self._bytes // BUCKET_BYTES)
        if count <= 1:
            return [(self.path, order)]
        rank = np.empty(len(order), np.intp)
        rank[order] = np.arange(len(order))
        bucket = rank * count // len(rank)
        paths = [self.path.with_suffix(f".{number}") for number in range(count)]
        files = [pa.ipc.new_file(path, self.schema, options=_compressed()) for path in paths]
        with pa.ipc.open_file(self.path) as spool:
            start = 0
            for index in range(spool.num_record_batches):
                batch = spool.get_batch(index)
                bucket_of_row = bucket[start : start + batch.num_rows]
                start += batch.num_rows
                for number in np.unique(bucket_of_row):
                    files[number].write(batch.take(pa.array(np.flatnonzero(bucket_of_row == number))))
        for file in files:
            file.close()
        return [(path, np.argsort(rank[bucket == number])) for number, path in enumerate(paths)]

    def geo(self, crs: str | None) -> dict[str, Any]:
        """The `geo` metadata of the specification; a CRS of null means that there is none."""
        box = {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}
        column = {
            "encoding": "WKB",
            "geometry_types": sorted(self._types),
            "crs": None if crs is None else pyproj.CRS.from_user_input(crs).to_json_dict(),
            "orientation": "counterclockwise",
            "edges": "planar",
            "covering": {"bbox": box},
        }
        if self._types:
            column["bbox"] = self._bounds.tolist()
        return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def _compressed() -> pa.ipc.IpcWriteOptions:
    return pa.ipc.IpcWriteOptions(compression="lz4")
