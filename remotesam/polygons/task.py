"""The polygon task: the final ids of one tile as simplified parts in raster pixels."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import shapely

from remotesam.merge.final_labels import labels_of
from remotesam.polygons.seam_vertices import SEAM_VERTICES
from remotesam.polygons.tile_polygons import Parts, tile_parts
from remotesam.run.job import TileJob, WorkerContext
from remotesam.run.store import RunStore


def trace_tile(context: WorkerContext[TileJob], index: int) -> int:
    """Trace one tile and write its parts to the run.

    Returns:
        The number of parts.
    """
    core = context.job.grid[index].core
    labels = labels_of(context.job).read(core.pad(1))
    parts = tile_parts(labels, core, tolerance=context.job.config.simplify)
    context.store.put_table(parts_name(index), parts_to_table(parts))
    return len(parts.ids)


def read_parts(store: RunStore, index: int) -> Parts:
    """What `trace_tile` wrote for a tile."""
    return parts_from_table(store.get_table(parts_name(index)))


def parts_name(index: int) -> str:
    """Where a tile's parts lie in the run."""
    return f"polygons/{index}.arrow"


PART_SCHEMA = pa.schema([("id", pa.int64()), ("geometry", pa.binary()), ("seams", pa.binary())])
"""`geometry`: WKB in raster px. `seams`: the `SEAM_VERTICES` of the row's id as raw bytes; they stand in the
first row of each id."""


def parts_to_table(parts: Parts) -> pa.Table:
    """The table of `PART_SCHEMA` that holds these parts."""
    seams: list[bytes | None] = [None] * len(parts.ids)
    ids, starts = np.unique(parts.seams["id"], return_index=True)
    rows = np.searchsorted(parts.ids, ids)
    for row, start, stop in zip(rows, starts, [*starts[1:], len(parts.seams)], strict=False):
        seams[row] = parts.seams[start:stop].tobytes()
    return pa.table([parts.ids, shapely.to_wkb(parts.geometries), seams], schema=PART_SCHEMA)


def parts_from_table(table: pa.Table) -> Parts:
    """The parts that `parts_to_table` wrote."""
    raw = b"".join(value for value in table["seams"].to_pylist() if value is not None)
    geometries = shapely.from_wkb(np.array(table["geometry"].to_pylist(), object))
    return Parts(table["id"].to_numpy(), geometries, np.frombuffer(raw, SEAM_VERTICES))
