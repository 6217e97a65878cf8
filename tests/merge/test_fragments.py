"""Small segments: what they touch, which are absorbed and which are removed, against a whole-map oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from remotesam.grid import TileGrid
from remotesam.merge.components import Components, Edges, components
from remotesam.merge.fragments import SmallSegments, contacts, decide, small_segments


def alone(counts: list[int]) -> Components:
    return components(counts, Edges.concatenate([]))


def decide_map(labels: np.ndarray, *, absorb_area: float, min_area: float) -> np.ndarray:
    """The labels after `decide` and `Components.absorb`, for a map with ids 1..n and nothing missing."""
    joined = alone([int(labels.max())])
    areas = np.bincount(labels.ravel())[1:]
    small = small_segments(joined, [areas], max(absorb_area, min_area))
    made = decide(small, contacts(labels, small.ids), absorb_area=absorb_area, min_area=min_area)
    return np.concatenate([[0], joined.absorb(made.absorbed, made.hosts, made.removed).lut(0)])[labels]


def oracle(labels: np.ndarray, *, absorb_area: float, min_area: float) -> np.ndarray:
    """The rule as it reads, on the whole map: absorb one at a time until none can be, then remove."""
    labels = labels.copy()
    while True:
        for label in np.unique(labels[labels > 0]):
            inside = labels == label
            padded = np.pad(inside, 1)
            grown = padded[1:-1, :-2] | padded[1:-1, 2:] | padded[:-2, 1:-1] | padded[2:, 1:-1]
            around = np.unique(labels[grown & ~inside])
            if inside.sum() <= absorb_area and len(around) == 1 and around[0] > 0:
                labels[inside] = around[0]
                break
        else:
            break
    for label in np.unique(labels):
        if (labels == label).sum() < min_area:
            labels[labels == label] = 0
    return labels


def same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    return (
        bool(((pairs[0] == 0) == (pairs[1] == 0)).all())
        and len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]
    )


def dense(labels: np.ndarray) -> np.ndarray:
    """The same map with ids 1..n, 0 stays."""
    ids = np.union1d([0], labels)
    return np.searchsorted(ids, labels)


def test_an_island_joins_what_surrounds_it_and_a_crumb_between_two_goes() -> None:
    labels = np.ones((20, 20), np.int64)
    labels[:, 10:] = 2
    labels[3:6, 3:6] = 3  # 9 px inside 1
    labels[10:12, 9:11] = 4  # 4 px on the border of 1 and 2
    result = decide_map(labels, absorb_area=9, min_area=5)
    assert (result[:, :10][labels[:, :10] != 4] == 1).all()
    assert (result[labels == 2] == 2).all()
    assert (result[labels == 4] == 0).all()


def test_nested_islands_are_taken_in_from_the_inside_out() -> None:
    labels = np.ones((20, 20), np.int64)
    labels[4:12, 4:12] = 2
    labels[6:10, 6:10] = 3
    labels[7:9, 7:9] = 4
    assert (decide_map(labels, absorb_area=64, min_area=1) == 1).all()
    # 2 has 64 px with all it encloses: one less is allowed, so it stays, with the islands inside it.
    assert same_partition(decide_map(labels, absorb_area=63, min_area=1), np.where(labels > 1, 2, 1))


def test_unlabelled_pixels_are_a_neighbour_but_the_outside_of_the_raster_is_none() -> None:
    corner = np.ones((8, 8), np.int64)
    corner[:2, :2] = 2
    assert (decide_map(corner, absorb_area=10, min_area=1) == 1).all()
    beside_a_hole = corner.copy()
    beside_a_hole[0, 2] = 0
    assert (decide_map(beside_a_hole, absorb_area=10, min_area=1)[:2, :2] == 2).all()
    on_the_rim = np.zeros((4, 4), np.int64)
    on_the_rim[1:3, 1:3] = 1
    assert (decide_map(on_the_rim, absorb_area=10, min_area=4)[1:3, 1:3] == 1).all()
    assert (decide_map(on_the_rim, absorb_area=10, min_area=5) == 0).all()


def test_diagonal_neighbours_do_not_touch() -> None:
    labels = np.array([[1, 2], [2, 3]])
    assert contacts(labels, np.array([1, 3])).tolist() == [[1, 2], [3, 2]]


@settings(max_examples=150, deadline=None)
@given(
    arrays(np.int64, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 5)),
    st.integers(0, 30),
    st.integers(0, 8),
)
def test_equals_the_rule_applied_to_the_whole_map(
    labels: np.ndarray, absorb_area: int, min_area: int
) -> None:
    labels = dense(labels)
    result = decide_map(labels, absorb_area=absorb_area, min_area=min_area)
    assert same_partition(result, oracle(labels, absorb_area=absorb_area, min_area=min_area))
    assert set(np.unique(result)) - {0} == set(range(1, int(result.max()) + 1))


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.int64, st.tuples(st.integers(2, 14), st.integers(2, 14)), elements=st.integers(0, 4)),
    st.integers(2, 6),
    st.randoms(use_true_random=False),
)
def test_reports_of_tiles_decide_like_the_whole_map(labels: np.ndarray, tile_size: int, random) -> None:
    labels = dense(labels)
    areas = np.bincount(labels.ravel())[1:].astype(float)
    small = SmallSegments(ids=np.flatnonzero(areas <= 12) + 1, areas=areas[areas <= 12])
    grid = TileGrid(*labels.shape, tile_size=tile_size, padding=1)
    reports = [contacts(labels[t.core.pad(1).clip(*labels.shape).slices], small.ids) for t in grid]
    random.shuffle(reports)
    tiled = decide(small, np.concatenate(reports), absorb_area=12, min_area=3)
    whole = decide(small, contacts(labels, small.ids), absorb_area=12, min_area=3)
    assert tiled.absorbed.tolist() == whole.absorbed.tolist()
    assert tiled.hosts.tolist() == whole.hosts.tolist()
    assert tiled.removed.tolist() == whole.removed.tolist()


def test_a_segment_over_several_tiles_is_small_by_its_total() -> None:
    edges = Edges(
        key_a=np.array([1]),
        key_b=np.array([1 << 32 | 2]),
        score=np.ones(1),
        area=np.ones(1),
        kind=np.ones(1, np.int8),
    )
    joined = components([2, 2], edges)
    found = small_segments(joined, [np.array([60, 30]), np.array([20, 60])], 100)
    assert found.ids.tolist() == [2, 3]
    assert found.areas.tolist() == [30, 20]
    with pytest.raises(ValueError, match="tile 1 has 2 segments"):
        small_segments(joined, [np.array([60, 30]), np.array([20])], 100)
