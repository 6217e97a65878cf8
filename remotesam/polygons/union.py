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
    neighbours are finished: a vertex on a seam goes when the border is straight there, and that is the same
    seen from both sides. The polygons of a raster form a valid coverage whatever the tolerance of the parts.
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
        done, merged, seams_of_done = [], [], []
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
                seams_of_done.extend(waiting.seams)
        self.most_held = max(self.most_held, self.held)
        if not done:
            return np.empty(0, np.int64), np.empty(0, object)
        return np.array(done, np.int64), _straightened(
            np.array(merged, object), np.concatenate(seams_of_done)
        )

    def waiting(self) -> NDArray[np.int64]:
        """(n,) ids that still miss a tile, ascending; empty when every tile is in."""
        return np.array(sorted(self._waiting), np.int64)


def _join(geometries: list[NDArray[np.object_]]) -> shapely.Geometry:
    parts = np.concatenate(geometries)
    return parts[0] if len(parts) == 1 else shapely.coverage_union_all(parts)


def _key(x: NDArray[np.integer], y: NDArray[np.integer]) -> NDArray[np.int64]:
    return (np.asarray(y, np.int64) << 32) + np.asarray(x, np.int64)


def _straightened(geometries: NDArray[np.object_], seams: NDArray[np.void]) -> NDArray[np.object_]:
    """Rebuild geometries without the vertices of `seams` on straight borders, in normal form."""
    parts, part_owner = shapely.get_parts(geometries, return_index=True)
    rings, ring_owner = shapely.get_rings(parts, return_index=True)
    vertices, ring_of = shapely.get_coordinates(rings, return_index=True)
    last = last_of_run(ring_of)
    vertices, ring_of = vertices[~last], ring_of[~last]
    needed = _needed(vertices, ring_of, seams)
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
    normalised: NDArray[np.object_] = shapely.normalize(result)
    return normalised


def _needed(
    vertices: NDArray[np.float64], ring_of: NDArray[np.intp], seams: NDArray[np.void]
) -> NDArray[np.bool_]:
    """(n,) True = vertex of an open ring that must stay: it is not in `seams`, or the border turns there."""
    needed = np.ones(len(vertices), np.bool_)
    keys = _key(vertices[:, 0].astype(np.int64), vertices[:, 1].astype(np.int64))
    on_seam = np.flatnonzero(np.isin(keys, _key(seams["x"], seams["y"])))
    before, after = _ring_neighbours(ring_of)
    (px, py), (rx, ry) = (
        (vertices[on_seam] - vertices[before[on_seam]]).T,
        (vertices[after[on_seam]] - vertices[on_seam]).T,
    )
    needed[on_seam[px * ry == py * rx]] = False
    return needed


def _ring_neighbours(ring_of: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """For each vertex of open rings the index of the one before and the one after it."""
    n = len(ring_of)
    first = run_starts(ring_of)
    stop = np.append(first[1:], n)
    before, after = np.arange(-1, n - 1), np.arange(1, n + 1)
    before[first], after[stop - 1] = stop - 1, first
    return before, after
