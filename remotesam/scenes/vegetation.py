"""Surfaces seen from so near that single leaves, blades and clods show: light planes and their colours."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from remotesam.scenes.canvas import Colour
from remotesam.scenes.textures import Image, noise

Plane = NDArray[np.float32]
TILE = 384
"""Side in pixels up to which strokes are drawn one by one; larger planes are mirrored from such a tile."""
MOST_STROKES = 9000

GREENS = np.array(
    [[104, 132, 62], [84, 118, 54], [128, 148, 74], [70, 100, 58], [116, 124, 66], [96, 140, 80]], float
)
STRAWS = np.array([[214, 184, 122], [196, 164, 100], [222, 200, 150], [186, 160, 116]], float)
SOILS = np.array(
    [[134, 118, 98], [112, 94, 76], [156, 140, 118], [92, 76, 64], [150, 116, 88], [176, 164, 146]], float
)


def strokes(
    rng: np.random.Generator,
    shape: tuple[int, int],
    length: float,
    width: float,
    *,
    angle: float = 0.0,
    spread: float = np.pi,
    cover: float = 2.5,
) -> Plane:
    """Draw leaves or blades over each other, the later the lighter, with dark gaps between them.

    Args:
        rng: Source of randomness.
        shape: (height, width) in pixels.
        length: Mean length of a stroke in pixels.
        width: Its width in pixels.
        angle: Main direction in radians.
        spread: Strokes turn from `angle` by up to this, evenly.
        cover: How often a place is covered on average.

    Returns:
        (H, W) float32 light, 0 = deepest gap to 1 = brightest leaf.
    """
    rows, columns = min(shape[0], TILE), min(shape[1], TILE)
    count = int(np.clip(cover * rows * columns / max(0.7 * length * width, 1), 40, MOST_STROKES))
    tile = np.full((rows, columns), 0.1, np.float32)
    centre = rng.uniform(-0.02, 1.02, (count, 2)) * (columns, rows)
    turn = angle + rng.uniform(-spread, spread, count)
    reach = length / 2 * rng.uniform(0.6, 1.4, count)
    half = width / 2 * rng.uniform(0.7, 1.3, count)
    along = np.stack([np.cos(turn), np.sin(turn)], 1)
    across = np.stack([-along[:, 1], along[:, 0]], 1) * half[:, None]
    bow = across * rng.uniform(-1.5, 1.5, (count, 1))
    tip, tail = centre + along * reach[:, None] + bow, centre - along * reach[:, None] + bow
    rings = np.stack([tail, centre + across, tip, centre - across], 1)
    rings = np.round(rings * 16).astype(np.int32)
    level = np.linspace(0.15, 0.8, count) + rng.normal(0, 0.14, count)
    for ring, light in zip(rings, np.clip(level, 0.03, 1).tolist(), strict=True):
        cv2.fillConvexPoly(tile, ring, light, cv2.LINE_8, 4)
    return mirrored(tile, shape)


def clods(rng: np.random.Generator, shape: tuple[int, int], size: float) -> Plane:
    """Give the light of bare soil or gravel: (H, W) float32 in 0..1, with grains about `size` pixels wide."""
    plane = np.zeros(shape, np.float32)
    for factor, share in ((1.0, 0.5), (2.3, 0.35), (0.4, 0.35)):
        plane += share * noise(rng, shape, max(1.0, size * factor))[..., 0]
    return np.asarray(1 / (1 + np.exp(-2.2 * plane)), np.float32)


def mirrored(tile: Plane, shape: tuple[int, int]) -> Plane:
    """Grow a tile to a shape by mirroring, which leaves no seams."""
    more = (max(0, shape[0] - tile.shape[0]), max(0, shape[1] - tile.shape[1]))
    return np.ascontiguousarray(np.pad(tile, ((0, more[0]), (0, more[1])), "symmetric"))


def coloured(light: Plane, dark: Colour, bright: Colour) -> Image:
    """Turn light 0..1 into (H, W, 3) RGB between two colours."""
    low, high = dark.astype(np.float32), bright.astype(np.float32)
    return low + light[..., None] * (high - low)


def mixed(below: Image, above: Image, share: Plane) -> Image:
    """Lay one picture over another with (H, W) shares 0..1."""
    return below + np.clip(share, 0, 1)[..., None] * (above - below)


def soil(rng: np.random.Generator, shape: tuple[int, int], size: float) -> Image:
    """Give bare ground: clods of `size` pixels, damp and dry areas, here and there straw."""
    colour = SOILS[rng.integers(len(SOILS))] * rng.uniform(0.8, 1.15) + rng.normal(0, 5, 3)
    depth = rng.uniform(0.12, 0.45)
    picture = coloured(clods(rng, shape, size), colour * (1 - depth), colour * (1 + depth))
    picture *= 1 + rng.uniform(0, 0.09) * noise(rng, shape, max(shape) / rng.uniform(3, 9))
    if rng.random() < 0.4:
        litter = strokes(rng, shape, max(3 * size, 5), max(0.5 * size, 1), cover=0.12)
        picture = mixed(picture, picture * 0 + np.float32(STRAWS[0]), (litter - 0.2) * rng.uniform(0.4, 1))
    return picture


def sward(rng: np.random.Generator, shape: tuple[int, int], size: float) -> Image:
    """Give grass or weeds of leaves about `size` pixels long: green to straw, dense to worn."""
    green = GREENS[rng.integers(len(GREENS))] * rng.uniform(0.7, 1.2) + rng.normal(0, 7, 3)
    if rng.random() < 0.3:
        green = green + (STRAWS[rng.integers(len(STRAWS))] - green) * rng.uniform(0.2, 1)
    slender = rng.uniform(0.12, 0.6)
    narrow = rng.random() < 0.5
    light = strokes(
        rng, shape, size, max(slender * size, 1), angle=rng.uniform(0, np.pi),
        spread=rng.uniform(0.3, 0.9) if narrow else np.pi, cover=rng.uniform(1.5, 3.5),
    )  # fmt: skip
    deep = rng.uniform(0.15, 0.7)
    picture = coloured(light, green * deep, green * rng.uniform(1.15, 1.5))
    picture *= 1 + rng.uniform(0, 0.12) * noise(rng, shape, max(4 * size, max(shape) / rng.uniform(4, 16)))
    if rng.random() < 0.3:  # worn, so that the ground shows in places of no clear border
        bare = noise(rng, shape, max(3 * size, 8))[..., 0] - rng.uniform(0.4, 1.5)
        picture = mixed(picture, soil(rng, shape, max(1.0, 0.3 * size)), 1.5 * bare)
    return picture
