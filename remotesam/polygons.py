"""Polygons of one tile that fit those of its neighbours: simplified inside, exact on the rim.

`coverage_simplify` (GEOS: Visvalingam-Whyatt on the shared edges of a coverage, with checks of the topology)
moves borders of two neighbours as one, so there are neither gaps nor overlaps. Each tile is simplified alone
with its rim frozen. What the frozen rim leaves behind, a vertex wherever a border crosses it, can be taken
out later: for each such point the tile states how far along the seam the border may move without meeting
anything else in this tile (`SEAM_POINTS`). The tile beyond says the same of its side, and whoever knows both
sides comes to the same verdict, in any order (`remotesam.seam_union`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from remotesam.lattice import Bools, Cracks, compact, trace
from remotesam.windows import Window

SEAM_POINTS = np.dtype(
    [("id", "i8"), ("x", "i8"), ("y", "i8"), ("upright", "?"), ("low", "f8"), ("high", "f8")]
)
"""A vertex on a tile's rim where exactly two ids meet; one record for each of the two.

`x`, `y`: raster px. `upright`: True = the seam runs along y. `low` ≤ 0 ≤ `high`: px along the seam between
which a straight line from the border's next vertex in this tile may reach the seam; both 0 where the vertex
may go only if it lies on a straight line.
"""


@dataclass(frozen=True, slots=True)
class Parts:
    """What one tile contributes to the polygons of a raster."""

    ids: NDArray[np.int64]
    """(n,) ascending; an id occurs once for each of its separate areas in the core."""
    geometries: NDArray[np.object_]
    """(n,) Polygons in raster px, vertices at pixel corners."""
    seams: NDArray[np.void]
    """(k,) `SEAM_POINTS`, ordered by id."""


def tile_parts(labels: NDArray[np.integer], core: Window, *, tolerance: float) -> Parts:
    """Trace and simplify the core of one tile.

    Args:
        labels: (h+2, w+2) final ids ≥ 0 of the core with a 1-px ring around it; 0 = none. Outside the raster
            the ring is 0.
        core: the core, in raster pixels.
        tolerance: px; areas below its square are simplified away, border crossings of the rim move by no more
            than this. 0 keeps every pixel edge.

    Raises:
        ValueError: labels and core differ in size, or the tolerance is negative.
    """
    if labels.shape != (core.height + 2, core.width + 2):
        raise ValueError(f"labels of shape {labels.shape} do not fit {core} and its ring")
    if not tolerance >= 0:
        raise ValueError(f"tolerance {tolerance} is negative")
    if not labels[1:-1, 1:-1].any():
        return Parts(np.empty(0, np.int64), np.empty(0, object), np.empty(0, SEAM_POINTS))
    small, names = compact(labels)
    cracks = Cracks.of(small)
    nodes = cracks.nodes()
    values, geometries = trace(np.ascontiguousarray(small[1:-1, 1:-1]), nodes)
    if tolerance > 0:
        geometries = shapely.coverage_simplify(geometries, tolerance, simplify_boundary=False)
    rim = _rim(small, cracks, nodes)
    reach = _reach(rim, geometries, nodes, tolerance)
    ids = values.astype(np.int64) if names is None else names[values]
    keep = np.flatnonzero(ids > 0)
    keep = keep[np.argsort(ids[keep], kind="stable")]
    shift = np.array([core.col, core.row])
    moved = shapely.transform(geometries[keep], lambda xy: xy + shift)
    records = _records(rim, reach, names, core)
    return Parts(ids[keep], moved, records[np.isin(records["id"], ids[keep])])


@dataclass(frozen=True, slots=True)
class _Rim:
    """Rim points of a core where exactly two labels meet; all arrays (m,), points in core px."""

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    labels: NDArray[np.int32]
    """(m, 2) the two labels."""
    through: Bools
    """True = the border crosses the rim at a right angle."""
    upright: Bools
    """True = the point lies on the left or right side; corners count as either, they never move."""


def _rim(labels: NDArray[np.int32], cracks: Cracks, nodes: Bools) -> _Rim:
    height, width = nodes.shape[0] - 1, nodes.shape[1] - 1
    on_rim = np.zeros(nodes.shape, np.bool_)
    on_rim[[0, -1]] = nodes[[0, -1]]
    on_rim[:, [0, -1]] |= nodes[:, [0, -1]]
    corners = np.ix_([0, -1], [0, -1])
    on_rim[corners] = True
    y, x = np.nonzero(on_rim & (cracks.degree == 2))
    around = np.stack([labels[y, x], labels[y, x + 1], labels[y + 1, x], labels[y + 1, x + 1]])
    corner = ((x == 0) | (x == width)) & ((y == 0) | (y == height))
    upright = (x == 0) | (x == width)
    across = np.where(upright, cracks.west[y, x] & cracks.east[y, x], cracks.north[y, x] & cracks.south[y, x])
    pair = np.column_stack([around.min(axis=0), around.max(axis=0)])
    return _Rim(x.astype(np.int64), y.astype(np.int64), pair, across & ~corner, upright)


def _reach(rim: _Rim, geometries: NDArray[np.object_], nodes: Bools, tolerance: float) -> NDArray[np.float64]:
    """(m, 2) how far each crossing may slide back and forth along its side of the rim, px.

    The border's last edge inside the tile turns around its inner end q. The triangle it may sweep must hold
    no vertex of any polygon; then it meets no edge either, and no two such triangles meet, because their
    bases on the rim are kept apart by giving each half of the gap to the next vertex.
    """
    reach = np.zeros((len(rim.x), 2))
    if tolerance == 0 or not rim.through.any():
        return reach
    rings = shapely.get_rings(geometries)
    vertices, ring_of = shapely.get_coordinates(rings, return_index=True)
    same = ring_of[1:] == ring_of[:-1]
    start, stop = vertices[:-1][same].astype(np.int64), vertices[1:][same].astype(np.int64)
    height, width = nodes.shape[0] - 1, nodes.shape[1] - 1
    sides = ((True, 0), (True, width), (False, 0), (False, height))
    for upright, line in sides:
        axis = 0 if upright else 1
        position = np.stack([rim.x, rim.y])
        here = np.flatnonzero(rim.through & (rim.upright == upright) & (position[axis] == line))
        if len(here):
            stations = nodes[:, line] if upright else nodes[line]
            along = position[1 - axis][here]
            leaving = (start[:, axis] == line) & (stop[:, axis] != line)
            reach[here] = _side_reach(
                along, start[leaving, 1 - axis], stop[leaving], stations, (axis, line), start, tolerance
            )
    return reach


def _side_reach(
    along: NDArray[np.int64],
    leaving_at: NDArray[np.int64],
    leaving_to: NDArray[np.int64],
    stations: Bools,
    side: tuple[int, int],
    vertices: NDArray[np.int64],
    tolerance: float,
) -> NDArray[np.float64]:
    """(m, 2) reach of the crossings of one side.

    Args:
        along: (m,) where the crossings lie on the side.
        leaving_at: (e,) where edges leave the side into the tile.
        leaving_to: (e, 2) the (x, y) where they end.
        stations: True = vertex at this lattice point of the side.
        side: axis that is constant on the side (0 = x) and its value.
        vertices: (v, 2) (x, y) of all vertices of the tile.
        tolerance: px, the most that is granted.
    """
    axis, line = side
    taken = np.flatnonzero(stations)
    taken = np.unique(np.concatenate([taken, [0, len(stations) - 1]]))
    place = np.searchsorted(taken, along)
    high = np.minimum((taken[place + 1] - along) / 2, tolerance)
    low = np.maximum((taken[place - 1] - along) / 2, -tolerance)
    order = np.argsort(leaving_at, kind="stable")
    edge = order[np.searchsorted(leaving_at, along, sorter=order)]
    inner_along, inner_depth = leaving_to[edge, 1 - axis], np.abs(leaving_to[edge, axis] - line)
    depth = np.abs(vertices[:, axis] - line)
    near = (depth > 0) & (depth < inner_depth.max())
    points = np.unique(np.column_stack([vertices[near, 1 - axis], depth[near]]), axis=0)
    tree = shapely.STRtree(shapely.points(points.astype(np.float64)))
    boxes = shapely.box(
        np.minimum(inner_along, along + low), 0, np.maximum(inner_along, along + high), inner_depth
    )
    crossing, point = tree.query(boxes)
    beyond = points[point, 1] < inner_depth[crossing]
    crossing, point = crossing[beyond], point[beyond]
    q_along, q_depth = inner_along[crossing], inner_depth[crossing]
    v_along, v_depth = points[point].T
    hit = q_along + (v_along - q_along) * q_depth / (q_depth - v_depth) - along[crossing]
    np.minimum.at(high, crossing[hit >= 0], hit[hit >= 0])
    np.maximum.at(low, crossing[hit <= 0], hit[hit <= 0])
    return np.column_stack([low, high])


def _records(
    rim: _Rim, reach: NDArray[np.float64], names: NDArray[np.int64] | None, core: Window
) -> NDArray[np.void]:
    labels = rim.labels.T.ravel().astype(np.int64)
    records = np.empty(len(labels), SEAM_POINTS)
    records["id"] = labels if names is None else names[labels]
    records["x"], records["y"] = np.tile(rim.x + core.col, 2), np.tile(rim.y + core.row, 2)
    records["upright"] = np.tile(rim.upright, 2)
    records["low"], records["high"] = np.tile(reach[:, 0], 2), np.tile(reach[:, 1], 2)
    return records[np.lexsort((records["x"], records["y"], records["id"]))]
