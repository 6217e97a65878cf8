"""From joins of neighbouring tiles to final ids: components, and a look-up table for each tile.

Memory follows the joins, never the raster: segments that no join names are not stored anywhere, their final
ids are computed from the number of segments in each tile. Final ids are ranks of the smallest keys, so they
do not depend on the order in which tiles or seams were finished.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from remotesam.grouping import first_of_run, run_starts
from remotesam.merge.joins import JoinKind, Joins

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Edges:
    """Joins between segments of the whole run, in any order.

    A key is `tile_index << 32 | label`.
    """

    key_a: Ints
    """(k,) key of one segment."""
    key_b: Ints
    """(k,) key of the other segment, of another tile."""
    score: NDArray[np.float64]
    """(k,) in (0, 1]."""
    area: NDArray[np.float64]
    """(k,) overlap in pixels or steradians."""
    kind: NDArray[np.int8]
    """(k,) values of `JoinKind`."""

    def __len__(self) -> int:
        return len(self.key_a)

    @classmethod
    def of(cls, joins: Joins, tile_a: int, tile_b: int) -> Edges:
        """The joins of two tiles, by keys."""
        return cls(
            key_a=segment_keys(tile_a, joins.label_a),
            key_b=segment_keys(tile_b, joins.label_b),
            score=joins.score,
            area=joins.area,
            kind=joins.kind,
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Edges]) -> Edges:
        """All edges of several tables; no part gives an empty table."""
        return cls(
            key_a=np.concatenate([np.empty(0, np.int64), *(part.key_a for part in parts)]),
            key_b=np.concatenate([np.empty(0, np.int64), *(part.key_b for part in parts)]),
            score=np.concatenate([np.empty(0, np.float64), *(part.score for part in parts)]),
            area=np.concatenate([np.empty(0, np.float64), *(part.area for part in parts)]),
            kind=np.concatenate([np.empty(0, np.int8), *(part.kind for part in parts)]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LongComponent:
    """A component that spans more tiles than expected: a river, or a chain of wrong joins."""

    key: int
    """Its smallest key."""
    tiles: int
    """Number of different tiles it has segments in."""
    segments: int
    """Number of its segments."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Components:
    """Which segments are one object, and their final ids.

    Inside, a segment is its position in the order of keys: all segments of tile 0, then of tile 1, …
    """

    offsets: Ints
    """(tiles + 1,) position of the first segment of each tile."""
    joined: Ints
    """(m,) positions of the segments that some join names, ascending."""
    root: Ints
    """(m,) the smallest position in the component of each of them."""
    removed: Ints
    """(r,) smallest positions of the components that are left out of the result, ascending."""
    unnumbered: Ints
    """Positions that are removed or not the smallest of their component, ascending: all others have an id."""
    refused: int
    """Joins not followed because they would have made two segments of one tile the same without evidence."""
    long: tuple[LongComponent, ...]
    """Components that span more than `max_span` tiles, by key."""

    @property
    def count(self) -> int:
        """Number of final ids; they are 1..count."""
        return int(self.offsets[-1]) - len(self.unnumbered)

    def lut(self, tile: int) -> Ints:
        """(n_core,) final id of each label 1..n_core of a tile; 0 = removed."""
        start, stop = int(self.offsets[tile]), int(self.offsets[tile + 1])
        positions = np.arange(start, stop, dtype=np.int64)
        low, high = np.searchsorted(self.joined, (start, stop))
        positions[self.joined[low:high] - start] = self.root[low:high]
        return self._ids(positions)

    def joined_ids(self) -> Ints:
        """Final ids of the components that some join names, ascending; only these may span several tiles."""
        ids = self._ids(_distinct(self.root))
        return ids[ids > 0]

    def absorb(self, absorbed: Ints, hosts: Ints, removed: Ints) -> Components:
        """Join more components and leave some out; all are named by the final ids of *this* object.

        Args:
            absorbed: (n,) ids of components that become part of another.
            hosts: (n,) the ids they become part of.
            removed: (r,) ids to leave out; not among the absorbed.

        Returns:
            Components with new final ids, again 1..count without gaps.
        """
        first = np.concatenate([self.joined, self._roots(np.asarray(absorbed, np.int64))])
        second = np.concatenate([self.root, self._roots(np.asarray(hosts, np.int64))])
        joined, start, end = _numbered(first, second)
        root = _smallest(joined, start, end)
        gone = np.concatenate([self.removed, self._roots(np.asarray(removed, np.int64))])
        gone = np.unique(_follow(gone, joined, root))
        return Components(
            offsets=self.offsets,
            joined=joined,
            root=root,
            removed=gone,
            unnumbered=np.union1d(joined[joined != root], gone),
            refused=self.refused,
            long=self.long,
        )

    def _ids(self, roots: Ints) -> Ints:
        """Ranks of smallest positions; 0 for those of removed components."""
        ids = roots + 1 - np.searchsorted(self.unnumbered, roots)
        ids[member(self.removed, roots)] = 0
        return ids

    def _roots(self, ids: Ints) -> Ints:
        """Smallest positions of the components of ids: the inverse of `_ids`."""
        numbered_before = self.unnumbered - np.arange(len(self.unnumbered))
        return ids - 1 + np.searchsorted(numbered_before, ids - 1, side="right")


