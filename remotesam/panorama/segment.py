"""Segment everything on a 360° panorama: the run of `remotesam.pipeline` with views instead of tiles.

Views are segmented by the same multi-pass engine on the same executors, joined by what they say about the
directions that two of them see, put together as one equirectangular label picture, cleaned up on the sphere
and traced; so an object over the seam or a pole is one object with a valid outline.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from remotesam.config import PanoramaConfig, as_dict, make_panorama_config, settings_from
from remotesam.errors import Cancelled
from remotesam.events import Finished, Listener, Stopped, Warned, silent, tell
from remotesam.files import write_whole
from remotesam.merge.components import Components, Edges, components
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
from remotesam.panorama.tasks import PanoramaJob, match_view, read_edges, read_lines, read_view
from remotesam.raster.protocol import Raster
from remotesam.run.job import open_for
from remotesam.run.layout import WRITTEN_NAME, segments_name
from remotesam.run.options import RunOptions
from remotesam.run.records import RunStatistics, UnitSummary
from remotesam.run.runner import (
    ModelMark,
    Runner,
    announce,
    must_succeed,
    run_stage,
    runner_for,
    segment_units,
    start_run,
    timed,
)
from remotesam.run.store import RunStore
from remotesam.segmenter.protocol import Segmenter
from remotesam.sphere.cleanup import clean, renumber
from remotesam.sphere.equirect import Equirect
from remotesam.sphere.layouts import Layout, views
from remotesam.sphere.mosaic import assemble
from remotesam.sphere.objects import SphereObjects, measure
from remotesam.sphere.run_lengths import find_runs
from remotesam.tiles.task import segment_unit

if TYPE_CHECKING:
    from distributed import Client

Name = str | os.PathLike[str]

KEPT_VIEWS = 40
"""Label maps of views kept in memory while the picture is put together: 4 MB each at 1024 px."""

DOCUMENTS_IN_PIXELS = (".coco.json", ".labelme.json")
"""Outputs whose coordinates are pixels unless something else is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PanoramaOutputs:
    """Where the files of a run go; None = not wanted."""

    polygons: str
    """The polygon file: .geojson, .gpkg, .parquet, .fgb, …, .coco.json, .labelme.json."""
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
    stats: RunStatistics
    """Counts, and seconds by stage."""
    failed: list[int]
    """Views that could not be segmented."""

    @property
    def coverage(self) -> float:
        """Share 0..1 of the valid solid angle that lies in a segment."""
        return self.stats.coverage


def segment_panorama(  # noqa: PLR0913 (public API)
    image: Name,
    output: Name,
    *,
    config: Name | Mapping[str, Any] | PanoramaConfig | None = None,
    labels: Name | None = None,
    preview: Name | None = None,
    page: Name | None = None,
    world_file: bool = False,
    run_dir: Name | None = None,
    resume: bool = True,
    executor: Client | str | None = None,
    segmenter: Segmenter | None = None,
    listener: Listener = silent,
    cancel: threading.Event | None = None,
    **settings: Any,
) -> PanoramaResult:
    """Segment everything on a panorama and write its polygons.

    Args:
        image: an equirectangular picture, whole (2:1) or partial with GPano metadata.
        output: file to make: .geojson, .gpkg, .parquet, .fgb, …, .coco.json, .labelme.json.
        config: a YAML file, a mapping of settings, or ready settings.
        labels: label raster to write as well.
        preview: picture to write as well.
        page: HTML page to look around in, to write as well.
        world_file: write a world file beside the panorama itself.
        run_dir: where finished views are kept; default is beside the output.
        resume: continue the run that is there, if it is the same; False discards it.
        executor: a Dask client, or "dask", "threads" or "serial"; default follows the setting `workers`.
        segmenter: a model of your own; default is the setting `model`.
        listener: called with progress events, see `remotesam.events`.
        cancel: set it from another thread to stop.
        **settings: any setting (see `remotesam schema panorama`), e.g. `view_size=512, views="sap"`.

    Raises:
        RemotesamError: with one line for the user; finished views are on disk.
    """
    outputs = PanoramaOutputs(
        polygons=os.fspath(output),
        labels=_text(labels),
        preview=_text(preview),
        page=_text(page),
        world_file=world_file,
    )
    options = RunOptions(
        run_dir=_text(run_dir),
        resume=resume,
        listener=listener,
        cancel=cancel or threading.Event(),
        segmenter=segmenter,
        executor=executor,
    )
    return run(os.fspath(image), settings_from(PanoramaConfig, config, settings), outputs, options)


