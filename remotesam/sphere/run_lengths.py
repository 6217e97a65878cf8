"""Label pictures on the sphere as runs: components over the seam and the poles, exact moments, contacts.

A run is a stretch of one label in one row. Everything that asks "which pixels touch" or "how large" is
answered on runs: their number follows the outlines, not the area, and the picture can be painted back from
them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from remotesam.grouping import last_of_run
from remotesam.sphere.equirect import Equirect

BLOCK_ROWS = 256
"""Rows compared at once; bounds the temporary memory to a few MB per 1 000 columns."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of an (H, W) label picture, row by row from the left."""

    grid: Equirect
    row: NDArray[np.int32]
    """(R,) row of the run."""
    start: NDArray[np.int32]
    """(R,) first column."""
    stop: NDArray[np.int32]
    """(R,) column after the last."""
    label: NDArray[np.int32]
    """(R,) its label, 0 = none."""
    pairs: Ints
    """(E, 2) runs that share a pixel edge on the sphere, over the seam and around a pole too; unique."""

    def paint(self, labels: NDArray[np.int32]) -> NDArray[np.int32]:
        """The picture with a new label per run: (R,) to (H, W)."""
        return np.repeat(labels, self.stop - self.start).reshape(self.grid.height, self.grid.width)

    def components(self) -> tuple[int, NDArray[np.int32]]:
        """Connected sets of equal label: their number and the (R,) component of each run."""
        same = self.pairs[self.label[self.pairs[:, 0]] == self.label[self.pairs[:, 1]]]
        count = len(self.label)
        ones = np.ones(len(same), np.int8)
        number, component = connected_components(
            coo_array((ones, (same[:, 0], same[:, 1])), shape=(count, count)), directed=False
        )
        return int(number), component.astype(np.int32)

    def contacts(self, component: NDArray[np.int32]) -> Ints:
        """(N, 2) pairs of components that touch, smaller number first, unique."""
        ends = np.sort(component[self.pairs].astype(np.int64), axis=1)
        return np.unique(ends[ends[:, 0] != ends[:, 1]], axis=0)

    def solid_angles(self) -> NDArray[np.float64]:
        """(R,) solid angle of each run, sr."""
        return self.grid.row_solid_angles()[self.row] * (self.stop - self.start)

    def moments(self) -> NDArray[np.float64]:
        """(R, 3) integral of the direction over each run (camera frame), sr; exact, no sampling."""
        grid = self.grid
        edges = math.pi / 2 - (np.arange(grid.height + 1) + grid.top) * (math.pi / grid.full_height)
        # ∫ cos² φ dφ for the two horizontal parts, ∫ sin φ cos φ dφ for the vertical one.
        flat = -np.diff(edges / 2 + np.sin(2 * edges) / 4)
        steep = -np.diff(np.sin(edges) ** 2 / 2)
        west, _ = grid.lonlat(self.start, 0.0)
        east, _ = grid.lonlat(self.stop, 0.0)
        west, east = np.radians(west + grid.centre), np.radians(east + grid.centre)
        return np.stack(
            [
                flat[self.row] * (np.sin(east) - np.sin(west)),
                flat[self.row] * (np.cos(west) - np.cos(east)),
                steep[self.row] * (east - west),
            ],
            axis=1,
        )


def find_runs(labels: NDArray[np.int32], grid: Equirect) -> Runs:
    """Runs of a label picture that fills `grid`, and which of them touch on the sphere.

    Pixels touch along their four edges. Where the picture is a whole turn, its first and last column touch;
    the pixels of a row that ends in a pole all meet there and touch each other.
    """
    height, width = labels.shape
    parts: list[tuple[NDArray[np.int32], NDArray[np.int32]]] = []
    edges: list[Ints] = []
    first = 0
    last_row: Ints | None = None
    for top in range(0, height, BLOCK_ROWS):
        block = labels[top : top + BLOCK_ROWS]
        begins = _begins(block)
        number = np.cumsum(begins.ravel(), dtype=np.int64).reshape(block.shape) + (first - 1)
        rows, cols = np.nonzero(begins)
        parts.append(((rows + top).astype(np.int32), cols.astype(np.int32)))
        stacked = number if last_row is None else np.vstack([last_row, number])
        starts = begins if last_row is None else np.vstack([_begins(last_row), begins])
        edges.append(_vertical(stacked, starts))
        if grid.wraps and width > 1:
            edges.append(number[:, [0, -1]])
        first = int(number[-1, -1]) + 1
        last_row = number[-1:]
    row, start = (np.concatenate([part[axis] for part in parts]) for axis in (0, 1))
    ends_row = last_of_run(row)
    stop = np.where(ends_row, width, np.append(start[1:], width)).astype(np.int32)
    beside = np.flatnonzero(~ends_row)
    edges.append(np.stack([beside, beside + 1], axis=1))
    label = labels[row, start]
    edges += [_around_pole(label, row, at) for at in _pole_rows(grid)]
    pairs = np.sort(np.concatenate(edges), axis=1)
    keys = np.unique(pairs[:, 0] * np.int64(len(row)) + pairs[:, 1])
    unique = np.stack(np.divmod(keys, np.int64(len(row))), axis=1)
    return Runs(grid, row, start, stop, label, unique[unique[:, 0] != unique[:, 1]])


def _begins(number: NDArray[np.signedinteger]) -> NDArray[np.bool_]:
    begins = np.ones(number.shape, bool)
    np.not_equal(number[:, 1:], number[:, :-1], out=begins[:, 1:])
    return begins


def _vertical(number: Ints, begins: NDArray[np.bool_]) -> Ints:
    """Pairs of runs above each other: a pair is new only where one of the two begins."""
    new = begins[1:] | begins[:-1]
    return np.stack([number[:-1][new], number[1:][new]], axis=1)


def _pole_rows(grid: Equirect) -> list[int]:
    ends = [0] if grid.reaches_north else []
    return [*ends, grid.height - 1] if grid.reaches_south else ends


def _around_pole(label: NDArray[np.int32], row: NDArray[np.int32], at: int) -> Ints:
    """Links between all runs of a pole's row: each to its label's first run, and those to each other."""
    runs = np.flatnonzero(row == at)
    _, heads, inverse = np.unique(label[runs], return_index=True, return_inverse=True)
    leaders = runs[heads]
    own = np.stack([runs, leaders[inverse]], axis=1)
    # Labels that meet at a pole are few; all pairs of them are still few.
    one, other = np.triu_indices(len(leaders), 1)
    return np.concatenate([own, np.stack([leaders[one], leaders[other]], axis=1)])