def segment_keys(tile: int, labels: NDArray[np.integer]) -> Ints:
    """Keys of the labels of one tile."""
    return np.int64(tile) << 32 | labels.astype(np.int64)


def components(n_core: Sequence[int] | Ints, edges: Edges, *, max_span: int = 64) -> Components:
    """Follow the joins of a run (`docs/algorithms.md#components`).

    A join of kind `MUTUAL` is refused when it would connect two components that both have a segment in some
    tile: that tile has seen both and found them different, and nothing but a chain of doubtful joins says
    otherwise. Joins of the other kinds are all followed, and first; the doubtful ones come in the order of
    (score, area, keys), so the result does not depend on the order of `edges`.

    Args:
        n_core: number of segments of each tile that own core pixels, by tile index; 0 for failed tiles.
        edges: all joins, each once or more often.
        max_span: components in more tiles than this are listed in `Components.long`.

    Raises:
        ValueError: an edge names a label that its tile does not have.
    """
    offsets = np.concatenate([[0], np.cumsum(np.asarray(n_core, np.int64))]).astype(np.int64)
    first, second = _positions(edges.key_a, offsets), _positions(edges.key_b, offsets)
    doubtful = edges.kind == JoinKind.MUTUAL
    accepted = ~doubtful
    joined, start, end = _numbered(first, second)
    certain = _smallest(joined, start[accepted], end[accepted])
    risky = _risky(certain, _smallest(joined, start, end), _tiles(joined, offsets))
    accepted |= ~risky[start]
    questioned = np.flatnonzero(~accepted)
    if len(questioned):
        parts = _Parts.of(certain[risky], _tiles(joined[risky], offsets))
        for edge in _best_first(edges, questioned):
            accepted[edge] = parts.join(int(certain[start[edge]]), int(certain[end[edge]]))
    root = _smallest(joined, start[accepted], end[accepted])
    return Components(
        offsets=offsets,
        joined=joined,
        root=root,
        removed=np.empty(0, np.int64),
        unnumbered=joined[joined != root],
        refused=int(np.count_nonzero(~accepted)),
        long=_long(joined, root, offsets, max_span),
    )


def member(ascending: Ints, values: Ints) -> NDArray[np.bool_]:
    """(n,) True where a value occurs in a sorted vector; the cost does not depend on the vector's length."""
    if not len(ascending):
        return np.zeros(len(values), np.bool_)
    place = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    found: NDArray[np.bool_] = ascending[place] == values
    return found


def _positions(keys: Ints, offsets: Ints) -> Ints:
    """Place of each key in the order of all keys of the run."""
    tiles, labels = keys >> 32, keys & np.int64(2**32 - 1)
    known = (tiles >= 0) & (tiles < len(offsets) - 1) & (labels > 0)
    known[known] = labels[known] <= np.diff(offsets)[tiles[known]]
    if not known.all():
        wrong = int(np.flatnonzero(~known)[0])
        raise ValueError(
            f"a join names label {labels[wrong]} of tile {tiles[wrong]}, which has no such label"
        )
    nodes: NDArray[np.int64] = offsets[tiles] + labels - 1
    return nodes


def _distinct(values: Ints) -> Ints:
    """Sorted values without repetition; `np.unique` hashes, which takes many times as long for millions."""
    ascending = np.sort(values)
    return ascending[first_of_run(ascending)]


