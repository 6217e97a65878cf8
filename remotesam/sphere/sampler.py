"""Perspective views of an equirectangular picture, exact over the seam, the poles and at any size.

Each view reads only the crop it needs, through columns taken modulo one turn and rows that continue on the
other side of a pole (half a turn away, mirrored). So there is no border to get wrong (the measured faults of
other projectors: half a pixel, half brightness or 512 px, all at the seam and the poles), no padded copy of
the panorama, and pictures wider than OpenCV's 32 766 px work.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from remotesam.sphere.equirect import Equirect
from remotesam.sphere.views import View

MAX_SIDE = 32_766
"""Longest side of an array that OpenCV's remap accepts (measured on 4.14 and 5.0)."""

MARGIN = 2
"""Pixels around the crop: bilinear needs one, rounding of the float32 map another."""


class Sampler:
    """Views of one picture; its pyramid is made level by level when a view first needs it."""

    def __init__(self, image: NDArray[Any], grid: Equirect, valid: NDArray[np.bool_] | None = None) -> None:
        """Bind a picture to its place on the sphere.

        Args:
            image: (H, W) or (H, W, C), uint8 or float32; RGB for a segmenter.
            grid: Where its pixels lie; `grid.height`, `grid.width` are the image's.
            valid: (H, W), True where the picture has data; None = everywhere.
        """
        if image.shape[:2] != (grid.height, grid.width):
            raise ValueError(
                f"image of {image.shape[:2]} does not fill a grid of {(grid.height, grid.width)}"
            )
        self.grid = grid
        self._levels = [(image, valid)]

    def sample(self, view: View) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The view's picture.

        Returns:
            (size, size[, C]) array of the image's dtype, bilinear from the pyramid level
            ⌊log2(resolution of the picture / resolution of the view)⌋ (else a coarse view would alias), 0
            where the picture has no data; and (size, size) bool, True where it has.
        """
        level = max(math.floor(math.log2(self.grid.focal / view.focal) + 1e-9), 0)
        image, valid = self._level(level)
        lon, lat = view_lonlat(view)
        across, down = _crop_map(self.grid, image.shape, lon, lat, view)
        origin_col, columns = _localise(across, -MARGIN)
        origin_row, rows = _localise(down, -MARGIN)
        size = (int(rows.max()) + 2 * MARGIN, int(columns.max()) + 2 * MARGIN)
        turn = self._turn(image.shape[1])
        crop, has_data = wrapped_crop(image, valid, (origin_row, origin_col), size, turn, self._poles())
        crop, has_data, columns = _narrowed(crop, has_data, columns)
        picture = cv2.remap(
            crop, columns - 0.5, rows - 0.5, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        if has_data is None:
            return picture, np.ones((view.size, view.size), bool)
        seen = cv2.remap(
            has_data.astype(np.uint8),
            columns - 0.5,
            rows - 0.5,
            cv2.INTER_NEAREST,
            borderMode=cv2.BORDER_REPLICATE,
        ).astype(bool)
        picture[~seen] = 0
        return picture, seen

    def _turn(self, columns: int) -> int | None:
        """Columns of one turn at a level with `columns`, or None for a picture that is not a whole turn."""
        return columns if self.grid.wraps else None

    def _poles(self) -> tuple[bool, bool]:
        return (self.grid.reaches_north and self.grid.wraps, self.grid.reaches_south and self.grid.wraps)

    def _level(self, level: int) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        while len(self._levels) <= level:
            image, valid = self._levels[-1]
            size = (max(image.shape[1] // 2, 1), max(image.shape[0] // 2, 1))
            smaller = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            has_data = (
                None
                if valid is None
                else cv2.resize(valid.astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0
            )
            self._levels.append((smaller, has_data))
        return self._levels[level]


def view_lonlat(view: View) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Directions of a view's pixel centres.

    Returns:
        (size, size) longitude relative to the view's centre and (size, size) latitude, both in radians,
        float32. Relative, because the rounding error of an absolute one is 1e-3 px on a 16K panorama.
    """
    axis = view.plane_axis().astype(np.float32)
    tilt = math.radians(view.lat)
    # Turned by -lon the centre lies in the x-z plane, so two of the three coordinates depend on the row only.
    forward = (math.cos(tilt) + math.sin(tilt) * axis).astype(np.float32)[:, None]
    up = (math.sin(tilt) - math.cos(tilt) * axis).astype(np.float32)[:, None]
    right = axis[None, :]
    lon = np.arctan2(right, forward)
    lat = np.arctan2(up, np.sqrt(right * right + forward * forward))
    return lon, lat


