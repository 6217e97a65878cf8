"""The polygon task: the final ids of one tile as simplified parts in raster pixels."""

from __future__ import annotations

from remotesam.merge.fused_labels import labels_of
from remotesam.polygons.part_tables import parts_from_table, parts_to_table
from remotesam.polygons.tile_polygons import Parts, tile_parts
from remotesam.run.job import Workbench
from remotesam.run.store import RunStore


def trace_tile(bench: Workbench, index: int) -> int:
    """Trace one tile and write its parts to the run.

    Returns:
        The number of parts.
    """
    core = bench.grid[index].core
    labels = labels_of(bench.job).read(core.pad(1))
    parts = tile_parts(labels, core, tolerance=bench.job.config.simplify)
    bench.store.put_table(parts_name(index), parts_to_table(parts))
    return len(parts.ids)


def read_parts(store: RunStore, index: int) -> Parts:
    """What `trace_tile` wrote for a tile."""
    return parts_from_table(store.get_table(parts_name(index)))


def parts_name(index: int) -> str:
    """Where a tile's parts lie in the run."""
    return f"polygons/{index}.arrow"
