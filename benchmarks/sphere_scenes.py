"""Synthetic objects on the sphere, seen by views that disagree: the ground truth of the spherical merge.

Random cells (both poles and the seam among them), seen without error, by views that are each turned a little
(a stitch that does not fit), and with objects that a view cuts in two. Everything follows from the seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from remotesam.sphere import Equirect, Layout, View, views
from remotesam.sphere.equirect import direction

WIDTH = 2048
"""Columns of the panorama; the layout is that of 8192 columns at a quarter of the size."""


@dataclass(frozen=True)
class SphereScene:
    """Objects and how the views see them."""

    seed: int
    gaps: bool = False
    """True = unlabelled bands between objects."""
    misaligned: float = 0.0
    """Each view is turned by this angle about a random axis, degrees."""
    split: float = 0.0
    """Share of the objects that a view sees as two."""
    cells: int = 235

    @cached_property
    def layout(self) -> Layout:
        """The 51 views of an 8K panorama, 256 px each."""
        return views(WIDTH, view_size=256, fov=views(8192).views[0].fov)

    @property
    def grid(self) -> Equirect:
        """The panorama."""
        return Equirect.whole(WIDTH)

    @cached_property
    def _centres(self) -> np.ndarray:
        return _unit(np.random.default_rng(self.seed).normal(size=(self.cells, 3)))

    @cached_property
    def _sizes(self) -> np.ndarray:
        return np.random.default_rng(self.seed + 1).uniform(-0.004, 0.004, self.cells)

    @cached_property
    def _waves(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng(self.seed + 2)
        return rng.normal(0, 5, (3, 12)), rng.uniform(0, 6.3, 12), rng.normal(0, 0.006, (12, 3))

    def objects(self, directions: np.ndarray) -> np.ndarray:
        """Object id 1..cells of directions (N, 3), 0 in a gap; outlines are wavy."""
        frequency, phase, amplitude = self._waves
        bent = _unit(directions + np.sin(directions @ frequency + phase) @ amplitude)
        nearness = bent.astype(np.float32) @ self._centres.T.astype(np.float32) + self._sizes.astype(
            np.float32
        )
        best = nearness.argmax(axis=1)
        if not self.gaps:
            return best.astype(np.int32) + 1
        top = np.take_along_axis(nearness, best[:, None], 1)[:, 0]
        np.put_along_axis(nearness, best[:, None], -2, 1)
        return np.where(top - nearness.max(axis=1) < 0.0012, 0, best + 1).astype(np.int32)

    @cached_property
    def truth(self) -> np.ndarray:
        """(H, W) object ids of the panorama."""
        grid = self.grid
        lon, lat = grid.lonlat(np.arange(grid.width) + 0.5, np.arange(grid.height)[:, None] + 0.5)
        rows = [self.objects(direction(lon, row).reshape(-1, 3)) for row in lat]
        return np.stack(rows)

    def whole(self, view: View) -> np.ndarray:
        """(size, size) int32 object ids where this view sees them, none split: what a perfect merge knows."""
        return self._seen(view)[0].reshape(view.size, view.size)

    def labels(self, view: View) -> np.ndarray:
        """(size, size) int32 labels 1.. as this view sees the scene."""
        seen, rays, rng = self._seen(view)
        for cell in np.unique(seen[seen > 0]):
            cut, side = rng.random() < self.split, _unit(rng.normal(size=3))
            if cut:
                middle = self._centres[cell - 1]
                plane = _unit(side - (side @ middle) * middle)
                seen[(seen == cell) & (rays @ plane > 0)] = cell + self.cells
        _, compact = np.unique(np.append(0, seen), return_inverse=True)
        return compact[1:].reshape(view.size, view.size).astype(np.int32)

    def _seen(self, view: View) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
        """Objects at the pixels of a view, their directions in the scene, and the view's own randomness."""
        rng = np.random.default_rng((self.seed, view.index))
        centre = np.arange(view.size) + 0.5
        x, y = np.meshgrid(centre, centre)
        rays = view.rays(np.stack([x.ravel(), y.ravel()], 1)) @ _turn(rng, self.misaligned)
        return self.objects(rays), rays, rng


def mean_iou(truth: np.ndarray, found: np.ndarray, grid: Equirect) -> float:
    """Mean over the true objects of the solid-angle IoU with the best segment."""
    weight = np.broadcast_to(grid.row_solid_angles()[:, None], truth.shape).ravel()
    rows, cols = truth.ravel(), found.ravel()
    width = int(cols.max()) + 1
    both = np.bincount(rows * np.int64(width) + cols, weight, minlength=(int(rows.max()) + 1) * width)
    shared = both.reshape(-1, width)
    union = shared.sum(1)[:, None] + shared.sum(0)[None, :] - shared
    real = shared[1:].sum(axis=1) > 0
    return float((shared / np.maximum(union, 1e-12))[1:, 1:][real].max(axis=1).mean())


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _turn(rng: np.random.Generator, degrees: float) -> np.ndarray:
    """Rotation by an angle about a random axis."""
    x, y, z = _unit(rng.normal(size=3))
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
