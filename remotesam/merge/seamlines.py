"""The seamline of two neighbouring tiles: a line through their strip that follows borders of segments.

Both tiles have segmented the strip round their seam. Where they agree it does not matter who is written.
Where one sees a whole field and the other its two halves, a straight seam would cut an object along a line
that is not in the image. So the seamline takes the cheapest way through the strip, as seamlines
do when orthophotos are mosaicked: nothing to pay inside a segment that both tiles have joined and where both
see a border, little where one of them sees one, most where it would invent one. (Efros & Freeman 2001, *Image
quilting*, §2.1, whose dynamic programme this is, with free steps along the line.)

A line leaves the corners of the cores where they are, and near a corner it strays no further than it is away
from it: so lines of different seams never claim the same pixel, and each is found from two tiles alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Offsets = NDArray[np.int16]

INVENTED = 64
"""Cost of a pixel edge of a border that neither tile sees."""
SEEN_BY_ONE = 16
"""Cost where one of the tiles sees a border between the two pixels."""
SEEN_BY_BOTH = 0
"""Cost where both do: whoever writes, there is a border."""
LOST = 64
"""Cost of a pixel that goes to the tile that has no segment there though the other has one."""
STRAYING = 8
"""Every so many px off the seam cost 1 per row: equal ways are decided for the nearest."""

_NEVER = np.int64(1) << 50


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Strip:
    """What both tiles say of the pixels round a vertical seam; turn a horizontal one by transposing.

    Labels that are joined carry one number in both maps, all others differ between the maps.
    """

    a: NDArray[np.integer]
    """(L, W) labels of the western tile, 0 = none."""
    b: NDArray[np.integer]
    """(L, W) labels of the eastern tile."""
    owned_a: NDArray[np.bool_]
    """(L, W) True = the label owns core pixels of the western tile: only these can be written."""
    owned_b: NDArray[np.bool_]
    """(L, W) the same of the eastern tile."""
    middle: int
    """Columns west of the seam."""


def seamline(
    strip: Strip, *, open_start: bool = False, open_end: bool = False, room: NDArray[np.bool_] | None = None
) -> Offsets:
    """Find the cheapest line (`docs/algorithms.md#seamlines`).

    Args:
        strip: the pixels round the seam.
        open_start: no other tile adjoins at the first row (the raster ends there).
        open_end: the same of the last row.
        room: (L, W + 1) True = the line may lie before this column; the seam's own is always True. None =
            anywhere.

    Returns:
        (L,) px by which the line lies east (> 0) or west (< 0) of the seam, row by row: the western tile
        writes everything west of it.
    """
    length, width = strip.a.shape
    free = _reach(length, width, open_start=open_start, open_end=open_end)
    offset = np.arange(width + 1) - strip.middle
    cost = _edge_cost(strip) + _loss(strip) + np.abs(offset) // STRAYING
    if not cost[:, strip.middle].any():
        return np.zeros(length, np.int16)
    cost[np.abs(offset) > free[:, None]] = _NEVER
    if room is not None:
        cost[~room] = _NEVER
    south, north = _turn_costs(strip)
    total, came = cost[0], np.zeros((length, width + 1), np.int16)
    place = np.arange(width + 1)
    for row in range(1, length):
        eastward = np.concatenate([[0], np.cumsum(south[row - 1])])
        westward = np.concatenate([[0], np.cumsum(north[row - 1])])
        best_e, from_e = _running_least(total - eastward)
        best_w, from_w = _running_least((total + westward)[::-1])
        best_e, best_w = best_e + eastward, best_w[::-1] - westward
        east = best_e <= best_w
        came[row] = np.where(east, place[from_e], place[::-1][from_w][::-1])
        total = np.minimum(np.where(east, best_e, best_w) + cost[row], _NEVER)
    line = np.empty(length, np.int64)
    # Of equal ends the one nearest to the seam.
    line[-1] = np.lexsort((np.abs(offset), total))[0]
    for row in range(length - 1, 0, -1):
        line[row - 1] = came[row, line[row]]
    return (line - strip.middle).astype(np.int16)


def with_joins(
    a: NDArray[np.integer], b: NDArray[np.integer], joined_a: Ints, joined_b: Ints
) -> tuple[Ints, Ints]:
    """Give joined labels of two maps one number and keep all others apart.

    Args:
        a: labels of the first tile, of any shape, 0 = none.
        b: labels of the second.
        joined_a: (k,) labels of the first tile that are joined ...
        joined_b: (k,) ... to these of the second.
    """
    first = np.arange(int(max(a.max(initial=0), joined_a.max(initial=0))) + 1, dtype=np.int64)
    second = np.arange(int(max(b.max(initial=0), joined_b.max(initial=0))) + 1, dtype=np.int64)
    second[1:] += len(first)
    changed = bool(len(joined_a))
    while changed:
        least = np.minimum(first[joined_a], second[joined_b])
        before = first[joined_a].sum() + second[joined_b].sum()
        np.minimum.at(first, joined_a, least)
        np.minimum.at(second, joined_b, least)
        changed = bool(first[joined_a].sum() + second[joined_b].sum() < before)
    return first[a], second[b]


def _reach(length: int, width: int, *, open_start: bool, open_end: bool) -> Ints:
    """(L,) how far the line may stray in each row."""
    row = np.arange(length)
    far = np.full(length, width)
    return np.minimum(far if open_start else row, far if open_end else row[::-1])


def _edge_cost(strip: Strip) -> Ints:
    """(L, W + 1) cost of the line between pixels c - 1, which is the western tile's, and c."""
    # At the strip's own edges one tile does not say what lies across.
    cost = np.full((strip.a.shape[0], strip.a.shape[1] + 1), INVENTED, np.int64)
    cost[:, 1:-1] = _border(strip.a[:, :-1], strip.b[:, 1:], _differ(strip.a, 1), _differ(strip.b, 1))
    return cost


