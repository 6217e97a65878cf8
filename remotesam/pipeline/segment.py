"""A whole run over a raster: plan, segment, match, trace, write; each stage resumable on its own."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from remotesam.config import SegmentConfig, make_config, settings_from, stage_settings
from remotesam.errors import Cancelled, RasterError
from remotesam.events import Finished, Listener, Stopped, Warned, silent, tell
from remotesam.merge.scale_task import fuse_scales
from remotesam.pipeline.band_statistics import STAGE as BANDS
from remotesam.pipeline.band_statistics import sum_bands
from remotesam.pipeline.live_preview import LivePreview
from remotesam.pipeline.outputs import Outputs, RunReport, check_writable, write_extras, write_polygons
from remotesam.pipeline.result import Result
from remotesam.pipeline.scale import MatchedScale, match_scale
from remotesam.polygons.task import trace_tile
from remotesam.raster.checks import warnings
from remotesam.raster.protocol import Raster
from remotesam.raster.reader import RasterInput
from remotesam.run.job import TileJob, open_for
from remotesam.run.layout import INPUTS_NAME, SCALES_FOLDER, WRITTEN_NAME
from remotesam.run.options import RunOptions
from remotesam.run.records import RunStatistics, ScaleShare
from remotesam.run.runner import (
    ModelMark,
    Runner,
    announce,
    connect,
    discard_if_changed,
    each_unit,
    runner_for,
    start_run,
    timed,
)
from remotesam.run.status import failures
from remotesam.run.store import RunStore
from remotesam.segmenter.protocol import Segmenter
from remotesam.tiles.coverage import PassCoverage

if TYPE_CHECKING:
    from distributed import Client

Name = str | os.PathLike[str]


def segment(  # noqa: PLR0913 (public API)
    raster: RasterInput,
    output: Name,
    *,
    config: Name | Mapping[str, Any] | SegmentConfig | None = None,
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
        raster: anything GDAL reads: a path, /vsi…, http(s)://, s3://; an opened rasterio dataset; a numpy
            array as `remotesam.ArraySource(array, transform=…, crs=…)`; an `xarray.DataArray` with
            coordinates and CRS, which is read window by window if it is lazy (see
            `remotesam.raster.data_arrays`); or a source of your own (see
            `remotesam.raster.protocol.PixelSource`).
        output: vector file; the suffix chooses the format (.gpkg, .parquet, .fgb, .geojson, .shp, …).
        config: a YAML file, a mapping of settings, or ready settings.
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
    outputs = Outputs(
        polygons=os.fspath(output), labels=_text(labels), preview=_text(preview), report=_text(report)
    )
    options = RunOptions(
        run_dir=_text(run_dir),
        resume=resume,
        listener=listener,
        cancel=cancel or threading.Event(),
        segmenter=segmenter,
        executor=executor,
    )
    return run(raster, settings_from(SegmentConfig, config, settings), outputs, options)


def _text(name: Name | None) -> str | None:
    return None if name is None else os.fspath(name)


def run(raster: RasterInput, config: SegmentConfig, outputs: Outputs, options: RunOptions) -> Result:
    """Segment a raster and write its polygons.

    Args:
        raster: see `segment`.
        config: all settings.
        outputs: files to write.
        options: how the run is carried out.

    Raises:
        RemotesamError: with one line for the user; finished tiles are on disk.
    """
    started = time.perf_counter()
    check_writable(outputs)
    source = open_for(raster, config)
    notes = _oddities(source)
    for text in notes:
        tell(options.listener, Warned(code="raster", message=text))
    job = TileJob(source, options.directory(outputs.polygons), config)
    store, model = RunStore(job.run_url), ModelMark.of(config, options)
    live = LivePreview.of(job) if options.live and store.is_local else None
    start_run(job, model, options, outputs=asdict(outputs), units=_units(job), identity={})
    if live is not None:
        live.clear()
    announce(job, model, options, str(live.path) if live else None)
    try:
        scales, shares, segments, seconds = _stages(job, store, outputs, options, live)
    except Cancelled:
        partial = live is not None and live.path.exists()
        tell(options.listener, Stopped(partial=partial, output=str(live.path) if live and partial else None))
        raise
    stats = _statistics(scales, shares, segments, seconds)
    failed = failures(RunStore(scale.job.run_url) for scale in scales)
    write_extras(job, outputs, RunReport(model.name, stats, segments, notes, failed))
    stats = msgspec.structs.replace(stats, seconds=round(time.perf_counter() - started, 2))
    store.put_record(WRITTEN_NAME, stats)
    tell(
        options.listener,
        Finished(
            partial=bool(failed),
            features=len(segments),
            output=outputs.polygons,
            seconds=stats.seconds,
            coverage=stats.coverage,
        ),
    )
    return Result(
        output=outputs.polygons,
        labels=outputs.labels,
        preview=outputs.preview,
        report=outputs.report,
        run_dir=job.run_url,
        stats=stats,
        failed=[failure.unit for failure in failed],
    )


def retry(directory: str, options: RunOptions | None = None, **settings: Any) -> Result:
    """Run again what a run directory says, which takes up the failed tiles and only those.

    Args:
        directory: the run.
        options: how to carry it out; its directory is this one.
        settings: these instead of the run's own, such as `workers` and `scheduler`.

    Raises:
        StoreError: there is no run in the directory.
    """
    manifest = RunStore(directory).manifest()
    return run(
        manifest.source,
        make_config(manifest.config, **settings),
        Outputs(**manifest.outputs),
        (options or RunOptions()).within(directory),
    )


def _oddities(source: Raster) -> list[str]:
    """What the user should hear of the raster; a damaged block is no reason not to segment the others."""
    try:
        return warnings(source)
    except RasterError as error:
        return [f"{error}; its tiles will fail"]


def _units(job: TileJob) -> dict[str, int]:
    """Tiles of each run directory in the run."""
    scales = job.scales()
    if len(scales) == 1:
        return {"": job.units}
    return {f"{SCALES_FOLDER}/{max(scale.config.tile_size)}": scale.units for scale in scales}


def _stages(
    job: TileJob, store: RunStore, outputs: Outputs, options: RunOptions, live: LivePreview | None
) -> tuple[list[MatchedScale], list[ScaleShare], pa.Table, dict[str, float]]:
    """All stages: the scales, what each contributed, the attributes of the segments, seconds by stage."""
    with connect(job.config, options.executor) as client:
        scales: list[MatchedScale] = []
        for scale in job.scales():
            with runner_for(scale, options, client) as runner:
                scales.append(match_scale(scale, runner, live if not scales else None))
        with runner_for(job, options, client, model=False) as runner:
            seconds = {name: sum(s.seconds.get(name, 0) for s in scales) for name in scales[0].seconds}
            shares = _choose(job, store, runner, seconds)
            discard_if_changed(store, "polygons", stage_settings(job.config, "polygons"))
            with timed(seconds, "polygons"):
                each_unit(job, runner, "polygons", trace_tile)
            if job.config.band_statistics:
                with timed(seconds, "bands"):
                    each_unit(job, runner, BANDS, sum_bands)
            with timed(seconds, "write"):
                segments = write_polygons(job, store, outputs.polygons, runner)
    return scales, shares, segments, seconds


def _choose(job: TileJob, store: RunStore, runner: Runner, seconds: dict[str, float]) -> list[ScaleShare]:
    """Combine the scales, if there are several; returns what each contributed."""
    scales = job.scales()
    if len(scales) == 1:
        return []
    inputs = {"scales": [RunStore(scale.run_url).get_json(INPUTS_NAME)["seams"] for scale in scales]}
    discard_if_changed(store, "colours", inputs)
    with timed(seconds, "scales"):
        return fuse_scales(job, store, runner)


def _statistics(
    scales: list[MatchedScale], shares: list[ScaleShare], segments: pa.Table, seconds: dict[str, float]
) -> RunStatistics:
    """What the run has come to, but for its own wall time."""
    area = pc.sum(segments["area_px"]).as_py() or 0
    valid = sum(summary.valid for summary in scales[0].summaries.values())
    return RunStatistics(
        units=sum(scale.job.units for scale in scales),
        segments=len(segments),
        coverage=area / valid,
        seconds=0.0,
        stages=seconds,
        joins=sum(scale.found.joins for scale in scales),
        refused_joins=sum(scale.found.refused_joins for scale in scales),
        absorbed=sum(scale.found.absorbed for scale in scales),
        removed=sum(scale.found.removed for scale in scales),
        area_px=area,
        valid_px=valid,
        passes=PassCoverage.of(s for scale in scales for s in scale.summaries.values()).rows(),
        scales=shares,
    )
