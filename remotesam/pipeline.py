"""A whole run: plan, segment, match, trace, write; each stage resumable on its own."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import rasterio

from remotesam import __version__
from remotesam.config import Config, as_dict, make_config, stage_settings
from remotesam.crew import crew_of
from remotesam.errors import InputError, TileError
from remotesam.executors import Outcome, Task
from remotesam.extras import Extras, RunReport, write_extras
from remotesam.live_preview import LivePreview
from remotesam.match import SUMMARY_NAME, match
from remotesam.outputs import check_writable, write_polygons
from remotesam.passes import PassCoverage
from remotesam.polygon_task import trace_tile
from remotesam.progress import Listener, silent
from remotesam.protocol import PROTOCOL
from remotesam.raster_checks import warnings
from remotesam.result import Result
from remotesam.run_status import failures
from remotesam.seam_task import match_seams
from remotesam.segmenter import checkpoints
from remotesam.segmenter.protocol import Segmenter
from remotesam.stages import Crew, must_succeed, run_stage
from remotesam.store import RunStore
from remotesam.tile_task import failure_name, read_summary, segment_tile, segments_name
from remotesam.workbench import Job, open_for

if TYPE_CHECKING:
    from distributed import Client


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
    live: bool = False,
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
        live: also grow a GeoPackage of provisional polygons, tile by tile, in the run directory.

    Raises:
        RemotesamError: with one line for the user; finished tiles are on disk.
    """
    started = time.perf_counter()
    cancel = cancel or threading.Event()
    extras = Extras(labels, preview, report)
    check_writable(output, extras)
    source = open_for(raster, config)
    told = warnings(source)
    for text in told:
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
        "extras": asdict(extras),
        "config": as_dict(config),
        "grid": [job.grid.height, job.grid.width, job.grid.tile_size, job.grid.padding],
        "identity": {
            "raster": source.spec.identity,
            "area": source.spec.area,
            "model": f"{name} {digest[:16]}",
            **stage_settings(config, "tiles"),
        },
    }
    store.start(manifest, resume=resume)
    with crew_of(job, segmenter, cancel, listener, executor) as crew:
        work = _Run(job, store, crew, LivePreview.beside(job) if live else None)
        crew.listener("start", **_start_fields(job, name, output, work.live))
        summaries = work.segment()
        work.match()
        work.trace()
        segments = work.write(output)
        valid = sum(summary["valid"] for summary in summaries.values())
        coverage = pc.sum(segments["area_px"]).as_py() / valid if len(segments) else 0.0
        failed = failures(store)
        stats = {
            "tiles": len(job.grid),
            "segments": len(segments),
            "valid_px": valid,
            "stages": work.seconds,
            "passes": PassCoverage.of(summaries.values()).rows(),
            **{name: work.found[name] for name in ("joins", "refused_joins", "absorbed", "removed")},
        }
        write_extras(job, store, extras, RunReport(name, coverage, stats, segments, told, failed))
        stats["seconds"] = round(time.perf_counter() - started, 2)
        store.put_json("written.json", {"output": output, "coverage": coverage, **stats})
        crew.listener(
            "done",
            partial=bool(failed),
            features=len(segments),
            output=output,
            seconds=stats["seconds"],
            coverage=coverage,
        )
    return Result(
        output, labels, preview, report, run_dir, coverage, stats, [failure["tile"] for failure in failed]
    )


def each_tile(job: Job, crew: Crew, stage: str, task: Task) -> None:
    """Run a task over the tiles of a stage that are not finished; its files are named after the stage.

    Raises:
        RemotesamError: a tile failed; stages after the first have no use for partial results.
    """
    total = len(job.grid)
    finished = RunStore(job.run_url).finished(stage, ".i64" if stage == "contacts" else ".arrow")
    todo = [index for index in range(total) if index not in finished]
    must_succeed(run_stage(stage, task, todo, total, crew), stage)


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
    live: LivePreview | None
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
                if self.live is not None:
                    self.live.add(outcome.index)
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
                f"{self.job.raster.spec.path}: holds no valid pixel; check --nodata, --aoi and the mask"
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
            each_tile(self.job, self.crew, "seams", match_seams)
        with self._timed("match"):
            self.found = match(self.job, partial(each_tile, self.job, self.crew))
        for chain in self.found["long"]:
            self.crew.listener(
                "warning",
                code="long_component",
                message=f"a segment that starts in tile {chain['tile']} spans {chain['tiles']} tiles",
            )

    def trace(self) -> None:
        """Polygon parts of every tile."""
        with self._timed("polygons"):
            each_tile(self.job, self.crew, "polygons", trace_tile)

    def write(self, output: str) -> pa.Table:
        """The polygon file; returns the attributes of all segments."""
        with self._timed("write"):
            return write_polygons(self.job, self.store, output, self.crew.listener)

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


def _start_fields(job: Job, model: str, output: str, live: LivePreview | None) -> dict[str, Any]:
    return {
        "protocol": PROTOCOL,
        "version": __version__,
        "pid": os.getpid(),
        "tiles": len(job.grid),
        "device": job.config.device,
        "model": model,
        "output": output,
        "live": str(live.path) if live else None,
        "layer": "segments",
        "crs": job.raster.spec.crs,
        "run_dir": job.run_url,
    }


def _bounds(job: Job, index: int) -> list[float]:
    """[west, south, east, north] of a tile's core in the raster's CRS."""
    core = job.grid[index].core
    affine = rasterio.Affine(*job.raster.spec.transform)
    corners = [affine @ (x, y) for x in (core.col, core.col_stop) for y in (core.row, core.row_stop)]
    xs, ys = zip(*corners, strict=True)
    return [min(xs), min(ys), max(xs), max(ys)]
