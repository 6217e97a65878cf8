"""The stages that a run does for each tile size: segment every tile, compare seams, give final ids."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import rasterio

from remotesam.config import stage_settings
from remotesam.errors import InputError, TileError
from remotesam.events import Pace
from remotesam.merge.match import match
from remotesam.merge.task import match_seams
from remotesam.pipeline.live_preview import LivePreview
from remotesam.run.executors import Outcome
from remotesam.run.job import Job
from remotesam.run.layout import SUMMARY_NAME, failure_name, read_summary, segments_name
from remotesam.run.runner import Runner, discard_if_changed, each_tile, run_stage, timed
from remotesam.run.store import RunStore
from remotesam.tiles.task import segment_tile

AFTER_MATCH = ("fused", "polygons", "bands")
"""Folders of a run that were made from final ids."""


@dataclass(slots=True)
class ScaleRun:
    """Tiles and match of one job: what a run does once for each tile size."""

    job: Job
    """Its config holds one tile size."""
    store: RunStore
    """Where the job's files are."""
    runner: Runner
    """Who works and who is on_outcome."""
    live: LivePreview | None = None
    """Gets every finished tile."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall time of each stage."""
    found: dict[str, Any] = field(default_factory=dict)
    """The summary of the match."""
    summaries: dict[int, dict[str, Any]] = field(default_factory=dict)
    """The summary of every finished tile."""

    def segment(self) -> None:
        """The tile stage.

        Raises:
            InputError: the raster holds no data.
            TileError: not one tile could be segmented.
            Cancelled: the user stopped; finished tiles are kept.
        """
        finished = self.store.finished("tiles")
        summaries = self.summaries
        summaries |= {i: read_summary(self.store.get_table(segments_name(i))) for i in sorted(finished)}
        total = len(self.job.grid)
        todo = [index for index in range(total) if index not in finished]
        committed = sum(summary["segments"] for summary in summaries.values())
        totals = {"valid": 0, "covered": 0, "segments": committed}
        for summary in summaries.values():
            totals["valid"] += summary["valid"]
            totals["covered"] += summary["covered"]
        pace = Pace()

        def on_outcome(outcome: Outcome, done: int, left: float | None) -> None:
            if outcome.error is not None:
                self.runner.listener("warning", code="tile_failed", message=str(outcome.error))
                if not self.store.exists(failure_name(outcome.index)):
                    reason = {"tile": outcome.index, "error": str(outcome.error), "trace": ""}
                    self.store.put_json(failure_name(outcome.index), reason)
            else:
                summaries[outcome.index] = outcome.summary
                for key in totals:
                    totals[key] += outcome.summary[key]
                if self.live is not None:
                    self.live.add(outcome.index)
            self.runner.listener(
                "tile",
                done=done,
                total=total,
                index=outcome.index,
                worker=outcome.worker,
                worker_rate=pace.count(outcome.worker),
                bbox=_bounds(self.job, outcome.index),
                segments=0 if outcome.error else outcome.summary["segments"],
                committed=totals["segments"],
                coverage=totals["covered"] / totals["valid"] if totals["valid"] else None,
                eta_s=left,
            )

        with timed(self.seconds, "tiles"):
            failed = run_stage("tiles", segment_tile, todo, total, self.runner, on_outcome=on_outcome)
        if not summaries and failed:
            raise TileError(f"every tile failed; the first because {failed[0].error}") from failed[0].error
        if not any(summary["valid"] for summary in summaries.values()):
            raise InputError(
                f"{self.job.raster.spec.path}: holds no valid pixel; check --nodata, --aoi and the mask"
            )
        missing = sorted(set(range(total)) - set(summaries))
        inputs = {"settings": stage_settings(self.job.config, "match"), "missing": missing}
        discard_if_changed(self.store, "match", inputs, ["match", "seams", "lines", "contacts", *AFTER_MATCH])

    def match(self) -> None:
        """Seams and match: final ids for every segment."""
        if self.store.exists(SUMMARY_NAME):
            self.found = self.store.get_json(SUMMARY_NAME)
            return
        with timed(self.seconds, "seams"):
            each_tile(self.job, self.runner, "seams", match_seams)
        with timed(self.seconds, "match"):
            self.found = match(self.job, partial(each_tile, self.job, self.runner))
        for chain in self.found["long"]:
            self.runner.listener(
                "warning",
                code="long_component",
                message=f"a segment that starts in tile {chain['tile']} spans {chain['tiles']} tiles",
            )


def _bounds(job: Job, index: int) -> list[float]:
    """[west, south, east, north] of a tile's core in the raster's CRS."""
    core = job.grid[index].core
    affine = rasterio.Affine(*job.raster.spec.transform)
    corners = [affine @ (x, y) for x in (core.col, core.col_stop) for y in (core.row, core.row_stop)]
    xs, ys = zip(*corners, strict=True)
    return [min(xs), min(ys), max(xs), max(ys)]
