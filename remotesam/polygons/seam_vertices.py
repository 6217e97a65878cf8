"""Where borders cross the rim of a tile, and how far each crossing could slide along it.

Simplification freezes the rim, and so leaves a vertex where a border crosses it, or two where the border runs
along the rim for a step before it goes on. They can be taken out later, if the straight line between the
border's next vertices on both sides is free. No tile can tell alone; but each can say how far along the seam
its own side is free; whoever knows both sides then comes to the same verdict (`remotesam.polygons.union`).

On its side of the rim the border's last edge turns around its inner end q. The triangle that it may sweep
must hold no vertex. Then it meets no edge: an edge that enters could only leave again through the side it
came by. And no two such triangles meet: their bases on the rim are kept apart by giving each crossing half of
the gap to the next vertex, and triangles on the same side of a line whose bases are apart and of which none
holds a corner of the other can only meet where their original edges cross, which they do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from remotesam.polygons.trace import Bools, Cracks
from remotesam.windows import Window

SEAM_VERTICES = np.dtype(
    [
        ("id", "i8"),
        ("x", "i8"),
        ("y", "i8"),
        ("upright", "?"),
        ("low", "f8"),
        ("high", "f8"),
        ("off", "f8"),
    ]
)
"""A vertex on a tile's rim where exactly two ids meet; one record for each of the two.

`x`, `y`: raster px. `upright`: True = the seam runs along y. `low` ≤ 0 ≤ `high`: px along the seam between
which a straight line that replaces the crossing may meet the seam, as far as this tile is concerned; both 0
where the vertex may go only if it lies on a straight line. `off`: px, how far from the vertex the line may
pass.
"""

_OFF = 2**0.5
"""Tolerances that a crossing may lie off the line that replaces it: the pixel corners along a straight line
fill a strip of √2 px, so at tolerance 1 a straight edge crosses a seam without a trace."""

_SLIDE = 4.0
"""Tolerances that a crossing may slide along the seam: a line that passes √2 tolerances from a point
meets the seam that far away when it crosses at 21°."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Side:
    """One side of a core's rim; points counted along it from 0, k of them vertices."""

    upright: bool
    """True = left or right side."""
    line: int
    """x of an upright side, y of another, core px."""
    at: Ints
    """(k,) positions of the vertices, ascending; the first and last are the core's corners."""
    inner: Bools
    """(k,) True = a border goes from the vertex into the core."""
    outer: Bools
    """(k,) True = a border goes from it into the tile beyond."""
    forth: Bools
    """(k,) True = a border goes along the seam to the next vertex."""
    plain: Bools
    """(k,) True = exactly two labels meet, in one border through the point."""

    def points(self) -> tuple[Ints, Ints]:
        """(x, y) of the vertices in core px."""
        line = np.full(len(self.at), self.line, np.int64)
        return (line, self.at) if self.upright else (self.at, line)

    def crossings(self) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """Vertices where a border gets from one side of the rim to the other.

        Returns:
            (m,) index of the vertex, of the first and of the last vertex of the crossing: all the same where
            the border goes straight through, two neighbours where it runs along the rim between them.
        """
        inside = np.ones(len(self.at), np.bool_)
        inside[[0, -1]] = False
        straight = np.flatnonzero(self.plain & self.inner & self.outer & inside)
        turns = self.plain & (self.inner != self.outer) & inside
        step = np.flatnonzero(turns[:-1] & turns[1:] & self.forth[:-1] & (self.inner[:-1] != self.inner[1:]))
        index = np.concatenate([straight, step, step + 1])
        return index, np.concatenate([straight, step, step]), np.concatenate([straight, step + 1, step + 1])


def seam_points(
    labels: NDArray[np.int32],
    cracks: Cracks,
    geometries: NDArray[np.object_],
    core: Window,
    tolerance: float,
) -> NDArray[np.void]:
    """What one tile knows of the vertices on its rim where two labels meet.

    Args:
        labels: (h+2, w+2) of the core with a 1-px ring.
        cracks: those of `labels`.
        geometries: the simplified polygons of the whole core, 0 included, in core px.
        core: the core in raster px.
        tolerance: px, ≥ 0.

    Returns:
        (m,) `SEAM_VERTICES` whose ids are labels; points at the corners of the core occur twice.
    """
    rings = shapely.get_rings(geometries)
    vertices, ring_of = shapely.get_coordinates(rings, return_index=True)
    vertices = vertices.astype(np.int64)
    starts = np.flatnonzero(ring_of[1:] == ring_of[:-1])
    records = []
    for side in _sides(cracks):
        x, y = side.points()
        reach = np.zeros((len(x), 2))
        if tolerance > 0:
            _grant(side, vertices, starts, tolerance, reach)
        around = np.stack([labels[y, x], labels[y, x + 1], labels[y + 1, x], labels[y + 1, x + 1]])
        for label in (around.min(axis=0), around.max(axis=0)):
            record = np.empty(len(x), SEAM_VERTICES)
            record["id"], record["x"], record["y"] = label, x + core.col, y + core.row
            record["upright"], record["off"] = side.upright, _OFF * tolerance
            record["low"], record["high"] = reach.T
            records.append(record[side.plain])
    return np.concatenate(records)


