"""Scenes of no place in particular: textured regions and shapes, so that photos are not foreign."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from remotesam.scenes.textures import Image, mottled, noise, stripes


def generic(
    rng: np.random.Generator, shape: tuple[int, int], *, plain: bool = False
) -> tuple[Image, NDArray[np.int32]]:
    """Give a patchwork of regions with shapes on top.

    Args:
        rng: Source of randomness.
        shape: (height, width) in pixels.
        plain: Large regions, each with a texture of its own and no inner parts: what a network learns first.

    Returns:
        (H, W, 3) float32 RGB 0..255 and (H, W) int32 labels >= 1, not yet split by components.
    """
    looks = [_look(rng, shape) for _ in range(int(rng.integers(3, 7)))]
    image = np.empty((*shape, 3), np.float32)
    labels = np.zeros(shape, np.int32)
    bend = float(rng.choice([0, 0, 0.02, 0.05])) * shape[0]
    warp = noise(rng, shape, shape[0] / rng.uniform(3, 12), 2) * np.float32(bend)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    count = int(rng.integers(2, 6) if plain else np.exp(rng.uniform(np.log(3), np.log(50))))
    centres = rng.uniform(0, 1, (count, 2)) * (shape[1], shape[0])
    distance = np.stack(
        [(x + warp[..., 0] - a) ** 2 + (y + warp[..., 1] - b) ** 2 for a, b in centres.tolist()]
    )
    nearest = distance.argmin(0)
    for i in range(count):
        _put(rng, image, labels, nearest == i, i + 1, looks, plain=plain)
    for _ in range(int(rng.integers(1, 7 if plain else 30))):
        low = 0.1 if plain else 0.012
        radius = float(np.exp(rng.uniform(np.log(low), np.log(0.3)))) * min(shape)
        repeats = 1 if plain or rng.random() < 0.6 else int(rng.integers(2, 9))
        spacing = rng.normal(0, 1, 2)
        spacing *= radius * rng.uniform(1.7, 3) / max(float(np.hypot(*spacing)), 1e-6)
        start = rng.uniform(0, 1, 2) * (shape[1], shape[0])
        kind, aspect, turn = rng.integers(0, 3), float(rng.uniform(0.25, 1)), float(rng.uniform(0, 180))
        shared = None if rng.random() < 0.3 else _tint(rng, looks[rng.integers(len(looks))])
        for k in range(repeats):
            mask = _shape_mask(rng, shape, start + k * spacing, radius, int(kind), aspect, turn)
            if mask.any():
                texture = None if shared is None or plain else shared
                _put(rng, image, labels, mask, int(labels.max()) + 1, looks, texture, plain=plain)
    return image, labels


def _look(rng: np.random.Generator, shape: tuple[int, int]) -> Image:
    colour = rng.uniform(15, 240, 3)
    if rng.random() < 0.5:  # most real surfaces are nearly grey
        colour = colour.mean() + (colour - colour.mean()) * rng.uniform(0, 0.4)
    look = mottled(rng, shape, colour, rng.uniform(1, 18))
    if rng.random() < 0.2:
        look += stripes(
            rng, shape, rng.uniform(3, 24), rng.uniform(0, 3.14), rng.uniform(0, 6)
        ) * rng.uniform(3, 25)
    return look


def _tint(rng: np.random.Generator, look: Image) -> Image:
    return look + rng.normal(0, 12, 3).astype(np.float32)


def _put(
    rng: np.random.Generator,
    image: Image,
    labels: NDArray[np.int32],
    mask: NDArray[np.bool_],
    label: int,
    looks: list[Image],
    texture: Image | None = None,
    *,
    plain: bool,
) -> None:
    """Paint one region; unless `plain` it may get a gradient or a second tone as objects in light have."""
    if texture is None:
        texture = _look(rng, labels.shape) if plain else _tint(rng, looks[rng.integers(len(looks))])
    labels[mask] = label
    image[mask] = texture[mask]
    if plain or rng.random() < 0.4:
        return
    ys, xs = np.nonzero(mask)
    if len(ys) == 0:
        return
    turn = rng.uniform(0, 6.28)
    along = np.cos(turn) * (xs - xs.mean()) + np.sin(turn) * (ys - ys.mean())
    along /= max(float(np.abs(along).max()), 1.0)
    shade = np.where(along > rng.uniform(-0.4, 0.4), 1, -1) if rng.random() < 0.5 else along
    image[ys, xs] += (shade * rng.uniform(2, 28)).astype(np.float32)[:, None]


def _shape_mask(
    rng: np.random.Generator,
    shape: tuple[int, int],
    centre: NDArray[np.float64],
    radius: float,
    kind: int,
    aspect: float,
    turn: float,
) -> NDArray[np.bool_]:
    """Give a filled ellipse (0), rectangle (1) or blob (2) as bool (H, W)."""
    mask = np.zeros(shape, np.uint8)
    middle = (float(centre[0]), float(centre[1]))
    size = (2 * radius, max(2 * radius * aspect, 3.0))
    if kind == 0:
        cv2.ellipse(mask, (middle, size, turn), 1, -1)
    elif kind == 1:
        cv2.fillPoly(mask, [cv2.boxPoints((middle, size, turn)).astype(np.int32)], 1)
    else:
        angles = np.linspace(0, 2 * np.pi, 28, endpoint=False)
        wave = sum(rng.normal(0, 0.35 / k) * np.cos(k * angles + rng.uniform(0, 6.28)) for k in range(2, 6))
        reach = radius * np.exp(np.clip(wave, -1, 0.8))
        ring = np.stack([middle[0] + reach * np.cos(angles), middle[1] + aspect * reach * np.sin(angles)], 1)
        cv2.fillPoly(mask, [ring.astype(np.int32)], 1)
    return mask > 0
