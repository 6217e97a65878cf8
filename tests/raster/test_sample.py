"""The sample of a raster: bounded, spread, repeatable, and it finds islands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from remotesam.raster.sample import BUDGET, sample, sample_level
from remotesam.windows import Window


@dataclass
class Scene:
    """A large raster given by a formula, which counts what is read of it."""

    height: int
    width: int
    island: Window | None = None
    pixels_read: int = 0

    @dataclass
    class Part:
        values: np.ndarray
        valid: np.ndarray

    def read(self, window: Window) -> Part:
        assert Window(0, 0, self.height, self.width).contains(window)
        assert not window.empty
        self.pixels_read += window.area
        rows = np.arange(window.row, window.row_stop)[:, None] / self.height
        cols = np.arange(window.col, window.col_stop)[None] / self.width
        valid = np.ones(window.shape, bool)
        if self.island is not None:
            valid[:] = False
            hit = window.intersect(self.island)
            if not hit.empty:
                valid[hit.relative_to(window).slices] = True
        return self.Part(np.stack([rows + 0 * cols, cols + 0 * rows]), valid)


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (2048, 2048), (1500, 900)])
def test_small_rasters_are_seen_whole(shape: tuple[int, int]) -> None:
    scene = Scene(*shape)
    found = sample(Window(0, 0, *shape), scene.read)
    assert found.seen == found.values.shape[1] == shape[0] * shape[1]
    assert found.valid_share == 1


@pytest.mark.parametrize(
    "shape", [(30_000, 50_000), (2100, 2000), (1, 10_000_000), (5_000_000, 2), (40, 900_000)]
)
def test_large_rasters_are_sampled_evenly_within_the_budget(shape: tuple[int, int]) -> None:
    scene = Scene(*shape)
    found = sample(Window(0, 0, *shape), scene.read)
    assert scene.pixels_read <= 2 * BUDGET
    assert scene.pixels_read == found.seen
    for values, size in zip(found.values, shape, strict=True):
        if size > 2000:
            assert np.allclose(np.quantile(values, [0.02, 0.5, 0.98]), [0.02, 0.5, 0.98], atol=0.07)
    again = sample(Window(0, 0, *shape), Scene(*shape).read)
    assert np.array_equal(again.values, found.values)


def test_a_small_island_in_a_large_empty_raster_is_found() -> None:
    island = Window(61_000, 13_000, 3_000, 3_000)
    scene = Scene(100_000, 100_000, island)
    found = sample(Window(0, 0, 100_000, 100_000), scene.read)
    assert found.values.shape[1] > 1000
    assert scene.pixels_read <= 4 * BUDGET
    assert 0 < found.valid_share < 0.01


def test_nothing_valid_is_an_empty_sample() -> None:
    scene = Scene(3000, 3000, Window(0, 0, 0, 0))
    found = sample(Window(0, 0, 3000, 3000), scene.read)
    assert found.values.shape == (2, 0)
    assert found.valid_share == 0
    assert found.share_of(0) == 0


def test_the_finest_overview_within_the_budget_is_looked_at() -> None:
    assert sample_level([2, 4, 8], 1000, 1000) is None
    assert sample_level([], 90_000, 90_000) is None
    assert sample_level([2, 4, 8, 16], 16_000, 16_000) == 2
    assert sample_level([2, 4], 90_000, 90_000) == 1
