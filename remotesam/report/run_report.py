"""What a run looks like: a preview picture, and one HTML file that needs no network."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from remotesam.errors import OutputError
from remotesam.events import duration
from remotesam.files import write_whole
from remotesam.raster.protocol import Raster
from remotesam.report.overlay import beside, overlay, stacks
from remotesam.report.plots import Plot, bar_plot, histogram, line_plot
from remotesam.report.templates import jpeg_uri, render
from remotesam.windows import Window

ReadWindow = Callable[[Window, tuple[int, int]], NDArray[Any]]
"""Reads a window of full-resolution pixels, resampled to the given (height, width): an image (H, W, 3) uint8
RGB or a label map (H, W) of ids."""

MAX_SIDE = 2000
"""Longest side of a preview, px."""

_BAND_PIXELS = 2**24
"""Full-resolution pixels asked of a reader at once: 16 M, 48 MB of RGB."""


def preview(
    image: ReadWindow,
    labels: ReadWindow,
    height: int,
    width: int,
    path: str | os.PathLike[str],
    *,
    max_side: int = MAX_SIDE,
) -> None:
    """Write a PNG or JPEG: the image beside its segments in random colours with white outlines.

    Args:
        image: reads the raster as RGB.
        labels: reads the label map; 0 = none, shown dark.
        height: rows of the raster, px.
        width: columns of the raster, px.
        path: the picture to write; its suffix chooses the format.
        max_side: longest side of the whole picture, px.

    Raises:
        OutputError: the picture cannot be written.
    """
    write_picture(_both(image, labels, height, width, max_side), path)


def _both(image: ReadWindow, labels: ReadWindow, height: int, width: int, max_side: int) -> NDArray[np.uint8]:
    shape = panel_shape(height, width, max_side)
    small = shrunk(image, height, width, shape)
    return beside(small, overlay(small, shrunk(labels, height, width, shape)))


def shrunk(read: ReadWindow, height: int, width: int, shape: tuple[int, int]) -> NDArray[Any]:
    """A whole raster of `height` × `width` px at `shape`, read in bands of bounded size."""
    rows, cols = shape
    step = max(1, int(rows * _BAND_PIXELS / (height * width)))
    bands = []
    for top in range(0, rows, step):
        stop = min(top + step, rows)
        window = Window.from_bounds(top * height // rows, 0, max(stop * height // rows, 1), width)
        bands.append(read(window, (stop - top, cols)))
    return np.concatenate(bands)


def panel_shape(height: int, width: int, max_side: int) -> tuple[int, int]:
    """Shape of one of two panels, so that the picture of both fits `max_side` and nothing is enlarged."""
    long_side = max(2 * height, width) if stacks(height, width) else max(height, 2 * width)
    scale = min(1.0, (max_side - 8) / long_side)
    return max(1, int(height * scale)), max(1, int(width * scale))


def image_reader(raster: Raster) -> ReadWindow:
    """A reader of a raster for pictures: pixels are averaged."""

    def read(window: Window, shape: tuple[int, int]) -> NDArray[np.uint8]:
        image = raster.read(window).image
        return np.asarray(cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA), np.uint8)

    return read


def write_picture(image: NDArray[np.uint8], path: str | os.PathLike[str]) -> None:
    """Write an RGB image (H, W, 3) uint8 as PNG or JPEG, whole or not at all.

    Raises:
        OutputError: the suffix is none of these or the file cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise OutputError(f"{target}: pictures are written as .png or .jpg; change the suffix")
    _, coded = cv2.imencode(target.suffix.lower(), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    write_whole(coded.tobytes(), target)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassFacts:
    """What one pass did over all tiles."""

    index: int
    """Number of the pass, from 0."""
    coverage: float
    """Share of the valid pixels in a segment after the pass, 0..1."""
    accepted: int
    """Segments found in it."""
    iou_threshold: float
    """Predicted IoU asked for, mean over the tiles that ran it, 0..1."""
    stability_threshold: float
    """Stability asked for, likewise."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunFacts:
    """All that the report of a run says; columns of segments are parallel arrays."""

    raster: str
    """The input file."""
    height: int
    """Rows, px."""
    width: int
    """Columns, px."""
    crs: str | None
    """CRS of the result; None = pixel coordinates."""
    model: str
    """Name of the model."""
    tiles: int
    """Tiles of the plan."""
    coverage: float
    """Share of the valid pixels in a segment at the end, 0..1."""
    settings: Mapping[str, str]
    """Every setting and its value, as text."""
    passes: Sequence[PassFacts]
    """In order."""
    segment_id: NDArray[np.integer]
    """(n,) final ids."""
    score: NDArray[np.floating]
    """(n,) predicted IoU, 0..1."""
    stability: NDArray[np.floating]
    """(n,) stability, 0..1."""
    pass_index: NDArray[np.integer]
    """(n,) pass that found it."""
    area: NDArray[np.floating]
    """(n,) area."""
    area_unit: str = "px"
    """Unit of `area`."""
    stages: Mapping[str, float] = field(default_factory=dict)
    """Seconds of each stage."""
    warnings: Sequence[str] = ()
    """What the user was told, one sentence each."""
    failures: Sequence[tuple[str, str]] = ()
    """Tiles that failed: which, and why."""
    version: str = ""
    """Version of remotesam."""


_LARGEST = 10
"""Rows of the table of largest segments."""


def html_report(facts: RunFacts, image: ReadWindow, labels: ReadWindow, path: str | os.PathLike[str]) -> None:
    """Write the report of a run as one HTML file: no script, no link, readable offline for ever.

    Args:
        facts: what to say.
        image: reads the raster as RGB.
        labels: reads the label map, 0 = none.
        path: the file to write.

    Raises:
        OutputError: the file cannot be written.
    """
    name = Path(facts.raster).name
    text = render(
        "report/run_report.html",
        title=f"Segments of {name}",
        lead=f"{facts.width} × {facts.height} px · {facts.crs or 'pixel coordinates'} · model {facts.model}",
        foot=f"remotesam {facts.version} · {facts.raster}",
        figures=_key_figures(facts),
        alerts=[*facts.warnings, *(f"Tile {tile} failed: {reason}" for tile, reason in facts.failures)],
        picture=jpeg_uri(_both(image, labels, facts.height, facts.width, MAX_SIDE)),
        picture_text=f"{name} beside its segments in random colours",
        plots=_plots(facts),
        largest=_largest(facts) if len(facts.segment_id) else None,
        times=[("stage", "seconds"), *((stage, f"{s:.1f}") for stage, s in facts.stages.items())],
        settings=[("setting", "value"), *facts.settings.items()],
    )
    write_whole(text.encode(), Path(path))


def _key_figures(facts: RunFacts) -> list[tuple[str, str]]:
    seconds = sum(facts.stages.values())
    score = f"{np.median(facts.score):.2f}" if len(facts.score) else "–"
    return [
        (f"{len(facts.segment_id):,}".replace(",", "\u202f"), "segments"),
        (f"{100 * facts.coverage:.1f} %", "of the valid pixels covered"),
        (score, "median score"),
        (f"{facts.tiles - len(facts.failures)} of {facts.tiles}", "tiles done"),
        (duration(seconds), "in all stages"),
    ]


def _plots(facts: RunFacts) -> list[Plot]:
    steps = [one.index for one in facts.passes]
    thresholds = {
        "predicted IoU": [one.iou_threshold for one in facts.passes],
        "stability": [one.stability_threshold for one in facts.passes],
    }
    covered = {"coverage": [100 * one.coverage for one in facts.passes]}
    over_passes = [
        line_plot("Coverage, % of valid pixels", "pass", steps, covered, top=100),
        line_plot("Thresholds", "pass", steps, thresholds),
    ]
    if not len(facts.segment_id):
        return over_passes
    return [
        *over_passes,
        bar_plot("Segments found", "pass", steps, [one.accepted for one in facts.passes]),
        histogram("Segments by score", "predicted IoU", facts.score),
        histogram("Segments by area", facts.area_unit, facts.area, log=True),
        histogram("Segments by stability", "stability", facts.stability),
    ]


def _largest(facts: RunFacts) -> list[list[str]]:
    order = np.argsort(-facts.area, kind="stable")[:_LARGEST]
    titles = ["segment", f"area, {facts.area_unit}", "score", "stability", "pass"]
    return [titles] + [
        [
            str(facts.segment_id[index]),
            f"{facts.area[index]:.0f}",
            f"{facts.score[index]:.3f}",
            f"{facts.stability[index]:.3f}",
            str(facts.pass_index[index]),
        ]
        for index in order
    ]
