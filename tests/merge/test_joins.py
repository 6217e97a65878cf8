"""Evidence between two tiles and what is joined on it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchmarks.merge import Case, scores
from remotesam.choices import STRATEGIES
from remotesam.grid import TileGrid
from remotesam.merge.evidence import Evidence, border_contacts, contact_evidence, facing_lines, strip_evidence
from remotesam.merge.joins import JoinKind, Joins, Pair, join_overlap

LABELS = st.integers(0, 4)

BY_CONTACT = [name for name, strategy in STRATEGIES.items() if strategy.evidence == {"contacts"}]


@st.composite
def strips(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))
    return draw(arrays(np.int32, shape, elements=LABELS)), draw(arrays(np.int32, shape, elements=LABELS))


def areas(labels: np.ndarray, beyond: int = 0) -> np.ndarray:
    """Pixels of labels 1..4, with more of each outside the strip."""
    return np.bincount(labels.ravel(), minlength=5)[1:] + beyond


def overlap_joins(a: np.ndarray, b: np.ndarray, *, beyond: int = 0, **options: object) -> Joins:
    known = {"n_core_a": 4, "n_core_b": 4, **options}
    seen = strip_evidence(a, b)
    return join_overlap(Pair(strip=seen, chip_area_a=areas(a, beyond), chip_area_b=areas(b, beyond), **known))


def contact_joins(evidence: Evidence, strategy: str, **options: object) -> Joins:
    return STRATEGIES[strategy].load()(Pair(contacts=evidence, **options))


def pairs(joins: Joins) -> set[tuple[int, int, int]]:
    return set(zip(joins.label_a.tolist(), joins.label_b.tolist(), joins.kind.tolist(), strict=True))


def rows(evidence: Evidence) -> dict[tuple[int, int], tuple[float, float, float]]:
    columns = (evidence.label_a, evidence.label_b, evidence.overlap, evidence.area_a, evidence.area_b)
    return {(a, b): (m, x, y) for a, b, m, x, y in zip(*(c.tolist() for c in columns), strict=True)}


@settings(deadline=None)
@given(strips(), st.booleans())
def test_evidence_equals_counting_pixel_by_pixel(strip, weighted: bool) -> None:
    a, b = strip
    weights = 0.25 * (1 + np.arange(a.size).reshape(a.shape) % 7) if weighted else np.ones(a.shape)
    both, in_a, in_b = Counter(), Counter(), Counter()
    for x, y, w in zip(a.ravel().tolist(), b.ravel().tolist(), weights.ravel().tolist(), strict=True):
        both[x, y] += w
        in_a[x] += w
        in_b[y] += w
    found = strip_evidence(a, b, weights if weighted else None)
    assert rows(found) == {(x, y): (m, in_a[x], in_b[y]) for (x, y), m in both.items() if x > 0 and y > 0}
    assert found.total_a == sum(w for x, w in in_a.items() if x > 0)
    assert found.total_b == sum(w for y, w in in_b.items() if y > 0)


def test_evidence_of_nothing_and_of_large_labels() -> None:
    assert len(strip_evidence(np.zeros((0, 5), np.int32), np.zeros((0, 5), np.int32)).label_a) == 0
    assert len(strip_evidence(np.zeros((3, 5), np.int32), np.ones((3, 5), np.int32)).label_a) == 0
    big = np.full((2, 2), 70_000, np.int32)
    assert rows(strip_evidence(big, big + 1)) == {(70_000, 70_001): (4, 4, 4)}
    with pytest.raises(ValueError, match="same pixels"):
        strip_evidence(np.zeros((2, 3), np.int32), np.zeros((3, 2), np.int32))


@settings(deadline=None)
@given(strips(), st.integers(0, 40), st.integers(1, 4), st.booleans())
def test_joins_do_not_depend_on_side_order_or_orientation(strip, beyond: int, n: int, corner: bool) -> None:
    a, b = strip
    expected = pairs(overlap_joins(a, b, beyond=beyond, n_core_a=n, at_corner=corner))
    swapped = pairs(overlap_joins(b, a, beyond=beyond, n_core_b=n, at_corner=corner))
    assert {(x, y, k) for y, x, k in swapped} == expected
    for view in (np.fliplr, np.flipud, np.transpose):
        turned = overlap_joins(view(a), view(b), beyond=beyond, n_core_a=n, at_corner=corner)
        assert pairs(turned) == expected
    there, back = contact_evidence(a.ravel(), b.ravel()), contact_evidence(b.ravel()[::-1], a.ravel()[::-1])
    for strategy in BY_CONTACT:
        one, other = (pairs(contact_joins(line, strategy, min_contact=3)) for line in (there, back))
        assert {(x, y, k) for y, x, k in other} == one


def test_agreeing_tiles_join_every_object_once() -> None:
    labels = np.repeat(np.array([[1, 2, 3, 4]]), 6, axis=0).repeat(5, axis=1)
    renamed = 5 - labels
    expected = {(k, 5 - k, JoinKind.CONTAINED) for k in range(1, 5)}
    assert pairs(overlap_joins(labels, renamed)) == expected


def test_displaced_neighbours_are_not_chained() -> None:
    """One tile sees every object moved by a third of its width: all touch two, none may join two."""
    a = np.repeat(np.array([1, 2, 3, 4]), 9)
    b = np.concatenate([[1] * 6, np.repeat([2, 3, 4], 9), [4] * 3])[:36]
    joins = overlap_joins(np.tile(a, (4, 1)), np.tile(b, (4, 1)))
    assert {(x, y) for x, y, _ in pairs(joins)} == {(1, 1), (2, 2), (3, 3), (4, 4)}
    naive = contact_joins(contact_evidence(a, b), "naive")
    assert len(naive) == 7


def test_a_split_object_is_reunited() -> None:
    """N:1: one tile has four pieces of what the other has whole."""
    pieces = np.repeat(np.array([1, 2, 3, 4]), [10, 5, 3, 2])[None].repeat(6, axis=0)
    whole = np.ones_like(pieces)
    assert pairs(overlap_joins(pieces, whole)) == {(k, 1, JoinKind.CONTAINED) for k in range(1, 5)}
    # At a corner only the best piece is believed.
    assert pairs(overlap_joins(pieces, whole, at_corner=True)) == {(1, 1, JoinKind.CONTAINED)}


def test_a_piece_that_hardly_enters_the_strip_is_no_evidence() -> None:
    a = np.ones((10, 30), np.int32)
    a[:, 27:] = 2
    b = np.ones((10, 30), np.int32)
    evidence = strip_evidence(a, b)
    whole = np.array([300])

    def joined(area_2: int) -> bool:
        chip = {"chip_area_a": np.array([270, area_2]), "chip_area_b": whole}
        found = join_overlap(Pair(strip=evidence, **chip, n_core_a=2, n_core_b=1))
        return (2, 1, JoinKind.CONTAINED) in pairs(found)

    # The strip holds 300 of 270 + area_2 labelled px, and 30 px of label 2.
    assert joined(300)
    assert not joined(301)


def test_a_road_through_the_whole_tile_is_reunited_over_a_strip_of_a_tenth() -> None:
    """Default sizes: a strip of 100 px of a chip of 1100; the neighbour has split the road lengthwise."""
    whole, halves = np.zeros((1000, 100), np.int32), np.zeros((1000, 100), np.int32)
    whole[400:420] = 1
    whole[420:] = 2
    halves[400:412], halves[412:420], halves[420:] = 1, 2, 3
    chips = {
        "chip_area_a": np.array([20 * 1100, 600 * 1100]),
        "chip_area_b": np.array([12 * 1100, 8 * 1100, 600 * 1100]),
    }
    found = join_overlap(Pair(strip=strip_evidence(whole, halves), **chips, n_core_a=2, n_core_b=3))
    assert {(x, y) for x, y, _ in pairs(found)} == {(1, 1), (1, 2), (2, 3)}


def test_a_label_seen_only_in_the_padding_competes_but_never_joins() -> None:
    """The other tile sees all of b's object, but only in its padding, beside its own label 1."""
    a = np.zeros((10, 20), np.int32)
    a[:, 4:12], a[:, 12:20] = 1, 2
    b = np.zeros((10, 20), np.int32)
    b[:, 8:20] = 1
    both = overlap_joins(a, b, n_core_a=2)
    assert {(x, y) for x, y, _ in pairs(both)} == {(2, 1)}
    assert len(overlap_joins(a, b, n_core_a=1)) == 0
    assert {(x, y) for x, y, _ in pairs(overlap_joins(np.where(a == 2, 0, a), b, n_core_a=1))} == {(1, 1)}


