"""From low-resolution mask logits to stability, boxes and masks at full size, and non-maximum suppression.

The filters are those of sam2's `SAM2AutomaticMaskGenerator` (`docs/algorithms.md#candidates`): logits are
upsampled bilinearly, a mask is where they exceed 0, stability is area(logit > 1) / area(logit > -1). What
the stock generator does on whole images, this module does inside the rectangle where the logits exceed -1
anywhere: bilinear interpolation never exceeds its neighbours, so nothing lies outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from remotesam.windows import Window

STABILITY_OFFSET = 1.0
"""Half the span of logit thresholds over which a mask must be stable (sam2 default)."""

_DEVICE_CHUNK = 32
"""Masks upsampled at a time on a GPU: 128 MB of logits at 1000 x 1000 px."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One mask at the size it is judged at."""

    stability: np.float32
    """0..1 in float32; NaN when no logit exceeds -1."""
    box: Window
    """Tight window of the mask; empty when no logit exceeds 0."""
    mask: NDArray[np.bool_] | None
    """(box.height, box.width) bool, True = inside; None when it was not asked for."""


@dataclass(frozen=True, slots=True)
class _Axis:
    """Bilinear upsampling of one axis, as torch does it with `align_corners=False`."""

    low: NDArray[np.intp]
    """(n,) index of the source pixel before each target pixel; high: the one after."""
    high: NDArray[np.intp]
    """See `low`."""
    weight: NDArray[np.float32]
    """(n,) float32 share of `high`."""

    def reach(self, touched: NDArray[np.bool_]) -> slice:
        """Give the target pixels that a source range touches: from its first True to its last."""
        first, last = np.flatnonzero(touched)[[0, -1]]
        start = np.searchsorted(self.high, first, side="left")
        return slice(int(start), int(np.searchsorted(self.low, last, side="right")))


