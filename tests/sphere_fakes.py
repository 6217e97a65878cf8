"""Painted spheres, and a segmenter that knows their paints."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from remotesam.segmenter.protocol import NetworkCalls, Query
from remotesam.sphere import Equirect
from remotesam.sphere.equirect import direction
from tests.fakes import Fixed, candidate

PAINTS = np.array(
    [[40 + 50 * (k % 5), 30 + 70 * (k // 5 % 4), 60 + 90 * (k // 20)] for k in range(40)], np.uint8
)


class PaintSegmenter:
    """Proposes every 4-connected region of one of the paints; colours that sampling mixed are in none."""

    name, digest, image_size, device = "paints", "2" * 64, 64, "cpu"

    def __init__(self) -> None:
        self.network_calls = NetworkCalls()

    def propose(self, queries: Sequence[Query]) -> list[Fixed]:
        self.network_calls.encodes += len(queries)
        return [Fixed(self._regions(query.image)) for query in queries]

    def _regions(self, image: np.ndarray) -> list:
        found = []
        code = _codes(image)
        present = np.isin(_codes(PAINTS), code)
        for k in np.flatnonzero(present):
            mask = (code == _codes(PAINTS[k])).view(np.uint8)
            count, parts, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
            large = [part for part in range(1, count) if stats[part, cv2.CC_STAT_AREA] >= 20]
            found += [candidate(parts == part, 0.95 + k / 1000) for part in large]
        return found


def _codes(colours: np.ndarray) -> np.ndarray:
    """One number per colour."""
    return colours.astype(np.int32) @ np.array([65536, 256, 1], np.int32)


def grid_directions(grid: Equirect) -> np.ndarray:
    """(H, W, 3) directions of the pixel centres."""
    lon, lat = grid.lonlat(np.arange(grid.width) + 0.5, np.arange(grid.height)[:, None] + 0.5)
    return direction(lon + grid.centre, lat)


def painted(width: int, cells: int = 40, seed: int = 0, scale: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A sphere of random cells, no two neighbours alike: (H, W, 3) picture and (H, W) ids 1..cells."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(cells, 3))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    ids = (grid_directions(Equirect.whole(width)) @ centres.T).argmax(axis=2).astype(np.int32) + 1
    return PAINTS[(ids - 1) % len(PAINTS)], ids
