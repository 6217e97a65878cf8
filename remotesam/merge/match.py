"""The match stage: from the joins of all seams to final ids, small fragments decided for the whole raster."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remotesam.grid import TileGrid
from remotesam.merge.components import Components, Edges, components
from remotesam.merge.final_labels import FinalLabels
from remotesam.merge.fragments import Decision, contacts, decide, small_segments
from remotesam.merge.task import read_edges
from remotesam.merge.tile_seamlines import ReadSeamlines, owned_segments, read_seamlines
from remotesam.run.job import TileJob, WorkerContext
from remotesam.run.layout import (
    LUT_NAME,
    OFFSETS_NAME,
    SHARED_NAME,
    SMALL_NAME,
    SUMMARY_NAME,
    contacts_name,
)
from remotesam.run.records import LongComponent, MatchSummary
from remotesam.run.store import RunStore

MAX_SPAN = 64
"""Components in more tiles than this are named in the summary: a river, or joins gone wrong."""


def find_contacts(context: WorkerContext[TileJob], index: int) -> int:
    """Task: which segments the small ones of a tile touch, written to the run."""
    core = context.job.grid[index].core
    spec = context.raster.spec
    small = np.frombuffer(context.store.get(SMALL_NAME), "<i8")
    labels = FinalLabels(context.store, context.job.grid)
    small_here = np.intersect1d(np.concatenate([labels.of_tile(index), labels.shared(index)]), small)
    pairs = np.empty((0, 2), np.int64)
    if len(small_here):
        pairs = contacts(labels.read(core.pad(1).clip(spec.height, spec.width)), small_here)
    context.store.put(contacts_name(index), pairs.astype("<i8").tobytes())
    return len(pairs)


def match(job: TileJob, each_unit: Callable[[str, Any], None]) -> MatchSummary:
    """Join the segments of all tiles and write their final ids.

    Everything here follows the number of joins and of small segments, not the area.

    Args:
        job: the run; its seams are finished.
        each_unit: runs a task over all tiles under a stage name.

    Returns:
        What was found.
    """
    store, grid, config = RunStore(job.run_url), job.grid, job.config
    read = [read_edges(store, index) for index in range(len(grid))]
    counts = [n_core for _, n_core in read]
    edges = Edges.concatenate([edge for edge, _ in read])
    del read
    joined = components(counts, edges, max_span=MAX_SPAN)
    decision = Decision(absorbed=_NONE, hosts=_NONE, removed=_NONE)
    limit = max(config.absorb_area, config.min_area)
    read_lines = lru_cache(4 * grid.cols)(partial(read_seamlines, store))
    areas = (_core_areas(store, grid, index, n_core, read_lines) for index, n_core in enumerate(counts))
    small = small_segments(joined, areas, limit)
    if len(small.ids):
        _write_lut(store, grid, joined)
        store.put(SMALL_NAME, small.ids.astype("<i8").tobytes())
        each_unit("contacts", find_contacts)
        touching = [
            np.frombuffer(store.get(contacts_name(i)), "<i8").reshape(-1, 2) for i in range(len(grid))
        ]
        decision = decide(
            small,
            np.concatenate(touching),
            absorb_area=config.absorb_area,
            min_area=max(config.min_area, 1),  # what a neighbour took wholly is no segment
        )
    final = joined.absorb(decision.absorbed, decision.hosts, decision.removed)
    _write_lut(store, grid, final)
    summary = MatchSummary(
        segments=final.count,
        tile_segments=int(sum(counts)),
        joins=len(edges),
        refused_joins=joined.refused,
        absorbed=len(decision.absorbed),
        removed=len(decision.removed),
        long=[LongComponent(tile=c.key >> 32, tiles=c.tiles, segments=c.segments) for c in joined.long],
    )
    store.put_record(SUMMARY_NAME, summary)
    return summary


_NONE = np.empty(0, np.int64)


def _write_lut(store: RunStore, grid: TileGrid, final: Components) -> None:
    store.put(OFFSETS_NAME, final.offsets.astype("<i8").tobytes())
    ids, shared = io.BytesIO(), np.zeros(int(final.offsets[-1]), np.bool_)
    shared[final.joined] = True
    for index in range(len(grid)):
        ids.write(final.lut(index).astype("<i8").tobytes())
    store.put(LUT_NAME, ids.getvalue())
    store.put(SHARED_NAME, shared.tobytes())


def _core_areas(
    store: RunStore, grid: TileGrid, index: int, n_core: int, read: ReadSeamlines
) -> NDArray[np.int64]:
    if n_core == 0:
        return np.empty(0, np.int64)
    areas: NDArray[np.int64] = owned_segments(store, grid, index, read)["core_area"].to_numpy()
    return areas