def _text(name: Name | None) -> str | None:
    return None if name is None else os.fspath(name)


def run(image: str, config: PanoramaConfig, outputs: PanoramaOutputs, options: RunOptions) -> PanoramaResult:
    """Segment everything on a panorama and write its polygons.

    Args:
        image: an equirectangular picture.
        config: all settings.
        outputs: files to write.
        options: how the run is carried out.

    Raises:
        RemotesamError: with one line for the user; finished views are on disk.
    """
    started = time.perf_counter()
    config = resolved(config, outputs, views_by_default="rings")
    check_output(outputs.polygons, config.coords or "lonlat")
    raster, place = open_panorama(image, config, outputs)
    job = PanoramaJob(
        raster, options.directory(outputs.polygons), config, place.grid, layout_of(config, place.grid)
    )
    store, model = RunStore(job.run_url), ModelMark.of(config, options)
    grid = place.grid
    identity = {"place": f"{grid.left} {grid.top} of {grid.full_width}×{grid.full_height}"}
    start_run(job, model, options, outputs=asdict(outputs), units={"": job.units}, identity=identity)
    announce(job, model, options)
    unfinished = len(store.finished("tiles")) < job.units
    try:
        with runner_for(job, options, options.executor, model=unfinished) as runner:
            work = _Work(job, store, runner)
            work.segment()
            joined, edges = work.join()
            labels, objects = work.draw(joined, edges, place.result_grid(turned=config.coords == "lonlat"))
            runner.begin("write")
            with timed(work.seconds, "write"):
                write_panorama(raster, place, labels, objects, outputs, config)
    except Cancelled:
        tell(options.listener, Stopped())
        raise
    covered = float(objects.grid.row_solid_angles() @ (labels > 0).sum(axis=1))
    stats = RunStatistics(
        units=job.units,
        segments=len(objects),
        coverage=min(covered / work.extent, 1.0),
        seconds=round(time.perf_counter() - started, 2),
        stages=work.seconds,
        joins=len(edges),
        refused_joins=joined.refused,
        view_size=job.layout.views[0].size,
        fov=job.layout.views[0].fov,
    )
    store.put_record(WRITTEN_NAME, stats)
    tell_finished(options.listener, stats, outputs.polygons, partial=bool(work.failed))
    return PanoramaResult(outputs.polygons, objects, labels, job.run_url, stats, work.failed)