def _crop_map(
    grid: Equirect, shape: tuple[int, ...], lon: NDArray[np.float32], lat: NDArray[np.float32], view: View
) -> tuple[tuple[float, NDArray[np.float32]], tuple[float, NDArray[np.float32]]]:
    """Point (x, y) of each ray at a pyramid level: offsets in double precision, remainders in single."""
    across, down = shape[1] / grid.width, shape[0] / grid.height
    turned = (view.lon - grid.centre + 180.0) % 360.0
    column = (turned / 360.0 * grid.full_width - grid.left) * across
    row = ((90.0 - view.lat) / 180.0 * grid.full_height - grid.top) * down
    columns = lon * np.float32(grid.focal * across)
    rows = (np.float32(math.radians(view.lat)) - lat) * np.float32(grid.full_height / math.pi * down)
    return (column, columns), (row, rows)


def _localise(axis: tuple[float, NDArray[np.float32]], margin: int) -> tuple[int, NDArray[np.float32]]:
    """Integer origin of a crop along one axis, and the coordinates inside that crop."""
    offset, values = axis
    origin = math.floor(offset + float(values.min())) + margin
    return origin, values + np.float32(offset - origin)


def wrapped_crop(
    image: NDArray[Any],
    valid: NDArray[np.bool_] | None,
    origin: tuple[int, int],
    size: tuple[int, int],
    turn: int | None,
    poles: tuple[bool, bool],
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """A rectangle of a picture that may reach over the seam and the poles.

    Args:
        image: (H, W[, C]).
        valid: (H, W) bool, or None when all of the picture has data.
        origin: (row, column) of the rectangle's corner, possibly negative.
        size: (rows, columns).
        turn: Columns of a whole turn (W), or None when the picture has a left and a right end.
        poles: True where rows go on beyond the first row (north) and beyond the last one (south).

    Returns:
        The rectangle, 0 where there is no picture, and its validity (None when it is all valid).
    """
    height, width = image.shape[:2]
    out = np.zeros((*size, *image.shape[2:]), image.dtype)
    has_data = np.zeros(size, bool)
    for target_rows, source_rows, shift in _row_pieces(origin[0], size[0], height, poles, turn):
        for target_cols, source_cols in _column_pieces(origin[1] + shift, size[1], width, turn):
            out[target_rows, target_cols] = image[source_rows, source_cols]
            has_data[target_rows, target_cols] = True if valid is None else valid[source_rows, source_cols]
    return out, None if has_data.all() else has_data


def _row_pieces(
    start: int, count: int, height: int, poles: tuple[bool, bool], turn: int | None
) -> Iterator[tuple[slice, slice, int]]:
    """(rows of the crop, rows of the picture, column shift) for each run of rows."""
    stop = start + count
    half = (turn or 0) // 2
    if start < 0 and poles[0]:
        last = min(stop, 0)
        yield _mirrored(start, last, start, -1, half)
    first, last = max(start, 0), min(stop, height)
    if first < last:
        yield slice(first - start, last - start), slice(first, last), 0
    if stop > height and poles[1]:
        yield _mirrored(max(start, height), stop, start, 2 * height - 1, half)


def _mirrored(first: int, stop: int, start: int, mirror: int, half: int) -> tuple[slice, slice, int]:
    """Rows `first..stop` lie beyond a pole: they are rows `mirror - row`, half a turn away."""
    top, bottom = mirror - first, mirror - stop
    return slice(first - start, stop - start), slice(top, bottom if bottom >= 0 else None, -1), half


def _column_pieces(start: int, count: int, width: int, turn: int | None) -> Iterator[tuple[slice, slice]]:
    """(columns of the crop, columns of the picture) for each run of columns."""
    if turn is None:
        first, last = max(start, 0), min(start + count, width)
        if first < last:
            yield slice(first - start, last - start), slice(first, last)
        return
    done = 0
    while done < count:
        column = (start + done) % turn
        run = min(turn - column, count - done)
        yield slice(done, done + run), slice(column, column + run)
        done += run


def _narrowed(
    crop: NDArray[Any], has_data: NDArray[np.bool_] | None, columns: NDArray[np.float32]
) -> tuple[NDArray[Any], NDArray[np.bool_] | None, NDArray[np.float32]]:
    """A crop too wide for OpenCV, averaged over groups of columns.

    Only a view that holds a pole spans so many columns, and there they are far narrower than the view's
    pixels.
    """
    group = -(-crop.shape[1] // MAX_SIDE)
    if group == 1:
        return crop, has_data, columns
    width = crop.shape[1] // group * group
    grouped = crop[:, :width].reshape(crop.shape[0], width // group, group, *crop.shape[2:])
    narrow = grouped.mean(axis=2, dtype=np.float32).round().astype(crop.dtype)
    seen = None if has_data is None else has_data[:, :width:group]
    return narrow, seen, columns / np.float32(group)
