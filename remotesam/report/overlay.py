"""Pictures of label maps: stable random colours, outlines, side by side with the image; arrays only."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

OPACITY = 0.5
"""Share of a segment's colour in the overlay; the image stays legible under it."""

_UNLABELLED = 0.35
"""Brightness left to pixels in no segment: holes in the coverage must be seen at a glance."""

_GOLDEN = 0.61803398875
"""Golden ratio − 1: its multiples modulo 1 spread hues evenly however many ids there are."""


def colours(ids: NDArray[np.integer]) -> NDArray[np.uint8]:
    """A colour for each id, the same in every picture and unlike those of the ids next to it.

    Args:
        ids: any shape, ≥ 0.

    Returns:
        ids.shape + (3,) uint8 RGB.
    """
    spread = np.asarray(ids, np.float64) * _GOLDEN
    hue = (spread % 1.0) * 180
    saturation = 150 + (spread * 7 % 1.0) * 90
    value = 190 + (spread * 13 % 1.0) * 65
    hsv = np.stack([hue, saturation, value], axis=-1).astype(np.uint8)
    return cv2.cvtColor(hsv.reshape(-1, 1, 3), cv2.COLOR_HSV2RGB).reshape(hsv.shape).astype(np.uint8)


def outlines(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """(H, W) True where the label differs from that of the pixel to the right or below."""
    edge = np.zeros(labels.shape, np.bool_)
    edge[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edge[:-1] |= labels[:-1] != labels[1:]
    return edge


def overlay(image: NDArray[np.uint8], labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """The image under its coloured, outlined segments; what is in no segment goes dark.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) ids, 0 = none.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    ids, inverse = np.unique(labels, return_inverse=True)
    paint = colours(ids)[inverse.reshape(labels.shape)]
    mixed = cv2.addWeighted(image, 1 - OPACITY, paint, OPACITY, 0)
    none = labels == 0
    mixed[none] = (image[none] * _UNLABELLED).astype(np.uint8)
    mixed[outlines(labels)] = 255
    return np.asarray(mixed, np.uint8)


def beside(left: NDArray[np.uint8], right: NDArray[np.uint8], gap: int = 8) -> NDArray[np.uint8]:
    """Two pictures of one shape in one: next to each other, or stacked when they are wide.

    Args:
        left: (H, W, 3) uint8 RGB; on top when stacked.
        right: (H, W, 3) uint8 RGB.
        gap: white pixels between them.
    """
    height, width = left.shape[:2]
    if stacks(height, width):
        return np.concatenate([left, np.full((gap, width, 3), 255, np.uint8), right])
    return np.concatenate([left, np.full((height, gap, 3), 255, np.uint8), right], axis=1)


def stacks(height: int, width: int) -> bool:
    """True when a picture of this shape is shown above its twin rather than left of it."""
    return width > 1.6 * height