def retry(directory: str, options: RunOptions | None = None, **settings: Any) -> PanoramaResult:
    """Run again what a run directory says, which takes up the failed views and only those.

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
        make_panorama_config(manifest.config, **settings),
        PanoramaOutputs(**manifest.outputs),
        (options or RunOptions()).within(directory),
    )


def tell_finished(listener: Listener, stats: RunStatistics, output: str, *, partial: bool) -> None:
    """Tell the listener that a run over a panorama is done."""
    tell(
        listener,
        Finished(
            partial=partial,
            features=stats.segments,
            output=output,
            seconds=stats.seconds,
            coverage=stats.coverage,
        ),
    )


def resolved(config: PanoramaConfig, outputs: PanoramaOutputs, *, views_by_default: str) -> PanoramaConfig:
    """The settings with what follows from the output and the kind of run filled in."""
    pixels = outputs.polygons.endswith(DOCUMENTS_IN_PIXELS)
    return msgspec.structs.replace(
        config,
        views=config.views or views_by_default,
        coords=config.coords or ("pixel" if pixels else "lonlat"),
    )


def layout_of(config: PanoramaConfig, grid: Equirect) -> Layout:
    """The views of a run over a panorama whose settings are resolved."""
    return views(
        grid.full_width, config.views or "rings", view_size=config.view_size, fov=config.fov, pad=config.pad
    )


def open_panorama(
    image: str, config: PanoramaConfig, outputs: PanoramaOutputs | None = None
) -> tuple[Raster, Place]:
    """Open a panorama, find its place on the sphere, and write its world file if that is wanted.

    The world file comes first because it belongs to the picture: a run notes what its picture is made of, and
    would not know it again if the world file came in between.

    Raises:
        RemotesamError: it cannot be opened or is no panorama.
    """
    raster = open_for(image, config)
    place = locate(raster, config.heading, earth=config.earth)
    wanted = outputs is not None and outputs.world_file
    if wanted and write_world_file(raster.spec.path, place.grid, (place.grid.width, place.grid.height)):
        raster = open_for(image, config)
    return raster, place


@dataclass(slots=True)
class _Work:
    """The stages over one job."""

    job: PanoramaJob
    store: RunStore
    runner: Runner
    seconds: dict[str, float] = field(default_factory=dict)
    summaries: dict[int, UnitSummary] = field(default_factory=dict)

    @property
    def failed(self) -> list[int]:
        """Views that could not be segmented."""
        return [index for index in range(self.job.units) if index not in self.summaries]

    @property
    def extent(self) -> float:
        """Valid solid angle of the finished views, sr."""
        return sum(summary.extent for summary in self.summaries.values())

    def segment(self) -> None:
        """The view stage."""
        with timed(self.seconds, "tiles"):
            self.summaries = segment_units(self.job, self.runner, segment_unit)

    def join(self) -> tuple[Components, Edges]:
        """Seams and components. Cheap beside the views, so done anew in every run."""
        total = self.job.units
        with timed(self.seconds, "seams"):
            must_succeed(run_stage("seams", match_view, range(total), total, self.runner), "seams")
            edges = Edges.concatenate([read_edges(self.store, index) for index in range(total)])
        with timed(self.seconds, "match"):
            counts = [self.summaries[i].segments if i in self.summaries else 0 for i in range(total)]
            joined = components(counts, edges, max_span=max(total // 2, 4))
        for chain in joined.long:
            message = (
                f"one object spans {chain.tiles} of {total} views; unless it is sky or sea, "
                "the model took two objects for one (see seam_iou)"
            )
            tell(self.runner.listener, Warned(code="long_component", message=message))
        return joined, edges

    def draw(
        self, joined: Components, edges: Edges, grid: Equirect
    ) -> tuple[NDArray[np.int32], SphereObjects]:
        """The label picture on a grid, and its objects."""
        self.runner.begin("polygons")
        config, focal = self.job.config, self.job.layout.views[0].focal
        with timed(self.seconds, "polygons"):
            lines = [line for index in range(self.job.units) for line in read_lines(self.store, index)]
            runs = find_runs(assemble(self.job.layout.views, grid, self._labels_of(joined), lines), grid)
            cleaned = clean(
                runs, absorb_area=config.absorb_area / focal**2, min_area=config.min_area / focal**2
            )
            final, before = renumber(cleaned)
            labels = runs.paint(final)
            ids, outlines = trace_picture(labels, config.simplify)
            objects = measure(replace(runs, label=final), ids, outlines)
            objects.columns.update(scores(self._rows(joined), before[ids - 1], joined, edges))
        return labels, objects

    def _labels_of(self, joined: Components) -> Callable[[int], NDArray[np.int32]]:
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
        for index in sorted(self.summaries):
            yield index, joined.lut(index), self.store.get_table(segments_name(index))


def write_panorama(
    raster: Raster,
    place: Place,
    labels: NDArray[np.int32],
    objects: SphereObjects,
    outputs: PanoramaOutputs,
    config: PanoramaConfig,
) -> None:
    """All files that were asked for."""
    coords = config.coords or "lonlat"
    metadata = {name: str(value) for name, value in as_dict(config).items()}
    metadata |= {"image": Path(raster.spec.path).name, "heading": f"{place.heading:g}"}
    write_objects(
        objects,
        outputs.polygons,
        coordinates=coords,
        crs=frame_crs(place.frame, coords),
        frame=place.frame,
        image=raster.spec.path,
        metadata=metadata,
    )
    if outputs.labels:
        write_labels(labels, objects.grid, frame_crs(place.frame, "lonlat"), outputs.labels)
    if outputs.preview or outputs.page:
        image = picture_on(raster.read(raster.spec.window).image, place.grid, objects.grid)
        if outputs.preview:
            write_preview(image, labels, objects.grid, outputs.preview)
        if outputs.page:
            name = Path(raster.spec.path).name
            write_whole(look_around_page(name, image, objects), Path(outputs.page))
