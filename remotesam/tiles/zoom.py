"""Where a chip deserves a closer look: windows round what no segment covers, small enough to be enlarged."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from remotesam.windows import Window

MARGIN = 16
"""Context round an unlabelled area, px, so that its neighbours' edges are seen."""

ENLARGEMENT = 2
"""The longer side of a window is at most the chip's shorter one divided by this."""


def zoom_windows(residual: NDArray[np.bool_], least_area: int) -> list[Window]:
    """Windows to segment again (`docs/algorithms.md#zoom`).

    The box of a 4-connected unlabelled area, with `MARGIN`, is one window; one that is too large to be
    enlarged is divided into equal parts. Parts with less than `least_area` unlabelled pixels are left out,
    and so is a window that lies in another one.

    Args:
        residual: (H, W) bool, True = unlabelled.
        least_area: px, at least 1.

    Returns:
        Windows of the chip in reading order; they may overlap.
    """
    height, width = residual.shape
    longest = max(min(height, width) // ENLARGEMENT, 1)
    _, _, statistics, _ = cv2.connectedComponentsWithStats(
        residual.view(np.uint8), connectivity=4, ltype=cv2.CV_32S
    )
    windows: set[Window] = set()
    for left, top, across, down, area in statistics[1:].tolist():
        if area >= least_area:
            box = Window(top, left, down, across).pad(MARGIN).clip(height, width)
            windows |= {part for part in _parts(box, longest) if residual[part.slices].sum() >= least_area}
    return [w for w in sorted(windows) if not any(w != other and other.contains(w) for other in windows)]


def _parts(box: Window, longest: int) -> list[Window]:
    """As few windows as cover the box in rows and columns, no side longer than `longest` but for rounding."""
    rows = np.linspace(box.row, box.row_stop, -(-box.height // longest) + 1).round().astype(int).tolist()
    cols = np.linspace(box.col, box.col_stop, -(-box.width // longest) + 1).round().astype(int).tolist()
    return [
        Window.from_bounds(top, left, bottom, right)
        for top, bottom in pairwise(rows)
        for left, right in pairwise(cols)
    ]
