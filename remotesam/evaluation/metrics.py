"""Segmentation metrics from counted pixels; arrays only.

All but the boundary IoU follow from one sparse table of how many pixels each segment shares with each
reference object. The metrics are those of Remote SAMsing (arXiv 2605.00256, Table 3); boundary IoU is that
of Cheng et al., "Boundary IoU" (CVPR 2021, arXiv 2103.16562, §4). `docs/evaluation.md#formulas` has the
definitions, `docs/algorithms.md#metrics` says how they are counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.ndimage import binary_opening

from remotesam.evaluation.contingency import Ints, PairTable
from remotesam.grouping import run_starts

Floats = NDArray[np.float64]

BAND = 3
"""Width of the boundary band of the boundary IoU, px (d of arXiv 2605.00256)."""

OUTSIDE = -1
"""Label of pixels beyond the raster: an object that the raster's edge cuts has its boundary there."""


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Which segments make up each reference object; every array has one entry per object of the table."""

    greedy: list[Ints]
    """Indices of the segments of the greedy union, in the order in which they were added."""
    greedy_iou: Floats
    """IoU of the object and that union, 0..1."""
    single: Ints
    """Index of the one segment of highest IoU, −1 where no segment touches the object."""
    single_iou: Floats
    """IoU of the object and that segment, 0..1."""


def match(table: PairTable) -> Matches:
    """Describe each reference object by segments, as Remote SAMsing does (arXiv 2605.00256, §4).

    Greedy: add the segment that raises the IoU of the object and the union most, until none raises it. Ties
    go to the lower id. Segments must not overlap each other.
    """
    starts = table.partners()
    greedy: list[Ints] = []
    greedy_iou, single_iou = np.zeros(len(table.references)), np.zeros(len(table.references))
    single = np.full(len(table.references), -1, np.int64)
    for index, size in enumerate(table.reference_area):
        pairs = slice(starts[index], starts[index + 1])
        segments, inside = table.segment[pairs], table.overlap[pairs]
        outside = table.segment_area[segments] - inside
        chosen, greedy_iou[index] = _greedy(inside, outside, int(size))
        greedy.append(segments[chosen])
        if len(chosen):
            # The first segment added is the best single one.
            single[index] = segments[chosen[0]]
            single_iou[index] = inside[chosen[0]] / (size + outside[chosen[0]])
    return Matches(greedy, greedy_iou, single, single_iou)


def _greedy(inside: Ints, outside: Ints, size: int) -> tuple[Ints, float]:
    """Positions of the segments chosen and the IoU reached, for one object of `size` pixels."""
    chosen: list[int] = []
    hit, union = 0, size
    live = np.arange(len(inside))
    while live.size:
        best = live[np.argmax((hit + inside[live]) / (union + outside[live]))]
        chosen.append(int(best))
        hit, union = hit + int(inside[best]), union + int(outside[best])
        # (hit + i) / (union + o) > hit / union, without division; the IoU only rises, so what fails now
        # will always fail.
        live = live[(live != best) & (inside[live] * union > hit * outside[live])]
    return np.array(chosen, np.int64), hit / union if chosen else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Majority:
    """Achievable segmentation accuracy in parts, for a table whose reference objects are classes."""

    right: Ints
    """(m,) pixels of each class that lie in segments with that class as majority."""
    right_background: int
    """Pixels without a class in segments that hold more of those than of any class; 0 unless counted."""


def majority(table: PairTable, *, background: bool) -> Majority:
    """Give each segment its most frequent class and count what is then right (ties: the lower class id).

    Args:
        table: contingency of segments and classes.
        background: True = "no reference" is a class of its own; False = pixels without reference are left
            out, as they must be where not every object was labelled.
    """
    best = np.zeros(len(table.segments), np.int64)
    np.maximum.at(best, table.segment, table.overlap)
    lost = table.unreferenced > best if background else np.zeros(len(best), np.bool_)
    winner = np.full(len(best), len(table.references), np.int64)
    top = table.overlap == best[table.segment]
    np.minimum.at(winner, table.segment[top], table.reference[top])
    won = (table.reference == winner[table.segment]) & ~lost[table.segment]
    right = np.zeros(len(table.references), np.int64)
    np.add.at(right, table.reference[won], table.overlap[won])
    return Majority(right, int(table.unreferenced[lost].sum()))


def accuracy(table: PairTable, *, background: bool) -> float:
    """ASA, 0..1: share of the pixels whose segment has their class as majority; unsegmented ones are wrong.

    With a pixel in several classes, any of them counts. NaN when there is nothing to judge.
    """
    parts = majority(table, background=background)
    judged = table.pixels if background else table.referenced
    # Overlapping classes: a pixel is judged once, and its segment has one class.
    right = int(parts.right.sum()) + parts.right_background
    return right / judged if judged else float("nan")


def boundary_band(labels: NDArray[np.signedinteger], width: int = BAND) -> NDArray[np.bool_]:
    """Pixels of a label map near the boundary of their own region (Cheng et al. 2021, §4: G_d ∩ G).

    That is, whose (2·width + 1)² neighbourhood holds another label: what an erosion of the region with a 3×3
    square, `width` times, takes away.

    Args:
        labels: (H, W) with `width` pixels of context on every side, `OUTSIDE` beyond the raster.
        width: the paper's d, px, ≥ 1.

    Returns:
        (H − 2·width, W − 2·width), True = in the band.
    """
    # A window is uniform exactly when no crack between two of its pixels separates labels.
    side = 2 * width + 1
    across = (labels[:, 1:] != labels[:, :-1]).astype(np.uint8)
    down = (labels[1:] != labels[:-1]).astype(np.uint8)
    near_across = cv2.dilate(across, np.ones((side, side - 1), np.uint8), anchor=(0, width))
    near_down = cv2.dilate(down, np.ones((side - 1, side), np.uint8), anchor=(width, 0))
    rows, cols = labels.shape[0] - 2 * width, labels.shape[1] - 2 * width
    band = near_across[width : width + rows, :cols] > 0
    return np.asarray(band | (near_down[:rows, width : width + cols] > 0), np.bool_)


LEAST_RUN = 8
"""A boundary runs along a line when it stays on it for so many px; shorter, it crosses it."""


@dataclass(frozen=True, slots=True)
class SeamCount:
    """Length of the lines looked at, and of the part that separates two segments; in px."""

    length: int = 0
    """Pairs of valid pixels on the two sides of a line, at least one of them in a segment."""
    boundary: int = 0
    """Of those, pairs of unlike labels in runs of at least `LEAST_RUN`."""

    def __add__(self, other: SeamCount) -> SeamCount:
        return SeamCount(self.length + other.length, self.boundary + other.boundary)

    @property
    def rate(self) -> float:
        """Share of the length that is boundary; NaN without length."""
        return self.boundary / self.length if self.length else float("nan")


def seam_count(
    labels: NDArray[np.uint32], valid: NDArray[np.bool_], row: int, col: int, period: int, phase: int
) -> SeamCount:
    """Look along the lines of a square grid for segment boundaries that run on them.

    Lines lie between pixel k·period + phase − 1 and k·period + phase, along both axes. The outermost
    `LEAST_RUN` px of the window are context on every side: the neighbours' pixels, or invalid ones beyond the
    raster.

    Args:
        labels: (H, W) ids, 0 = none.
        valid: (H, W), True = data.
        row: raster row of the first row of the window.
        col: raster column of its first column.
        period: distance of two lines, px.
        phase: position of the first line, px.
    """
    total, core = SeamCount(), slice(LEAST_RUN, -LEAST_RUN)
    for start, ids, data in ((row, labels, valid), (col, labels.T, valid.T)):
        inside = np.arange(len(ids))[core]
        lines = inside[(inside + start - phase) % period == 0]
        one, other = ids[lines - 1], ids[lines]
        seen = data[lines - 1] & data[lines] & ((one > 0) | (other > 0))
        along = binary_opening(seen & (one != other), np.ones((1, LEAST_RUN)))
        total += SeamCount(int(seen[:, core].sum()), int(along[:, core].sum()))
    return total


def label_boxes(labels: NDArray[np.uint32], row: int, col: int) -> Ints:
    """Bounding boxes of a window's labels.

    Args:
        labels: (H, W) ids, 0 = none.
        row: raster row of the first row of the window.
        col: raster column of its first column.

    Returns:
        (n, 5): id, then x0, y0, x1, y1 in raster pixels with edges at integers; ids ascending.
    """
    flat, width = labels.ravel(), labels.shape[1]
    # A run must end with its row.
    starts = np.union1d(run_starts(flat), np.arange(0, flat.size, max(width, 1)))
    lengths = np.diff(starts, append=flat.size)
    starts, lengths = starts[flat[starts] > 0], lengths[flat[starts] > 0]
    y, x = starts // max(width, 1) + row, starts % max(width, 1) + col
    return merge_boxes(np.stack([flat[starts].astype(np.int64), x, y, x + lengths, y + 1], axis=1))


def merge_boxes(boxes: Ints) -> Ints:
    """One box per id, round all boxes (n, 5) of that id; ids ascending."""
    if not len(boxes):
        return np.empty((0, 5), np.int64)
    boxes = boxes[np.argsort(boxes[:, 0], kind="stable")]
    starts = run_starts(boxes[:, 0])
    low = np.minimum.reduceat(boxes[:, :3], starts)
    high = np.maximum.reduceat(boxes[:, 3:], starts)
    return np.concatenate([low, high], axis=1)


def best_box_iou(references: Floats, segments: Floats) -> Floats:
    """IoU of each reference box with the segment's box that fits it best.

    Args:
        references: (m, 4) x0, y0, x1, y1.
        segments: (n, 4) likewise.

    Returns:
        (m,) 0..1.
    """
    best = np.zeros(len(references))
    tree = shapely.STRtree(shapely.box(*segments.T))
    one, other = tree.query(shapely.box(*references.T))
    low = np.maximum(references[one, :2], segments[other, :2])
    high = np.minimum(references[one, 2:], segments[other, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (references, segments)]
    np.maximum.at(best, one, shared / np.maximum(areas[0][one] + areas[1][other] - shared, 1e-12))
    return best
