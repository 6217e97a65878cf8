"""The lattice of pixel corners: where label borders meet, and polygons that have a vertex there.

A *crack* is the unit edge between two neighbouring pixels of different labels. A lattice point is named by
its row and column, (0, 0) being the top left corner of the core. GDAL's polygons leave out the vertex where
a third label's border meets a straight run, so neighbours do not share their edges and no coverage
algorithm accepts them; the cure is to put those vertices back (`docs/algorithms.md#polygons`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np
import rasterio.features
import shapely
from numpy.typing import NDArray

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Cracks:
    """Which of the four cracks around each lattice point of a core separate two labels; (h+1, w+1) each."""

    north: Bools
    """True = the two pixels above the point differ."""
    south: Bools
    """True = the two pixels below the point differ."""
    west: Bools
    """True = the two pixels left of the point differ."""
    east: Bools
    """True = the two pixels right of the point differ."""
    degree: NDArray[np.uint8]
    """How many of the four separate labels: 0 inside a label, 2 on a plain border, 3 or 4 where more meet
    (4 also where two labels touch crosswise); never 1."""

    @classmethod
    def of(cls, labels: NDArray[np.integer]) -> Cracks:
        """The cracks of a core from its labels with a 1-px ring, (h+2, w+2)."""
        beside = labels[:, :-1] != labels[:, 1:]
        below = labels[:-1] != labels[1:]
        north, south, west, east = beside[:-1], beside[1:], below[:, :-1], below[:, 1:]
        degree = north.view(np.uint8) + south.view(np.uint8)
        degree += west.view(np.uint8)
        degree += east.view(np.uint8)
        return cls(north, south, west, east, degree)

    def nodes(self) -> Bools:
        """(h+1, w+1) True = a vertex that every polygon through this point needs.

        Inside: three or four cracks. On the rim of the core: any crack that leaves the rim, on either side,
        because the tile beyond has a vertex there and the two must match.
        """
        node = self.degree >= 3
        node[[0, -1]] |= (self.north | self.south)[[0, -1]]
        node[:, [0, -1]] |= (self.west | self.east)[:, [0, -1]]
        return node


def compact(labels: NDArray[np.integer]) -> tuple[NDArray[np.int32], NDArray[np.int64] | None]:
    """Labels as int32, the widest integers that GDAL's polygoniser takes.

    Returns:
        The map, and for each of its values the label it stands for; None when they are the same.
    """
    if labels.size == 0 or (labels.min() >= 0 and labels.max() <= np.iinfo(np.int32).max):
        return labels.astype(np.int32), None
    values, inverse = np.unique(labels, return_inverse=True)
    return inverse.reshape(labels.shape).astype(np.int32), values.astype(np.int64)


def trace(labels: NDArray[np.int32], nodes: Bools) -> tuple[NDArray[np.int32], NDArray[np.object_]]:
    """Polygons of all 4-connected areas of one label, label 0 included.

    Args:
        labels: (h, w) map.
        nodes: (h+1, w+1) True = lattice point that is a vertex of each polygon through it.

    Returns:
        (n,) label and (n,) Polygon of each area, in pixels with (0, 0) at the top left corner. Neighbours
        share their edges vertex by vertex.
    """
    traced = list(rasterio.features.shapes(labels, connectivity=4))
    values = np.fromiter((value for _, value in traced), np.int32, len(traced))
    rings = [ring for shape, _ in traced for ring in shape["coordinates"]]
    flat = chain.from_iterable(chain.from_iterable(rings))
    ring_ends = np.cumsum([0] + [len(ring) for ring in rings])
    polygon_ends = np.cumsum([0] + [len(shape["coordinates"]) for shape, _ in traced])
    vertices = np.fromiter(flat, np.float64, 2 * int(ring_ends[-1])).reshape(-1, 2)
    vertices, ring_ends = _insert(vertices, ring_ends, nodes)
    kind = shapely.GeometryType.POLYGON
    return values, shapely.from_ragged_array(kind, vertices, (ring_ends, polygon_ends))


def _insert(
    vertices: NDArray[np.float64], ring_ends: NDArray[np.integer], nodes: Bools
) -> tuple[NDArray[np.float64], NDArray[np.integer]]:
    """Put nodes into the axis-parallel edges of closed rings that run over them."""
    rows, cols = np.nonzero(nodes)
    across = np.int64(max(nodes.shape))
    by_row = np.sort(rows * across + cols)
    by_col = np.sort(cols * across + rows)
    x, y = vertices.astype(np.int64).T
    edge = np.ones(len(x), np.bool_)
    edge[ring_ends[1:] - 1] = False
    flat = edge.copy()
    flat[:-1] &= y[:-1] == y[1:]
    upright = edge & ~flat
    found = [
        _between(np.flatnonzero(flat), x, y, by_row, across),
        _between(np.flatnonzero(upright), y, x, by_col, across),
    ]
    after = np.concatenate([found[0][0], found[1][0]])
    new_x = np.concatenate([found[0][1], found[1][2]])
    new_y = np.concatenate([found[0][2], found[1][1]])
    order = np.argsort(after, kind="stable")
    points = np.column_stack([new_x, new_y])[order].astype(np.float64)
    added = np.bincount(after, minlength=len(x))
    return np.insert(vertices, after[order] + 1, points, axis=0), ring_ends + np.append(0, np.cumsum(added))[
        ring_ends
    ]


def _between(
    edges: NDArray[np.intp],
    along: NDArray[np.int64],
    line: NDArray[np.int64],
    keys: NDArray[np.int64],
    across: np.int64,
) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.int64]]:
    """Nodes strictly inside edges that run along one axis, in the order in which the edge meets them.

    Args:
        edges: index of the first vertex of each edge.
        along: coordinate of all vertices on the axis of the edges.
        line: the other coordinate, the same at both ends of an edge.
        keys: sorted `line * across + along` of all nodes.
        across: more than any coordinate.

    Returns:
        For each node found: its edge, its coordinate along and its line.
    """
    start, stop = along[edges], along[edges + 1]
    base = line[edges] * across
    first = np.searchsorted(keys, base + np.minimum(start, stop), side="right")
    last = np.searchsorted(keys, base + np.maximum(start, stop), side="left")
    count = np.maximum(last - first, 0)
    owner = np.repeat(np.arange(len(edges)), count)
    step = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    forward = (stop > start)[owner]
    index = np.where(forward, first[owner] + step, last[owner] - 1 - step)
    line_of, along_of = np.divmod(keys[index], across)
    return edges[owner], along_of, line_of
