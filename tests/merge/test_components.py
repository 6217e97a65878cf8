"""From joins to final ids: against whole scenes, against a plain union-find, in any order."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from benchmarks.merge import SeenTile, assemble, join_pair, join_tiles, regions
from remotesam.grid import TileGrid
from remotesam.merge.components import Components, Edges, components
from remotesam.merge.joins import JoinKind
from remotesam.tiles.labels import owned_first


def edges(*rows: tuple[int, int, int, int, JoinKind, float]) -> Edges:
    """Edges from (tile, label, tile, label, kind, score)."""
    table = np.array([row[:4] for row in rows], np.int64).reshape(-1, 4)
    return Edges(
        key_a=table[:, 0] << 32 | table[:, 1],
        key_b=table[:, 2] << 32 | table[:, 3],
        score=np.array([row[5] for row in rows], float),
        area=np.ones(len(rows)),
        kind=np.array([row[4] for row in rows], np.int8),
    )


def certain(*rows: tuple[int, int, int, int]) -> Edges:
    return edges(*((*row, JoinKind.CONTAINED, 1.0) for row in rows))


def ids(joined: Components) -> list[list[int]]:
    return [joined.lut(tile).tolist() for tile in range(len(joined.offsets) - 1)]


def segment_all(truth: np.ndarray, grid: TileGrid, cut: dict[int, tuple[str, int]] | None = None):
    """Every tile sees the truth; in tiles named by `cut` what lies beyond a raster line is split off."""
    seen = []
    for tile in grid:
        chip = truth[tile.chip.slices].astype(np.int32)
        if cut and tile.index in cut:
            axis, line = cut[tile.index]
            rows, cols = np.mgrid[tile.chip.row : tile.chip.row_stop, tile.chip.col : tile.chip.col_stop]
            chip = np.where((chip > 0) & ((rows if axis == "row" else cols) >= line), chip + 1000, chip)
        owned = np.zeros(chip.shape, np.bool_)
        owned[tile.core_in_chip.slices] = True
        labels, _, n_core = owned_first(regions(chip), owned)
        seen.append(SeenTile(tile, labels, n_core))
    return seen


def merged(truth: np.ndarray, grid: TileGrid, cut: dict[int, tuple[str, int]] | None = None) -> np.ndarray:
    seen = segment_all(truth, grid, cut)
    return assemble(seen, grid, join_tiles(seen, grid))


def same_up_to_names(one: np.ndarray, other: np.ndarray) -> bool:
    both = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    return len(np.unique(one)) == len(np.unique(other)) == both.shape[1] and both[:, 0].tolist() == [0, 0]


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(10, 90),
    st.integers(10, 90),
    st.integers(12, 40),
    st.integers(3, 12),
    st.floats(1.5, 5),
)
def test_tiles_that_agree_reproduce_the_whole_scene(
    seed: int, height: int, width: int, tile_size: int, padding: int, smooth: float
) -> None:
    """Any shapes: meanders, rings and trees of one label through many tiles, and back into the same one."""
    noise = np.random.default_rng(seed).normal(size=(4, height, width))
    truth = regions(ndimage.gaussian_filter(noise, (0, smooth, smooth)).argmax(0).astype(np.int32))
    truth[0, 0] = 0
    truth = regions(truth)
    final = merged(truth, TileGrid(height, width, tile_size, padding))
    assert same_up_to_names(truth, final)
    assert set(np.unique(final)) == set(range(len(np.unique(truth))))


@pytest.mark.parametrize("mirror", [np.asarray, np.fliplr, np.flipud, np.transpose])
def test_mirrored_scenes_give_mirrored_segments(mirror) -> None:
    noise = np.random.default_rng(5).normal(size=(5, 96, 96))
    truth = regions(ndimage.gaussian_filter(noise, (0, 3, 3)).argmax(0).astype(np.int32))
    # Three tiles see everything displaced, so that the joins are not all beyond doubt.
    grid = TileGrid(96, 96, 32, 8)
    displaced = np.roll(truth, 3, axis=1)
    flipped = np.arange(9).reshape(3, 3)

    def see(scene: np.ndarray, other: np.ndarray, wrong: set[int]) -> np.ndarray:
        plain, moved = segment_all(scene, grid), segment_all(other, grid)
        seen = [moved[k] if k in wrong else plain[k] for k in range(len(grid))]
        return assemble(seen, grid, join_tiles(seen, grid))

    straight = see(truth, displaced, {1, 3, 8})
    wrong = set(np.flatnonzero(np.isin(mirror(flipped).ravel(), [1, 3, 8])).tolist())
    turned = see(mirror(truth), mirror(displaced), wrong)
    pairs = np.unique(np.stack([mirror(straight).ravel(), turned.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(straight)) == len(np.unique(turned))


def field() -> np.ndarray:
    """One field over 3×3 tiles of 40 px, in a country of four others."""
    truth = np.ones((200, 200), np.int32)
    truth[:, 100:] = 2
    truth[100:, :100] = 3
    truth[100:, 100:] = 4
    truth[35:165, 35:165] = 5
    return truth


def road() -> np.ndarray:
    """A road of 6 px across five tiles, between two fields."""
    truth = np.ones((80, 200), np.int32)
    truth[40:] = 2
    truth[17:23] = 3
    truth[:17] = 4
    return truth


def river() -> np.ndarray:
    """A meander of 9 px that comes back into the tiles it has left."""
    rows, cols = np.mgrid[:160, :200] + 0.5
    truth = np.where(rows < 80 + 60 * np.sin(cols / 14), 1, 2).astype(np.int32)
    edge = ndimage.distance_transform_edt(truth == 1) + ndimage.distance_transform_edt(truth == 2)
    truth[edge < 5] = 3
    return regions(truth)


@pytest.mark.parametrize("scene", [field, road, river])
def test_objects_larger_than_tiles_are_whole(scene) -> None:
    truth = scene()
    truth[0, 0] = 0
    assert same_up_to_names(truth, merged(truth, TileGrid(*truth.shape, tile_size=40, padding=6)))


def share_of(truth: np.ndarray, label: int, final: np.ndarray) -> float:
    """IoU of a true object with the segment that has most of it."""
    inside = final[truth == label]
    best = np.bincount(inside).argmax()
    return float(np.sum(inside == best) / np.sum((truth == label) | (final == best)))


def test_a_field_that_its_middle_tile_and_a_side_tile_split_is_whole() -> None:
    truth = field()
    grid = TileGrid(200, 200, 40, 6)
    final = merged(truth, grid, {12: ("row", 98), 13: ("col", 138), 7: ("row", 60)})
    assert share_of(truth, 5, final) == 1.0
    assert len(np.unique(final)) == 5


def test_a_road_that_two_of_five_tiles_split_lengthwise_or_crosswise_is_whole() -> None:
    truth = road()
    grid = TileGrid(80, 200, 40, 6)
    assert share_of(truth, 3, merged(truth, grid, {1: ("row", 20), 3: ("row", 19)})) == 1.0
    # Cut across inside the strip: both pieces lie in the neighbour's whole, and both are joined to it.
    assert share_of(truth, 3, merged(truth, grid, {1: ("col", 80), 3: ("col", 120)})) == 1.0


def test_a_river_that_one_tile_splits_is_whole() -> None:
    truth = river()
    widest = int(np.bincount(truth[60:100].ravel()).argmax())
    grid = TileGrid(160, 200, 40, 6)
    assert share_of(truth, widest, merged(truth, grid, {6: ("row", 60)})) > 0.97


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_neither_the_order_nor_the_side_of_edges_matters(seed: int, random) -> None:
    """Joins of badly agreeing tiles, refused ones among them."""
    rng = np.random.default_rng(seed)
    n_core = rng.integers(0, 5, 8)
    rows = []
    for _ in range(int(rng.integers(0, 25))):
        one, other = sorted(rng.choice(8, 2, replace=False).tolist())
        if n_core[one] and n_core[other]:
            labels = rng.integers(1, n_core[one] + 1), rng.integers(1, n_core[other] + 1)
            kind = JoinKind(int(rng.choice([1, 1, 2])))
            rows.append(
                (one, int(labels[0]), other, int(labels[1]), kind, float(rng.choice([0.3, 0.5, 0.9])))
            )
    expected = components(n_core, edges(*rows))
    random.shuffle(rows)
    swapped = [
        (c, d, a, b, k, s) if random.random() < 0.5 else (a, b, c, d, k, s) for a, b, c, d, k, s in rows
    ]
    shuffled = components(n_core, edges(*swapped))
    assert ids(shuffled) == ids(expected)
    assert shuffled.refused == expected.refused


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_ids_are_ranks_of_the_smallest_keys(data: st.DataObject) -> None:
    """Against a plain union-find over all segments, before and after some are absorbed and removed."""
    n_core = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=6))
    keys = [(tile, label) for tile, n in enumerate(n_core) for label in range(1, n + 1)]
    chosen = data.draw(st.lists(st.tuples(st.sampled_from(keys), st.sampled_from(keys)))) if keys else []
    joined = components(n_core, certain(*((*a, *b) for a, b in chosen)))
    parent = {key: key for key in keys}

    def find(key: tuple[int, int]) -> tuple[int, int]:
        return key if parent[key] == key else find(parent[key])

    def union(a: tuple[int, int], b: tuple[int, int]) -> None:
        low, high = sorted((find(a), find(b)))
        parent[high] = low

    def expected(gone: set[tuple[int, int]]) -> list[list[int]]:
        roots = [key for key in keys if parent[key] == key and key not in gone]
        rank = {root: k for k, root in enumerate(roots, start=1)}
        return [[rank.get(find((t, k)), 0) for k in range(1, n + 1)] for t, n in enumerate(n_core)]

    for a, b in chosen:
        union(a, b)
    assert ids(joined) == expected(set())
    assert joined.count == len({find(key) for key in keys})
    roots = [key for key in keys if parent[key] == key]
    if not roots:
        return
    number = st.integers(1, len(roots))
    taken = data.draw(st.lists(st.tuples(number, number), max_size=4))
    removed = data.draw(st.lists(number, max_size=3, unique=True))
    for a, b in taken:
        union(roots[a - 1], roots[b - 1])
    gone = {find(roots[k - 1]) for k in removed}
    after = joined.absorb(
        np.array([a for a, _ in taken], int), np.array([b for _, b in taken], int), np.array(removed, int)
    )
    assert ids(after) == expected(gone)
    assert after.count == max([0, *(max(row, default=0) for row in expected(gone))])


def test_a_doubtful_chain_may_not_join_two_segments_of_one_tile() -> None:
    """Tile 0's two segments are connected by way of tiles 1 and 3; the weakest of the doubtful joins goes."""
    ring = [(0, 1, 1, 1, 0.6), (1, 1, 3, 1, 0.3), (0, 2, 2, 1, 0.5), (2, 1, 3, 1, 0.4)]
    counts = [2, 1, 1, 1]
    doubtful = components(counts, edges(*((*row[:4], JoinKind.MUTUAL, row[4]) for row in ring)))
    assert ids(doubtful) == [[1, 2], [1], [2], [2]]
    assert doubtful.refused == 1
    for kind in (JoinKind.CONTAINED, JoinKind.CONTACT):
        assert ids(components(counts, edges(*((*row[:4], kind, row[4]) for row in ring)))) == [
            [1, 1],
            [1],
            [1],
            [1],
        ]
    # If tile 0 itself says so, by a piece contained in the neighbour's whole, nothing is refused.
    n_to_1 = edges(
        (0, 1, 1, 1, JoinKind.CONTAINED, 0.6),
        (0, 2, 1, 1, JoinKind.CONTAINED, 0.3),
        (1, 1, 2, 1, JoinKind.MUTUAL, 0.3),
    )
    assert components([2, 1, 1], n_to_1).refused == 0


