"""Label maps of one chip or view: order of the ids, and how masks become labels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def owned_first(
    labels: NDArray[np.int32], owned: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.intp], int]:
    """Renumber a map so that the labels with owned pixels are 1..n_core and the others follow.

    Labels without any pixel disappear. The order within both groups is kept.

    Args:
        labels: (H, W) int32 label map of a chip or view, 0 = none.
        owned: (H, W), True = the unit owns the pixel.

    Returns:
        The renumbered map; for each new label (from 1 on, at index 0) the old one; n_core.
    """
    top = int(labels.max(initial=0))
    present = np.bincount(labels.ravel(), minlength=top + 1) > 0
    core = np.bincount(labels[owned], minlength=top + 1) > 0
    present[0] = core[0] = False
    old = np.concatenate([np.flatnonzero(core), np.flatnonzero(present & ~core)])
    look_up = np.zeros(top + 1, np.int32)
    look_up[old] = np.arange(1, len(old) + 1, dtype=np.int32)
    return look_up[labels], old, int(core.sum())


def accept(
    labels: NDArray[np.int32],
    mask: NDArray[np.bool_],
    valid: NDArray[np.bool_],
    *,
    next_label: int,
    min_area: int,
    max_overlap: float,
) -> list[int]:
    """Write the acceptable components of one mask into a label map.

    Remote SAMsing (arXiv 2605.00256, §3.2; `docs/algorithms.md#acceptance`): the mask is split into
    4-connected components; a component smaller than `min_area` is dropped; one with at least `max_overlap` of
    its pixels labelled already is dropped; of any other the *unlabelled* pixels get a new label.

    Args:
        labels: (h, w) int32, the part of the label map under the mask's box, 0 = none; written in place.
        mask: (h, w) bool, True = proposed.
        valid: (h, w) bool, True = data; pixels without data never get a label.
        next_label: first label to give.
        min_area: px.
        max_overlap: share 0..1.

    Returns:
        Pixels that each new label got, for labels `next_label`, `next_label + 1`, …
    """
    proposed = mask & valid
    free = proposed & (labels == 0)
    if not free.any():
        return []
    count, components, statistics, _ = cv2.connectedComponentsWithStats(
        proposed.view(np.uint8), connectivity=4, ltype=cv2.CV_32S
    )
    free_pixels = np.bincount(components[free], minlength=count)
    written: list[int] = []
    for component in range(1, count):
        area, unlabelled = int(statistics[component, cv2.CC_STAT_AREA]), int(free_pixels[component])
        if area < min_area or unlabelled == 0 or area - unlabelled >= max_overlap * area:
            continue
        left, top, width, height = (int(v) for v in statistics[component, : cv2.CC_STAT_AREA])
        box = (slice(top, top + height), slice(left, left + width))
        labels[box][(components[box] == component) & free[box]] = next_label + len(written)
        written.append(unlabelled)
    return written
