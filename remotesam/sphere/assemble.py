"""From labels of views to one equirectangular label picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from remotesam.sphere.equirect import Equirect
from remotesam.sphere.owner import centres, owners_on_grid, plane_on_grid, views_near
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
    """One window of the label picture.

    A pixel takes the label of its owner at the nearest pixel. Where the owner found nothing, it takes that of
    the next nearest view that did: an object is not cut off along the border of a view just because the
    neighbour missed its end.
    """
    owned = owners_on_grid(views, grid, window)
    out = np.zeros(window.shape, np.int32)
    for view in views:
        here = owned.owner == view.index
        if here.any():
            out[here] = _labels_at(labels_of(view.index), owned.x[here], owned.y[here])
    _fill(out, views_near(views, grid, window), centres(grid, window), labels_of)
    return out


def _fill(
    out: NDArray[np.int32],
    near: Sequence[View],
    lattice: tuple[NDArray[np.float64], NDArray[np.float64]],
    labels_of: LabelsOf,
) -> None:
    """Give unlabelled pixels the label of the nearest view that has one, in place."""
    empty = out == 0
    if not empty.any():
        return
    best = np.full(out.shape, np.inf, np.float32)
    for view in near:
        x, y, z = plane_on_grid(view, *lattice)
        front = z > 1e-6
        depth = np.where(front, z, np.float32(1))
        x /= depth
        y /= depth
        distance = np.maximum(np.abs(x), np.abs(y))
        here = empty & front & (distance <= view.half) & (distance < best)
        middle, focal = view.size / 2, view.focal
        found = np.zeros(out.shape, np.int32)
        found[here] = _labels_at(labels_of(view.index), middle + focal * x[here], middle - focal * y[here])
        labelled = found > 0
        out[labelled] = found[labelled]
        best[labelled] = distance[labelled]


def _labels_at(
    labels: NDArray[np.int32], x: NDArray[np.floating], y: NDArray[np.floating]
) -> NDArray[np.int32]:
    """Labels of a view at points in its pixels; points on its border belong to the outermost pixels."""
    last = labels.shape[0] - 1
    return labels[np.clip(y.astype(np.int32), 0, last), np.clip(x.astype(np.int32), 0, last)]
