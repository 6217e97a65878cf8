"""Segments against references, both streamed by windows: every score of an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from remotesam.evaluation.boundary import BoundaryCounter
from remotesam.evaluation.contingency import Ints, PairCounter, PairTable
from remotesam.evaluation.label_sources import LabelSource
from remotesam.evaluation.metric_table import (
    BOX_METRICS,
    OBJECT_METRICS,
    JudgedBoxes,
    JudgedObjects,
    measured,
)
from remotesam.evaluation.metrics import (
    BAND,
    LEAST_RUN,
    Floats,
    Majority,
    Matches,
    SeamCount,
    accuracy,
    best_box_iou,
    label_boxes,
    majority,
    match,
    merge_boxes,
    seam_count,
)
from remotesam.windows import Window

ReadValid = Callable[[Window], NDArray[np.bool_]]
"""Which pixels of a window count, (H, W) bool, True = valid."""

_WINDOW_PIXELS = 2**22
"""Pixels of a window: 4 M, about 150 MB of work arrays."""

_WINDOW_ROWS = 64
"""Fewest rows of a window; with less the context for the boundary band costs more than the window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectScores:
    """How well segments describe a set of reference objects; shares are 0..1, NaN without objects."""

    objects: int
    """Reference objects that have a valid pixel."""
    coverage: float
    """Share of their pixels that lie in a segment."""
    figures: dict[str, float]
    """Value of each metric of `OBJECT_METRICS` by its name; NaN where it does not exist."""

    def __getitem__(self, metric: str) -> float:
        """The value of a metric."""
        return self.figures[metric]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelScores:
    """All scores of one set of segments."""

    method: str
    """What made the segments."""
    segments: int
    """Segments that own a valid pixel."""
    coverage: float
    """Share of the valid pixels that lie in a segment."""
    asa: float
    """Achievable segmentation accuracy: over reference pixels, or over all with background as a class."""
    all: ObjectScores
    """Over all reference objects; its `asa` as above."""
    classes: dict[str, ObjectScores]
    """The same by class of the reference objects, empty without classes."""
    seam_rate: float | None = None
    """Share of the length of tile edges on which a segment boundary runs; None without tile grid."""
    seam_rate_elsewhere: float | None = None
    """The same on lines half a tile away: what the rate would be if tiles left no trace."""

    @property
    def objects(self) -> int:
        """Reference objects that have a valid pixel."""
        return self.all.objects


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxScores:
    """How well the bounding boxes of segments find reference boxes; shares are 0..1."""

    method: str
    """What made the segments."""
    segments: int
    """Segments that own a valid pixel."""
    coverage: float
    """Share of the valid pixels that lie in a segment."""
    objects: int
    """Reference boxes on the raster."""
    figures: dict[str, float]
    """Value of each metric of `BOX_METRICS` by its name; NaN where it does not exist."""

    def __getitem__(self, metric: str) -> float:
        """The value of a metric."""
        return self.figures[metric]


def score(
    method: str,
    segments: LabelSource,
    references: LabelSource,
    height: int,
    width: int,
    *,
    valid: ReadValid | None = None,
    tile_size: int | None = None,
    background: bool = False,
) -> LabelScores:
    """Judge segments by references; both are read twice, window by window.

    Args:
        method: what to call the segments.
        segments: one layer of labels.
        references: labels in as many layers as its objects overlap.
        height: rows of the grid of both, px.
        width: columns of the grid, px.
        valid: which pixels count; all when None.
        tile_size: side of a tile's core, px, for the seam rate.
        background: True = every object is labelled, so pixels without reference are a class for ASA.
    """
    source = _Source(segments, references, height, width, valid)
    objects, classes, seams = _count(source, tile_size)
    matches = match(objects)
    boundaries = BoundaryCounter(objects, matches)
    for window in row_bands(source.height, source.width):
        view = source.read(window, BAND)
        boundaries.add(view.segments, view.references, view.inside)
    class_of = references.classes
    asa_table = classes if class_of else objects
    asa = accuracy(asa_table, background=background)
    parts = majority(asa_table, background=background)
    everything = np.arange(len(objects.references))
    biou = boundaries.scores()
    seam_rates = (None, None) if tile_size is None else (seams[0].rate, seams[1].rate)
    return LabelScores(
        method=method,
        segments=len(objects.segments),
        coverage=_share(objects.covered, objects.pixels),
        asa=asa,
        all=_scores(matches, biou, everything, asa, _share(objects.referenced_covered, objects.referenced)),
        classes=_by_class(objects, classes, parts, matches, biou, class_of),
        seam_rate=seam_rates[0],
        seam_rate_elsewhere=seam_rates[1],
    )


