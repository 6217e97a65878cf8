"""Crowns against crowns, and the ground of meadows and gardens from near: objects that differ little."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from remotesam.scenes.canvas import Canvas, Points, blob
from remotesam.scenes.textures import Image, noise
from remotesam.scenes.vegetation import GREENS, coloured, soil, strokes, sward


def forest(canvas: Canvas, _gsd: float) -> None:
    """Crowns of one to three like species, from a closed wood to single trees with long shadows on sand."""
    rng = canvas.rng
    radius = float(np.exp(rng.uniform(np.log(8), np.log(90))))
    floor = soil(rng, canvas.shape, rng.uniform(1, 3))
    if rng.random() < 0.5:
        floor = sward(rng, canvas.shape, rng.uniform(2.5, 7)) * np.float32(rng.uniform(0.5, 1.1))
    canvas.paint(_everything(canvas), canvas.new("ground"), floor * (1 + 0.2 * noise(rng, canvas.shape, 25)))
    leaf = float(np.clip(radius * rng.uniform(0.06, 0.3), 2, 14))
    kinds = [foliage(canvas, leaf) for _ in range(int(rng.choice([1, 2, 2, 3])))]
    closed = rng.random() < 0.6
    spacing = radius * (rng.uniform(1.2, 1.7) if closed else rng.uniform(1.9, 4))
    depth, ragged = float(rng.uniform(0.3, 0.75)), float(rng.uniform(0.05, 0.6))
    spots = np.stack(
        np.meshgrid(
            np.arange(-spacing, canvas.shape[1] + spacing, spacing),
            np.arange(-spacing, canvas.shape[0] + spacing, spacing),
        ),
        -1,
    ).reshape(-1, 2)
    spots = spots + rng.normal(0, 0.28, spots.shape) * spacing
    for spot in rng.permutation(spots):
        if rng.random() < 0.06:
            continue
        size = radius * float(np.exp(rng.normal(0, 0.28)))
        crown(canvas, spot, size, kinds[rng.integers(len(kinds))], depth, ragged)
    if rng.random() < 0.5:  # shadows of ragged crowns have no sharp rim
        canvas.light[:] = cv2.GaussianBlur(canvas.light, (0, 0), float(rng.uniform(0.8, 0.12 * radius + 1)))


def crown(
    canvas: Canvas,
    middle: Points,
    radius: float,
    look: Image,
    depth: float,
    ragged: float,
    label: int | None = None,
) -> None:
    """Paint one crown as a dome of clumps: bright towards the sun, dark at its foot, ragged at its rim.

    Args:
        canvas: Where to paint.
        middle: (2,) pixel (x, y).
        radius: Mean radius in pixels.
        look: (H, W, 3) RGB of fully lit leaves over the canvas.
        depth: How dark the side away from the sun is, as a share.
        ragged: How far leaves at the rim leave or miss the outline, as a share of the radius.
        label: Instance that it is part of; None = one of its own.
    """
    rng = canvas.rng
    ring = middle + blob(rng, radius, 0.22, 30)
    where = canvas.window(middle + (ring - middle) * 1.3)
    if where is None:
        return
    canvas.cast(ring, 1.3 * radius)
    y, x = np.mgrid[where].astype(np.float32)
    shape = (where[0].stop - where[0].start, where[1].stop - where[1].start)
    inside = cv2.distanceTransform(canvas.cover(ring, where).astype(np.uint8), cv2.DIST_L2, 3)
    lumps = noise(rng, shape, max(radius * rng.uniform(0.12, 0.3), 1.5))[..., 0]
    mask = inside + ragged * radius * 0.35 * (lumps - 0.6) > 0.35 * min(1, inside.max())
    mask &= inside > 0
    mask = _largest(mask)
    if not mask.any():
        return
    dome = np.clip(inside / max(radius, 1), 0, 1) ** 0.5
    side = ((x - middle[0]) * canvas.sun[0] + (y - middle[1]) * canvas.sun[1]) / max(radius, 1)
    light = 1 - depth * 0.55 * (1 - dome) + depth * 0.35 * side + 0.13 * depth * lumps
    tone = np.exp(rng.normal(0, 0.07) + rng.normal(0, 0.03, 3)).astype(np.float32)
    dy, dx = (int(rng.integers(0, extent)) for extent in canvas.shape)
    rows = (np.arange(shape[0]) + dy) % canvas.shape[0]
    columns = (np.arange(shape[1]) + dx) % canvas.shape[1]
    leaves = look[rows[:, None], columns[None]] * tone * np.clip(light, 0.12, 1.4)[..., None]
    canvas.image[where][mask] = leaves[mask]
    canvas.labels[where][mask] = label or canvas.new("tree")
    canvas.light[where][mask] = 1.0


def foliage(canvas: Canvas, leaf: float) -> Image:
    """Give fully lit leaves of one species over the canvas; `leaf` is their length in pixels."""
    rng = canvas.rng
    green = GREENS[rng.integers(len(GREENS))] * rng.uniform(0.65, 1.25) + rng.normal(0, 9, 3)
    if rng.random() < 0.12:
        green = np.array([150.0, 120, 66]) * rng.uniform(0.7, 1.2)
    light = strokes(rng, canvas.shape, leaf, max(leaf * rng.uniform(0.35, 0.8), 1), cover=rng.uniform(1.2, 3))
    return coloured(light, green * rng.uniform(0.2, 0.6), green * rng.uniform(1.1, 1.5))


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the largest 4-connected part."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    if count < 2:
        return mask
    return np.asarray(parts == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()))


def meadow(canvas: Canvas, _gsd: float) -> None:
    """Pieces of lawn, tall grass, weeds and gravel; shrubs and stones on them."""
    rng = canvas.rng
    size = float(np.exp(rng.uniform(np.log(3), np.log(26))))
    y, x = np.mgrid[: canvas.shape[0], : canvas.shape[1]].astype(np.float32)
    warp = noise(rng, canvas.shape, rng.uniform(20, 160), 2) * np.float32(rng.choice([0, 6, 15]))
    centres = rng.uniform(0, 1, (int(rng.integers(2, 8)), 2)) * canvas.shape[::-1]
    far = [(x + warp[..., 0] - a) ** 2 + (y + warp[..., 1] - b) ** 2 for a, b in centres.tolist()]
    nearest = np.stack(far).argmin(0)
    looks = [sward(rng, canvas.shape, size * rng.uniform(0.6, 1.6)) for _ in range(3)]
    looks.append(soil(rng, canvas.shape, max(1.0, 0.3 * size)))
    grown = rng.integers(len(looks), size=len(centres))[nearest]
    for k, look in enumerate(looks):
        canvas.labels[grown == k] = canvas.new("meadow")
        canvas.image[grown == k] = look[grown == k]
    leaves = [foliage(canvas, size * rng.uniform(0.5, 1.2)) for _ in range(2)]
    for _ in range(int(rng.choice([0, 2, 5, 12]))):
        spot = rng.uniform(0, 1, 2) * canvas.shape[::-1]
        radius = float(np.exp(rng.uniform(np.log(12), np.log(110))))
        if rng.random() < 0.7:
            crown(
                canvas, spot, radius, leaves[rng.integers(2)], rng.uniform(0.2, 0.6), rng.uniform(0.05, 0.3)
            )
            continue
        stone = spot + blob(rng, radius * 0.6, 0.25)
        canvas.cast(stone, radius * 0.3)
        tone = np.full(3, rng.uniform(110, 210)) + rng.normal(0, 8, 3)
        lift, grain = canvas.sun * rng.uniform(0.1, 0.6), int(rng.integers(1, 4))
        canvas.fill(stone, canvas.new("stone"), tone, rough=9, grain=grain, patches=12, shade=lift)


def _everything(canvas: Canvas) -> Points:
    height, width = canvas.shape
    return np.array([[-2.0, -2], [width + 2, -2], [width + 2, height + 2], [-2, height + 2]])
