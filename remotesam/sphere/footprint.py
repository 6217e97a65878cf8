"""Where a view lies in an equirectangular picture, and its pixels resampled there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from remotesam.sphere.equirect import Equirect
from remotesam.sphere.ownership import centres, plane_on_grid
from remotesam.sphere.sampler import view_lonlat
from remotesam.sphere.views import View
from remotesam.windows import Window

BLOCK = 1024
"""Largest side of the windows handed out; bounds the temporary memory."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """One window of the picture and where its pixels lie in the view."""

    window: Window
    seen: NDArray[np.bool_]
    """(h, w) True where the view sees the pixel's centre."""
    x: NDArray[np.float32]
    """(h, w) point in view pixels, 0..size where seen."""
    y: NDArray[np.float32]
    """(h, w) point in view pixels, down."""
    edge: NDArray[np.float32]
    """(h, w) 1 at the view's centre, falling linearly to 0 at its border (Chebyshev), 0 outside."""
    stretch: NDArray[np.float32]
    """(h, w) length of the ray to the plane at depth 1: range along the ray = z-depth × stretch."""

    def resample(self, values: NDArray[Any], *, nearest: bool = False) -> NDArray[Any]:
        """Values (size, size[, C]) of the view at the window's pixels; undefined where not `seen`."""
        flag = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
        return cv2.remap(values, self.x - 0.5, self.y - 0.5, flag, borderMode=cv2.BORDER_REPLICATE)


def footprints(view: View, grid: Equirect) -> Iterator[Footprint]:
    """The parts of the picture that a view sees, in windows of at most `BLOCK` × `BLOCK` pixels."""
    for window in _windows(view, grid):
        lon, lat = centres(grid, window)
        x, y, z = plane_on_grid(view, lon, lat)
        front = z > 1e-6
        depth = np.where(front, z, np.float32(1))
        x /= depth
        y /= depth
        distance = np.maximum(np.abs(x), np.abs(y))
        seen = front & (distance <= view.half)
        if not seen.any():
            continue
        stretch = np.sqrt(1 + x * x + y * y)
        middle, focal = np.float32(view.size / 2), np.float32(view.focal)
        edge = np.where(seen, 1 - distance / np.float32(view.half), np.float32(0))
        yield Footprint(window, seen, middle + focal * x, middle - focal * y, edge, stretch)


def _windows(view: View, grid: Equirect) -> Iterator[Window]:
    lon, lat = view_lonlat(view)
    # One pixel of the view around its pixel centres, so that its outermost half pixels are covered too.
    margin = math.degrees(2 / view.focal)
    reach = math.degrees(math.atan(math.sqrt(2) * view.half))
    north = 90.0 if view.lat + reach >= 90 else math.degrees(float(lat.max())) + margin
    south = -90.0 if view.lat - reach <= -90 else math.degrees(float(lat.min())) - margin
    top = math.floor((90 - north) / 180 * grid.full_height) - grid.top
    bottom = math.ceil((90 - south) / 180 * grid.full_height) - grid.top
    for left, right in _columns(view, grid, lon, 2 * margin, polar=north == 90.0 or south == -90.0):
        rows = Window.from_bounds(top, left - grid.left, bottom, right - grid.left).clip(
            grid.height, grid.width
        )
        for row in range(rows.row, rows.row_stop, BLOCK):
            for col in range(rows.col, rows.col_stop, BLOCK):
                yield Window(row, col, BLOCK, BLOCK).intersect(rows)


def _columns(
    view: View, grid: Equirect, lon: NDArray[np.float32], margin: float, *, polar: bool
) -> list[tuple[int, int]]:
    """Columns of the whole panorama that the view may see, as one or two stretches."""
    turn = grid.full_width
    half = math.degrees(float(np.abs(lon).max())) + margin
    if polar or half >= 180:
        return [(0, turn)]
    middle = (view.lon - grid.centre + 180.0) % 360.0
    first = math.floor((middle - half) / 360 * turn)
    last = math.ceil((middle + half) / 360 * turn)
    stretches = [(first, last), (first + turn, last + turn), (first - turn, last - turn)]
    clipped = [(max(start, 0), min(stop, turn)) for start, stop in stretches]
    return [(start, stop) for start, stop in clipped if start < stop]