def _sides(cracks: Cracks) -> list[_Side]:
    height, width = cracks.degree.shape[0] - 1, cracks.degree.shape[1] - 1
    sides = []
    for upright, line in ((True, 0), (True, width), (False, 0), (False, height)):
        pick = (slice(None), line) if upright else (line, slice(None))
        low, high = (cracks.west, cracks.east) if upright else (cracks.north, cracks.south)
        inner, outer = (high, low) if line == 0 else (low, high)
        forth = (cracks.south if upright else cracks.east)[pick]
        vertex = low[pick] | high[pick]
        vertex[[0, -1]] = True
        at = np.flatnonzero(vertex)
        plain = cracks.degree[pick][at] == 2
        sides.append(_Side(upright, line, at, inner[pick][at], outer[pick][at], forth[at], plain))
    return sides


def _grant(side: _Side, vertices: Ints, starts: NDArray[np.intp], tolerance: float, reach: Floats) -> None:
    """Fill in how far each crossing of a side may slide.

    Args:
        side: the side.
        vertices: (v, 2) vertices of all rings of the tile, core px.
        starts: those that have an edge to the one after them.
        tolerance: px.
        reach: (k, 2) for the vertices of the side, changed in place.
    """
    index, first, last = side.crossings()
    if len(index) == 0:
        return
    at = side.at.astype(np.float64)
    low = np.maximum((at[first - 1] + at[first]) / 2, at[first] - _SLIDE * tolerance)
    high = np.minimum((at[last] + at[last + 1]) / 2, at[last] + _SLIDE * tolerance)
    mine = np.flatnonzero(side.inner[index])
    if len(mine):
        axis = 0 if side.upright else 1
        depth, along = np.abs(vertices[:, axis] - side.line), vertices[:, 1 - axis]
        leaving = starts[(depth[starts] == 0) & (depth[starts + 1] > 0)]
        leaving = leaving[np.argsort(along[leaving], kind="stable")]
        foot = side.at[index[mine]]
        inner_end = leaving[np.searchsorted(along[leaving], foot)] + 1
        span = np.column_stack([low[mine], high[mine]])
        _clear(foot, along[inner_end], depth[inner_end], along, depth, span)
        low[mine], high[mine] = span.T
    reach[index] = np.column_stack([low, high]) - at[index][:, None]


def _clear(foot: Ints, q_along: Ints, q_depth: Ints, along: Ints, depth: Ints, span: Floats) -> None:
    """Shrink spans until the triangles between them and their inner ends hold no vertex.

    Args:
        foot: (m,) where the border's last edge stands on the rim.
        q_along: (m,) position of its inner end along the rim.
        q_depth: (m,) how deep inside its inner end lies, > 0.
        along: (v,) position of all vertices of the tile.
        depth: (v,) how deep inside they lie; those on the rim do not count.
        span: (m, 2) positions on the rim, changed in place.
    """
    inside = np.flatnonzero((depth > 0) & (depth < q_depth.max()))
    tree = shapely.STRtree(shapely.points(along[inside].astype(np.float64), depth[inside]))
    boxes = shapely.box(np.minimum(q_along, span[:, 0]), 0, np.maximum(q_along, span[:, 1]), q_depth)
    triangle, found = tree.query(boxes)
    vertex = inside[found]
    above = depth[vertex] < q_depth[triangle]
    triangle, vertex = triangle[above], vertex[above]
    q, drop = q_along[triangle], q_depth[triangle]
    shadow = q + (along[vertex] - q) * drop / (drop - depth[vertex])
    left = shadow <= foot[triangle]
    np.maximum.at(span[:, 0], triangle[left], shadow[left])
    np.minimum.at(span[:, 1], triangle[~left], shadow[~left])
