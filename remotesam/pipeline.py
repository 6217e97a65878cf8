"""A whole run: plan, segment, match, trace, write; each stage resumable on its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rasterio

from remotesam import __version__
from remotesam.config import Config, as_dict, make_config, stage_settings
from remotesam.errors import InputError, StoreError, TileError
from remotesam.executors import Executor, Outcome, SerialExecutor, Task, ThreadExecutor
from remotesam.match import SUMMARY_NAME, match
from remotesam.outputs import Outputs, write_outputs
from remotesam.passes import PassCoverage
from remotesam.polygon_task import trace_tile
from remotesam.progress import Listener, silent
from remotesam.raster_checks import warnings
from remotesam.result import Result
from remotesam.run_status import failures
from remotesam.seam_task import match_seams
from remotesam.segmenter import checkpoints
from remotesam.segmenter.protocol import Segmenter
from remotesam.stages import Crew, must_succeed, run_stage
from remotesam.store import RunStore
from remotesam.tile_task import failure_name, read_summary, segment_tile, segments_name
from remotesam.workbench import Job, Workbench, open_for

if TYPE_CHECKING:
    from distributed import Client

THREADS = 3
"""Threads of a run in one process: one tile on the device while others are read, painted and written."""


def run(
    raster: str,
    output: str,
    config: Config,
    *,
    labels: str | None = None,
    preview: str | None = None,
    report: str | None = None,
    run_dir: str | None = None,
    resume: bool = True,
    listener: Listener = silent,
    cancel: threading.Event | None = None,
    segmenter: Segmenter | None = None,
    executor: Client | str | None = None,
) -> Result:
    """Segment a raster and write its polygons.

    Args:
        raster: whatever GDAL reads: a path, /vsi…, http(s)://, s3://.
        output: the polygon file; its suffix chooses the format.
        config: all settings.
        labels: a label raster to write as well.
        preview: a picture to write as well.
        report: an HTML report to write as well.
        run_dir: where finished tiles are kept; default is beside the output. A path or an fsspec URL.
        resume: continue the run that is there, if it is the same; False discards it.
        listener: is told what happens, see `protocol.py`.
        cancel: set it to stop at the next pass.
        segmenter: a model of your own; default is `config.model`.
        executor: a Dask client, or "dask", "threads" or "serial"; default is chosen by `config.workers`.

    Raises:
        RemotesamError: with one line for the user; finished tiles are on disk.
    """
    started = time.perf_counter()
    cancel = cancel or threading.Event()
    outputs = Outputs(output, labels, preview, report)
    outputs.check()
    source = open_for(raster, config)
    for text in warnings(source):
        listener("warning", code="raster", message=text)
    if segmenter is None:
        known, path = checkpoints.locate(config.model)
        name, digest = known or path.name, checkpoints.file_digest(path)
    else:
        name, digest = segmenter.name, segmenter.digest
    run_dir = run_dir or str(Path(output).with_suffix(".remotesam"))
    store = RunStore(run_dir)
    job = Job(source, run_dir, config)
    manifest = {
        "remotesam": __version__,
        "raster": source.spec.path,
        "output": output,
        "extras": {"labels": labels, "preview": preview, "report": report},
        "config": as_dict(config),
        "grid": [job.grid.height, job.grid.width, job.grid.tile_size, job.grid.padding],
        "identity": {
            "raster": source.spec.identity,
            "aoi": source.spec.aoi,
            "model": f"{name} {digest[:16]}",
            **stage_settings(config, "tiles"),
        },
    }
    store.start(manifest, resume=resume)
    with _crew(job, segmenter, cancel, listener, executor) as crew:
        work = _Run(job, store, crew)
        crew.listener("start", **_start_fields(job, name, outputs))
        summaries = work.segment()
        work.match()
        work.trace()
        written = work.write(outputs, summaries)
    failed = [one["tile"] for one in failures(store)]
    valid = sum(summary["valid"] for summary in summaries.values())
    stats = {
        "tiles": len(job.grid),
        "seconds": round(time.perf_counter() - started, 2),
        "stages": work.seconds,
        "valid_px": valid,
        "passes": PassCoverage.of(summaries.values()).rows(),
        **written,
    }
    crew.listener(
        "done",
        partial=bool(failed),
        features=written["segments"],
        output=output,
        seconds=stats["seconds"],
        coverage=written["area_px"] / valid,
    )
    return Result(
        output, labels, preview, report, run_dir, written["area_px"] / valid, stats, failed
    )


def retry(directory: str, *, listener: Listener = silent) -> Result:
    """Run again what a run directory says, which takes up the failed tiles and only those.

    Raises:
        StoreError: there is no run in the directory.
    """
    manifest = RunStore(directory).manifest()
    return run(
        manifest["raster"],
        manifest["output"],
        make_config(manifest["config"]),
        run_dir=directory,
        listener=listener,
        **manifest["extras"],
    )


@dataclass(slots=True)
class _Run:
    """The stages over one job."""

    job: Job
    store: RunStore
    crew: Crew
    seconds: dict[str, float] = field(default_factory=dict)
    found: dict[str, Any] = field(default_factory=dict)

    def segment(self) -> dict[int, dict[str, Any]]:
        """The tile stage; returns the summary of every finished tile."""
        finished = self.store.finished("tiles")
        summaries = {i: read_summary(self.store.get_table(segments_name(i))) for i in sorted(finished)}
        total = len(self.job.grid)
        todo = [index for index in range(total) if index not in finished]
        committed = sum(summary["segments"] for summary in summaries.values())
        totals = {"valid": 0, "covered": 0, "segments": committed}
        for summary in summaries.values():
            totals["valid"] += summary["valid"]
            totals["covered"] += summary["covered"]

        def told(outcome: Outcome, done: int, left: float | None) -> None:
            if outcome.error is not None:
                self.crew.listener("warning", code="tile_failed", message=str(outcome.error))
                if not self.store.exists(failure_name(outcome.index)):
                    reason = {"tile": outcome.index, "error": str(outcome.error), "trace": ""}
                    self.store.put_json(failure_name(outcome.index), reason)
            else:
                summaries[outcome.index] = outcome.summary
                for key in totals:
                    totals[key] += outcome.summary[key]
            self.crew.listener(
                "tile",
                done=done,
                total=total,
                index=outcome.index,
                worker=outcome.worker,
                bbox=_bounds(self.job, outcome.index),
                segments=0 if outcome.error else outcome.summary["segments"],
                committed=totals["segments"],
                coverage=totals["covered"] / totals["valid"] if totals["valid"] else None,
                eta_s=left,
            )

        with self._timed("tiles"):
            failed = run_stage("tiles", segment_tile, todo, total, self.crew, on_outcome=told)
        if not summaries and failed:
            raise TileError(f"every tile failed; the first because {failed[0].error}") from failed[0].error
        if not any(summary["valid"] for summary in summaries.values()):
            raise InputError(
                f"{self.job.raster.spec.path}: holds no valid pixel here; check --nodata, --aoi and the file's mask"
            )
        missing = sorted(set(range(total)) - set(summaries))
        self._discard_if_changed({"settings": stage_settings(self.job.config, "match"), "missing": missing})
        return summaries

    def match(self) -> None:
        """Seams and match: final ids for every segment."""
        if self.store.exists(SUMMARY_NAME):
            self.found = self.store.get_json(SUMMARY_NAME)
            return
        with self._timed("seams"):
            self._each_tile("seams", match_seams)
        with self._timed("match"):
            self.found = match(self.job, self._each_tile)
        for chain in self.found["long"]:
            self.crew.listener(
                "warning",
                code="long_component",
                message=f"a segment that starts in tile {chain['tile']} spans {chain['tiles']} tiles",
            )

    def trace(self) -> None:
        """Polygon parts of every tile."""
        with self._timed("polygons"):
            self._each_tile("polygons", trace_tile)

    def write(self, outputs: Outputs, summaries: dict[int, dict[str, Any]]) -> dict[str, Any]:
        """The output files."""
        with self._timed("write"):
            return write_outputs(self.job, self.store, outputs, summaries, self.found, self.crew.listener)

    def _each_tile(self, stage: str, task: Task) -> None:
        suffix = ".i64" if stage == "contacts" else ".arrow"
        total = len(self.job.grid)
        finished = self.store.finished(stage, suffix)
        todo = [index for index in range(total) if index not in finished]
        must_succeed(run_stage(stage, task, todo, total, self.crew), stage)

    def _discard_if_changed(self, match_inputs: dict[str, Any]) -> None:
        """Throw away stages that were made with other settings or from other tiles."""
        polygons = stage_settings(self.job.config, "polygons")
        now = {"match": match_inputs, "polygons": polygons}
        before = self.store.get_json("stages.json") if self.store.exists("stages.json") else {}
        if before.get("match") != match_inputs:
            self.store.remove(["match", "seams", "contacts", "polygons"])
        elif before.get("polygons") != polygons:
            self.store.remove(["polygons"])
        self.store.put_json("stages.json", now)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - started, 3)


@contextmanager
def _crew(
    job: Job,
    segmenter: Segmenter | None,
    cancel: threading.Event,
    listener: Listener,
    wanted: Client | str | None,
) -> Iterator[Crew]:
    """The executor that was asked for, closed in the end."""
    config = job.config
    if wanted is None:
        in_process = config.scheduler is None and config.workers in ("auto", "1")
        wanted = ("serial" if config.workers == "1" else "threads") if in_process else "dask"
    if wanted in ("serial", "threads"):
        listener("stage", name="load_model", total=None)
        bench = Workbench(job, segmenter, cancel)
        executor: Executor = SerialExecutor(bench) if wanted == "serial" else ThreadExecutor(bench, THREADS)
        if job.grid and len(RunStore(job.run_url).finished("tiles")) < len(job.grid):
            _ = bench.segmenter  # a missing model must end the run here, not every tile on its own
        try:
            yield Crew(executor, cancel, listener)
        finally:
            executor.close()
        return
    from remotesam.cluster import DaskExecutor, connect, start_local, stop

    own = isinstance(wanted, str)
    client = (connect(config.scheduler) if config.scheduler else start_local(config.workers)) if own else wanted
    try:
        executor = DaskExecutor(client, job, segmenter)
        listener("cluster", dashboard=client.dashboard_link, workers=executor.workers)
        try:
            yield Crew(executor, cancel, listener)
        finally:
            executor.close()
    finally:
        if own:
            stop(client)


def _start_fields(job: Job, model: str, outputs: Outputs) -> dict[str, Any]:
    import os

    from remotesam.protocol import PROTOCOL

    return {
        "protocol": PROTOCOL,
        "version": __version__,
        "pid": os.getpid(),
        "tiles": len(job.grid),
        "device": job.config.device,
        "model": model,
        "output": outputs.polygons,
        "live": None,
        "layer": "segments",
        "crs": job.raster.spec.crs,
        "run_dir": job.run_url,
    }


def _bounds(job: Job, index: int) -> list[float]:
    """[west, south, east, north] of a tile's core in the raster's CRS."""
    core = job.grid[index].core
    affine = rasterio.Affine(*job.raster.spec.transform)
    corners = [affine * (x, y) for x in (core.col, core.col_stop) for y in (core.row, core.row_stop)]
    xs, ys = zip(*corners, strict=True)
    return [min(xs), min(ys), max(xs), max(ys)]
