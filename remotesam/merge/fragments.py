"""Small segments after joining: enclosed ones become part of what encloses them, tiny ones go.

Remote SAMsing (arXiv 2605.00256), section on merging: components up to 500 px whose only neighbour is one
other segment are absorbed into it; then components below the minimum area are removed. The published code
decides on the label mosaic of the whole raster. Here each tile reports the neighbours of its small segments,
and the decision needs nothing but these reports, so an island cut by a tile border is judged whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from remotesam.merge.components import Components, member

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SmallSegments:
    """The joined segments whose total area is at most some limit."""

    ids: Ints
    """(n,) final ids, ascending."""
    areas: NDArray[np.float64]
    """(n,) pixels of each in all its tiles (steradians on the sphere)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decision:
    """What happens to small segments: the arguments of `Components.absorb`."""

    absorbed: Ints
    """(n,) ids, ascending."""
    hosts: Ints
    """(n,) ids they become part of; a host may itself be absorbed by another."""
    removed: Ints
    """(r,) ids that leave the result, ascending; all ids absorbed into them leave with them."""


def small_segments(
    components: Components, core_areas: Iterable[NDArray[np.number]], limit: float
) -> SmallSegments:
    """Find the small segments of a run, reading one tile after the other.

    Args:
        components: the joins of the run.
        core_areas: for each tile, in order, (n_core,) core pixels of labels 1..n_core.
        limit: largest area that counts as small.

    Raises:
        ValueError: a tile has another number of areas than of labels.
    """
    whole = components.joined_ids()
    totals = np.zeros(len(whole))
    ids, areas = [np.empty(0, np.int64)], [np.empty(0)]
    for tile, core_area in enumerate(core_areas):
        final = components.lut(tile)
        if len(final) != len(core_area):
            raise ValueError(f"tile {tile} has {len(final)} segments, not {len(core_area)}")
        known = member(whole, final)
        np.add.at(totals, np.searchsorted(whole, final[known]), core_area[known])
        alone = ~known & (final > 0) & (core_area <= limit)
        ids.append(final[alone])
        areas.append(core_area[alone].astype(np.float64))
    ids.append(whole[totals <= limit])
    areas.append(totals[totals <= limit])
    every, every_area = np.concatenate(ids), np.concatenate(areas)
    order = np.argsort(every)
    return SmallSegments(ids=every[order], areas=every_area[order])


def contacts(labels: NDArray[np.integer], small: Ints) -> Ints:
    """What the small segments of a tile touch, across pixel edges (4-connected).

    Args:
        labels: (H, W) final ids of the core and a 1-px ring around it, 0 = no segment. Clip the ring to the
            raster: unlabelled pixels (nodata too) are a neighbour, what is outside the raster is none.
        small: ids of the small segments, ascending; those elsewhere in the run do no harm.

    Returns:
        (k, 2) unique rows (small id, id it touches), sorted; the second may be 0, and small too.
    """
    if not len(small):
        return np.empty((0, 2), np.int64)
    found = [_touching(labels[:, :-1], labels[:, 1:], small), _touching(labels[:-1], labels[1:], small)]
    return np.unique(np.concatenate(found), axis=0)


def decide(
    small: SmallSegments, touching: Ints, *, absorb_area: float = 500, min_area: float = 100
) -> Decision:
    """Decide which small segments are absorbed and which are removed (`docs/algorithms.md#fragments`).

    Absorption follows enclosure from the inside out: once a segment has taken in everything it encloses, it
    counts with their area, and when a single neighbour is left it may be absorbed in turn. Because taking one
    segment in never gives another segment a new neighbour, the outcome does not depend on the order.

    Args:
        small: all segments of the run up to `max(absorb_area, min_area)`.
        touching: (k, 2) rows of `contacts` of all tiles; rows may repeat.
        absorb_area: largest segment that is absorbed, in the units of the areas.
        min_area: smallest segment that stays.
    """
    area = dict(zip(small.ids.tolist(), small.areas.tolist(), strict=True))
    neighbours: dict[int, set[int]] = {segment: set() for segment in area}
    for segment, neighbour in np.unique(touching, axis=0).tolist():
        neighbours[segment].add(neighbour)
    host: dict[int, int] = {}
    waiting = sorted(area, reverse=True)
    while waiting:
        segment = waiting.pop()
        if segment in host or len(neighbours[segment]) != 1 or area[segment] > absorb_area:
            continue
        (around,) = neighbours[segment]
        if around == 0:
            continue
        host[segment] = around
        if around in area:
            area[around] += area[segment]
            neighbours[around].discard(segment)
            waiting.append(around)
    removed = [segment for segment in area if segment not in host and area[segment] < min_area]
    absorbed = sorted(host)
    return Decision(
        absorbed=np.array(absorbed, np.int64),
        hosts=np.array([host[segment] for segment in absorbed], np.int64),
        removed=np.array(sorted(removed), np.int64),
    )


def _touching(one: NDArray[np.integer], other: NDArray[np.integer], small: Ints) -> Ints:
    """(small id, neighbour) rows of pixel pairs, in both directions; rows repeat."""
    differ = one != other
    pairs = np.stack([one[differ], other[differ]], axis=1).astype(np.int64)
    both_ways = np.concatenate([pairs, pairs[:, ::-1]])
    return both_ways[member(small, both_ways[:, 0])]
