"""Bands as arrays: colours for people and models, which pixels hold data, shrinking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Chip:
    """What the model sees of a window."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB; black where not valid."""
    valid: NDArray[np.bool_]
    """(H, W), True = data."""


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """The chosen bands of a window before the stretch."""

    values: NDArray[Any]
    """(bands, H, W) in the raster's own type and units; a palette is expanded to three uint8 bands."""
    valid: NDArray[np.bool_]
    """(H, W), True = data."""


def to_rgb(planes: NDArray[np.uint8], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """One or three uint8 planes (bands, H, W) → RGB (H, W, 3), black where `valid` (H, W) is False."""
    if planes.shape[1] == 0 or planes.shape[2] == 0:
        return np.zeros((*planes.shape[1:], 3), np.uint8)
    chosen = planes if len(planes) == 3 else [planes[0]] * 3
    image = np.asarray(cv2.merge([np.ascontiguousarray(plane) for plane in chosen]), np.uint8)
    if not valid.all():
        image[~valid] = 0
    return image


def data_pixels(values: NDArray[Any], nodata: Sequence[float | None]) -> NDArray[np.bool_]:
    """Which pixels hold data, by their values alone.

    A pixel is empty when *all* bands equal their nodata value (a black car on an orthophoto with nodata 0
    has one or two zero bands, and must stay), or when *any* band is NaN or infinite, which no
    stretch can show.

    Args:
        values: (bands, H, W).
        nodata: One value per band; None = the band has none, and then only NaN and infinity count. NaN is
            allowed and adds nothing.

    Returns:
        (H, W) bool, True = data.
    """
    valid = np.ones(values.shape[1:], bool)
    if None not in nodata:
        empty = np.ones(values.shape[1:], bool)
        for plane, value in zip(values, nodata, strict=True):
            empty &= plane == _exact(value)
        valid &= ~empty
    if values.dtype.kind == "f":
        for plane in values:
            valid &= np.isfinite(plane)
    return valid


def _exact(value: float | None) -> float | int:
    """Whole numbers as int: 64-bit integers would be rounded by a comparison in floating point."""
    number = float("nan") if value is None else value
    return int(number) if float(number).is_integer() else float(number)


def expand_palette(
    indices: NDArray[np.integer[Any]], palette: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Colours of a palette image.

    Args:
        indices: (H, W) entries of the palette; entries it lacks are drawn in its last colour.
        palette: (n, 4) uint8 RGBA.

    Returns:
        (3, H, W) uint8 and (H, W) bool, True where the entry is not fully transparent.
    """
    colours = np.take(palette, indices, axis=0, mode="clip")
    return np.ascontiguousarray(np.moveaxis(colours[..., :3], -1, 0)), colours[..., 3] > 0


def shrink(
    values: NDArray[Any], valid: NDArray[np.bool_], factor: int
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Mean of the valid pixels of each `factor` × `factor` block, counted from the top left.

    The last row and column of blocks are smaller when the size is not a multiple; no pixel is dropped. A
    window that starts on a block border therefore gives the same pixels as the whole raster does.

    Args:
        values: (bands, H, W).
        valid: (H, W), True = data.
        factor: Side of a block, px, ≥ 1.

    Returns:
        (bands, ceil(H / factor), ceil(W / factor)) of the same type, 0 in empty blocks, and their validity:
        True when at least half of the block's pixels hold data.
    """
    kept = _block_sums(valid.astype(np.float64), factor)
    size = _block_sums(np.ones(valid.shape), factor)
    count = np.maximum(kept, 1)
    means = [_block_sums(np.where(valid, plane, 0).astype(np.float64), factor) / count for plane in values]
    result = np.stack(means)
    if values.dtype.kind in "iu":
        np.rint(result, out=result)
    return result.astype(values.dtype), kept * 2 >= size


def _block_sums(plane: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
    rows = np.add.reduceat(plane, np.arange(0, plane.shape[0], factor), axis=0)
    return np.asarray(np.add.reduceat(rows, np.arange(0, plane.shape[1], factor), axis=1))