def score_boxes(
    method: str,
    segments: LabelSource,
    boxes: Floats,
    height: int,
    width: int,
    *,
    valid: ReadValid | None = None,
) -> BoxScores:
    """Judge segments by boxes, where objects were only boxed.

    Args:
        method: what to call the segments.
        segments: one layer of labels.
        boxes: (m, 4) x0, y0, x1, y1 in pixels, edges at integers; cut to the raster.
        height: rows of the grid, px.
        width: columns of the grid, px.
        valid: which pixels count; all when None.
    """
    everything = valid or _everything
    corners = np.empty((0, 5), np.int64)
    pixels = covered = 0
    for window in row_bands(height, width):
        valid_pixels = everything(window)
        labels = np.where(valid_pixels, segments.read(window)[0], np.uint32(0))
        pixels += int(valid_pixels.sum())
        covered += int((labels > 0).sum())
        corners = merge_boxes(np.concatenate([corners, label_boxes(labels, window.row, window.col)]))
    inside = np.clip(boxes, 0, [width, height, width, height])
    inside = inside[np.prod(inside[:, 2:] - inside[:, :2], axis=1) > 0]
    best = best_box_iou(inside, corners[:, 1:].astype(np.float64))
    return BoxScores(
        method=method,
        segments=len(corners),
        coverage=_share(covered, pixels),
        objects=len(inside),
        figures=measured(BOX_METRICS, JudgedBoxes(iou=best)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """A window of everything, with context."""

    segments: NDArray[np.uint32]
    """(H, W) ids, 0 = none or not valid."""
    references: NDArray[np.uint32]
    """(layers, H, W) ids, 0 = none or not valid."""
    valid: NDArray[np.bool_]
    """(H, W), True = counts."""
    inside: NDArray[np.bool_]
    """(H, W), False = beyond the raster."""


def row_bands(height: int, width: int) -> Iterator[Window]:
    """Bands of whole rows, top to bottom: files in strips are decoded once."""
    rows = max(_WINDOW_PIXELS // width, _WINDOW_ROWS)
    for row in range(0, height, rows):
        yield Window(row, 0, min(rows, height - row), width)


def _everything(window: Window) -> NDArray[np.bool_]:
    """Every pixel counts."""
    return np.ones(window.shape, np.bool_)


class _Source:
    """Both label maps and the validity mask, read together."""

    def __init__(
        self, segments: LabelSource, references: LabelSource, height: int, width: int, valid: ReadValid | None
    ) -> None:
        self._segments = segments
        self.references = references
        self.height = height
        self.width = width
        self._valid = valid or _everything

    def read(self, window: Window, pad: int) -> _View:
        """A window with `pad` pixels of context on every side."""
        wide = window.pad(pad)
        inside = wide.clip(self.height, self.width)
        edges = (
            (inside.row - wide.row, wide.row_stop - inside.row_stop),
            (inside.col - wide.col, wide.col_stop - inside.col_stop),
        )
        valid = self._valid(inside)
        segments = np.where(valid, self._segments.read(inside)[0], np.uint32(0))
        references = np.where(valid, self.references.read(inside), np.uint32(0))
        return _View(
            np.pad(segments, edges),
            np.pad(references, ((0, 0), *edges)),
            np.pad(valid, edges),
            np.pad(np.ones(inside.shape, np.bool_), edges),
        )


def _count(
    source: _Source, tile_size: int | None
) -> tuple[PairTable, PairTable, tuple[SeamCount, SeamCount]]:
    """First reading: the tables of objects and of classes; boundary on tile edges and half-way between."""
    objects, classes = PairCounter(), PairCounter()
    at_edges, elsewhere = SeamCount(), SeamCount()
    codes = class_codes(source.references.classes)
    for window in row_bands(source.height, source.width):
        view = source.read(window, LEAST_RUN)
        core = window.relative_to(window.pad(LEAST_RUN)).slices
        labels, layers, valid = view.segments[core], view.references[:, *core], view.valid[core]
        objects.add(labels, layers, valid)
        if len(codes):
            classes.add(labels, _distinct(codes[layers]), valid)
        if tile_size is not None:
            corner = window.row - LEAST_RUN, window.col - LEAST_RUN
            at_edges += seam_count(view.segments, view.valid, *corner, tile_size, 0)
            elsewhere += seam_count(view.segments, view.valid, *corner, tile_size, tile_size // 2)
    return objects.table(), classes.table(), (at_edges, elsewhere)


def class_codes(classes: dict[int, str]) -> NDArray[np.uint32]:
    """Look-up table from object id to class, numbered from 1 in the order of their names; empty without."""
    if not classes:
        return np.empty(0, np.uint32)
    number = {name: code for code, name in enumerate(sorted(set(classes.values())), start=1)}
    codes = np.zeros(max(classes) + 1, np.uint32)
    for index, name in classes.items():
        codes[index] = number[name]
    return codes


def _distinct(layers: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Layers in which a pixel has each value once."""
    if len(layers) > 1:
        layers = np.sort(layers, axis=0)[::-1].copy()
        layers[1:][layers[1:] == layers[:-1]] = 0
    return layers


def _by_class(
    objects: PairTable,
    classes: PairTable,
    parts: Majority,
    matches: Matches,
    biou: tuple[Floats, Floats],
    class_of: dict[int, str],
) -> dict[str, ObjectScores]:
    names = sorted(set(class_of.values()))
    codes = class_codes(class_of)
    covered = np.zeros(len(classes.references), np.int64)
    np.add.at(covered, classes.reference, classes.overlap)
    scores = {}
    for index, code in enumerate(classes.references.tolist()):
        chosen = np.flatnonzero(codes[objects.references] == code)
        area = int(classes.reference_area[index])
        right, seen = _share(int(parts.right[index]), area), _share(int(covered[index]), area)
        scores[names[code - 1]] = _scores(matches, biou, chosen, right, seen)
    return scores


def _scores(
    matches: Matches,
    biou: tuple[Floats, Floats],
    chosen: Ints,
    asa: float,
    coverage: float,
) -> ObjectScores:
    judged = JudgedObjects(
        accuracy=asa,
        greedy_iou=matches.greedy_iou[chosen],
        single_iou=matches.single_iou[chosen],
        used=np.array([len(matches.greedy[index]) for index in chosen], np.float64),
        greedy_biou=biou[0][chosen],
        single_biou=biou[1][chosen],
    )
    return ObjectScores(objects=len(chosen), coverage=coverage, figures=measured(OBJECT_METRICS, judged))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