def _turn_costs(strip: Strip) -> tuple[Ints, Ints]:
    """(L - 1, W) cost of passing under a pixel eastward (it is b's above, a's below) and westward."""
    seen_a, seen_b = _differ(strip.a, 0), _differ(strip.b, 0)
    eastward = _border(strip.b[:-1], strip.a[1:], seen_a, seen_b)
    westward = _border(strip.a[:-1], strip.b[1:], seen_a, seen_b)
    return eastward, westward


def _differ(labels: NDArray[np.integer], axis: int) -> NDArray[np.bool_]:
    differs: NDArray[np.bool_] = labels[:, 1:] != labels[:, :-1] if axis else labels[1:] != labels[:-1]
    return differs


def _border(
    one: NDArray[np.integer],
    other: NDArray[np.integer],
    seen_a: NDArray[np.bool_],
    seen_b: NDArray[np.bool_],
) -> Ints:
    """Cost of writing `one` and `other` side by side."""
    price = np.array([INVENTED, SEEN_BY_ONE, SEEN_BY_BOTH], np.int64)
    return np.where(one == other, 0, price[seen_a.astype(np.intp) + seen_b])


def _loss(strip: Strip) -> Ints:
    """(L, W + 1) cost of what the tile that writes does not have, by where the line lies."""
    only_a, only_b = strip.owned_a & ~strip.owned_b, strip.owned_b & ~strip.owned_a
    west = np.cumsum(np.pad(only_b, ((0, 0), (1, 0))), axis=1)
    east = np.cumsum(np.pad(only_a[:, ::-1], ((0, 0), (1, 0))), axis=1)[:, ::-1]
    return LOST * (west + east).astype(np.int64)


def _running_least(values: Ints) -> tuple[Ints, NDArray[np.intp]]:
    """The least value up to each place, and where it is (the last of equal ones: the shortest step)."""
    least = np.minimum.accumulate(values)
    return least, np.maximum.accumulate(np.where(values == least, np.arange(len(values)), 0))
