"""A cheap look at a raster before the run: its stretch, its share of valid pixels, what is odd about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remotesam.raster.pixels import Pixels
from remotesam.windows import Window

BUDGET = 2**22
"""Pixels looked at in one round. A bound on cost, not on error: neighbouring pixels are alike, and averaged
overviews narrow the tails, so limits of a stretch are near the exact percentiles and not equal to them."""

ENOUGH = 10_000
"""Valid pixels after which no further round is needed."""

_PER_SIDE = (8, 16, 32, 64)
"""Sample windows along each side of the raster in each round; their size shrinks so that `BUDGET` holds."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """The sampled pixels."""

    values: NDArray[Any]
    """(bands, n), the valid ones."""
    seen: int
    """All that were looked at, valid or not."""

    @property
    def valid_share(self) -> float:
        """Share of pixels that hold data, 0–1."""
        return self.values.shape[1] / self.seen if self.seen else 0.0

    def share_of(self, value: float) -> float:
        """Share of the valid pixels whose bands all have this value, 0–1."""
        if self.values.shape[1] == 0:
            return 0.0
        return float((self.values == value).all(axis=0).mean())


def sample_level(factors: Sequence[int], height: int, width: int) -> int | None:
    """The overview to look at: the finest within `BUDGET`, else the coarsest; None = full resolution.

    Args:
        factors: Decimation factor of each overview of the file, in its order.
        height: Rows at full resolution.
        width: Columns at full resolution.
    """
    if height * width <= BUDGET or not factors:
        return None
    sizes = [(height / factor) * (width / factor) for factor in factors]
    within = [size for size in sizes if size <= BUDGET]
    return sizes.index(max(within) if within else min(sizes))


def sample(whole: Window, read: Callable[[Window], Pixels]) -> Sample:
    """Look at a raster: at all of it up to `BUDGET` pixels, else at windows spread evenly over it.

    When nearly all windows fall on nodata, finer rounds follow, so that small islands of data in a large
    empty mosaic are found. The same raster always gives the same sample.

    Args:
        whole: The raster.
        read: Reads one window of it.
    """
    samples: list[NDArray[Any]] = []
    seen = valid = 0
    for windows in rounds(whole.height, whole.width):
        for window in windows:
            pixels = read(window)
            seen += window.area
            valid += int(pixels.valid.sum())
            samples.append(pixels.values[:, pixels.valid])
        if valid >= ENOUGH:
            break
    return Sample(np.concatenate(samples, axis=1), seen)


def rounds(height: int, width: int) -> Iterator[list[Window]]:
    """The windows of each round: all of the raster, or ever finer windows spread over it.

    Args:
        height: Rows of the raster, px.
        width: Columns, px.

    Yields:
        Windows that hold at most `BUDGET` pixels together.
    """
    if height * width <= BUDGET:
        rows = max(BUDGET // 4 // width, 1)
        yield [Window(row, 0, min(rows, height - row), width) for row in range(0, height, rows)]
        return
    for per_side in _PER_SIDE:
        side = int(BUDGET**0.5) // per_side
        tops, lefts = _spread(height, side, per_side), _spread(width, side, per_side)
        yield [Window(top, left, min(side, height), min(side, width)) for top in tops for left in lefts]


def _spread(size: int, side: int, count: int) -> list[int]:
    """Starts of at most `count` stretches of `side` pixels, centred in equal parts of `size`."""
    last = max(size - side, 0)
    return sorted({min(max((2 * k + 1) * size // (2 * count) - side // 2, 0), last) for k in range(count)})
