"""From joins of neighbouring tiles to final ids: components, and a look-up table for each tile.

Memory follows the joins, never the raster: segments that no join names are not stored anywhere, their final
ids are computed from the number of segments in each tile. Final ids are ranks of the smallest keys, so they
do not depend on the order in which tiles or seams were finished.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from remotesam.seams import JoinKind, Joins

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
        """Final ids of the components of two or more segments, ascending."""
        ids = np.unique(self._ids(np.unique(self.root)))
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
        joined, root = _join(first, second)
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
    """Follow the joins of a run.

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
    joined, certain_root = _join(first, second, accepted)
    _, full_root = _join(first, second)
    risky = _risky_roots(joined, certain_root, full_root, offsets)
    in_risk = np.isin(_follow(first, joined, full_root), risky)
    accepted |= doubtful & ~in_risk
    questioned = np.flatnonzero(doubtful & in_risk)
    if len(questioned):
        inside = np.isin(full_root, risky)
        accepted[_accept(edges, questioned, first, second, joined[inside], certain_root[inside], offsets)] = (
            True
        )
    joined, root = _join(first, second, accepted)
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
    return ascending[place] == values


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
    return offsets[tiles] + labels - 1


def _join(first: Ints, second: Ints, used: NDArray[np.bool_] | None = None) -> tuple[Ints, Ints]:
    """All positions that occur, ascending, and the smallest position of the component of each."""
    nodes = np.unique(np.concatenate([first, second]))
    if not len(nodes):
        return nodes, nodes
    start, end = np.searchsorted(nodes, first), np.searchsorted(nodes, second)
    if used is not None:
        start, end = start[used], end[used]
    size = len(nodes)
    graph = coo_array((np.ones(len(start), np.bool_), (start, end)), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    # Nodes ascend, so the first node met of a component is its smallest.
    _, smallest = np.unique(component, return_index=True)
    return nodes, nodes[smallest[component]]


def _follow(positions: Ints, joined: Ints, root: Ints) -> Ints:
    """The root of each position; a position that is not joined is its own."""
    followed = positions.copy()
    known = member(joined, positions)
    followed[known] = root[np.searchsorted(joined, positions[known])]
    return followed


def _tiles(positions: Ints, offsets: Ints) -> Ints:
    return np.searchsorted(offsets, positions, side="right") - 1


def _risky_roots(joined: Ints, certain: Ints, full: Ints, offsets: Ints) -> Ints:
    """Roots of the components in which a tile occurs in two parts that no certain join connects."""
    rows = np.unique(np.stack([full, _tiles(joined, offsets), certain]), axis=1)
    again = (rows[0, 1:] == rows[0, :-1]) & (rows[1, 1:] == rows[1, :-1])
    return np.unique(rows[0, 1:][again])


def _accept(
    edges: Edges, questioned: Ints, first: Ints, second: Ints, joined: Ints, certain: Ints, offsets: Ints
) -> list[int]:
    """Doubtful edges, best first, that connect no two parts with segments in one tile."""
    low = np.minimum(edges.key_a, edges.key_b)[questioned]
    high = np.maximum(edges.key_a, edges.key_b)[questioned]
    order = np.lexsort((high, low, -edges.area[questioned], -edges.score[questioned]))
    parent = dict(zip(joined.tolist(), certain.tolist(), strict=True))
    tiles: dict[int, set[int]] = {}
    for root, tile in zip(certain.tolist(), _tiles(joined, offsets).tolist(), strict=True):
        tiles.setdefault(root, set()).add(tile)
    accepted = []
    for edge in questioned[order].tolist():
        one, other = _find(parent, int(first[edge])), _find(parent, int(second[edge]))
        if one != other:
            if len(tiles[one]) < len(tiles[other]):
                one, other = other, one
            if not tiles[one].isdisjoint(tiles[other]):
                continue
            parent[other] = one
            tiles[one] |= tiles.pop(other)
        accepted.append(edge)
    return accepted


def _find(parent: dict[int, int], node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


def _long(joined: Ints, root: Ints, offsets: Ints, max_span: int) -> tuple[LongComponent, ...]:
    """Components with segments in more than `max_span` tiles."""
    pairs = np.unique(np.stack([root, _tiles(joined, offsets)]), axis=1)
    roots, spans = np.unique(pairs[0], return_counts=True)
    return tuple(_describe(roots[spans > max_span], spans[spans > max_span], root, offsets))


def _describe(roots: Ints, spans: Ints, root: Ints, offsets: Ints) -> Iterable[LongComponent]:
    for position, span in zip(roots.tolist(), spans.tolist(), strict=True):
        tile = int(_tiles(np.array([position]), offsets)[0])
        key = tile << 32 | position - int(offsets[tile]) + 1
        yield LongComponent(key=key, tiles=span, segments=int(np.count_nonzero(root == position)))
