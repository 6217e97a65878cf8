"""Join the parts of each id as its tiles come in, and take out what the seams left in its border.

Memory holds only the parts of ids that still wait for a tile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from remotesam.grouping import last_of_run, run_starts
from remotesam.polygons.seam_vertices import SEAM_VERTICES
from remotesam.polygons.tile_polygons import Parts


@dataclass(slots=True)
class _Waiting:
    """Parts of one id of which some tile is still to come."""

    missing: int
    geometries: list[NDArray[np.object_]]
    seams: list[NDArray[np.void]]


class SeamUnion:
    """Puts polygons together tile by tile, each given back once, when its last tile is in.

    See `docs/algorithms.md#polygons`.

    The result for an id depends on its parts alone, neither on the order of the tiles nor on when its
    neighbours are finished: each decision about a vertex on a seam uses only what both polygons through it
    know. The polygons of a raster form a valid coverage whatever the tolerance of the parts.
    """

    def __init__(self, tiles_of: Mapping[int, int] | NDArray[np.integer]) -> None:
        """Start without parts.

        Args:
            tiles_of: id → in how many tiles it owns pixels, ≥ 1; a mapping or an array indexed by id.
        """
        self._tiles_of = tiles_of
        self._waiting: dict[int, _Waiting] = {}
        self.held = 0
        """Parts in memory now."""
        self.most_held = 0
        """The most parts ever held between two tiles."""

    def add(self, parts: Parts) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
        """Take the parts of one tile; each tile once, in any order.

        Returns:
            (n,) ids that are now complete, ascending, and (n,) their geometries in raster px, in GEOS's
            normal form: Polygons, or MultiPolygons where an id is in pieces.

        Raises:
            ValueError: an id comes from more tiles than announced.
        """
        if len(parts.ids) == 0:
            return np.empty(0, np.int64), np.empty(0, object)
        ids, first = np.unique(parts.ids, return_index=True)
        groups = np.split(parts.geometries, first[1:])
        cuts = np.searchsorted(parts.seams["id"], ids)
        seams = np.split(parts.seams, cuts[1:])
        done, merged, points = [], [], []
        for key, geometries, own_seams in zip(ids.tolist(), groups, seams, strict=True):
            waiting = self._waiting.get(key)
            if waiting is None:
                waiting = self._waiting[key] = _Waiting(int(self._tiles_of[key]), [], [])
            if waiting.missing < 1:
                raise ValueError(f"id {key} comes from more tiles than announced")
            waiting.missing -= 1
            waiting.geometries.append(geometries)
            waiting.seams.append(own_seams)
            self.held += len(geometries)
            if waiting.missing == 0:
                del self._waiting[key]
                self.held -= sum(map(len, waiting.geometries))
                done.append(key)
                merged.append(_join(waiting.geometries))
                points.extend(waiting.seams)
        self.most_held = max(self.most_held, self.held)
        if not done:
            return np.empty(0, np.int64), np.empty(0, object)
        return np.array(done, np.int64), _without_seam_points(np.array(merged, object), _verdicts(points))

    def waiting(self) -> NDArray[np.int64]:
        """(n,) ids that still miss a tile, ascending; empty when every tile is in."""
        return np.array(sorted(self._waiting), np.int64)


def _join(geometries: list[NDArray[np.object_]]) -> shapely.Geometry:
    parts = np.concatenate(geometries)
    return parts[0] if len(parts) == 1 else shapely.coverage_union_all(parts)


def _key(x: NDArray[np.integer], y: NDArray[np.integer]) -> NDArray[np.int64]:
    return (np.asarray(y, np.int64) << 32) + np.asarray(x, np.int64)


def _verdicts(seams: list[NDArray[np.void]]) -> NDArray[np.void]:
    """One record for each point, ordered by `_key`: what all tiles that know it agree on."""
    every = np.concatenate(seams) if seams else np.empty(0, SEAM_VERTICES)
    key = _key(every["x"], every["y"])
    order = np.argsort(key, kind="stable")
    every, key = every[order], key[order]
    first = run_starts(key)
    points = every[first]
    points["low"] = np.maximum.reduceat(every["low"], first)
    points["high"] = np.minimum.reduceat(every["high"], first)
    return points


def _without_seam_points(geometries: NDArray[np.object_], points: NDArray[np.void]) -> NDArray[np.object_]:
    """Rebuild geometries without the vertices at `points` that are not needed, in normal form."""
    parts, part_owner = shapely.get_parts(geometries, return_index=True)
    rings, ring_owner = shapely.get_rings(parts, return_index=True)
    vertices, ring_of = shapely.get_coordinates(rings, return_index=True)
    last = last_of_run(ring_of)
    vertices, ring_of = vertices[~last], ring_of[~last]
    needed = _needed(vertices, ring_of, points)
    vertices, ring_of = vertices[needed], ring_of[needed]
    rings = shapely.linearrings(vertices, indices=ring_of)
    polygons = shapely.polygons(rings, indices=ring_owner)
    sizes = np.bincount(part_owner, minlength=len(geometries))
    result = np.empty(len(geometries), object)
    single = sizes[part_owner] == 1
    result[part_owner[single]] = polygons[single]
    if not single.all():
        owners, index = np.unique(part_owner[~single], return_inverse=True)
        result[owners] = shapely.multipolygons(polygons[~single], indices=index)
    return shapely.normalize(result)


def _needed(
    vertices: NDArray[np.float64], ring_of: NDArray[np.intp], points: NDArray[np.void]
) -> NDArray[np.bool_]:
    """(n,) True = vertex of an open ring that must stay.

    A point on a straight line goes. A crossing goes when the line that replaces it is free on both sides of
    the seam and passes close enough, provided that its ends stay. Where the end of one such line is a
    crossing that could go as well, the one with the smaller key goes. All this is the same seen from the
    polygons on either side of the border, to the last bit.
    """
    needed = np.ones(len(vertices), np.bool_)
    if len(points) == 0:
        return needed
    before, after = _ring_neighbours(ring_of)
    known = _key(points["x"], points["y"])
    key = _key(vertices[:, 0].astype(np.int64), vertices[:, 1].astype(np.int64))
    at = np.minimum(np.searchsorted(known, key), len(known) - 1)
    at[known[at] != key] = -1
    here = np.flatnonzero(at >= 0)
    (px, py), (rx, ry) = (
        (vertices[here] - vertices[before[here]]).T,
        (vertices[after[here]] - vertices[here]).T,
    )
    needed[here[px * ry == py * rx]] = False
    one, other = _crossings(vertices, here[needed[here]], at, after, points)
    ends = before[one], after[other]
    swap = key[ends[0]] > key[ends[1]]
    one, other = np.where(swap, other, one), np.where(swap, one, other)
    q, r = np.where(swap, ends[1], ends[0]), np.where(swap, ends[0], ends[1])
    goes = needed[q] & needed[r]
    goes &= _free(
        vertices[q], vertices[r], vertices[one], vertices[other], points[at[one]], points[at[other]]
    )
    one, other, q, r = one[goes], other[goes], q[goes], r[goes]
    rank = np.full(len(vertices), np.iinfo(np.int64).max)
    own = np.minimum(key[one], key[other])
    rank[one] = rank[other] = own
    first = (own < rank[q]) & (own < rank[r])
    needed[one[first]] = needed[other[first]] = False
    return needed


def _crossings(
    vertices: NDArray[np.float64],
    here: NDArray[np.intp],
    at: NDArray[np.intp],
    after: NDArray[np.intp],
    points: NDArray[np.void],
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First and last vertex, in ring order, of the crossings that both tiles would let go.

    Args:
        vertices: (n, 2) of open rings.
        here: those that are at known points and not on a straight line.
        at: (n,) index of each vertex in `points`, -1 = none.
        after: (n,) the next vertex of the ring.
        points: verdicts.

    Returns:
        Two vertices of one seam, or one twice where the border goes straight through.
    """
    free = np.zeros(len(vertices), np.bool_)
    free[here] = points["low"][at[here]] < points["high"][at[here]]
    upright = points["upright"][at]
    axis = np.where(upright, 0, 1)
    rows = np.arange(len(vertices))
    onward = vertices[rows, axis] == vertices[after, axis]
    pair = free & onward & free[after] & (upright == upright[after])
    back = np.zeros(len(vertices), np.bool_)
    back[after] = vertices[after, axis[after]] == vertices[rows, axis[after]]
    single = free & ~onward & ~back
    one = np.concatenate([np.flatnonzero(single), np.flatnonzero(pair)])
    return one, np.concatenate([np.flatnonzero(single), after[pair]])


