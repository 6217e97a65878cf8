"""`scene`: one image with exact instance labels, wholly determined by a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from remotesam.scenes.canvas import Canvas
from remotesam.scenes.countryside import countryside, trial_field, woodland
from remotesam.scenes.generic import generic
from remotesam.scenes.sensor import expose
from remotesam.scenes.settlement import parking, settlement

GENERIC_SHARE = 0.3
"""Share of scenes of no place in particular, when no ground size is asked for."""

PLACES: tuple[tuple[float, dict[Callable[[Canvas, float], None], float]], ...] = (
    (0.9, {countryside: 1.0}),
    (0.3, {settlement: 0.4, countryside: 0.4, woodland: 0.2}),
    (0.0, {settlement: 0.54, parking: 0.14, woodland: 0.14, trial_field: 0.1, countryside: 0.08}),
)
"""Above which metres per pixel which kinds of place are drawn, with their shares."""


@dataclass(frozen=True, slots=True)
class Scene:
    """An image and what is in it."""

    image: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB."""
    labels: NDArray[np.int32]
    """(H, W) int32; 0 = nothing to segment, else 1..n, each label one 4-connected region."""
    classes: tuple[str, ...]
    """Class name of label i at index i - 1."""


def split_components(labels: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Renumber a label map so that every label is one 4-connected region.

    Args:
        labels: (H, W) int32, 0 = none.

    Returns:
        (H, W) int32 labels 1..n, and (n + 1,) int32 with the original label of each new one (0 for 0).
    """
    parts = np.zeros_like(labels)
    origin = [0]
    for value, (top, left, bottom, right) in _boxes(labels).items():
        crop = labels[top:bottom, left:right] == value
        count, components = cv2.connectedComponents(crop.astype(np.uint8), connectivity=4)
        where = components > 0
        parts[top:bottom, left:right][where] = components[where] + (len(origin) - 1)
        origin += [value] * (count - 1)
    return parts, np.array(origin, np.int32)


def _boxes(labels: NDArray[np.int32]) -> dict[int, tuple[int, int, int, int]]:
    """Give top, left, bottom, right (half-open) of every label > 0."""
    ys, xs = np.nonzero(labels)
    values = labels[ys, xs]
    top = np.full(int(labels.max()) + 1, labels.shape[0], np.int64)
    left = np.full_like(top, labels.shape[1])
    bottom, right = np.zeros_like(top), np.zeros_like(top)
    np.minimum.at(top, values, ys)
    np.minimum.at(left, values, xs)
    np.maximum.at(bottom, values, ys + 1)
    np.maximum.at(right, values, xs + 1)
    return {int(v): (int(top[v]), int(left[v]), int(bottom[v]), int(right[v])) for v in np.nonzero(bottom)[0]}


def scene(seed: int, shape: tuple[int, int], *, gsd: float | None = None) -> Scene:
    """Make the scene of a seed.

    Args:
        seed: Any non-negative integer; the same arguments give the same scene everywhere.
        shape: (height, width) in pixels.
        gsd: Ground size of a pixel in metres, 0.05 to 10; None draws one, or draws a scene of no place.
    """
    rng = np.random.default_rng(seed)
    if gsd is None and rng.random() < GENERIC_SHARE:
        image, labels = generic(rng, shape)
        return finished(expose(rng, image), labels, None)
    metres = gsd or float(np.exp(rng.uniform(np.log(0.05), np.log(6))))
    canvas = Canvas(rng, shape)
    _layout(rng, metres)(canvas, metres)
    return finished(expose(rng, canvas.finish()), canvas.labels, canvas.classes)


def plain_scene(seed: int, shape: tuple[int, int]) -> Scene:
    """Make a scene of a few large regions with textures of their own, for the first steps of training."""
    rng = np.random.default_rng(seed)
    image, labels = generic(rng, shape, plain=True)
    return finished(expose(rng, image), labels, None)


def _layout(rng: np.random.Generator, gsd: float) -> Callable[[Canvas, float], None]:
    """Choose a kind of place that makes sense at a scale."""
    shares = next(shares for limit, shares in PLACES if gsd > limit)
    return list(shares)[int(rng.choice(len(shares), p=list(shares.values())))]


def finished(photo: NDArray[np.uint8], labels: NDArray[np.int32], classes: list[str] | None) -> Scene:
    """Make a scene of a photo and a label map whose labels may still be in several parts.

    Args:
        photo: (H, W, 3) uint8 RGB.
        labels: (H, W) int32, 0 = none.
        classes: Class of label i at index i - 1; None = all "region".
    """
    parts, origin = split_components(labels)
    return Scene(photo, parts, tuple("region" if classes is None else classes[i - 1] for i in origin[1:]))