def test_a_detail_beside_the_seam_is_no_piece_of_what_is_around_it() -> None:
    """One tile saw a pond in its core that the other does not know: contained, but not cut by the seam."""
    a, b = np.ones((40, 20), np.int32), np.ones((40, 20), np.int32)
    a[10:30, 2:8] = 2
    contacts = contact_evidence(a[:, 9], b[:, 10])
    assert {p[:2] for p in pairs(overlap_joins(a, b, contacts=contacts))} == {(1, 1)}
    a[10:30, 8:10] = 2  # now it ends at the seam
    contacts = contact_evidence(a[:, 9], b[:, 10])
    assert {p[:2] for p in pairs(overlap_joins(a, b, contacts=contacts))} == {(1, 1), (2, 1)}


def test_a_crumb_of_a_large_region_is_no_piece_of_it() -> None:
    whole = np.ones((10, 40), np.int32)
    for columns, joined in ((4, True), (3, False)):
        pieces = np.ones((10, 40), np.int32)
        pieces[:, :columns] = 2
        assert ((2, 1) in {p[:2] for p in pairs(overlap_joins(pieces, whole))}) == joined


def test_corners_ask_for_half_agreement() -> None:
    a, b = np.zeros((4, 30), np.int32), np.zeros((4, 30), np.int32)
    a[:, :20] = 1
    b[:, 7:20] = 1
    assert len(overlap_joins(a, b, at_corner=True)) == 1
    b[:, 7:11] = 0
    assert len(overlap_joins(a, b, at_corner=True)) == 0
    assert len(overlap_joins(a, b)) == 1


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_border_contacts_are_the_neighbouring_pixels_of_two_owners(seed: int) -> None:
    rng = np.random.default_rng(seed)
    owner = rng.integers(0, 3, (6, 7))
    a, b = rng.integers(0, 4, (2, 6, 7))
    expected: Counter = Counter()
    for r, c in np.ndindex(6, 7):
        for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            y, x = r + down, c + right
            if 0 <= y < 6 and 0 <= x < 7 and owner[r, c] == 0 and owner[y, x] == 1 and a[r, c] and b[y, x]:
                expected[int(a[r, c]), int(b[y, x])] += 1
    found = border_contacts(a, b, owner == 0, owner == 1)
    assert {pair: values[0] for pair, values in rows(found).items()} == dict(expected)


