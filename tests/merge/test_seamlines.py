"""seamlines: cheapest by brute force, bound to the corners, pixels counted once."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remotesam.grid import TileGrid
from remotesam.merge.seamlines import (
    INVENTED,
    LOST,
    SEEN_BY_BOTH,
    SEEN_BY_ONE,
    STRAYING,
    Strip,
    seamline,
    with_joins,
)
from remotesam.merge.tile_seamlines import TileSeamlines, taken_from

PRICE = (INVENTED, SEEN_BY_ONE, SEEN_BY_BOTH)


def strip_of(a: np.ndarray, b: np.ndarray, joined: list[tuple[int, int]], middle: int) -> Strip:
    one, other = (np.array([pair[k] for pair in joined], np.int64) for k in (0, 1))
    first, second = with_joins(a, b, one, other)
    return Strip(a=first, b=second, owned_a=a > 0, owned_b=b > 0, middle=middle)


def price(strip: Strip, line: np.ndarray) -> int:
    """What a line costs, counted edge by edge on the picture that it makes."""
    width = strip.a.shape[1]
    by_a = np.arange(width) < strip.middle + line[:, None]
    made = np.where(by_a, strip.a, strip.b)
    total = int((np.abs(line) // STRAYING).sum())
    for axis in (0, 1):
        here, there = (np.delete(np.arange(by_a.shape[axis]), k) for k in (-1, 0))
        changes, differ, seen_a, seen_b = (
            x.take(here, axis) != x.take(there, axis) for x in (by_a, made, strip.a, strip.b)
        )
        seen = seen_a.astype(int) + seen_b
        total += int(np.array(PRICE)[seen][changes & differ].sum())
    total += INVENTED * int(np.isin(strip.middle + line, (0, width)).sum())
    lost = (by_a & strip.owned_b & ~strip.owned_a) | (~by_a & strip.owned_a & ~strip.owned_b)
    return total + LOST * int(lost.sum())


def cheapest(strip: Strip, free: np.ndarray, room: np.ndarray) -> int:
    """The price of the best of all lines: each offset of each row, grown from the cheapest shorter lines."""
    offsets = np.arange(strip.a.shape[1] + 1) - strip.middle
    lines: dict[int, tuple[int, tuple[int, ...]]] = {0: (0, ())}
    for row in range(len(strip.a)):
        rows = slice(0, row + 1)
        part = replace(
            strip, a=strip.a[rows], b=strip.b[rows], owned_a=strip.owned_a[rows], owned_b=strip.owned_b[rows]
        )
        longer = {}
        for offset in offsets[(np.abs(offsets) <= free[row]) & room[row]].tolist():
            grown = [(*line, offset) for _, line in lines.values()]
            longer[offset] = min((price(part, np.array(line)), line) for line in grown)
        lines = longer
    return min(cost for cost, _ in lines.values())


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(2, 6), st.integers(2, 6), st.booleans(), st.booleans())
def test_no_line_is_cheaper(data, length, width, open_start, open_end):
    labels = st.lists(st.integers(0, 3), min_size=length * width, max_size=length * width)
    a = np.array(data.draw(labels)).reshape(length, width)
    b = np.array(data.draw(labels)).reshape(length, width)
    joined = data.draw(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), max_size=3))
    strip = strip_of(a, b, joined, data.draw(st.integers(0, width)))
    # As views do: from the seam outwards as far as there is room, row by row.
    reach = data.draw(st.lists(st.integers(0, width), min_size=2 * length, max_size=2 * length))
    offset = np.arange(width + 1) - strip.middle
    before, beyond = np.array(reach).reshape(2, length, 1)
    room = (-before <= offset) & (offset <= beyond)
    line = seamline(strip, open_start=open_start, open_end=open_end, room=room)
    row = np.arange(length)
    free = np.minimum(np.where(open_start, width, row), np.where(open_end, width, row[::-1]))
    assert (np.abs(line) <= free).all()
    assert room[row, strip.middle + line].all()
    assert price(strip, line.astype(int)) == cheapest(strip, free, room)


def test_the_line_takes_the_border_that_both_see():
    a = np.where(np.arange(40) < 27, 1, 2) * np.ones((60, 1), int)
    strip = strip_of(a, a, [], 20)  # nothing joined: wherever else it runs, it cuts a region in two
    line = seamline(strip, open_start=False, open_end=False)
    assert (line[10:-10] == 7).all()


def test_where_all_is_joined_the_line_is_the_seam():
    rng = np.random.default_rng(1)
    a = rng.integers(1, 9, (50, 30))
    strip = strip_of(a, a, [(k, k) for k in range(1, 9)], 15)
    assert not seamline(strip, open_start=True, open_end=True).any()


def test_joined_labels_share_a_number_through_chains():
    a, b = with_joins(
        np.array([1, 2, 3, 4, 0]), np.array([1, 2, 3, 0, 5]), np.array([1, 2, 2]), np.array([2, 2, 3])
    )
    assert len({a[0], a[1], b[1], b[2]}) == 1
    assert a[4] == b[3] == 0
    others = [a[2], a[3], b[0], b[4], a[0]]
    assert len(set(others)) == 5


@pytest.mark.parametrize(("height", "width", "tile", "padding"), [(100, 130, 40, 12), (90, 45, 40, 16)])
def test_no_pixel_is_taken_twice(height, width, tile, padding):
    grid = TileGrid(height, width, tile, padding)
    rng = np.random.default_rng(5)

    def line(length: int, before: int, after: int, open_start: bool, open_end: bool) -> np.ndarray:
        row = np.arange(length)
        free = np.minimum(np.where(open_start, padding, row), np.where(open_end, padding, row[::-1]))
        reach = np.where(rng.random(length) < 0.5, -np.minimum(free, before), np.minimum(free, after))
        return reach.astype(np.int16)

    lines = {}
    for one in grid:
        found = {}
        if one.col + 1 < grid.cols:
            other = grid[one.index + 1].core
            spans = min(padding, one.core.width // 2), min(padding, other.width // 2)
            found["east"] = line(one.core.height, *spans, one.row == 0, one.row == grid.rows - 1)
        if one.row + 1 < grid.rows:
            other = grid[one.index + grid.cols].core
            spans = min(padding, one.core.height // 2), min(padding, other.height // 2)
            found["south"] = line(one.core.width, *spans, one.col == 0, one.col == grid.cols - 1)
        lines[one.index] = TileSeamlines(**found)
    taken = np.zeros((height, width), int)
    for one in grid:
        for other, window, mask in taken_from(grid, one.index, lines.__getitem__):
            assert one.core.contains(window)
            assert other.chip.contains(window)
            taken[window.slices] += mask
    assert taken.max() == 1
    moved = sum(int(np.abs(found.east).sum()) + int(np.abs(found.south).sum()) for found in lines.values())
    assert taken.sum() == moved
