"""From labels of views to one equirectangular label picture: every pixel takes the label of its owner."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from remotesam.sphere.equirect import Equirect
from remotesam.sphere.owner import owners_on_grid
from remotesam.sphere.views import View
from remotesam.windows import Window

BLOCK = 1024
"""Side of the windows the picture is assembled in; bounds the temporary memory to about 60 MB."""

LabelsOf = Callable[[int], NDArray[np.int32]]
"""Final ids (size, size) of a view by its index, 0 = none."""


def assemble(views: Sequence[View], grid: Equirect, labels_of: LabelsOf) -> NDArray[np.int32]:
    """The label picture of a whole grid.

    Args:
        views: views in index order.
        grid: the picture to fill; any resolution, turned or partial.
        labels_of: called once or more per view; neighbouring windows ask for the same views in turn, so a
            cache of one row of views makes it once.

    Returns:
        (grid.height, grid.width) int32, 0 = none.
    """
    picture = np.zeros((grid.height, grid.width), np.int32)
    for row in range(0, grid.height, BLOCK):
        for col in range(0, grid.width, BLOCK):
            window = Window(row, col, BLOCK, BLOCK).clip(grid.height, grid.width)
            picture[window.slices] = assemble_window(views, grid, window, labels_of)
    return picture


def assemble_window(
    views: Sequence[View], grid: Equirect, window: Window, labels_of: LabelsOf
) -> NDArray[np.int32]:
    """One window of the label picture, by the nearest pixel of the owner."""
    owned = owners_on_grid(views, grid, window)
    out = np.zeros(window.shape, np.int32)
    for view in views:
        here = owned.owner == view.index
        if not here.any():
            continue
        last = view.size - 1
        cols = np.clip(owned.x[here].astype(np.int32), 0, last)
        rows = np.clip(owned.y[here].astype(np.int32), 0, last)
        out[here] = labels_of(view.index)[rows, cols]
    return out
