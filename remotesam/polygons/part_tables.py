"""Parts of a tile as an Arrow table, to be kept in a file between tracing and joining."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import shapely

from remotesam.polygons.seam_vertices import SEAM_POINTS
from remotesam.polygons.tile_polygons import Parts

PART_SCHEMA = pa.schema([("id", pa.int64()), ("geometry", pa.binary()), ("seams", pa.binary())])
"""`geometry`: WKB in raster px. `seams`: the `SEAM_POINTS` of the row's id as raw bytes; they stand in the
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
    return Parts(table["id"].to_numpy(), geometries, np.frombuffer(raw, SEAM_POINTS))
