"""The polygon task: the final ids of one tile as simplified parts in raster pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from remotesam.final_labels import FinalLabels
from remotesam.part_tables import parts_from_table, parts_to_table
from remotesam.polygons import Parts, tile_parts
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
    bench.store.put_table(parts_name(index), parts_to_table(parts))
    return len(parts.ids)


def read_parts(store: RunStore, index: int) -> Parts:
    """What `trace_tile` wrote for a tile."""
    return parts_from_table(store.get_table(parts_name(index)))


def read_rim(store: RunStore, index: int) -> NDArray[np.int64]:
    """Ids that own a pixel of the tile's outermost line: only these can continue in another tile."""
    return np.frombuffer(store.get(_rim_name(index)), "<i8")


def parts_name(index: int) -> str:
    """Where a tile's parts lie in the run; written last."""
    return f"polygons/{index}.arrow"


def _rim_name(index: int) -> str:
    return f"polygons/{index}.rim"
