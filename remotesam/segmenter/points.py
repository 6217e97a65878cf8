"""Prompt points of a pass: the regular grid, whole or in rounds, and cluster centres of what is left."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

KMEANS_CENTRES = 64
"""Cluster centres of the "kmeans" strategy (Remote SAMsing, arXiv 2605.00256, §3)."""

KMEANS_SAMPLE = 20_000
"""Pixels that the clustering looks at; more change the centres by less than a pixel and cost seconds."""


def grid(height: int, width: int, per_side: int) -> NDArray[np.float64]:
    """Centres of `per_side` × `per_side` equal cells, row by row (SAM's `build_point_grid`).

    Returns:
        (per_side², 2) float64 (x, y) in pixels, pixel edges at integers.
    """
    x = (np.arange(per_side) + 0.5) / per_side * width
    y = (np.arange(per_side) + 0.5) / per_side * height
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def nested_grids(height: int, width: int, per_side: int) -> list[NDArray[np.float64]]:
    """The points of `grid` in rounds from coarse to fine, each point in one round.

    The first round has every 8th row and column, the next ones what every 4th, every 2nd and all of them add.

    Returns:
        (N, 2) float64 (x, y) in pixels each; a round of a small grid may be empty.
    """
    number = np.arange(per_side)
    left = np.ones((per_side, per_side), np.bool_)
    rounds = []
    for stride in (8, 4, 2, 1):
        # Every 8th from the 4th on, so that the few coarsest points do not lie at the chip's upper left rim.
        line = number % stride == (stride // 2 if stride == 8 else 0)
        here = left & line[:, None] & line[None]
        left &= ~here
        rounds.append(grid(height, width, per_side)[here.ravel()])
    return rounds


def keep_allowed(points: NDArray[np.float64], allowed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The points that lie in an allowed pixel.

    Args:
        points: (N, 2) float64 (x, y), 0 ≤ x ≤ width, 0 ≤ y ≤ height.
        allowed: (height, width) bool, True = a point may lie here.
    """
    height, width = allowed.shape
    col = np.minimum(points[:, 0].astype(np.intp), width - 1)
    row = np.minimum(points[:, 1].astype(np.intp), height - 1)
    kept: NDArray[np.float64] = points[allowed[row, col]]
    return kept


def cluster_centres(allowed: NDArray[np.bool_], centres: int = KMEANS_CENTRES) -> NDArray[np.float64]:
    """Points spread over the allowed pixels: for each k-means cluster of them, the pixel nearest its centre.

    The centre itself can lie in a hole of its cluster, hence the nearest allowed pixel. Deterministic.

    Args:
        allowed: (height, width) bool, True = not covered yet.
        centres: at most this many points.

    Returns:
        (N, 2) float64 (x, y) of pixel centres, N ≤ `centres`; empty when nothing is allowed.
    """
    rows, cols = np.nonzero(allowed)
    if len(rows) == 0:
        return np.empty((0, 2))
    every = -(-len(rows) // KMEANS_SAMPLE)
    pixels = np.stack([cols[::every], rows[::every]], axis=1).astype(np.float32) + np.float32(0.5)
    if len(pixels) <= centres:
        return pixels.astype(np.float64)
    cv2.setRNGSeed(42)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 0.5)
    _, _, middle = cv2.kmeans(pixels, centres, None, stop, 1, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
    distance = ((pixels[:, None] - middle[None]) ** 2).sum(-1)
    return np.unique(pixels[distance.argmin(axis=0)], axis=0).astype(np.float64)
