"""The region tree: a partition at every level, the right regions on clean input, the best cut of all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remotesam.segmenter.regions import absorb_small, best_cut, merge_tree

CELLS = st.tuples(st.integers(1, 7), st.integers(1, 7), st.integers(0, 10_000))


def noise(rows: int, columns: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, columns, 3)).astype(np.float32)


def four_blocks() -> tuple[np.ndarray, np.ndarray]:
    truth = np.zeros((12, 16), int)
    truth[:6, 8:], truth[6:, :8], truth[6:, 8:] = 1, 2, 3
    colours = np.array([[0, 0, 0], [2, 0, 0], [0, 2, 0], [0, 0, 2]], np.float32)
    return truth, colours[truth] + 0.05 * noise(12, 16, 1)


@settings(deadline=None, max_examples=60)
@given(CELLS)
def test_every_node_is_the_union_of_its_children(cells):
    embedding = noise(*cells)
    tree = merge_tree(embedding)
    count = embedding.shape[0] * embedding.shape[1]
    assert len(tree.parent) == 2 * count - 1
    assert sorted(tree.cells(2 * count - 2)) == list(range(count))
    for node in range(count, 2 * count - 1):
        children = np.flatnonzero((tree.parent == node) & (np.arange(len(tree.parent)) != node))
        assert len(children) == 2
        parts = np.concatenate([tree.cells(child) for child in children])
        assert sorted(parts) == sorted(tree.cells(node))
        assert (tree.height[children] <= tree.height[node]).all()
        values = embedding.reshape(count, -1)[tree.cells(node)]
        assert tree.mean[node] == pytest.approx(values.mean(0), abs=1e-4)
        assert tree.spread[node] == pytest.approx(values.var(0).sum(), abs=1e-3)


def test_perimeter_counts_sides_to_other_regions():
    _, embedding = four_blocks()
    tree = merge_tree(embedding)
    block = next(n for n in tree.ancestors(0) if tree.area[n] == 48)
    assert tree.perimeter[block] == 8 + 6
    assert tree.perimeter[0] == 2
    assert tree.perimeter[-1] == 0


def test_clean_blocks_are_nodes():
    truth, embedding = four_blocks()
    tree = merge_tree(embedding)
    for value in range(4):
        cells = np.flatnonzero(truth.ravel() == value)
        assert any(set(tree.cells(n)) == set(cells) for n in tree.ancestors(int(cells[0])))


def test_same_tree_whatever_the_run():
    embedding = noise(20, 30, 4)
    first, again = merge_tree(embedding), merge_tree(embedding.copy())
    assert np.array_equal(first.parent, again.parent)
    assert np.array_equal(first.order, again.order)


@settings(deadline=None, max_examples=60)
@given(st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(0, 10_000)))
def test_best_cut_is_the_best_of_all_cuts(cells):
    embedding = noise(*cells)
    tree = merge_tree(embedding)
    worth = np.random.default_rng(cells[2]).random(len(tree.parent)).astype(np.float32)

    def best(node: int) -> float:
        children = [c for c in range(node) if tree.parent[c] == node]
        own = float(tree.area[node] * worth[node])
        return max(own, sum(best(c) for c in children)) if children else own

    cut = best_cut(tree, worth)
    covered = np.concatenate([tree.cells(int(node)) for node in cut])
    assert sorted(covered) == list(range(embedding.shape[0] * embedding.shape[1]))
    assert (tree.area[cut] * worth[cut]).sum() == pytest.approx(best(len(tree.parent) - 1), rel=1e-5)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_no_small_region_is_left(seed, least):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 6, (6, 8)) if seed % 2 else np.repeat(np.arange(12), 4).reshape(6, 8)
    embedding = noise(6, 8, seed)
    merged = absorb_small(labels, embedding, least)
    assert (np.bincount(merged.ravel())[np.unique(merged)] >= min(least, 48)).all()
    for value in np.unique(labels):  # regions join whole
        assert len(np.unique(merged[labels == value])) == 1


def test_small_region_joins_its_likest_neighbour():
    labels = np.array([[0, 0, 1, 2, 2]])
    embedding = np.array([[[0.0], [0.0], [0.9], [1.0], [1.0]]], np.float32)
    assert absorb_small(labels, embedding, 2).tolist() == [[0, 0, 2, 2, 2]]
