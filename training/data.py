"""Batches: scenes from a growing pool, cropped, turned, painted and clicked; a function of seed and step."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from remotesam.scenes.hard import hard_scene
from remotesam.scenes.scene import Scene, plain_scene, scene
from remotesam.segmenter.preprocess import DEVIATION, MEAN

STRIDE = 4
"""Mask logits have a quarter of the input's resolution."""
MIN_AREA = 60
"""Smallest region, in model pixels, that is clicked; below it a stride-4 mask says nothing."""
CANVAS = 1.25
"""Scenes are this much larger than the model input, so that every draw is another crop."""
ENLARGED = (0.25, (0.25, 0.7))
"""Share of draws that show a small part of a scene enlarged, and its side in model inputs: as small tiles and
coarse images are seen, blurred and with objects that fill much of the view."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """B images with P clicked regions each, at model size S.

    Attributes:
        images: (B, 3, S, S) float32, ImageNet-normalised.
        labels: (B, S/4, S/4) int64 region of each stride-4 cell's centre, 0 = painted.
        clicks: (B, P, 2) float32 (x, y) in model pixels, pixel centres.
        targets: (B, P, S/4, S/4) float32 share of each cell inside the clicked region.
    """

    images: Tensor
    labels: Tensor
    clicks: Tensor
    targets: Tensor

    def to(self, device: torch.device) -> Batch:
        """Move all tensors to a device."""
        return Batch(
            images=self.images.to(device),
            labels=self.labels.to(device),
            clicks=self.clicks.to(device),
            targets=self.targets.to(device),
        )


class Pool:
    """Scenes by number; grows with the step and forgets its oldest."""

    def __init__(
        self, image_size: int, first_seed: int, *, plain: int, hard: float, start: int, capacity: int
    ) -> None:
        """Describe the pool without filling it.

        Args:
            image_size: Model input side in pixels.
            first_seed: Seed of scene number 0.
            plain: Scenes with numbers below this are plain ones.
            hard: Share of `hard_scene` among the rest, 0..1.
            start: Scenes in the pool at step 0.
            capacity: Most scenes held at once.
        """
        self.side = int(image_size * CANVAS)
        self.first_seed, self.plain, self.hard = first_seed, plain, hard
        self.start, self.capacity = start, capacity
        self.scenes: dict[int, Scene] = {}

    def at(self, step: int) -> Shelf:
        """Give the scenes of a step: 12 more every 25 steps, the oldest beyond `capacity` dropped."""
        stop = self.start + 12 * (step // 25)
        wanted = range(max(0, stop - self.capacity), stop)
        for number in [n for n in self.scenes if n not in wanted]:
            del self.scenes[number]
        return Shelf(self, wanted)

    def scene(self, number: int) -> Scene:
        """Give one scene, made when it is first asked for: a resumed run need not wait for a full pool."""
        if number not in self.scenes:
            seed = self.first_seed + number
            is_hard = np.random.default_rng((seed, 1)).random() < self.hard
            maker = plain_scene if number < self.plain else hard_scene if is_hard else scene
            self.scenes[number] = maker(seed, (self.side, self.side))
        return self.scenes[number]


class Shelf:
    """The scenes of a pool that one step draws from."""

    def __init__(self, pool: Pool, numbers: range) -> None:
        self._pool, self._numbers = pool, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> Scene:
        return self._pool.scene(self._numbers[index])


def draw(
    scenes: list[Scene] | Shelf, rng: np.random.Generator, image_size: int, images: int, clicks: int
) -> Batch:
    """Draw one batch.

    Args:
        scenes: Scenes to draw from, each at least `image_size` on both sides.
        rng: Source of randomness.
        image_size: Model input side in pixels.
        images: Images in the batch.
        clicks: Clicked regions per image.
    """
    parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    while len(parts) < images:
        picture, labels = _crop(scenes[int(rng.integers(len(scenes)))], rng, image_size)
        picture, labels = _paint_black(picture, labels, rng)
        sample = click_regions(labels, rng, clicks)
        if sample is None:
            continue
        points, masks = sample
        cells = labels[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE].astype(np.int64)
        parts.append(
            (
                normalise(picture),
                torch.from_numpy(cells),
                torch.from_numpy(points),
                torch.from_numpy(_in_cells(masks)),
            )
        )
    a, b, c, d = (torch.stack(column) for column in zip(*parts, strict=True))
    return Batch(images=a, labels=b, clicks=c, targets=d)


def normalise(image: NDArray[np.uint8]) -> Tensor:
    """Turn (H, W, 3) uint8 RGB into (3, H, W) float32 with ImageNet mean and deviation, as SAM 2 expects."""
    scaled = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float() / 255
    return (scaled - torch.tensor(MEAN)[:, None, None]) / torch.tensor(DEVIATION)[:, None, None]


def _crop(source: Scene, rng: np.random.Generator, size: int) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Cut, scale, turn, mirror and recolour."""
    image, labels = source.image, source.labels
    side = size if rng.random() < 0.5 else int(size * rng.uniform(0.7, CANVAS))
    if rng.random() < ENLARGED[0]:
        side = int(size * rng.uniform(*ENLARGED[1]))
    top, left = (int(rng.integers(0, extent - side + 1)) for extent in labels.shape)
    image = image[top : top + side, left : left + side]
    labels = labels[top : top + side, left : left + side]
    if side != size:
        how = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, (size, size), interpolation=how), np.uint8)
        labels = np.asarray(cv2.resize(labels, (size, size), interpolation=cv2.INTER_NEAREST), np.int32)
    turns = int(rng.integers(4))
    image, labels = np.rot90(image, turns), np.rot90(labels, turns)
    if rng.random() < 0.5:
        image, labels = image[:, ::-1], labels[:, ::-1]
    ramp = np.arange(256, dtype=np.float64)[:, None] / 255
    gamma, gain, offset = np.exp(rng.normal(0, 0.2)), np.exp(rng.normal(0, 0.12, 3)), rng.normal(0, 0.03)
    table = np.clip((ramp**gamma * gain + offset) * 255, 0, 255).astype(np.uint8)
    recoloured = cv2.LUT(np.ascontiguousarray(image), table[:, None])
    return np.asarray(recoloured, np.uint8), np.ascontiguousarray(labels)


