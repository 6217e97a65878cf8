"""From labels of views to one equirectangular label picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from remotesam.sphere.equirect import Equirect
from remotesam.sphere.ownership import (
    NOBODY,
    Ownership,
    centres,
    owners_on_grid,
    plane_on_grid,
    point_in,
    views_near,
)
from remotesam.sphere.seamlines import ViewSeamline, beyond
from remotesam.sphere.views import View
from remotesam.windows import Window

BLOCK = 1024
"""Side of the windows the picture is assembled in; bounds the temporary memory to about 60 MB."""

LabelsOf = Callable[[int], NDArray[np.int32]]
"""Final ids (size, size) of a view by its index, 0 = none."""


def assemble(
    views: Sequence[View], grid: Equirect, labels_of: LabelsOf, lines: Sequence[ViewSeamline] = ()
) -> NDArray[np.int32]:
    """The label picture of a whole grid.

    Args:
        views: views in index order.
        grid: the picture to fill; any resolution, turned or partial.
        labels_of: called once or more per view; neighbouring windows ask for the same views in turn, so a
            cache of one row of views makes it once.
        lines: seamlines of pairs of views; pairs without one meet at the border of what they own.

    Returns:
        (grid.height, grid.width) int32, 0 = none.
    """
    picture = np.zeros((grid.height, grid.width), np.int32)
    for row in range(0, grid.height, BLOCK):
        for col in range(0, grid.width, BLOCK):
            window = Window(row, col, BLOCK, BLOCK).clip(grid.height, grid.width)
            picture[window.slices] = assemble_window(views, grid, window, labels_of, lines)
    return picture


def assemble_window(
    views: Sequence[View],
    grid: Equirect,
    window: Window,
    labels_of: LabelsOf,
    lines: Sequence[ViewSeamline] = (),
) -> NDArray[np.int32]:
    """One window of the label picture.

    A pixel takes the label of the view that writes it at the nearest pixel. Where that found nothing, it
    takes the label of the nearest view that did: an object is not cut off along the border of a view just
    because the neighbour missed its end.
    """
    near, lattice = views_near(views, grid, window), centres(grid, window)
    owned = owners_on_grid(near, grid, window)
    writer = _writers(near, owned, lattice, lines)
    out = np.zeros(window.shape, np.int32)
    for view in near:
        written = writer == view.index
        if written.any():
            out[written] = _labels_at(labels_of(view.index), *point_in(view, *lattice, written))
    _fill(out, near, lattice, labels_of)
    return out


def _writers(
    near: Sequence[View],
    owned: Ownership,
    lattice: tuple[NDArray[np.float64], NDArray[np.float64]],
    lines: Sequence[ViewSeamline],
) -> NDArray[np.int16]:
    """(h, w) view that writes each pixel: its owner, or the next nearest view where the line says so."""
    writer = owned.owner.copy()
    by_index = {view.index: view for view in near}
    pairs = _pairs(owned.owner, owned.second)
    present = np.bincount(pairs.ravel() + 1)
    for line in lines:
        pair = _pairs(np.int16(line.one), np.int16(line.other))
        if pair + 1 >= len(present) or not present[pair + 1]:
            continue
        rows, cols = np.nonzero(pairs == pair)
        lon, lat = lattice[0][cols].astype(np.float32), lattice[1][rows].astype(np.float32)
        flat = np.cos(lat)
        directions = np.stack([flat * np.cos(lon), flat * np.sin(lon), np.sin(lat)], axis=1)
        to_one, to_other = beyond(line, by_index[line.one], by_index[line.other], directions)
        writer[rows[to_one], cols[to_one]] = line.one
        writer[rows[to_other], cols[to_other]] = line.other
    return writer


def _pairs(one: NDArray[np.int16] | np.int16, other: NDArray[np.int16] | np.int16) -> NDArray[np.int64]:
    """One number for two views in either order; -1 where there is no second."""
    low, high = np.minimum(one, other).astype(np.int64), np.maximum(one, other).astype(np.int64)
    return np.where(low == NOBODY, -1, high * (high - 1) // 2 + low)


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
        fillable = empty & front & (distance <= view.half) & (distance < best)
        middle, focal = view.size / 2, view.focal
        labels = np.zeros(out.shape, np.int32)
        labels[fillable] = _labels_at(
            labels_of(view.index), middle + focal * x[fillable], middle - focal * y[fillable]
        )
        labelled = labels > 0
        out[labelled] = labels[labelled]
        best[labelled] = distance[labelled]


def _labels_at(
    labels: NDArray[np.int32], x: NDArray[np.floating], y: NDArray[np.floating]
) -> NDArray[np.int32]:
    """Labels of a view at points in its pixels; points on its border belong to the outermost pixels."""
    last = labels.shape[0] - 1
    return labels[np.clip(y.astype(np.int32), 0, last), np.clip(x.astype(np.int32), 0, last)]
