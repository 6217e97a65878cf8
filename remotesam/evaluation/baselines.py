"""Superpixels to compare with: SLIC and Felzenszwalb at the number of segments that is to be judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from skimage import segmentation

from remotesam.errors import ConfigError, InputError

BASELINES = ("slic", "felzenszwalb")
"""Names of the methods."""

COMPACTNESS = 10.0
"""Of SLIC, in CIELAB units per pixel: the default of scikit-image and of arXiv 2605.00256."""

SIGMA = 0.5
"""Smoothing of Felzenszwalb, px (arXiv 2605.00256)."""

MIN_SIZE = 50
"""Smallest segment of Felzenszwalb, px (arXiv 2605.00256)."""

TOLERANCE = 0.03
"""The number of segments may differ by this share."""

MAX_PIXELS = 100_000_000
"""Neither method streams; both need about 100 bytes per pixel."""

_TRIES = 8

_NARROW = 0.01
"""Bracket, in logarithms of the parameter, within which no better count is to be found."""

_FLAT = 0.05
"""Slope of the count, in logarithms, below which a line says nothing: the count has jumped."""


def check_baselines(names: Sequence[str], pixels: int) -> None:
    """Refuse what cannot work, before any work is done.

    Raises:
        ConfigError: there is no such method.
        InputError: an image of so many pixels is too large for methods that cannot stream.
    """
    for name in names:
        if name not in BASELINES:
            raise ConfigError(f"baseline {name!r}: choose from {', '.join(BASELINES)}")
        if pixels > MAX_PIXELS:
            raise InputError(
                f"baseline {name}: {pixels / 1e6:.0f} Mpx do not fit in memory; judge a part, at most "
                f"{MAX_PIXELS / 1e6:.0f} Mpx"
            )


def baseline(
    name: str, image: NDArray[np.uint8], valid: NDArray[np.bool_], segments: int
) -> NDArray[np.int32]:
    """Segment an image into a wanted number of segments; their parameter is searched.

    Args:
        name: one of `BASELINES`; see `check_baselines`.
        image: (H, W, 3) uint8 RGB.
        valid: (H, W), True = data; the rest gets no label.
        segments: how many are wanted, ≥ 1; the nearest number found is returned.

    Returns:
        (H, W) labels from 1, 0 = not valid.
    """

    def slic(amount: float) -> NDArray[np.int32]:
        labels = segmentation.slic(image, n_segments=round(amount), compactness=COMPACTNESS, start_label=1)
        return np.where(valid, labels, 0).astype(np.int32)

    def felzenszwalb(detail: float) -> NDArray[np.int32]:
        labels = segmentation.felzenszwalb(image, scale=1 / detail, sigma=SIGMA, min_size=MIN_SIZE)
        return np.where(valid, labels + 1, 0).astype(np.int32)

    if name == "slic":
        return _search(slic, segments, float(segments))
    return _search(felzenszwalb, segments, 1e-3)


def _search(segment: Callable[[float], NDArray[np.int32]], wanted: int, start: float) -> NDArray[np.int32]:
    """The labels whose count is nearest to `wanted`, over a parameter that raises the count.

    The count is nearly a power of the parameter, so the next try is where the last two put it on a line in
    logarithms (secants), and the middle of the bracket where that leaves the bracket.
    """
    low, high = -np.inf, np.inf
    tried: list[tuple[float, float]] = []
    position, best, best_miss = np.log(start), np.zeros((0, 0), np.int32), np.inf
    for _ in range(_TRIES):
        labels = segment(float(np.exp(position)))
        count = max(_count(labels), 1)
        if abs(count - wanted) < best_miss:
            best, best_miss = labels, abs(count - wanted)
        if best_miss <= TOLERANCE * wanted or high - low < _NARROW:
            break
        tried.append((position, np.log(count / wanted)))
        low, high = (position, high) if count < wanted else (low, position)
        position = _next(tried, low, high)
    return best


def _next(tried: list[tuple[float, float]], low: float, high: float) -> float:
    """Where the logarithm of the parameter should give no excess; inside the bracket."""
    position, excess = tried[-1]
    slope = 1.0
    if len(tried) > 1 and tried[-2][0] != position:
        slope = (excess - tried[-2][1]) / (position - tried[-2][0])
    guess = position - excess / slope if slope > _FLAT else np.nan
    if low < guess < high:
        return float(guess)
    return float((max(low, position - 3) + min(high, position + 3)) / 2)


def _count(labels: NDArray[np.int32]) -> int:
    return int((np.bincount(labels.ravel())[1:] > 0).sum())
