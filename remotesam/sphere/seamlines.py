"""The seamline of two neighbouring views: a line along their border that follows borders of segments.

The border of what two views own is a smooth curve that is not in the picture. Both have segmented the band
round it, so the seamline may stray from it, at the costs of tiles (`remotesam.merge.seamlines`).

A direction belongs to the band of the two views in which it lies nearest and second nearest to the centre.
These bands part the sphere, and each is pointed at both ends, where a third view comes as near. So the lines
of different pairs never claim the same direction, each is found from two views alone, and neither a seam nor
a pole exists for them.

The band is unrolled along the great circle halfway between the two centres: t is the angle along it, e the
angle from it towards the second view, and the border is a curve e(t).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from remotesam.merge.joins import Joins
from remotesam.merge.seamlines import Offsets, Strip, seamline, with_joins
from remotesam.sphere.layouts import Layout
from remotesam.sphere.views import View

Floats = NDArray[np.floating]

REACH = 0.1
"""How far a line may stray from the border, as a share of a view's side: the default context."""

MARGIN = 0.05
"""Context that a view keeps where it writes beyond its border, as a share of its side: half the default."""

_BISECTIONS = 24
"""Halvings of the interval that holds the border: from 90° to less than 1/100 px of a 16K panorama."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ViewSeamline:
    """The seamline of two views."""

    one: int
    """Index of the view that writes before the line."""
    other: int
    """Index of the view that writes beyond it, higher than `one`."""
    start: float
    """t at which the first row begins, radians."""
    bend: NDArray[np.float32]
    """(L,) e of the border in the middle of each row, radians; a row is one pixel of the views high."""
    offset: Offsets
    """(L,) px by which the line lies beyond the border (> 0: `one` writes more) or before it."""


@dataclass(frozen=True, slots=True, eq=False)
class _Band:
    """The band of two views, unrolled."""

    start: float
    bend: NDArray[np.float64]
    """(L,) as in `ViewSeamline`."""
    directions: NDArray[np.float32]
    """(L, 2 R, 3) of the pixels; the border lies between columns R - 1 and R."""
    room: NDArray[np.bool_]
    """(L, 2 R + 1) True = the line may lie before this column."""


def find_seamline(
    layout: Layout,
    one: View,
    other: View,
    labels: tuple[NDArray[np.int32], NDArray[np.int32]],
    n_core: tuple[int, int],
    joins: Joins,
) -> ViewSeamline | None:
    """Find the line of two views (`docs/algorithms.md#seamlines-on-the-sphere`).

    Args:
        layout: all views.
        one: a view.
        other: a neighbour of higher index.
        labels: (size, size) labels of both, 0 = none.
        n_core: labels up to these can be written.
        joins: of the two views.

    Returns:
        None when the two have no common border, or when it serves as it is.
    """
    band = _unroll(layout, one, other)
    if band is None:
        return None
    own, theirs = (_labels_along(*pair, band.directions) for pair in zip((one, other), labels, strict=True))
    a, b = with_joins(own, theirs, joins.label_a, joins.label_b)
    own_a, own_b = (own > 0) & (own <= n_core[0]), (theirs > 0) & (theirs <= n_core[1])
    strip = Strip(a=a, b=b, owned_a=own_a, owned_b=own_b, middle=a.shape[1] // 2)
    offset = seamline(strip, room=band.room)
    if not offset.any():
        return None
    bend = band.bend.astype(np.float32)
    return ViewSeamline(one=one.index, other=other.index, start=band.start, bend=bend, offset=offset)


def beyond(
    line: ViewSeamline, one: View, other: View, directions: NDArray[np.floating]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which directions change hands, of those in the band of two views.

    Args:
        line: of the two views.
        one: its first view.
        other: its second.
        directions: (N, 3) unit vectors.

    Returns:
        (N,) True = `one` writes here though `other` is nearer to the border's other side, and the reverse.
    """
    along, ahead, across = (directions @ axis.astype(np.float32) for axis in _axes(one, other))
    row = (np.arctan2(along, ahead) - np.float32(line.start)) * np.float32(one.focal)
    in_band = (row >= 0) & (row < len(line.offset))
    bend = np.interp(row, np.arange(len(line.bend)) + 0.5, line.bend)
    off = (np.arcsin(np.clip(across, -1, 1)) - bend) * one.focal
    reach = np.where(in_band, line.offset[np.where(in_band, row, 0).astype(np.intp)], 0)
    return (off >= 0) & (off < reach), (off < 0) & (off >= reach)


