"""Who owns a direction: the view in which it lies nearest to the centre, by the Chebyshev distance.

`docs/algorithms.md#ownership`. With max(|x|, |y|) in the tangent plane instead of the nearest centre the
same 51 views of an 8K panorama keep 129 px of context around everything owned, not 94, because a square view
is used up to its square border.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from remotesam.sphere.equirect import Equirect, direction
from remotesam.sphere.layouts import Layout
from remotesam.sphere.views import View
from remotesam.windows import Window

NOBODY = -1
"""Owner of a direction that no view sees; a layout leaves none, an imported set of views may."""


def owners_in_view(layout: Layout, index: int) -> NDArray[np.int16]:
    """Owner of each pixel centre of a view.

    Returns:
        (size, size) int16 view indices. Ties go to the lower index, wherever they are computed.
    """
    view = layout.views[index]
    axis = view.plane_axis()
    best = np.maximum(np.abs(axis)[None, :], np.abs(axis)[:, None]).astype(np.float32)
    owner = np.full(best.shape, index, np.int16)
    for other in layout.neighbours(index):
        distance = owner_distance(view, other)
        wins = distance < best if other.index > index else distance <= best
        # Scanning in index order keeps ties with the lowest; `index` itself was there first.
        wins &= (distance < best) | (owner > other.index)
        best[wins] = distance[wins]
        owner[wins] = other.index
    return owner


def owner_distance(view: View, other: View) -> NDArray[np.float32]:
    """(size, size) Chebyshev distance of `view`'s pixels in `other`'s plane; infinite outside `other`."""
    turn = other.frame @ view.frame.T
    axis = view.plane_axis().astype(np.float32)
    rows, cols = -axis[:, None], axis[None, :]
    x, y, z = (
        np.float32(line[0]) * cols + (np.float32(line[1]) * rows + np.float32(line[2]))
        for line in turn.astype(np.float32)
    )
    return _chebyshev(x, y, z, other)


def _chebyshev(
    x: NDArray[np.float32], y: NDArray[np.float32], z: NDArray[np.float32], view: View
) -> NDArray[np.float32]:
    np.abs(x, out=x)
    np.abs(y, out=y)
    np.maximum(x, y, out=x)
    behind = z <= 1e-6
    z[behind] = 1
    x /= z
    x[behind | (x > view.half)] = np.inf
    return x


@dataclass(frozen=True, slots=True)
class Ownership:
    """For each pixel of a window of an equirectangular picture: its owner, and the view that comes next."""

    owner: NDArray[np.int16]
    """(h, w) view index, `NOBODY` where no view looks."""
    second: NDArray[np.int16]
    """(h, w) index of the next nearest view that looks there, or `NOBODY`."""


def owners_on_grid(views: Sequence[View], grid: Equirect, window: Window) -> Ownership:
    """Owners of the pixel centres of a window of `grid`; `views` are in index order."""
    lon, lat = centres(grid, window)
    best, next_best = (np.full(window.shape, np.inf, np.float32) for _ in range(2))
    owner, second = (np.full(window.shape, NOBODY, np.int16) for _ in range(2))
    for view in views_near(views, grid, window):
        distance = _chebyshev(*plane_on_grid(view, lon, lat), view)
        wins = distance < best
        runs_up = distance < next_best
        next_best[runs_up], second[runs_up] = distance[runs_up], view.index
        next_best[wins], second[wins] = best[wins], owner[wins]
        best[wins], owner[wins] = distance[wins], view.index
    return Ownership(owner, second)


def plane_on_grid(
    view: View, lon: NDArray[np.float64], lat: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Camera coordinates (x right, y up, z forward) of a lon/lat lattice (radians) in a view, (h, w) each."""
    turned, tilt = lon - math.radians(view.lon), math.radians(view.lat)
    cos_lat, sin_lat = np.cos(lat)[:, None].astype(np.float32), np.sin(lat)[:, None].astype(np.float32)
    cos_lon, sin_lon = np.cos(turned)[None, :].astype(np.float32), np.sin(turned)[None, :].astype(np.float32)
    ahead = cos_lat * cos_lon
    c, s = np.float32(math.cos(tilt)), np.float32(math.sin(tilt))
    return cos_lat * sin_lon, sin_lat * c - ahead * s, ahead * c + sin_lat * s


def point_in(
    view: View, lon: NDArray[np.float64], lat: NDArray[np.float64], where: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(N,) x and y in a view's pixels of marked pixels of a lon/lat lattice (radians), all in its front."""
    x, y, z = plane_on_grid(view, lon, lat)
    depth = z[where]
    return view.size / 2 + view.focal * (x[where] / depth), view.size / 2 - view.focal * (y[where] / depth)


def centres(grid: Equirect, window: Window) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Camera longitude of the columns and latitude of the rows of a window, radians, at pixel centres."""
    x = np.arange(window.col, window.col_stop) + 0.5
    y = np.arange(window.row, window.row_stop) + 0.5
    lon, _ = grid.lonlat(x, 0.0)
    _, lat = grid.lonlat(0.0, y)
    return np.radians(lon + grid.centre), np.radians(lat)


def views_near(views: Sequence[View], grid: Equirect, window: Window) -> list[View]:
    """Views that may see a pixel of the window, by the circles round both."""
    lon, lat = grid.lonlat(
        np.array([window.col, window.col_stop, (window.col + window.col_stop) / 2]),
        np.array([window.row, window.row_stop, (window.row + window.row_stop) / 2]),
    )
    middle = direction(lon[2] + grid.centre, lat[2])
    if lon[1] - lon[0] >= 180:
        # The farthest point of a wide box need not be a corner; its band of latitude bounds it instead.
        low, high = sorted((lat[0], lat[1]))
        return [
            view
            for view in views
            if low - _reach(view) <= view.lat <= high + _reach(view) or abs(view.lat) + _reach(view) >= 90
        ]
    corners = direction(np.repeat(lon[:2], 2) + grid.centre, np.tile(lat[:2], 2))
    radius = math.degrees(math.acos(float(np.clip((corners @ middle).min(), -1, 1))))
    near = []
    for view in views:
        angle = math.degrees(math.acos(float(np.clip(view.frame[2] @ middle, -1, 1))))
        if angle <= radius + _reach(view) + 1e-3:
            near.append(view)
    return near


def _reach(view: View) -> float:
    """Angle from a view's centre to its corners, degrees."""
    return math.degrees(math.atan(math.sqrt(2) * view.half))
