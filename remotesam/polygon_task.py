"""The polygon task: the final ids of one tile as simplified parts in raster pixels."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from remotesam.final_labels import FinalLabels
from remotesam.polygons import SEAM_POINTS, Parts, tile_parts
from remotesam.store import RunStore
from remotesam.workbench import Workbench


def trace_tile(bench: Workbench, index: int) -> int:
    """Trace one tile and write its parts to the run.

    Returns:
        The number of parts.
    """
    core = bench.grid[index].core
    labels = FinalLabels(bench.store, bench.grid).read(core.pad(1))
    parts = tile_parts(labels, core, tolerance=bench.job.config.simplify)
    inside = labels[1:-1, 1:-1]
    rim = np.unique(np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]]))
    bench.store.put(_rim_name(index), rim[rim > 0].astype("<i8").tobytes())
    bench.store.put(_seams_name(index), parts.seams.tobytes())
    table = pa.table({"id": parts.ids, "wkb": pa.array(shapely.to_wkb(parts.geometries), pa.binary())})
    bench.store.put_table(parts_name(index), table)
    return len(parts.ids)


def read_parts(store: RunStore, index: int) -> Parts:
    """What `trace_tile` wrote for a tile."""
    table = store.get_table(parts_name(index))
    geometries = shapely.from_wkb(table["wkb"].to_numpy(zero_copy_only=False))
    return Parts(
        table["id"].to_numpy(), geometries, np.frombuffer(store.get(_seams_name(index)), SEAM_POINTS)
    )


def read_rim(store: RunStore, index: int) -> NDArray[np.int64]:
    """Ids that own a pixel of the tile's outermost line: only these can continue in another tile."""
    return np.frombuffer(store.get(_rim_name(index)), "<i8")


def parts_name(index: int) -> str:
    """Where a tile's parts lie in the run; written last."""
    return f"polygons/{index}.arrow"


def _seams_name(index: int) -> str:
    return f"polygons/{index}.seams"


def _rim_name(index: int) -> str:
    return f"polygons/{index}.rim"
