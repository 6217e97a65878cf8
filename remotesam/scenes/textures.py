"""Colour fields for surfaces: noise at chosen scales, stripes and mottling, as float32 RGB in 0..255."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


def noise(rng: np.random.Generator, shape: tuple[int, int], scale: float, channels: int = 1) -> Image:
    """Give smooth noise of zero mean and unit variance.

    Args:
        rng: Source of randomness.
        shape: (height, width) in pixels.
        scale: Size of one grain in pixels, >= 1.
        channels: Independent channels.

    Returns:
        (H, W, channels) float32.
    """
    rows, cols = (int(np.ceil(s / scale)) + 3 for s in shape)
    coarse = rng.standard_normal((rows, cols, channels), np.float32)
    if scale <= 1:
        return coarse[: shape[0], : shape[1]]
    big = cv2.resize(coarse, (int(cols * scale), int(rows * scale)), interpolation=cv2.INTER_CUBIC)
    top, left = rng.integers(0, int(scale) + 1, 2)
    out = big[top : top + shape[0], left : left + shape[1]]
    return np.ascontiguousarray(out.reshape(*shape, channels))


def mottled(
    rng: np.random.Generator, shape: tuple[int, int], colour: NDArray[np.float64], strength: float
) -> Image:
    """Give a surface of one mean colour with brightness and slight colour variation at several scales.

    Args:
        rng: Source of randomness.
        shape: (height, width) in pixels.
        colour: (3,) mean RGB, 0..255.
        strength: Standard deviation of the brightness in grey levels.
    """
    out = np.empty((*shape, 3), np.float32)
    out[:] = colour
    scales = np.exp(rng.uniform(0, np.log(64), 2))
    for scale in scales:
        out += noise(rng, shape, scale) * (strength / 1.6)
    if rng.random() < 0.3:
        out += noise(rng, shape, float(np.exp(rng.uniform(np.log(4), np.log(64)))), 3) * (strength / 3)
    return out


def stripes(
    rng: np.random.Generator, shape: tuple[int, int], period: float, angle: float, wobble: float = 0.0
) -> Image:
    """Give a (H, W, 1) wave of amplitude 1 across parallel rows.

    Args:
        rng: Source of randomness (phase and wobble).
        shape: (height, width) in pixels.
        period: Distance of two rows in pixels.
        angle: Direction of the rows in radians, 0 = along x.
        wobble: Standard deviation of the rows' sideways wander in pixels.
    """
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    across = y * np.float32(np.cos(angle)) - x * np.float32(np.sin(angle))
    if wobble:
        across += noise(rng, shape, 48)[..., 0] * np.float32(wobble)
    wave: Image = np.sin(across * np.float32(2 * np.pi / period) + np.float32(rng.uniform(0, 6.28)))
    return wave[..., None].astype(np.float32)
