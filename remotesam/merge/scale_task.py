"""The stage that combines several scales: colours per tile, one choice for the raster, attributes."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from remotesam.attributes import Shown
from remotesam.merge.attributes import Attributes
from remotesam.merge.final_labels import FinalLabels, FusedLabels, choice_name, read_choice, write_choice
from remotesam.merge.scales import COARSE, PairStatistics, choose, pair_statistics
from remotesam.merge.tile_seamlines import owned_segments
from remotesam.run.job import TileJob, WorkerContext
from remotesam.run.records import ScaleShare
from remotesam.run.runner import Runner, each_unit
from remotesam.run.store import RunStore

SEGMENTS_NAME = "fused/segments.arrow"
"""Attributes of every fused segment, in the order of ids."""

_STATISTICS = ("coarse", "fine", "pixels", "sums", "squares")


def fuse_scales(job: TileJob, store: RunStore, runner: Runner) -> list[ScaleShare]:
    """Decide between the scales of a run and write the choices and the attributes of what stays.

    The coarsest scale is combined with the next finer one, the result with the next, and so on.

    Returns:
        What each scale contributed, coarsest first.
    """
    scales = job.scales()
    total = len(job.grid)
    columns = segment_columns(scales[0])
    offered: list[int] = []
    for step, scale in enumerate(scales[1:], start=1):
        finer = segment_columns(scale)
        if not store.exists(choice_name(step)):
            each_unit(job, runner, "colours", partial(sum_colours, step), statistics_folder(step))
            parts = [_read_statistics(store, step, index) for index in range(total)]
            quality = [np.maximum(c["score"] * c["stability"], 1e-6) for c in (columns, finer)]
            write_choice(store, step, choose(PairStatistics.merge(parts), *quality))
        choice = read_choice(store, step)
        from_coarse, old = choice.origin[1:] == COARSE, choice.old[1:] - 1
        columns = {name: _picked(from_coarse, old, values, finer[name]) for name, values in columns.items()}
        columns["area_px"] = choice.pixels[1:]
        offered = [choice.coarse.offered] if step == 1 else offered
        offered.append(choice.fine.offered)
    report = []
    for scale, offer in zip(scales, offered, strict=True):
        size = max(scale.config.tile_size)
        of_scale = columns["scale"] == size
        pixels = int(columns["area_px"][of_scale].sum())
        report.append(ScaleShare(tile_size=size, offered=offer, segments=int(of_scale.sum()), pixels=pixels))
    store.put_table(SEGMENTS_NAME, pa.table(columns))
    return report


def sum_colours(step: int, context: WorkerContext[TileJob], index: int) -> int:
    """Task: colour sums of one tile for every pair of a segment so far and one of the next finer scale."""
    store, core = context.store, context.job.grid[index].core
    readers = [FinalLabels(RunStore(one.run_url), one.grid) for one in context.job.scales()[: step + 1]]
    choices = [read_choice(store, earlier) for earlier in range(1, step)]
    coarse = FusedLabels(readers[:step], choices).read(core)
    statistics = pair_statistics(coarse, readers[step].read(core), context.raster.read(core).image)
    sums = {name: getattr(statistics, name) for name in _STATISTICS}
    store.put_arrays(f"{statistics_folder(step)}/{index}.arrow", sums)
    return len(statistics.pixels)


def segment_columns(job: TileJob) -> dict[str, NDArray[Any]]:
    """Attributes of every segment of one scale, in the order of ids."""
    store, grid = RunStore(job.run_url), job.grid
    final, gathered = (
        FinalLabels(store, grid),
        Attributes(Shown.POLYGONS, {"scale": max(job.config.tile_size)}),
    )
    for index in range(len(grid)):
        own = final.of_tile(index)
        if len(own):
            gathered.add(index, own, owned_segments(store, grid, index, final.seamlines))
    return gathered.take(gathered.ids())


def statistics_folder(step: int) -> str:
    """Where the colour sums for scale `step` lie in the run."""
    return f"fused/colours-{step}"


def _read_statistics(store: RunStore, step: int, index: int) -> PairStatistics:
    arrays, _ = store.get_arrays(f"{statistics_folder(step)}/{index}.arrow")
    return PairStatistics(**arrays)


def _picked(
    from_coarse: NDArray[np.bool_], old: NDArray[np.int64], coarse: NDArray[Any], fine: NDArray[Any]
) -> NDArray[Any]:
    """For each new segment the value of the old one it is."""
    values = np.empty(len(old), coarse.dtype)
    values[from_coarse] = coarse[old[from_coarse]]
    values[~from_coarse] = fine[old[~from_coarse]]
    return values
