"""What a run writes besides polygons, on request: label raster, picture, HTML report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from remotesam import __version__
from remotesam.config import as_dict
from remotesam.merge.fused_labels import labels_of
from remotesam.raster.cog import LabelsCog
from remotesam.report.run_report import PassFacts, ReadWindow, RunFacts, html_report, image_reader, preview
from remotesam.run.job import Job
from remotesam.run.store import RunStore
from remotesam.windows import Window

EXTRA_SUFFIXES = ((".tif", ".tiff"), (".png", ".jpg", ".jpeg"), (".html", ".htm"))
"""File names that labels, preview and report may have."""


@dataclass(frozen=True, slots=True)
class Extras:
    """Where the files besides the polygons go; None = not wanted."""

    labels: str | None = None
    """Label raster, a Cloud Optimized GeoTIFF."""
    preview: str | None = None
    """PNG or JPEG."""
    report: str | None = None
    """HTML."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """What is known of a run when its polygons are written."""

    model: str
    """Name of the model."""
    coverage: float
    """Share of the valid pixels in a segment, 0..1."""
    stats: dict[str, Any]
    """Counts, seconds by stage, passes."""
    segments: pa.Table
    """Attributes of all segments."""
    warnings: list[str]
    """What the user was told of the raster."""
    failures: list[dict[str, Any]]
    """Failed tiles as {tile, error}."""


def write_extras(job: Job, store: RunStore, extras: Extras, about: RunReport) -> None:
    """Write the files that were asked for.

    Raises:
        OutputError: one cannot be written.
    """
    image, labels = image_reader(job.raster), _label_reader(job)
    grid = job.grid
    if extras.labels is not None:
        _write_labels(job, extras.labels, about.segments)
    if extras.preview is not None:
        preview(image, labels, grid.height, grid.width, extras.preview)
    if extras.report is not None:
        html_report(_facts(job, about), image, labels, extras.report)


def _write_labels(job: Job, path: str, segments: pa.Table) -> None:
    spec, labels = job.raster.spec, labels_of(job)
    with LabelsCog(
        path, height=spec.height, width=spec.width, crs=spec.crs, transform=spec.transform, overwrite=True
    ) as cog:
        for tile in job.grid:
            cog.write(tile.core, labels.read(tile.core))
        if job.config.label_attributes:
            columns = segments.select(["segment_id", "score", "stability", "pass", "area_px"])
            cog.close(columns.rename_columns(["id", *columns.column_names[1:]]).sort_by("id"))


def _label_reader(job: Job) -> ReadWindow:
    """A function (window, shape) → (h, w) ids by nearest neighbour, for pictures."""
    final = labels_of(job)

    def read(window: Window, shape: tuple[int, int]) -> NDArray[np.int64]:
        rows = ((np.arange(shape[0]) + 0.5) * window.height / shape[0]).astype(np.intp)
        cols = ((np.arange(shape[1]) + 0.5) * window.width / shape[1]).astype(np.intp)
        return final.read(window)[np.ix_(rows, cols)]

    return read


def _facts(job: Job, about: RunReport) -> RunFacts:
    spec, segments = job.raster.spec, about.segments
    metres = spec.crs is not None
    return RunFacts(
        raster=spec.path,
        height=spec.height,
        width=spec.width,
        crs=spec.crs,
        model=about.model,
        tiles=about.stats["tiles"],
        coverage=about.coverage,
        settings={name: json.dumps(value) for name, value in as_dict(job.config).items()},
        passes=[
            PassFacts(
                index=row["pass"],
                coverage=row["coverage"],
                accepted=row["accepted"],
                iou_threshold=row["iou_threshold"],
                stability_threshold=row["stability_threshold"],
            )
            for row in about.stats["passes"]
        ],
        segment_id=segments["segment_id"].to_numpy(),
        score=segments["score"].to_numpy(),
        stability=segments["stability"].to_numpy(),
        pass_index=segments["pass"].to_numpy(),
        area=segments["area_m2" if metres else "area_px"].to_numpy(),
        area_unit="m²" if metres else "px",
        stages=about.stats["stages"],
        warnings=about.warnings,
        failures=[(str(one["tile"]), one["error"]) for one in about.failures],
        version=__version__,
    )
