"""Components, contacts and moments of label pictures on the sphere, against brute force over pixels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remotesam.sphere import Equirect
from remotesam.sphere.equirect import direction
from remotesam.sphere.run_lengths import find_runs


def pixel_neighbours(grid):
    """Pairs of flat pixel indices that share an edge on the sphere, by the definition."""
    index = np.arange(grid.height * grid.width).reshape(grid.height, grid.width)
    pairs = [(index[:, :-1], index[:, 1:]), (index[:-1], index[1:])]
    if grid.wraps:
        pairs.append((index[:, -1], index[:, 0]))
    for reaches, row in ((grid.reaches_north, 0), (grid.reaches_south, grid.height - 1)):
        if reaches:
            one, other = np.triu_indices(grid.width, 1)
            pairs.append((index[row, one], index[row, other]))
    return np.concatenate([np.stack([a.ravel(), b.ravel()], 1) for a, b in pairs])


def brute_components(labels, grid):
    flat = labels.ravel()
    parent = list(range(flat.size))

    def root(node):
        while parent[node] != node:
            node = parent[node]
        return node

    pairs = pixel_neighbours(grid)
    for a, b in pairs[flat[pairs[:, 0]] == flat[pairs[:, 1]]]:
        parent[root(a)] = root(b)
    roots = np.array([root(node) for node in range(flat.size)])
    return roots, {tuple(sorted((roots[a], roots[b]))) for a, b in pairs if roots[a] != roots[b]}


pictures = st.tuples(st.integers(0, 2**32 - 1), st.integers(2, 5), st.booleans())


@settings(max_examples=40, deadline=None)
@given(pictures)
def test_components_and_contacts_are_those_of_the_pixels(case):
    seed, colours, partial = case
    rng = np.random.default_rng(seed)
    width, height = 16, 8
    grid = (
        Equirect(width=11, height=5, full_width=16, full_height=8, left=3, top=int(rng.integers(0, 4)))
        if partial
        else Equirect.whole(width, height)
    )
    labels = rng.integers(0, colours, (grid.height, grid.width), dtype=np.int32)
    runs = find_runs(labels, grid)
    number, component = runs.components()
    roots, touching = brute_components(labels, grid)
    picture = runs.paint(component).ravel()
    assert number == len(set(roots))
    name = dict(zip(picture, roots, strict=True))
    assert len(name) == number
    assert all(name[c] == r for c, r in zip(picture, roots, strict=True))
    assert {tuple(sorted((name[a], name[b]))) for a, b in runs.contacts(component)} == touching
    assert np.array_equal(runs.paint(runs.label), labels)


def test_blocks_of_rows_do_not_show(monkeypatch):
    from remotesam.sphere import run_lengths as module

    labels = np.random.default_rng(5).integers(0, 3, (32, 64), dtype=np.int32)
    whole = find_runs(labels, Equirect.whole(64))
    monkeypatch.setattr(module, "BLOCK_ROWS", 5)
    blocked = find_runs(labels, Equirect.whole(64))
    assert np.array_equal(whole.pairs, blocked.pairs)
    assert np.array_equal(whole.stop, blocked.stop)


def test_solid_angles_of_a_partition_are_the_sphere():
    grid = Equirect.whole(301, 150)
    labels = np.random.default_rng(0).integers(0, 4, (150, 301), dtype=np.int32)
    assert find_runs(labels, grid).solid_angles().sum() == pytest.approx(4 * math.pi, rel=1e-12)


def test_moments_are_the_integral_of_the_direction():
    """Against a fine sum over pixel centres, and exactly zero over the whole sphere."""
    grid = Equirect(width=256, height=128, full_width=256, full_height=128, centre=37.0)
    labels = (np.indices((128, 256)).sum(0) // 9 % 5).astype(np.int32)
    runs = find_runs(labels, grid)
    lon, lat = grid.lonlat(np.arange(256) + 0.5, np.arange(128)[:, None] + 0.5)
    fine = direction(lon + grid.centre, lat)
    weighted = fine * grid.row_solid_angles()[:, None, None]
    for label in range(5):
        total = runs.moments()[runs.label == label].sum(0)
        assert np.allclose(total, weighted[labels == label].sum(0), atol=2e-4)
    assert np.abs(runs.moments().sum(0)).max() < 1e-12
