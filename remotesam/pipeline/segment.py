"""A whole run: plan, segment, match, trace, write; each stage resumable on its own."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from remotesam._version import __version__
from remotesam.config import Config, as_dict, make_config, read_config, stage_settings
from remotesam.errors import Cancelled, RasterError
from remotesam.events import PROTOCOL, Listener, silent
from remotesam.merge.scale_task import fuse_scales
from remotesam.pipeline.band_statistics import STAGE as BANDS
from remotesam.pipeline.band_statistics import sum_bands
from remotesam.pipeline.live_preview import LivePreview
from remotesam.pipeline.outputs import Extras, RunReport, check_writable, write_extras, write_polygons
from remotesam.pipeline.result import Result
from remotesam.pipeline.scale import AFTER_MATCH, ScaleRun
from remotesam.polygons.task import trace_tile
from remotesam.raster.checks import warnings
from remotesam.raster.reader import Raster
from remotesam.run.job import Job, open_for
from remotesam.run.runner import Runner, connect, discard_if_changed, each_tile, runner_for, timed
from remotesam.run.status import failures
from remotesam.run.store import RunStore
from remotesam.segmenter import checkpoints
from remotesam.segmenter.protocol import Segmenter
from remotesam.tiles.coverage import PassCoverage

if TYPE_CHECKING:
    from distributed import Client

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
    notes = _oddities(source)
    for text in notes:
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
            **stage_settings(config, "tiles"),
            "model": f"{name} {digest[:16]}",
        },
    }
    store.start(manifest, resume=resume)
    live_preview = LivePreview.beside(job) if live and store.is_local else None
    listener("start", **_start_fields(job, name, output, live_preview))
    try:
        with connect(config, executor) as place:
            scales = [_segment(one, segmenter, cancel, listener, place, live_preview) for one in job.scales()]
            with runner_for(job, segmenter, cancel, listener, place, model=False) as runner:
                seconds = {stage: sum(s.seconds.get(stage, 0) for s in scales) for stage in scales[0].seconds}
                contributions = _fuse(job, store, runner, seconds)
                _trace(job, store, runner, seconds)
                if config.band_statistics:
                    with timed(seconds, "bands"):
                        each_tile(job, runner, BANDS, sum_bands)
                with timed(seconds, "write"):
                    segments = write_polygons(job, store, output, runner)
    except Cancelled:
        partial = live_preview is not None and live_preview.path.exists()
        listener(
            "cancelled", partial=partial, output=str(live_preview.path) if live_preview and partial else None
        )
        raise
    summaries = [summary for scale in scales for summary in scale.summaries.values()]
    valid = sum(summary["valid"] for summary in scales[0].summaries.values())
    area = pc.sum(segments["area_px"]).as_py() or 0
    coverage = area / valid
    failed = [failure for scale in scales for failure in failures(scale.store)]
    stats = {
        "tiles": sum(len(scale.job.grid) for scale in scales),
        "segments": len(segments),
        "area_px": area,
        "valid_px": valid,
        "stages": seconds,
        "passes": PassCoverage.of(summaries).rows(),
        "scales": contributions,
        **{name: sum(scale.found[name] for scale in scales) for name in _MATCH_COUNTS},
    }
    write_extras(job, store, extras, RunReport(name, coverage, stats, segments, notes, failed))
    stats["seconds"] = round(time.perf_counter() - started, 2)
    store.put_json("written.json", {"output": output, "coverage": coverage, **stats})
    listener(
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


def _oddities(source: Raster) -> list[str]:
    """What the user should hear of the raster; a damaged block is no reason not to segment the others."""
    try:
        return warnings(source)
    except RasterError as error:
        return [f"{error}; its tiles will fail"]


_MATCH_COUNTS = ("joins", "refused_joins", "absorbed", "removed")


def _segment(
    job: Job,
    segmenter: Segmenter | None,
    cancel: threading.Event,
    listener: Listener,
    executor: Client | str | None,
    live: LivePreview | None,
) -> ScaleRun:
    """Tiles and match of one scale."""
    with runner_for(job, segmenter, cancel, listener, executor) as runner:
        work = ScaleRun(job, RunStore(job.run_url), runner, live)
        work.segment()
        work.match()
        return work


def _fuse(job: Job, store: RunStore, runner: Runner, seconds: dict[str, float]) -> list[dict[str, Any]]:
    """Combine the scales, if there are several; returns what each contributed."""
    if len(job.config.tile_size) == 1:
        return []
    inputs = {"scales": [RunStore(one.run_url).get_json("stages.json")["match"] for one in job.scales()]}
    discard_if_changed(store, "fused", inputs, list(AFTER_MATCH))
    with timed(seconds, "scales"):
        return fuse_scales(job, store, runner)


def _trace(job: Job, store: RunStore, runner: Runner, seconds: dict[str, float]) -> None:
    """Polygon parts of every tile."""
    discard_if_changed(store, "polygons", stage_settings(job.config, "polygons"), ["polygons"])
    with timed(seconds, "polygons"):
        each_tile(job, runner, "polygons", trace_tile)


def retry(
    directory: str,
    *,
    listener: Listener = silent,
    cancel: threading.Event | None = None,
    segmenter: Segmenter | None = None,
    executor: Client | str | None = None,
    **settings: Any,
) -> Result:
    """Run again what a run directory says, which takes up the failed tiles and only those.

    Args:
        directory: the run.
        listener: see `run`.
        cancel: see `run`.
        segmenter: see `run`.
        executor: see `run`.
        settings: these instead of the run's own, such as `workers` and `scheduler`.

    Raises:
        StoreError: there is no run in the directory.
    """
    manifest = RunStore(directory).manifest()
    return run(
        manifest["raster"],
        manifest["output"],
        make_config(manifest["config"], **settings),
        run_dir=directory,
        listener=listener,
        cancel=cancel,
        segmenter=segmenter,
        executor=executor,
        **manifest["extras"],
    )


def _start_fields(job: Job, model: str, output: str, live: LivePreview | None) -> dict[str, Any]:
    return {
        "protocol": PROTOCOL,
        "version": __version__,
        "pid": os.getpid(),
        "tiles": sum(len(one.grid) for one in job.scales()),
        "model": model,
        "output": output,
        "live": str(live.path) if live else None,
        "layer": "segments",
        "crs": job.raster.spec.crs,
        "run_dir": job.run_url,
    }


Name = str | os.PathLike[str]


def segment(
    raster: Name,
    output: Name,
    *,
    config: Name | Mapping[str, Any] | None = None,
    labels: Name | None = None,
    preview: Name | None = None,
    report: Name | None = None,
    run_dir: Name | None = None,
    resume: bool = True,
    executor: Client | str | None = None,
    segmenter: Segmenter | None = None,
    listener: Listener = silent,
    cancel: threading.Event | None = None,
    **settings: Any,
) -> Result:
    """Segment everything in a raster and write polygons.

    Args:
        raster: anything GDAL reads: a path, /vsi…, http(s)://, s3://.
        output: vector file; the suffix chooses the format (.gpkg, .parquet, .fgb, .geojson, .shp, …).
        config: a YAML file or a mapping of settings.
        labels: label raster to write as well.
        preview: picture to write as well.
        report: HTML report to write as well.
        run_dir: where finished tiles are kept; default is beside the output.
        resume: continue an interrupted run; False starts over.
        executor: a Dask client, "dask", "threads" or "serial"; default follows the setting `workers`. Under
            "dask" call this from a script's `if __name__ == "__main__":`, as workers import the script.
        segmenter: a model of your own (see `remotesam.segmenter.protocol`) instead of the setting `model`.
        listener: called with progress events, see `remotesam.events`.
        cancel: set it from another thread to stop.
        **settings: any setting (see `remotesam schema`), e.g. `tile_size=500, bands=(4, 3, 2)`; also the
            names of samgeo: `pred_iou_thresh` is `iou_start`, `stability_score_thresh` is `stability_start`.

    Raises:
        RemotesamError: with one line that says what is wrong and what to do.
    """
    given = read_config(config) if isinstance(config, str | os.PathLike) else dict(config or {})
    return run(
        os.fspath(raster),
        os.fspath(output),
        make_config(given, **settings),
        labels=_text(labels),
        preview=_text(preview),
        report=_text(report),
        run_dir=_text(run_dir),
        resume=resume,
        listener=listener,
        cancel=cancel,
        segmenter=segmenter,
        executor=executor,
    )


def _text(name: Name | None) -> str | None:
    return None if name is None else os.fspath(name)
