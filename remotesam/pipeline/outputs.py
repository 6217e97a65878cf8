"""The polygon file of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from remotesam._version import __version__
from remotesam.attributes import Outlines, Shown, outline_columns, schema_of, shown_in
from remotesam.choices import OUTLINES
from remotesam.config import as_dict
from remotesam.errors import Cancelled
from remotesam.events import StepDone, tell
from remotesam.files import FileKind, check_place, kind_of
from remotesam.merge.final_labels import labels_of
from remotesam.pipeline.band_statistics import BandStatistics, band_schema
from remotesam.polygons.collect import Batch, assemble
from remotesam.raster.cog import GEOTIFF, Block, CogHeader, write_cog
from remotesam.raster.spec import RasterSpec
from remotesam.report.run_report import PassFacts, ReadWindow, RunFacts, html_report, image_reader, preview
from remotesam.run.job import TileJob
from remotesam.run.records import RunStatistics, UnitFailure
from remotesam.run.runner import Runner
from remotesam.run.store import RunStore
from remotesam.vector.formats import format_of
from remotesam.vector.measures import measure
from remotesam.vector.transform import place
from remotesam.vector.writer import Features, write_features
from remotesam.windows import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Where the files of a run go; None = not wanted."""

    polygons: str
    """The polygon file; its suffix chooses the format."""
    labels: str | None = None
    """Label raster, a Cloud Optimized GeoTIFF."""
    preview: str | None = None
    """PNG or JPEG."""
    report: str | None = None
    """HTML."""


def check_writable(outputs: Outputs) -> None:
    """Find out before any work whether the files can be written.

    Raises:
        OutputError: a folder is missing or read-only, or a suffix is unknown.
    """
    format_of(outputs.polygons)
    check_place(outputs.polygons)
    for name, kind in zip((outputs.labels, outputs.preview, outputs.report), EXTRA_KINDS, strict=True):
        if name is not None:
            kind_of(name, [kind])
            check_place(name)


def write_polygons(job: TileJob, store: RunStore, path: str, runner: Runner) -> pa.Table:
    """Write the segments of a finished run, one tile's worth after the other.

    Returns:
        The attributes of all segments.

    Raises:
        OutputError: the file cannot be written; an earlier one is still there.
        Cancelled: the user stopped; an earlier file is still there.
    """
    spec, grid = job.raster.spec, job.grid
    runner.begin("write", len(grid))
    bands = None
    schema = schema_of(Shown.POLYGONS)
    if job.config.band_statistics:
        extra = band_schema(job)
        bands = BandStatistics(store, extra.names)
        schema = pa.schema([*schema, *extra])
    tables = [schema.empty_table()]
    restyle = OUTLINES[job.config.outline].load()

    def features() -> Iterator[Features]:
        for batch in assemble(job, store):
            if bands is not None:
                bands.add(batch.tile)
            if len(batch.ids):
                geometries = place(restyle(batch.geometries), spec.transform)
                band_columns = bands.take(batch.ids) if bands is not None else {}
                tables.append(_attributes(batch, geometries, spec, schema, band_columns))
                yield geometries, tables[-1]
            tell(runner.listener, StepDone(done=batch.tile + 1, total=len(grid)))
            if runner.cancel.is_set():
                raise Cancelled("cancelled while writing; run again to write the file")

    write_features(
        path,
        features(),
        crs=spec.crs,
        schema=schema,
        metadata=run_metadata(job),
        overwrite=True,
        dst_crs=job.config.dst_crs,
    )
    return pa.concat_tables(tables)


def run_metadata(job: TileJob) -> dict[str, str]:
    """What a result file says about its making: version, raster, tile grid and all settings, as text."""
    spec, grid = job.raster.spec, job.grid
    facts = {
        "remotesam": __version__,
        "raster": spec.path,
        "height": grid.height,
        "width": grid.width,
        "tile_size": grid.tile_size,
        "padding": grid.padding,
        "crs": spec.crs or "",
        "transform": json.dumps(spec.transform),
        "georeferencing": spec.georeferencing,
        "settings": json.dumps(as_dict(job.config)),
    }
    return {name: str(value) for name, value in facts.items()}


