"""Multi-pass mask generation on one chip: accept, paint black, look again, relax only when stuck.

The algorithm is Remote SAMsing's (arXiv 2605.00256, §3.2; METHODS §1.1), step by step. One thing is not
done twice: a pass that painted nothing leaves the image and the points as they were, so its proposals are
kept and selected from again at the lower thresholds; the network would answer the same. With
`config.look_again` small changes are treated so too, which is faster and no longer exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from remotesam.config import Config
from remotesam.masks import accept
from remotesam.points import cluster_centres, grid, keep_allowed
from remotesam.segmenter.protocol import Candidate, Proposals, Query, Segmenter


@dataclass(frozen=True, slots=True)
class Segment:
    """How one label of a chip came to be."""

    score: float
    """Predicted IoU, 0..1."""
    stability: float
    """Stability score, 0..1."""
    pass_index: int
    """Pass that accepted it, from 0."""
    iou_threshold: float
    """Predicted IoU asked for in that pass."""
    stability_threshold: float
    """Stability asked for in that pass."""
    point: tuple[float, float]
    """(x, y) of the prompt in chip pixels."""


@dataclass(frozen=True, slots=True)
class PassReport:
    """What one pass did."""

    index: int
    """Number of the pass, from 0."""
    iou_threshold: float
    """Predicted IoU asked for."""
    stability_threshold: float
    """Stability asked for."""
    points: int
    """Prompt points put to the network; 0 when the last pass's proposals served again."""
    candidates: int
    """Masks above both thresholds after NMS."""
    accepted: int
    """New labels."""
    coverage: float
    """Share of the chip's valid pixels that have a label after the pass."""


@dataclass(frozen=True, slots=True)
class ChipResult:
    """The segmented chip."""

    labels: NDArray[np.int32]
    """(H, W) int32; label k + 1 is `segments[k]`, 0 = none."""
    segments: list[Segment]
    """One entry per label, in order of acceptance."""
    passes: list[PassReport]
    """One entry per pass."""


def segment_chip(
    image: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    segmenter: Segmenter,
    config: Config,
    *,
    before_pass: Callable[[], None] = lambda: None,
) -> ChipResult:
    """Segment everything on one chip.

    Args:
        image: (H, W, 3) uint8 RGB; not changed.
        valid: (H, W) bool, True = data. Pixels without data count as painted from the start.
        segmenter: proposes masks.
        config: thresholds, points, areas and stop rules.
        before_pass: called before every pass; raises to stop (Ctrl-C).
    """
    height, width = valid.shape
    valid_pixels = int(valid.sum())
    labels = np.zeros((height, width), np.int32)
    segments: list[Segment] = []
    reports: list[PassReport] = []
    residual = valid.copy()
    canvas = image.copy() if config.black_paint else image
    if config.black_paint:
        canvas[~valid] = 0

    iou, stability = config.iou_start, config.stability_start
    covered = unseen = 0
    proposals: Proposals | None = None
    while valid_pixels and len(reports) < (config.max_passes or np.inf):
        before_pass()
        prompted = 0
        if proposals is None:
            points = _points(residual, config, first=not reports)
            if len(points) == 0:
                break
            prompted = len(points)
            query = Query(
                canvas, points, config.crop_layers, config.points_per_side, residual, config.min_area
            )
            (proposals,) = segmenter.propose([query])
        candidates = proposals.select(min_iou=iou, min_stability=stability, nms_iou=config.nms_iou)
        before = len(segments)
        gained = _write(
            candidates, labels, valid, segments, _Thresholds(len(reports), iou, stability), config
        )
        covered += gained
        unseen += gained
        coverage = covered / valid_pixels
        reports.append(
            PassReport(
                len(reports), iou, stability, prompted, len(candidates), len(segments) - before, coverage
            )
        )
        if unseen > config.look_again * valid_pixels:
            proposals, unseen = None, 0
            residual = valid & (labels == 0)
            if config.black_paint:
                canvas = image.copy()
                canvas[~residual] = 0
        if coverage >= config.target_coverage:
            break
        if gained == 0 or gained / valid_pixels < config.stagnation:
            relaxed = _relax(iou, stability, config)
            if relaxed is None:
                break
            iou, stability = relaxed
    return ChipResult(labels, segments, reports)


@dataclass(frozen=True, slots=True)
class _Thresholds:
    pass_index: int
    iou: float
    stability: float


def _points(residual: NDArray[np.bool_], config: Config, *, first: bool) -> NDArray[np.float64]:
    """The full grid at first (where there is data); later only what is not labelled."""
    if config.point_strategy == "kmeans" and not first:
        return cluster_centres(residual)
    height, width = residual.shape
    return keep_allowed(grid(height, width, config.points_per_side), residual)


def _write(
    candidates: Sequence[Candidate],
    labels: NDArray[np.int32],
    valid: NDArray[np.bool_],
    segments: list[Segment],
    thresholds: _Thresholds,
    config: Config,
) -> int:
    """Put the candidates into the label map, best first; returns the pixels that got a label."""
    gained = 0
    for candidate in candidates:
        box = candidate.box.slices
        written = accept(
            labels[box],
            candidate.mask,
            valid[box],
            next_label=len(segments) + 1,
            min_area=config.min_area,
            max_overlap=config.max_overlap,
        )
        gained += sum(written)
        segments.extend(
            Segment(
                candidate.score,
                candidate.stability,
                thresholds.pass_index,
                thresholds.iou,
                thresholds.stability,
                candidate.point,
            )
            for _ in written
        )
    return gained


def _relax(iou: float, stability: float, config: Config) -> tuple[float, float] | None:
    """Both thresholds one step lower, not below their ends; None when there is no step left."""
    if not config.decay or (iou <= config.iou_end and stability <= config.stability_end):
        return None
    # Rounded, or 33 steps of 0.01 in binary end at 0.6000000000000003 and ask for one more pass.
    return (
        max(round(iou - config.step, 10), config.iou_end),
        max(round(stability - config.step, 10), config.stability_end),
    )