@lru_cache(maxsize=64)
def _axis(source: int, target: int) -> _Axis:
    scale = np.float32(source) / np.float32(target)
    position = np.maximum(
        scale * (np.arange(target, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5), 0
    )
    low = np.minimum(position.astype(np.intp), source - 1)
    return _Axis(low, np.minimum(low + 1, source - 1), (position - low).astype(np.float32))


def measure(logits: Tensor, height: int, width: int, *, masks: bool) -> list[Measured]:
    """Judge masks at a size.

    Args:
        logits: (M, g, g) float32, on any device.
        height: Rows of the size to judge at.
        width: Columns of it.
        masks: Give the masks as well; on a GPU they cost a copy to the host each.

    Returns:
        M measurements, in order.
    """
    if logits.device.type == "cpu":
        return [_measure_one(one, height, width, masks=masks) for one in logits.numpy()]
    return [
        measured
        for chunk in logits.split(_DEVICE_CHUNK)
        for measured in _measure_on_device(chunk, height, width, masks=masks)
    ]


def suppress(boxes: NDArray[np.int64], scores: NDArray[np.float32], threshold: float) -> NDArray[np.intp]:
    """Non-maximum suppression on boxes, as torchvision's `nms`, which the stock generator calls.

    Args:
        boxes: (M, 4) first column, first row, last column, last row; inclusive, so that a mask one pixel
            wide has area 0 and suppresses nothing. That is sam2's convention.
        scores: (M,) higher is better; ties go to the earlier row.
        threshold: A box goes when its IoU with a better kept one is greater than this.

    Returns:
        Indices of the boxes kept, best first.
    """
    order = np.argsort(-scores, kind="stable")
    x0, y0, x1, y1 = boxes[order].astype(np.float32).T
    area = (x1 - x0) * (y1 - y0)
    alive = np.ones(len(order), bool)
    kept = []
    for best in range(len(order)):
        if not alive[best]:
            continue
        kept.append(order[best])
        rest = slice(best + 1, None)
        across = np.minimum(x1[best], x1[rest]) - np.maximum(x0[best], x0[rest])
        down = np.minimum(y1[best], y1[rest]) - np.maximum(y0[best], y0[rest])
        shared = np.maximum(across, 0) * np.maximum(down, 0)
        union = area[best] + area[rest] - shared
        # Compared in float64, as torchvision does. Boxes without area have no IoU and suppress nothing.
        iou = (shared / np.where(union > 0, union, 1)).astype(np.float64)
        alive[rest] &= iou <= threshold
    return np.array(kept, np.intp)


def _measure_one(logits: NDArray[np.float32], height: int, width: int, *, masks: bool) -> Measured:
    touched = logits > -STABILITY_OFFSET
    across, down = np.any(touched, axis=0), np.any(touched, axis=1)
    if not down.any():
        return Measured(np.float32(np.nan), Window(0, 0, 0, 0), None)
    y, x = _axis(logits.shape[0], height), _axis(logits.shape[1], width)
    rows, cols = y.reach(down), x.reach(across)
    if rows.start >= rows.stop or cols.start >= cols.stop:
        # On a chip smaller than the logits a small mask can fall between the sampled places.
        return Measured(np.float32(np.nan), Window(0, 0, 0, 0), None)
    values = _interpolate(logits, y, rows, x, cols)
    union = np.count_nonzero(values > -STABILITY_OFFSET)
    stability = np.float32(np.count_nonzero(values > STABILITY_OFFSET)) / np.float32(union or np.nan)
    inside = values > 0
    in_rows, in_cols = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if len(in_rows) == 0:
        return Measured(stability, Window(0, 0, 0, 0), None)
    box = Window.from_bounds(in_rows[0], in_cols[0], in_rows[-1] + 1, in_cols[-1] + 1)
    mask = inside[box.slices].copy() if masks else None
    return Measured(stability, _plain(box.shift(rows.start, cols.start)), mask)


def _interpolate(
    logits: NDArray[np.float32], y: _Axis, rows: slice, x: _Axis, cols: slice
) -> NDArray[np.float32]:
    """Bilinear values of a window of the target, along columns first, as torch orders the sum."""
    first, last = y.low[rows.start], y.high[rows.stop - 1]
    # Gathering rows of the transpose copies runs of memory; gathering columns would pick single values.
    source = np.ascontiguousarray(logits[first : last + 1].T)
    weight = x.weight[cols, None]
    wide = source[x.low[cols]] * (1 - weight)
    wide += source[x.high[cols]] * weight
    source = np.ascontiguousarray(wide.T)
    weight = y.weight[rows, None]
    values: NDArray[np.float32] = source[y.low[rows] - first] * (1 - weight)
    values += source[y.high[rows] - first] * weight
    return values


def _measure_on_device(logits: Tensor, height: int, width: int, *, masks: bool) -> list[Measured]:
    values = F.interpolate(logits[:, None], (height, width), mode="bilinear", align_corners=False)[:, 0]
    inner = (values > STABILITY_OFFSET).flatten(1).sum(1)
    outer = (values > -STABILITY_OFFSET).flatten(1).sum(1)
    inside = values > 0
    down, across = inside.any(2).cpu().numpy(), inside.any(1).cpu().numpy()
    stabilities = (inner / outer).float().cpu().numpy()
    measured = []
    for index, (in_down, in_across, stability) in enumerate(zip(down, across, stabilities, strict=True)):
        if not in_down.any():
            measured.append(Measured(stability, Window(0, 0, 0, 0), None))
            continue
        rows, cols = np.flatnonzero(in_down), np.flatnonzero(in_across)
        box = _plain(Window.from_bounds(rows[0], cols[0], rows[-1] + 1, cols[-1] + 1))
        mask = inside[index][box.slices].cpu().numpy() if masks else None
        measured.append(Measured(stability, box, mask))
    return measured


def _plain(box: Window) -> Window:
    """Give the window with plain ints, which serialise."""
    return Window(int(box.row), int(box.col), int(box.height), int(box.width))