def _axes(one: View, other: View) -> tuple[NDArray[np.float64], ...]:
    """Unit vectors along the great circle between two views, ahead to its middle, across to `other`."""
    a, b = one.frame[2], other.frame[2]
    ahead, across = (v / np.linalg.norm(v) for v in (a + b, b - a))
    return np.cross(ahead, across), ahead, across


def _directions(one: View, other: View, t: Floats, e: Floats) -> NDArray[np.float64]:
    """(..., 3) unit vectors at angles t along the band and e across it, radians."""
    along, ahead, across = _axes(one, other)
    t, e = np.broadcast_arrays(t, e)
    flat = np.cos(e)
    return (
        (flat * np.sin(t))[..., None] * along
        + (flat * np.cos(t))[..., None] * ahead
        + np.sin(e)[..., None] * across
    )


def _distance(view: View, directions: Floats) -> Floats:
    """(...) Chebyshev distance in a view's plane; infinite outside the view."""
    frame = view.frame.astype(directions.dtype)
    x, y, z = (directions @ axis for axis in frame)
    depth = np.where(z > 1e-6, z, 1)
    far = np.maximum(np.abs(x), np.abs(y)) / depth
    return np.where((z > 1e-6) & (far <= view.half), far, np.inf)


def _unroll(layout: Layout, one: View, other: View) -> _Band | None:
    """The band of two views; None when they have no common border."""
    others = [view for view in layout.neighbours(one.index) if view.index != other.index]
    widest = min(math.atan(math.sqrt(2) * one.half), math.pi / 2)
    t = (np.arange(-math.floor(widest * one.focal), math.floor(widest * one.focal)) + 0.5) / one.focal
    low, high = np.full(len(t), -one.angle_to(other) / 2), np.full(len(t), one.angle_to(other) / 2)
    for _ in range(_BISECTIONS):
        bend = (low + high) / 2
        points = _directions(one, other, t, bend)
        # Outside both a distance is infinite; those rows are not part of the border.
        before = _distance(one, points) <= _distance(other, points)
        low, high = np.where(before, bend, low), np.where(before, high, bend)
    nearest = np.maximum(_distance(one, points), _distance(other, points))
    for view in others:
        nearest[_distance(view, points) < nearest] = np.inf
    border = np.flatnonzero(np.isfinite(nearest))
    if len(border) < 2:
        return None
    rows = slice(int(border[0]), int(border[-1]) + 1)
    reach = round(REACH * one.size)
    across = (np.arange(-reach, reach) + 0.5) / one.focal
    directions = _directions(one, other, t[rows, None], bend[rows, None] + across).astype(np.float32)
    room = _room(one, other, others, directions)
    return _Band(float(t[rows.start] - 0.5 / one.focal), bend[rows], directions, room)


def _room(
    one: View, other: View, others: Sequence[View], directions: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """(L, 2 R + 1) where a line may lie: pixels between it and the border are in the band of the two."""
    far = np.maximum(_distance(one, directions), _distance(other, directions))
    inside = far <= one.half - MARGIN * one.size / one.focal
    for view in others:
        inside &= far <= _distance(view, directions)
    middle = inside.shape[1] // 2
    room = np.ones((len(inside), 2 * middle + 1), np.bool_)
    room[:, middle + 1 :] = np.logical_and.accumulate(inside[:, middle:], axis=1)
    room[:, :middle] = np.logical_and.accumulate(inside[:, middle - 1 :: -1], axis=1)[:, ::-1]
    return room


def _labels_along(
    view: View, labels: NDArray[np.int32], directions: NDArray[np.float32]
) -> NDArray[np.int32]:
    """Labels of a view at directions, nearest; 0 outside the view."""
    x, y, z = (directions @ axis.astype(np.float32) for axis in view.frame)
    seen = z > 1e-6
    depth = np.where(seen, z, np.float32(1))
    col = view.size / 2 + view.focal * (x / depth)
    row = view.size / 2 - view.focal * (y / depth)
    seen &= (col >= 0) & (col < view.size) & (row >= 0) & (row < view.size)
    nearest = labels[np.where(seen, row, 0).astype(np.intp), np.where(seen, col, 0).astype(np.intp)]
    return np.where(seen, nearest, 0).astype(np.int32)
