"""Segment everything on a 360° panorama: the run of `remotesam.pipeline.segment` with views instead of tiles.

Views are segmented by the same multi-pass engine on the same executors, joined by what they say about the
directions that two of them see, put together as one equirectangular label picture, cleaned up on the sphere
and traced; so an object over the seam or a pole is one object with a valid outline.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from remotesam._version import __version__
from remotesam.config import Config, as_dict, make_config, stage_settings
from remotesam.errors import Cancelled, ConfigError, InputError, TileError
from remotesam.events import PROTOCOL, Listener, silent
from remotesam.files import write_whole
from remotesam.merge.components import Components, Edges, components
from remotesam.panorama.annotations import Coordinates
from remotesam.panorama.attributes import scores
from remotesam.panorama.locate import Place, frame_crs, locate
from remotesam.panorama.outlines import trace_picture
from remotesam.panorama.outputs import (
    check_output,
    picture_on,
    write_labels,
    write_objects,
    write_preview,
    write_world_file,
)
from remotesam.panorama.page import look_around_page
from remotesam.panorama.tasks import PanoramaJob, match_view, read_edges, read_lines, read_view, segment_view
from remotesam.run.executors import Outcome
from remotesam.run.job import open_for
from remotesam.run.layout import read_summary, segments_name
from remotesam.run.runner import Runner, must_succeed, run_stage, runner_for
from remotesam.run.store import RunStore
from remotesam.segmenter import checkpoints
from remotesam.segmenter.protocol import Segmenter
from remotesam.sphere.cleanup import clean, renumber
from remotesam.sphere.equirect import Equirect
from remotesam.sphere.layouts import LayoutName, views
from remotesam.sphere.mosaic import assemble
from remotesam.sphere.objects import SphereObjects, measure
from remotesam.sphere.run_lengths import find_runs

if TYPE_CHECKING:
    from distributed import Client

    from remotesam.raster.reader import Raster

KEPT_VIEWS = 40
"""Label maps of views kept in memory while the picture is put together: 4 MB each at 1024 px."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PanoramaOptions:
    """What a panorama run has beyond the settings of `Config`."""

    views: LayoutName = "rings"
    """Layout of the views."""
    view_size: int = 1024
    """Side of a view, px."""
    fov: float | None = None
    """Field of view, degrees; None = native resolution, see `remotesam.sphere.layouts.views`."""
    pad: float = 0.10
    """Context on each side of a view as a share of its side."""
    coords: Coordinates = "lonlat"
    """Coordinates of the result: degrees, or pixels of the picture (y down)."""
    heading: float | None = None
    """Compass direction of the picture's middle column, degrees; None = what its metadata say, else 0."""
    earth: bool = False
    """The picture is a map of the earth without georeferencing: the result is WGS 84."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PanoramaExtras:
    """Further files to write; None = not wanted."""

    labels: str | None = None
    """Label raster, a Cloud Optimized GeoTIFF in degrees."""
    preview: str | None = None
    """The panorama under its segments, .png or .jpg, with a world file beside it."""
    page: str | None = None
    """HTML page to look around in."""
    world_file: bool = False
    """Write a world file beside the panorama itself, so that a GIS draws the polygons on it."""


@dataclass(frozen=True, slots=True)
class PanoramaResult:
    """A finished panorama run."""

    output: str
    """The polygon file."""
    objects: SphereObjects
    """What is in it."""
    labels: NDArray[np.int32]
    """(H, W) ids on `objects.grid`, 0 = none."""
    run_dir: str
    """Where finished views are kept."""
    coverage: float
    """Share 0..1 of the valid solid angle that lies in a segment."""
    stats: dict[str, Any]
    """Counts, and seconds by stage."""
    failed: list[int]
    """Views that could not be segmented."""


def segment_panorama(
    image: str,
    output: str,
    *,
    config: Config | None = None,
    options: PanoramaOptions | None = None,
    extras: PanoramaExtras | None = None,
    run_dir: str | None = None,
    resume: bool = True,
    listener: Listener = silent,
    cancel: threading.Event | None = None,
    segmenter: Segmenter | None = None,
    executor: Client | str | None = None,
) -> PanoramaResult:
    """Segment everything on a panorama and write its polygons.

    Args:
        image: an equirectangular picture, whole (2:1) or partial with GPano metadata.
        output: file to make: .geojson, .gpkg, .parquet, .fgb, …, .coco.json, .labelme.json.
        config: model and passes; tile size, padding, extent and destination CRS have no meaning here.
        options: views and coordinates.
        extras: further files.
        run_dir: where finished views are kept; default is beside the output.
        resume: continue the run that is there, if it is the same; False discards it.
        listener: is on_outcome what happens, see `remotesam.events`.
        cancel: set it to stop at the next pass.
        segmenter: a model of your own; default is `config.model`.
        executor: a Dask client, or "dask", "threads" or "serial"; default is chosen by `config.workers`.

    Raises:
        RemotesamError: with one line for the user; finished views are on disk.
    """
    config, options, extras = (
        config or make_config(),
        options or PanoramaOptions(),
        extras or PanoramaExtras(),
    )
    started = time.perf_counter()
    check_request(config, options, output)
    raster, place = open_panorama(image, config, options, extras)
    layout = views(
        place.grid.full_width, options.views, view_size=options.view_size, fov=options.fov, pad=options.pad
    )
    run_dir = run_dir or str(Path(output).with_suffix(".remotesam"))
    store = RunStore(run_dir)
    job = PanoramaJob(raster, run_dir, config, place.grid, layout)
    name = config.model if segmenter is None else segmenter.name
    store.start(_manifest(job, options, output, segmenter), resume=resume)
    cancel = cancel or threading.Event()
    unfinished = len(store.finished("tiles")) < len(layout)
    try:
        with runner_for(job, segmenter, cancel, listener, executor, model=unfinished) as runner:
            work = _Work(job, store, runner)
            listener("start", run_dir=run_dir, **start_fields(name, output, len(layout)))
            valid = work.segment()
            joined, edges = work.join()
    except Cancelled:
        listener("cancelled", partial=False, output=None)
        raise
    labels, objects = work.draw(joined, edges, place.result_grid(turned=options.coords == "lonlat"))
    listener("stage", name="write", total=None)
    write_panorama(raster, place, labels, objects, output, options, extras, config)
    covered = float(objects.grid.row_solid_angles() @ (labels > 0).sum(axis=1))
    stats = {
        "views": len(layout),
        "view_size": layout.views[0].size,
        "fov": layout.views[0].fov,
        "segments": len(objects),
        "seconds": round(time.perf_counter() - started, 2),
        "stages": work.seconds,
        "joins": len(edges),
        "refused_joins": joined.refused,
    }
    coverage = min(covered / valid, 1.0)
    listener(
        "done",
        partial=bool(work.failed),
        features=len(objects),
        output=output,
        seconds=stats["seconds"],
        coverage=coverage,
    )
    return PanoramaResult(output, objects, labels, run_dir, coverage, stats, work.failed)


def start_fields(model: str, output: str, total: int) -> dict[str, Any]:
    """What the event that starts a run tells, see `remotesam.events`."""
    return {
        "protocol": PROTOCOL,
        "version": __version__,
        "pid": os.getpid(),
        "tiles": total,
        "model": model,
        "output": output,
        "live": None,
        "layer": "segments",
        "crs": None,
    }


def open_panorama(
    image: str, config: Config, options: PanoramaOptions, extras: PanoramaExtras
) -> tuple[Raster, Place]:
    """Open a panorama, find its place on the sphere, and write its world file if that is wanted.

    The world file comes first because it belongs to the picture: a run notes what its picture is made of, and
    would not know it again if the world file came in between.

    Raises:
        RemotesamError: it cannot be opened or is no panorama.
    """
    raster = open_for(image, config)
    place = locate(raster, options.heading, earth=options.earth)
    if extras.world_file and write_world_file(
        raster.spec.path, place.grid, (place.grid.width, place.grid.height)
    ):
        raster = open_for(image, config)
    return raster, place


def check_request(config: Config, options: PanoramaOptions, output: str) -> None:
    """Refuse what cannot work before anything is read."""
    check_output(output, options.coords)
    if config.aoi is not None or config.dst_crs is not None:
        raise ConfigError(
            "an extent or a destination CRS has no meaning on a panorama; leave out --aoi and --dst-crs"
        )
    if config.merge not in ("overlap", "none"):
        raise ConfigError(
            f"merge '{config.merge}' counts contacts of tiles; use overlap or none for a panorama"
        )


def _manifest(
    job: PanoramaJob, options: PanoramaOptions, output: str, segmenter: Segmenter | None
) -> dict[str, Any]:
    config, place, first = job.config, job.place, job.layout.views[0]
    if segmenter is None:
        known, path = checkpoints.locate(config.model)
        model = f"{known or path.name} {checkpoints.file_digest(path)[:16]}"
    else:
        model = f"{segmenter.name} {segmenter.digest[:16]}"
    return {
        "remotesam": __version__,
        "raster": job.raster.spec.path,
        "output": output,
        "config": as_dict(config),
        "identity": {
            "raster": job.raster.spec.identity,
            "place": f"{place.left} {place.top} of {place.full_width}×{place.full_height}",
            "views": f"{len(job.layout)} {options.views} of {first.size} px, {first.fov:.4f}°",
            "pad": options.pad,
            "model": model,
            **stage_settings(config, "tiles"),
        },
    }


@dataclass(slots=True)
class _Work:
    """The stages over one job."""

    job: PanoramaJob
    store: RunStore
    runner: Runner
    seconds: dict[str, float] = field(default_factory=dict)
    failed: list[int] = field(default_factory=list)

    def segment(self) -> float:
        """The view stage; returns the valid solid angle of the finished views, sr."""
        started = time.perf_counter()
        total = len(self.job.layout)
        finished = self.store.finished("tiles")
        todo = [index for index in range(total) if index not in finished]
        found = sum(self._summary(index)["segments"] for index in finished)

        def on_outcome(outcome: Outcome, done: int, left: float | None) -> None:
            nonlocal found
            if outcome.error is not None:
                self.runner.listener("warning", code="tile_failed", message=str(outcome.error))
            segments = 0 if outcome.error is not None else outcome.summary["segments"]
            found += segments
            self.runner.listener(
                "tile",
                done=done,
                total=total,
                index=outcome.index,
                segments=segments,
                committed=found,
                eta_s=left,
            )

        failures = run_stage("tiles", segment_view, todo, total, self.runner, on_outcome=on_outcome)
        self.failed = sorted(failure.index for failure in failures)
        if len(self.failed) == total:
            raise TileError(f"every view failed; the first because {failures[0].error}") from failures[
                0
            ].error
        valid = sum(self._summary(i)["valid_sr"] for i in range(total) if i not in self.failed)
        if valid == 0:
            raise InputError(
                f"{self.job.raster.spec.path}: holds no valid pixel; check --nodata and the file's mask"
            )
        self.seconds["tiles"] = round(time.perf_counter() - started, 3)
        return float(valid)

    def join(self) -> tuple[Components, Edges]:
        """Seams and components. Cheap beside the views, so done anew in every run."""
        started = time.perf_counter()
        total = len(self.job.layout)
        must_succeed(run_stage("seams", match_view, range(total), total, self.runner), "seams")
        edges = Edges.concatenate([read_edges(self.store, index) for index in range(total)])
        counts = [0 if index in self.failed else self._summary(index)["segments"] for index in range(total)]
        self.seconds["seams"] = round(time.perf_counter() - started, 3)
        joined = components(counts, edges, max_span=max(total // 2, 4))
        for chain in joined.long:
            self.runner.listener(
                "warning",
                code="long_component",
                message=f"one object spans {chain.tiles} of {total} views; unless it is sky or sea, "
                "the model took two objects for one (see seam_iou)",
            )
        return joined, edges

    def draw(
        self, joined: Components, edges: Edges, grid: Equirect
    ) -> tuple[NDArray[np.int32], SphereObjects]:
        """The label picture on a grid, and its objects."""
        started = time.perf_counter()
        self.runner.listener("stage", name="polygons", total=None)
        config, focal = self.job.config, self.job.layout.views[0].focal
        lines = [line for index in range(len(self.job.layout)) for line in read_lines(self.store, index)]
        runs = find_runs(assemble(self.job.layout.views, grid, self._labels_of(joined), lines), grid)
        self.seconds["assemble"] = round(time.perf_counter() - started, 3)
        cleaned = clean(runs, absorb_area=config.absorb_area / focal**2, min_area=config.min_area / focal**2)
        final, before = renumber(cleaned)
        labels = runs.paint(final)
        ids, outlines = trace_picture(labels, config.simplify)
        objects = measure(replace(runs, label=final), ids, outlines)
        objects.columns.update(scores(self._rows(joined), before[ids - 1], joined, edges))
        self.seconds["polygons"] = round(time.perf_counter() - started - self.seconds["assemble"], 3)
        return labels, objects

    def _labels_of(self, joined: Components) -> Any:
        @lru_cache(KEPT_VIEWS)
        def labels_of(index: int) -> NDArray[np.int32]:
            view = read_view(self.store, index)
            size = self.job.layout.views[index].size
            if view is None:
                return np.zeros((size, size), np.int32)
            ids = np.zeros(len(view.solid_angle) + 1, np.int32)
            ids[1 : view.n_core + 1] = joined.lut(index)
            return ids[view.labels]

        return labels_of

    def _rows(self, joined: Components) -> Iterator[tuple[int, NDArray[np.int64], pa.Table]]:
        """Index, final ids and segment table of each finished view."""
        for index in range(len(self.job.layout)):
            if index not in self.failed:
                yield index, joined.lut(index), self.store.get_table(segments_name(index))

    def _summary(self, index: int) -> dict[str, Any]:
        return read_summary(self.store.get_table(segments_name(index)))


def write_panorama(
    raster: Raster,
    place: Place,
    labels: NDArray[np.int32],
    objects: SphereObjects,
    output: str,
    options: PanoramaOptions,
    extras: PanoramaExtras,
    config: Config,
) -> None:
    """All files that were asked for."""
    metadata = {name: str(value) for name, value in as_dict(config).items()}
    metadata |= {
        "image": Path(raster.spec.path).name,
        "views": options.views,
        "heading": f"{place.heading:g}",
    }
    write_objects(
        objects,
        output,
        coordinates=options.coords,
        crs=frame_crs(place.frame, options.coords),
        frame=place.frame,
        image=raster.spec.path,
        metadata=metadata,
    )
    if extras.labels:
        write_labels(labels, objects.grid, frame_crs(place.frame, "lonlat"), extras.labels)
    if extras.preview or extras.page:
        image = picture_on(raster.read(raster.spec.window).image, place.grid, objects.grid)
        if extras.preview:
            write_preview(image, labels, objects.grid, extras.preview)
        if extras.page:
            name = Path(raster.spec.path).name
            write_whole(look_around_page(name, image, objects), Path(extras.page))
