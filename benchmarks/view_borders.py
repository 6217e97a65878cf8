"""How much of the borders between views shows: the seam rate of a panorama.

A label picture shows where two views meet when segments end along the border of what they own. Objects that
happen to end there do too, so the same is counted on the lines through the middles of the views, half a view
away: what the rate would be if views left no trace.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from remotesam.merge.components import Edges, components
from remotesam.panorama.tasks import read_edges, read_lines, read_view
from remotesam.run.store import RunStore
from remotesam.sphere import Equirect, Layout
from remotesam.sphere.mosaic import BLOCK, assemble
from remotesam.sphere.ownership import centres, owners_on_grid, plane_on_grid, views_near
from remotesam.sphere.seamlines import ViewSeamline
from remotesam.windows import Window

LEAST_RUN = 8.0
"""A border shows where labels change along it for so many px of the equator at a stretch; a segment that
merely crosses it changes it for one or two."""


@dataclass(frozen=True)
class BorderRate:
    """Shares of length, 0..1."""

    at_borders: float
    elsewhere: float

    def __str__(self) -> str:
        """In per cent, the control in brackets."""
        return f"{self.at_borders:.1%} ({self.elsewhere:.1%})"


class ViewBorders:
    """The borders of a layout on a picture's grid, and the lines half a view away."""

    def __init__(self, layout: Layout, grid: Equirect) -> None:
        """Find them."""
        owner = np.zeros((grid.height, grid.width), np.int16)
        quarter = np.zeros(owner.shape, np.int8)
        for row in range(0, grid.height, BLOCK):
            for col in range(0, grid.width, BLOCK):
                window = Window(row, col, BLOCK, BLOCK).clip(grid.height, grid.width)
                owner[window.slices] = owners_on_grid(layout.views, grid, window).owner
                for view in views_near(layout.views, grid, window):
                    here = owner[window.slices] == view.index
                    x, y, _ = plane_on_grid(view, *centres(grid, window))
                    quarter[window.slices][here] = (2 * (x > 0) + (y > 0))[here]
        self.grid = grid
        self.borders = _edges(owner)
        by_quarter = _edges(owner * np.int16(4) + quarter)
        self.middles = tuple(q & ~b for q, b in zip(by_quarter, self.borders, strict=True))

    def rate(self, labels: np.ndarray) -> BorderRate:
        """Count on a label picture."""
        changes = _edges(labels)
        return BorderRate(self._share(self.borders, changes), self._share(self.middles, changes))

    def _share(self, where: tuple[np.ndarray, ...], changes: tuple[np.ndarray, ...]) -> float:
        total = self._lengths(where)[0].sum()
        lengths, (first, last) = self._lengths(tuple(w & c for w, c in zip(where, changes, strict=True)))
        corners = (self.grid.height + 1) * self.grid.width
        _, part = connected_components(
            coo_array((np.ones(len(first), bool), (first, last)), (corners, corners))
        )
        stretch = np.bincount(part[first], lengths)
        return float(stretch[stretch >= LEAST_RUN].sum() / total)

    def _lengths(self, edges: tuple[np.ndarray, ...]) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        """Length of the marked pixel edges in px of the equator, and the two pixel corners of each."""
        width = self.grid.width
        (row, col), (above, over) = np.nonzero(edges[0]), np.nonzero(edges[1])
        _, lat = self.grid.lonlat(0.0, np.arange(1, self.grid.height))
        lengths = np.concatenate([np.ones(len(row)), np.cos(np.radians(lat))[above]])
        right = (col + 1) % width
        first = np.concatenate([row * width + right, (above + 1) * width + over])
        last = np.concatenate([(row + 1) * width + right, (above + 1) * width + (over + 1) % width])
        return lengths, (first, last)


def before_and_after(store: RunStore, layout: Layout, grid: Equirect) -> tuple[BorderRate, BorderRate]:
    """The rates of a finished run when views write what they own, and with seamlines."""
    indices = range(len(layout))
    joined = components(
        [0 if (view := read_view(store, index)) is None else view.n_core for index in indices],
        Edges.concatenate([read_edges(store, index) for index in indices]),
    )

    def labels_of(index: int) -> np.ndarray:
        view = read_view(store, index)
        if view is None:
            return np.zeros((layout.views[index].size,) * 2, np.int32)
        ids = np.zeros(len(view.solid_angle) + 1, np.int32)
        ids[1 : view.n_core + 1] = joined.lut(index)
        return ids[view.labels]

    borders = ViewBorders(layout, grid)
    lines: list[ViewSeamline] = [line for index in indices for line in read_lines(store, index)]
    plain, handed = (assemble(layout.views, grid, labels_of, used) for used in ([], lines))
    return borders.rate(plain), borders.rate(handed)


def _edges(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where a pixel differs from its right neighbour (over the seam too), and from the one below."""
    return picture != np.roll(picture, -1, axis=1), picture[:-1] != picture[1:]