def _numbered(first: Ints, second: Ints) -> tuple[Ints, Ints, Ints]:
    """All positions that edges name, ascending, and the places of both ends of every edge among them."""
    ends = np.concatenate([first, second])
    order = np.argsort(ends, kind="stable")
    ascending = ends[order]
    new = first_of_run(ascending)
    place = np.empty(len(ends), np.int64)
    place[order] = np.cumsum(new) - 1
    return ascending[new], place[: len(first)], place[len(first) :]


def _smallest(joined: Ints, start: Ints, end: Ints) -> Ints:
    """The smallest position in the component of each of the joined, following the edges given by place."""
    size = len(joined)
    if not size:
        return joined
    graph = coo_array((np.ones(len(start), np.bool_), (start, end)), shape=(size, size))
    count, component = connected_components(graph, directed=False)
    # Written from the last node to the first, so what stays is the first.
    first = np.empty(count, np.int64)
    first[component[::-1]] = np.arange(size)[::-1]
    lowest: NDArray[np.int64] = joined[first[component]]
    return lowest


def _follow(positions: Ints, joined: Ints, root: Ints) -> Ints:
    """The root of each position; a position that is not joined is its own."""
    followed = positions.copy()
    known = member(joined, positions)
    followed[known] = root[np.searchsorted(joined, positions[known])]
    return followed


def _tiles(positions: Ints, offsets: Ints) -> Ints:
    return np.searchsorted(offsets, positions, side="right") - 1


def _risky(certain: Ints, full: Ints, tiles: Ints) -> NDArray[np.bool_]:
    """(m,) True for the components in which a tile occurs in two parts that no certain join connects.

    Args:
        certain: (m,) roots by certain joins only.
        full: (m,) roots by all joins.
        tiles: (m,) tile of each segment, ascending.
    """
    order = np.argsort(full, kind="stable")
    part, whole, tile = certain[order], full[order], tiles[order]
    clash = (whole[1:] == whole[:-1]) & (tile[1:] == tile[:-1]) & (part[1:] != part[:-1])
    return member(_distinct(whole[1:][clash]), full)


def _best_first(edges: Edges, questioned: Ints) -> list[int]:
    """The questioned edges by falling score, then area, then by their keys."""
    low = np.minimum(edges.key_a, edges.key_b)[questioned]
    high = np.maximum(edges.key_a, edges.key_b)[questioned]
    order = np.lexsort((high, low, -edges.area[questioned], -edges.score[questioned]))
    best: list[int] = questioned[order].tolist()
    return best


@dataclass(frozen=True, slots=True)
class _Parts:
    """What certain joins have connected, joined further as long as no tile occurs twice."""

    parent: dict[int, int]
    tiles: dict[int, set[int]]

    @classmethod
    def of(cls, roots: Ints, tiles: Ints) -> _Parts:
        """Parts by the root and the tile of each of their segments."""
        met: dict[int, set[int]] = {}
        for root, tile in zip(roots.tolist(), tiles.tolist(), strict=True):
            met.setdefault(root, set()).add(tile)
        return cls({root: root for root in met}, met)

    def join(self, one: int, other: int) -> bool:
        """Connect the parts of two roots; False = refused, both have a segment in some tile."""
        one, other = self._find(one), self._find(other)
        if one == other:
            return True
        if len(self.tiles[one]) < len(self.tiles[other]):
            one, other = other, one
        if not self.tiles[one].isdisjoint(self.tiles[other]):
            return False
        self.parent[other] = one
        self.tiles[one] |= self.tiles.pop(other)
        return True

    def _find(self, root: int) -> int:
        while self.parent[root] != root:
            self.parent[root] = self.parent[self.parent[root]]
            root = self.parent[root]
        return root


def _long(joined: Ints, root: Ints, offsets: Ints, max_span: int) -> tuple[LongComponent, ...]:
    """Components with segments in more than `max_span` tiles."""
    order = np.argsort(root, kind="stable")
    whole, tile = root[order], _tiles(joined, offsets)[order]
    heads = run_starts(whole)
    new_tile = first_of_run(whole, tile)
    segments = np.diff(heads, append=len(whole))
    spans = np.add.reduceat(new_tile.astype(np.int64), heads)
    return tuple(
        LongComponent(key=_key(int(whole[heads[k]]), offsets), tiles=int(spans[k]), segments=int(segments[k]))
        for k in np.flatnonzero(spans > max_span)
    )


def _key(position: int, offsets: Ints) -> int:
    tile = int(np.searchsorted(offsets, position, side="right")) - 1
    return tile << 32 | position - int(offsets[tile]) + 1