def _paint_black(
    image: NDArray[np.uint8], labels: NDArray[np.int32], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """In a third of the draws paint regions black, sometimes leaving their rim, as later passes see them."""
    if rng.random() > 0.33:
        return image, labels
    gone = rng.random(int(labels.max()) + 1) < rng.uniform(0.1, 0.9)
    gone[0] = False
    hole = gone[labels]
    black = hole.astype(np.uint8)
    if rng.random() < 0.6:
        kernel = np.ones((3, 3), np.uint8)
        change = cv2.erode if rng.random() < 0.6 else cv2.dilate
        black = np.asarray(change(black, kernel), np.uint8)
    image, labels = image.copy(), labels.copy()
    image[black > 0] = 0
    labels[hole | (black > 0)] = 0
    return image, labels


def click_regions(
    labels: NDArray[np.int32], rng: np.random.Generator, count: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
    """Click regions, half of the clicks uniform over pixels and half by the root of the regions' areas.

    Args:
        labels: (H, W) int32, 0 = none.
        rng: Source of randomness.
        count: Number of clicks.

    Returns:
        (count, 2) points (x, y) at pixel centres and (count, H, W) masks of the clicked 4-connected parts, or
        None if there is nothing of at least `MIN_AREA` pixels.
    """
    areas = np.bincount(labels.ravel())
    beginnings = np.cumsum(areas) - areas
    areas[0] = 0
    usable = np.nonzero(areas >= MIN_AREA)[0]
    if len(usable) == 0:
        return None
    roots = np.sqrt(areas[usable])
    share = 0.5 * roots / roots.sum() + 0.5 * areas[usable] / areas[usable].sum()
    order = np.argsort(labels, axis=None, kind="stable")
    points, masks = np.empty((count, 2), np.float32), np.empty((count, *labels.shape), np.bool_)
    for k, value in enumerate(rng.choice(usable, count, p=share)):
        row, col = divmod(int(order[beginnings[value] + rng.integers(areas[value])]), labels.shape[1])
        _, components = cv2.connectedComponents((labels == value).astype(np.uint8), connectivity=4)
        points[k], masks[k] = (col + 0.5, row + 0.5), components == components[row, col]
    return points, masks


def _in_cells(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Give the share of every stride-4 cell inside each of (N, H, W) masks."""
    small = (masks.shape[2] // STRIDE, masks.shape[1] // STRIDE)
    cells = [cv2.resize(m.astype(np.float32), small, interpolation=cv2.INTER_AREA) for m in masks]
    return np.stack(cells)