def test_long_components_are_reported() -> None:
    row = certain(*((tile, 1, tile + 1, 1) for tile in range(9)), (4, 2, 5, 2))
    joined = components([2] * 10, row, max_span=5)
    assert [(c.key, c.tiles, c.segments) for c in joined.long] == [(1, 10, 10)]
    assert components([2] * 10, row, max_span=10).long == ()


def test_a_million_tiles_cost_their_offsets_and_their_joins_only() -> None:
    counts = np.full(1_000_000, 200)
    first = np.arange(0, 1_000_000, 1000)
    joins = certain(*((int(t), 7, int(t) + 1, 3) for t in first))
    tracemalloc.start()
    joined = components(counts, joins)
    last = joined.lut(999_999)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 2**20
    assert last.tolist() == (np.arange(199_999_801, 200_000_001) - 1000).tolist()
    assert joined.lut(999_001)[2] == joined.lut(999_000)[6]


def test_a_join_with_an_unknown_label_is_an_error() -> None:
    with pytest.raises(ValueError, match="label 3 of tile 1"):
        components([2, 2], certain((0, 1, 1, 3)))
    with pytest.raises(ValueError, match="tile 2"):
        components([2, 2], certain((0, 1, 2, 1)))


def test_padding_only_labels_are_in_no_edge() -> None:
    truth = np.ones((20, 40), np.int32)
    truth[5:15, 21:25] = 2  # owned by the second tile, wholly inside the first one's padding
    grid = TileGrid(20, 40, 20, 8)
    seen = segment_all(truth, grid)
    assert seen[0].labels.max() == 2
    assert seen[0].n_core == 1
    joins = join_pair(seen[0], seen[1], "overlap", None)
    assert joins.label_a.tolist() == [1]