def _attributes(
    batch: Batch,
    geometries: NDArray[np.object_],
    spec: RasterSpec,
    schema: pa.Schema,
    band_columns: dict[str, NDArray[np.float64]],
) -> pa.Table:
    area, perimeter = measure(geometries, spec.crs)
    outlines = Outlines(ids=batch.ids, geometries=geometries, area=area, perimeter=perimeter)
    columns = {**batch.columns, **band_columns, **outline_columns(outlines)}
    return pa.table([pa.array(columns[entry.name]).cast(entry.type) for entry in schema], schema=schema)


EXTRA_KINDS = (
    GEOTIFF,
    FileKind(title="picture", suffixes=(".png", ".jpg", ".jpeg")),
    FileKind(title="HTML", suffixes=(".html", ".htm")),
)
"""What labels, preview and report may be."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """What is known of a run when its polygons are written."""

    model: str
    """Name of the model."""
    stats: RunStatistics
    """Counts, seconds by stage, passes."""
    segments: pa.Table
    """Attributes of all segments."""
    warnings: list[str]
    """What the user was told of the raster."""
    failures: list[UnitFailure]
    """Failed tiles."""


def write_extras(job: TileJob, outputs: Outputs, about: RunReport) -> None:
    """Write the files that were asked for.

    Raises:
        OutputError: one cannot be written.
    """
    image, labels = image_reader(job.raster), _label_reader(job)
    grid = job.grid
    if outputs.labels is not None:
        _write_labels(job, outputs.labels, about.segments)
    if outputs.preview is not None:
        preview(image, labels, grid.height, grid.width, outputs.preview)
    if outputs.report is not None:
        html_report(_facts(job, about), image, labels, outputs.report)


def _write_labels(job: TileJob, path: str, segments: pa.Table) -> None:
    spec, labels, attributes = job.raster.spec, labels_of(job), None
    header = CogHeader(height=spec.height, width=spec.width, crs=spec.crs, transform=spec.transform)
    if job.config.label_attributes:
        columns = {"id": segments["segment_id"]}
        columns |= {attribute.name: segments[attribute.name] for attribute in shown_in(Shown.LABELS)}
        attributes = pa.table(columns).sort_by("id")
    blocks = (Block(tile.core, labels.read(tile.core)) for tile in job.grid)
    write_cog(path, blocks, header, attributes=attributes, overwrite=True)


def _label_reader(job: TileJob) -> ReadWindow:
    """A function (window, shape) → (h, w) ids by nearest neighbour, for pictures."""
    final = labels_of(job)

    def read(window: Window, shape: tuple[int, int]) -> NDArray[np.int64]:
        rows = ((np.arange(shape[0]) + 0.5) * window.height / shape[0]).astype(np.intp)
        cols = ((np.arange(shape[1]) + 0.5) * window.width / shape[1]).astype(np.intp)
        return final.read(window)[np.ix_(rows, cols)]

    return read


def _facts(job: TileJob, about: RunReport) -> RunFacts:
    spec, segments = job.raster.spec, about.segments
    metres = spec.crs is not None
    return RunFacts(
        raster=spec.path,
        height=spec.height,
        width=spec.width,
        crs=spec.crs,
        model=about.model,
        tiles=about.stats.units,
        coverage=about.stats.coverage,
        settings={name: json.dumps(value) for name, value in as_dict(job.config).items()},
        passes=[
            PassFacts(
                index=row.index,
                coverage=row.coverage,
                accepted=row.accepted,
                iou_threshold=row.iou_threshold,
                stability_threshold=row.stability_threshold,
            )
            for row in about.stats.passes
        ],
        segment_id=segments["segment_id"].to_numpy(),
        score=segments["score"].to_numpy(),
        stability=segments["stability"].to_numpy(),
        pass_index=segments["pass"].to_numpy(),
        area=segments["area_m2" if metres else "area_px"].to_numpy(),
        area_unit="m²" if metres else "px",
        stages=about.stats.stages,
        warnings=about.warnings,
        failures=[(str(failure.unit), failure.error) for failure in about.failures],
        version=__version__,
    )
