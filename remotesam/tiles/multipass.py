"""Multi-pass mask generation on one chip: accept, paint black, look again, relax only when stuck.

The algorithm is Remote SAMsing's (arXiv 2605.00256, §3.2), step by step (`docs/algorithms.md#passes`). One
thing is not done twice: a pass that painted nothing leaves the image and the points as they were, so its
proposals are kept and selected from again at the lower thresholds; the network would answer the same.

Three settings, off by default, change the result: with `look_again` small changes are treated as none; with
`coarse_to_fine` a pass prompts its points in rounds and skips those that its own masks cover by then; with
`zoom_area` what no pass covered is segmented again by the same loop, enlarged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from remotesam.config import Settings
from remotesam.run.records import PassReport
from remotesam.segmenter.points import cluster_centres, grid, keep_allowed, nested_grids
from remotesam.segmenter.protocol import Candidate, ExtendableProposals, Proposals, Query, Segmenter
from remotesam.tiles.labels import accept
from remotesam.tiles.zoom import zoom_windows


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
    config: Settings,
    *,
    before_pass: Callable[[], None] = lambda: None,
) -> ChipResult:
    """Segment everything on one chip (Remote SAMsing, §3.2; `docs/algorithms.md#passes`).

    Args:
        image: (H, W, 3) uint8 RGB; not changed.
        valid: (H, W) bool, True = data. Pixels without data count as painted from the start.
        segmenter: proposes masks.
        config: thresholds, points, areas and stop rules.
        before_pass: called before every pass; raises to stop (Ctrl-C).
    """
    result = _run_passes(image, valid, segmenter, config, before_pass)
    if config.zoom_area:
        _zoom(image, valid, segmenter, config, before_pass, result)
    return result


def _run_passes(
    image: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    segmenter: Segmenter,
    config: Settings,
    before_pass: Callable[[], None],
) -> ChipResult:
    """The published loop; see `segment_chip` for the arguments."""
    valid_pixels = int(valid.sum())
    labels = np.zeros(valid.shape, np.int32)
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
        rounds: list[NDArray[np.float64]] = []
        if proposals is None:
            rounds = _rounds(residual, config, first=not reports)
            if not rounds:
                break
            points = rounds.pop(0)
            prompted = len(points)
            query = Query(
                canvas, points, config.crop_layers, config.points_per_side, residual, config.min_area
            )
            (proposals,) = segmenter.propose([query])
        before = len(segments)
        thresholds = _Thresholds(len(reports), iou, stability)
        candidates, gained = _accept(proposals, labels, valid, segments, thresholds, config)
        for extension in _extend(proposals, rounds, labels):
            prompted += extension
            candidates, also = _accept(proposals, labels, valid, segments, thresholds, config)
            gained += also
        covered += gained
        unseen += gained
        coverage = covered / valid_pixels
        accepted = len(segments) - before
        reports.append(PassReport(len(reports), iou, stability, prompted, candidates, accepted, coverage))
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


def _zoom(
    image: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    segmenter: Segmenter,
    config: Settings,
    before_pass: Callable[[], None],
    result: ChipResult,
) -> None:
    """Segment what is left in windows that the segmenter sees enlarged; what it finds is added to `result`.

    A window is a chip whose labelled pixels count as no data, so its passes are those of any chip. Their
    numbers follow the last pass's.
    """
    valid_pixels = int(valid.sum())
    in_window = msgspec.structs.replace(config, zoom_area=0)
    for window in zoom_windows(valid & (result.labels == 0), config.zoom_area):
        covered = result.passes[-1].coverage if result.passes else 0.0
        labels = result.labels[window.slices]
        residual = valid[window.slices] & (labels == 0)
        if covered >= config.target_coverage or residual.sum() < config.zoom_area:
            continue
        enlarged = _run_passes(image[window.slices], residual, segmenter, in_window, before_pass)
        new = enlarged.labels > 0
        labels[new] = enlarged.labels[new] + len(result.segments)
        first, share = len(result.passes), int(residual.sum()) / valid_pixels
        result.segments.extend(
            replace(
                segment,
                pass_index=first + segment.pass_index,
                point=(segment.point[0] + window.col, segment.point[1] + window.row),
            )
            for segment in enlarged.segments
        )
        result.passes.extend(
            msgspec.structs.replace(
                report, index=first + report.index, coverage=covered + report.coverage * share
            )
            for report in enlarged.passes
        )


@dataclass(frozen=True, slots=True)
class _Thresholds:
    pass_index: int
    iou: float
    stability: float


def _rounds(residual: NDArray[np.bool_], config: Settings, *, first: bool) -> list[NDArray[np.float64]]:
    """Points of a pass: the grid where there is data and no label; several rounds if coarse to fine."""
    if config.point_strategy == "kmeans" and not first:
        rounds = [cluster_centres(residual)]
    else:
        layout = (*residual.shape, config.points_per_side)
        rounds = nested_grids(*layout) if config.coarse_to_fine else [grid(*layout)]
        rounds = [keep_allowed(points, residual) for points in rounds]
    return [points for points in rounds if len(points)]


def _extend(
    proposals: Proposals, rounds: list[NDArray[np.float64]], labels: NDArray[np.int32]
) -> Iterator[int]:
    """Prompt further rounds where there is no label yet; yields the number of points after each."""
    if not isinstance(proposals, ExtendableProposals):
        return
    for points in rounds:
        left = keep_allowed(points, labels == 0)
        if len(left):
            proposals.extend(left)
            yield len(left)


def _accept(
    proposals: Proposals,
    labels: NDArray[np.int32],
    valid: NDArray[np.bool_],
    segments: list[Segment],
    thresholds: _Thresholds,
    config: Settings,
) -> tuple[int, int]:
    """Select at the thresholds and write; returns the number of candidates and of newly labelled pixels."""
    candidates = proposals.select(
        min_iou=thresholds.iou, min_stability=thresholds.stability, nms_iou=config.nms_iou
    )
    return len(candidates), _write(candidates, labels, valid, segments, thresholds, config)


def _write(
    candidates: Sequence[Candidate],
    labels: NDArray[np.int32],
    valid: NDArray[np.bool_],
    segments: list[Segment],
    thresholds: _Thresholds,
    config: Settings,
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


def _relax(iou: float, stability: float, config: Settings) -> tuple[float, float] | None:
    """Both thresholds one step lower, not below their ends; None when there is no step left."""
    if not config.decay or (iou <= config.iou_end and stability <= config.stability_end):
        return None
    # Rounded, or 33 steps of 0.01 in binary end at 0.6000000000000003 and ask for one more pass.
    return (
        max(round(iou - config.step, 10), config.iou_end),
        max(round(stability - config.step, 10), config.stability_end),
    )