def _ring_neighbours(ring_of: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """For each vertex of open rings the index of the one before and the one after it."""
    n = len(ring_of)
    first = run_starts(ring_of)
    stop = np.append(first[1:], n)
    before, after = np.arange(-1, n - 1), np.arange(1, n + 1)
    before[first], after[stop - 1] = stop - 1, first
    return before, after


def _free(
    q: NDArray[np.float64],
    r: NDArray[np.float64],
    one: NDArray[np.float64],
    other: NDArray[np.float64],
    grant: NDArray[np.void],
    other_grant: NDArray[np.void],
) -> NDArray[np.bool_]:
    """(n,) True = the line q-r crosses the seam where both tiles allow it and passes close to both vertices.

    Args:
        q: (n, 2) the border's next vertex in one tile.
        r: (n, 2) its next vertex in the other.
        one: (n, 2) the crossing's vertex next to q.
        other: (n, 2) the one next to r; may be the same.
        grant: `SEAM_VERTICES` of `one`.
        other_grant: those of `other`.
    """
    rows = np.arange(len(q))
    along = grant["upright"].astype(np.intp)
    across = 1 - along
    start, stop = (q - one)[rows, across], (r - one)[rows, across]
    split = start * stop < 0
    share = np.divide(start, start - stop, out=np.zeros(len(q)), where=split)
    hit = q[rows, along] + share * (r - q)[rows, along]
    line = r - q
    length = np.hypot(*line.T)
    close = split
    for vertex, limits in ((one, grant), (other, other_grant)):
        foot = hit - vertex[rows, along]
        close &= (limits["low"] < foot) & (foot < limits["high"])
        offset = vertex - q
        close &= np.abs(line[:, 0] * offset[:, 1] - line[:, 1] * offset[:, 0]) <= limits["off"] * length
    return close
