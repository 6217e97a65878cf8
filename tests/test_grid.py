import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remotesam.grid import TileGrid, strip
from remotesam.windows import Window

grids = st.builds(
    TileGrid,
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    tile_size=st.integers(5, 25),
    padding=st.integers(0, 12),
)


@given(grids)
@settings(max_examples=100, deadline=None)
def test_cores_partition_the_raster_at_every_size(grid):
    owner = np.zeros((grid.height, grid.width), int)
    for tile in grid:
        owner[tile.core.slices] += 1
    assert (owner == 1).all()


@given(grids)
@settings(max_examples=100, deadline=None)
def test_chips_have_one_shape_hold_their_core_and_stay_inside(grid):
    whole = Window(0, 0, grid.height, grid.width)
    assert len({tile.chip.shape for tile in grid}) == 1
    for tile in grid:
        assert whole.contains(tile.chip)
        assert tile.chip.contains(tile.core)


@given(grids)
@settings(max_examples=100, deadline=None)
def test_chips_hold_the_padding_wherever_the_raster_does(grid):
    for tile in grid:
        assert tile.chip.contains(tile.core.pad(grid.padding).clip(grid.height, grid.width))


@given(grids)
@settings(max_examples=100, deadline=None)
def test_each_pair_of_adjoining_cores_is_met_once(grid):
    pairs = [frozenset((tile.index, n.index)) for tile in grid for n in grid.neighbours(tile.index)]
    touching = {
        frozenset((a.index, b.index))
        for a in grid
        for b in grid
        if a.index < b.index and not a.core.pad(1).intersect(b.core).empty
    }
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == touching


@given(grids)
@settings(max_examples=100, deadline=None)
def test_strips_are_seen_by_both_and_owned_by_one_of_the_two(grid):
    for tile in grid:
        for other in grid.neighbours(tile.index):
            windows = strip(tile, other)
            assert sum(w.area for w in windows) == sum(
                tile.chip.intersect(other.chip).intersect(t.core).area for t in (tile, other)
            )
            assert all(tile.chip.contains(w) and other.chip.contains(w) for w in windows)


def test_the_last_column_of_a_ragged_raster_is_where_it_belongs():
    # The reference writes it shifted by size % tile_size and leaves the rest unsegmented.
    grid = TileGrid(250, 250, 100, 10)
    last = grid.at(0, 2)
    assert last.core == Window(0, 200, 100, 50)
    assert last.chip == Window(0, 130, 120, 120)
    assert last.core_in_chip == Window(0, 70, 100, 50)


@given(grids, st.integers(-5, 60), st.integers(-5, 60), st.integers(0, 30), st.integers(0, 30))
@settings(max_examples=100, deadline=None)
def test_around_finds_exactly_the_tiles_under_a_window(grid, row, col, height, width):
    window = Window(row, col, height, width)
    expected = [t.index for t in grid if not t.core.intersect(window).empty]
    assert [t.index for t in grid.around(window)] == expected


def test_a_million_tiles_cost_nothing_until_they_are_asked_for():
    grid = TileGrid(1_000_000, 1_000_000, 1000, 50)
    assert len(grid) == 1_000_000
    assert grid[999_999].core == Window(999_000, 999_000, 1000, 1000)


def test_impossible_grids_are_refused():
    with pytest.raises(ValueError, match="impossible grid"):
        TileGrid(0, 5, 10, 0)
    with pytest.raises(IndexError):
        TileGrid(5, 5, 10, 0)[1]
