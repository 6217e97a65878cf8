"""Choosing between two scales by what the image shows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remotesam.merge.scales import (
    COARSE,
    FINE,
    Choice,
    PairStatistics,
    ScaleRule,
    choose,
    fuse,
    pair_statistics,
)
from remotesam.windows import Window


def paint(labels: np.ndarray, levels: dict[int, float], noise: float, seed: int = 0) -> np.ndarray:
    """A grey image with one level per label, and noise."""
    level = np.zeros(labels.shape)
    for label, value in levels.items():
        level[labels == label] = value
    grey = level + np.random.default_rng(seed).normal(0, noise, labels.shape)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def equal(n: int) -> np.ndarray:
    return np.full(n, 0.9)


def combine(
    coarse: np.ndarray, fine: np.ndarray, image: np.ndarray, **rule: float
) -> tuple[np.ndarray, Choice]:
    labels, _, choice = fuse(
        coarse, fine, equal(int(coarse.max())), equal(int(fine.max())), image, ScaleRule(**rule)
    )
    return labels, choice


def test_cars_stay_on_the_car_park_and_pieces_of_a_meadow_do_not() -> None:
    coarse = np.ones((60, 120), np.int64)
    coarse[:, 60:] = 2
    fine = np.ones((60, 120), np.int64)  # 1 = asphalt
    for k, (row, col) in enumerate([(5, 5), (5, 30), (30, 5), (45, 40)], start=2):
        fine[row : row + 6, col : col + 10] = k
    fine[:30, 60:], fine[30:, 60:90], fine[30:, 90:] = 6, 7, 8  # the meadow in three pieces
    levels = {1: 90.0, 2: 200.0, 3: 30.0, 4: 160.0, 5: 220.0, 6: 120.0, 7: 120.0, 8: 124.0}
    labels, choice = combine(coarse, fine, paint(fine, levels, noise=8))
    (meadow,) = np.unique(labels[:, 60:])
    assert choice.origin[meadow] == COARSE
    assert choice.old[meadow] == 2
    for car in (2, 3, 4, 5):
        (new,) = np.unique(labels[fine == car])
        assert choice.origin[new] == FINE
        assert choice.old[new] == car
        assert choice.pixels[new] == 60
    # The asphalt without the cars is calmer than the coarse segment with them.
    assert len(np.unique(labels[fine == 1])) == 1
    assert choice.fragments == 3
    assert (choice.coarse.segments, choice.coarse.pixels, choice.coarse.offered) == (1, 3600, 2)
    assert (choice.fine.segments, choice.fine.pixels, choice.fine.offered) == (5, 3600, 8)


@pytest.mark.parametrize(("step", "stays"), [(9, False), (11, True)])
def test_two_calm_halves_are_two_from_two_noise_deviations_on(step: int, stays: bool) -> None:
    coarse = np.ones((8, 8), np.int64)
    fine = coarse.copy()
    fine[:, 4:] = 2
    labels, choice = combine(coarse, fine, paint(fine, {1: 100, 2: 100 + step}, noise=0))
    assert len(np.unique(labels)) == (2 if stays else 1)
    assert choice.fine.segments == (2 if stays else 0)


def test_a_calm_lake_in_a_busy_forest_of_the_same_mean_stays() -> None:
    coarse = np.ones((60, 60), np.int64)
    fine = np.zeros((60, 60), np.int64)
    fine[20:40, 20:40] = 1
    fine[:20, :20] = 2
    rng = np.random.default_rng(3)
    image = np.clip(rng.normal(120, 40, (60, 60, 3)), 0, 255).astype(np.uint8)
    image[fine == 1] = 120
    labels, _ = combine(coarse, fine, image)
    assert len(np.unique(labels[fine == 1])) == 1
    assert labels[30, 30] != labels[0, 0] == labels[50, 50]


def test_a_doubtful_fine_segment_needs_more() -> None:
    coarse = np.ones((8, 8), np.int64)
    fine = coarse.copy()
    fine[:, 4:] = 2
    image = paint(fine, {1: 100, 2: 111}, noise=0)
    sure, _, _ = fuse(coarse, fine, np.array([0.9]), np.array([0.9, 0.9]), image)
    doubtful, _, _ = fuse(coarse, fine, np.array([0.9]), np.array([0.5, 0.5]), image)
    assert len(np.unique(sure)) == 2
    assert len(np.unique(doubtful)) == 1


def test_slivers_between_the_parts_go_to_the_largest() -> None:
    coarse = np.ones((20, 100), np.int64)
    fine = np.zeros((20, 100), np.int64)
    fine[:, :60], fine[:, 64:] = 1, 2
    image = paint(fine, {0: 110, 1: 50, 2: 150}, noise=4)
    labels, choice = combine(coarse, fine, image)
    assert np.unique(labels[:, :64]).tolist() == [1]
    assert np.unique(labels[:, 64:]).tolist() == [2]
    assert choice.coarse.segments == 0
    apart, _ = combine(coarse, fine, image, sliver=0.0)
    assert len(np.unique(apart)) == 3


def test_gaps_are_filled_and_borders_of_fragments_follow_their_home() -> None:
    coarse = np.zeros((20, 60), np.int64)
    coarse[:, :30] = 1
    fine = np.zeros((20, 60), np.int64)
    fine[:, :32] = 1  # two columns more than the coarse segment, same colour
    fine[:, 40:50] = 2  # where the coarse run has nothing
    labels, choice = combine(coarse, fine, paint(fine, {1: 100, 2: 100}, noise=5))
    assert np.unique(labels[:, :32]).tolist() == [1]
    assert np.unique(labels[:, 40:50]).tolist() == [2]
    assert (labels[:, 32:40] == 0).all()
    assert (labels[:, 50:] == 0).all()
    assert choice.origin.tolist() == [0, COARSE, FINE]


def test_a_fine_segment_over_a_coarse_border_goes() -> None:
    coarse = np.ones((20, 40), np.int64)
    coarse[:, 20:] = 2
    fine = np.zeros((20, 40), np.int64)
    fine[5:15, 14:24] = 1
    labels, choice = combine(coarse, fine, paint(fine, {0: 50, 1: 200}, noise=5))
    assert (labels == coarse).all()
    assert choice.straddling == 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 11), st.randoms(use_true_random=False))
def test_windows_in_any_order_choose_like_the_whole(seed: int, size: int, random) -> None:
    rng = np.random.default_rng(seed)
    blocks = np.ones((3, 3), np.int64)
    coarse = np.kron(rng.integers(0, 4, (7, 9)), blocks)
    fine = rng.integers(0, 9, (7, 9))
    fine = np.roll(np.kron(fine, blocks), rng.integers(-1, 2, 2), axis=(0, 1))
    image = (25 * fine[..., None] + 9 * rng.integers(0, 9, (*fine.shape, 3))).astype(np.uint8)
    quality = rng.uniform(0.3, 1, 3), rng.uniform(0.3, 1, 8)
    whole, origin, choice = fuse(coarse, fine, *quality, image)
    windows = [Window(r, c, size, size).clip(21, 27) for r in range(0, 21, size) for c in range(0, 27, size)]
    random.shuffle(windows)
    parts = [pair_statistics(coarse[w.slices], fine[w.slices], image[w.slices]) for w in windows]
    half = len(parts) // 2
    merged = PairStatistics.merge([PairStatistics.merge(parts[half:]), PairStatistics.merge(parts[:half])])
    streamed = choose(merged, *quality)
    for window in windows:
        labels, scale = streamed.apply(coarse[window.slices], fine[window.slices])
        assert (labels == whole[window.slices]).all()
        assert (scale == origin[window.slices]).all()
    # Nothing that either scale has labelled is lost, ids are 1..n, and the table is the truth about the map.
    assert ((whole > 0) == ((coarse > 0) | (fine > 0))).all()
    assert np.bincount(whole.ravel(), minlength=len(choice.pixels))[1:].tolist() == choice.pixels[1:].tolist()
    assert (choice.pixels[1:] > 0).all()
    assert choice.coarse.pixels == (origin == COARSE).sum()
    assert choice.fine.pixels == (origin == FINE).sum()
    flipped, _, _ = fuse(coarse[::-1], fine[::-1], *quality, image[::-1])
    assert (flipped == whole[::-1]).all()


def test_wrong_arguments_are_named() -> None:
    labels = np.ones((4, 4), np.int64)
    with pytest.raises(ValueError, match="not the same"):
        pair_statistics(labels, labels, np.zeros((4, 5, 3), np.uint8))
    statistics = pair_statistics(labels, labels + 1, np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match="fine segment 2 has no quality"):
        choose(statistics, equal(1), equal(1))