def test_half_agreement_is_marked_as_doubtful_and_less_is_refused() -> None:
    a = np.zeros((4, 20), np.int32)
    a[:, :14] = 1
    for first, iou in ((6, 8 / 20), (10, 4 / 20)):
        b = np.zeros((4, 20), np.int32)
        b[:, first:] = 1
        joins = overlap_joins(a, b)
        assert pairs(joins) == {(1, 1, JoinKind.MUTUAL)}
        assert joins.score[0] == pytest.approx(iou)
    assert len(overlap_joins(a, np.where(np.arange(20) > 10, 1, 0) * np.ones((4, 1), int))) == 0


def test_contact_strategies_on_a_seam_with_a_split_and_a_crumb() -> None:
    """Label 1 faces 1 (30 px) and 2 (25 px); label 2 faces 2 (3 px) and 3 (40 px); 0 faces whatever."""
    line_a = np.repeat([1, 1, 2, 2, 0], [30, 25, 3, 40, 9])
    line_b = np.repeat([1, 2, 2, 3, 4], [30, 25, 3, 40, 9])
    evidence = contact_evidence(line_a, line_b)
    found = {s: {p[:2] for p in pairs(contact_joins(evidence, s))} for s in BY_CONTACT}
    assert found["naive"] == {(1, 1), (1, 2), (2, 2), (2, 3)}
    assert found["min-contact"] == {(1, 1), (1, 2), (2, 3)}
    assert found["best-match"] == {(1, 1), (1, 2), (2, 3)}
    assert found["mutual-best"] == {(1, 1), (2, 3)}
    assert len(contact_joins(evidence, "min-contact", min_contact=31)) == 1
    assert set(contact_joins(evidence, "naive").kind.tolist()) == {JoinKind.CONTACT}


def test_strategies_join_nothing_where_the_evidence_they_need_is_not_to_be_had() -> None:
    for strategy in STRATEGIES.values():
        assert len(strategy.load()(Pair(n_core_a=4, n_core_b=4, at_corner=True))) == 0


@settings(deadline=None)
@given(strips())
def test_contact_strategies_are_nested(strip) -> None:
    evidence = contact_evidence(strip[0].ravel(), strip[1].ravel())
    mutual, best, naive = (pairs(contact_joins(evidence, s)) for s in ("mutual-best", "best-match", "naive"))
    assert mutual <= best <= naive
    assert {p[0] for p in best} == {p[0] for p in naive}
    assert {p[1] for p in best} == {p[1] for p in naive}


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 15), st.integers(0, 9))
def test_facing_lines_are_the_core_borders(height: int, width: int, tile_size: int, padding: int) -> None:
    grid = TileGrid(height, width, tile_size, padding)
    owner = np.zeros((height, width), int)
    for tile in grid:
        owner[tile.core.slices] = tile.index
    crossed = 0
    for tile in grid:
        for other in grid.neighbours(tile.index):
            lines = facing_lines(tile, other)
            assert (lines is None) == (tile.row != other.row and tile.col != other.col)
            if lines is not None:
                a, b = lines
                assert (owner[a.slices] == tile.index).all()
                assert (owner[b.slices] == other.index).all()
                assert a.shift(other.row - tile.row, other.col - tile.col) == b
                crossed += a.area
    assert crossed == (owner[1:] != owner[:-1]).sum() + (owner[:, 1:] != owner[:, :-1]).sum()


def test_overlap_is_at_least_as_good_as_any_contact_strategy() -> None:
    """Smaller scenes of the benchmark's hardest kinds: displaced tiles, objects split differently."""
    easy = Case(name="", size=384, cells=60, shift=1.5, splits=0.15)
    chaining = replace(easy, tile_size=48, padding=8, shift=1)
    for case in (easy, chaining):
        found = [scores(case, seed) for seed in (200, 201)]
        iou = {name: float(np.mean([one[name][0] for one in found])) for name in found[0]}
        largest = {name: float(np.mean([one[name][1] for one in found])) for name in found[0]}
        assert iou["overlap"] == max(iou.values())
        assert iou["overlap"] > iou["none"] + 0.05
        assert largest["overlap"] < 0.08 < largest["naive"]
