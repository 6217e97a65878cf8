"""Metrics against hand-computed cases, brute force on masks, and scikit-image where it has the count."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from skimage.metrics import contingency_table

from remotesam.evaluation import scoring
from remotesam.evaluation.boundary import BoundaryCounter
from remotesam.evaluation.contingency import PairCounter, compact
from remotesam.evaluation.label_sources import ArrayLabels
from remotesam.evaluation.metric_table import OBJECT_METRICS
from remotesam.evaluation.metrics import (
    LEAST_RUN,
    SeamCount,
    accuracy,
    best_box_iou,
    boundary_band,
    label_boxes,
    majority,
    match,
    merge_boxes,
    seam_count,
)
from remotesam.evaluation.report import markdown


def table_of(segments, references, valid=None):
    segments, references = np.asarray(segments, np.uint32), np.asarray(references, np.uint32)
    counter = PairCounter()
    layers = references[None] if references.ndim == 2 else references
    counter.add(segments, layers, np.ones(segments.shape, bool) if valid is None else valid)
    return counter.table()


def maps(labels=5, shape=(9, 11)):
    return hnp.arrays(np.uint32, shape, elements=st.integers(0, labels))


def blobs(seed, count, shape):
    """A label map of grown seeds, some of them none."""
    rng = np.random.default_rng(seed)
    seeds = np.zeros(shape, np.int32)
    seeds.ravel()[rng.choice(seeds.size, count, replace=False)] = np.arange(1, count + 1)
    nearest = ndimage.distance_transform_edt(seeds == 0, return_distances=False, return_indices=True)
    labels = seeds[tuple(nearest)]
    labels[np.isin(labels, rng.choice(count, count // 4) + 1)] = 0
    return labels.astype(np.uint32)


# Contingency


def test_compact_describes_the_map():
    ids, index = compact(np.array([[7, 7, 2], [2, 9, 9]], np.uint32))
    assert ids.tolist() == [2, 7, 9]
    assert index.tolist() == [[1, 1, 0], [0, 2, 2]]


@given(maps(), maps())
def test_contingency_is_that_of_scikit_image(segments, references):
    table = table_of(segments, references)
    dense = np.zeros((6, 6), np.int64)
    ids = table.references[table.reference], table.segments[table.segment]
    dense[ids] = table.overlap
    theirs = contingency_table(references, segments, normalize=False).toarray()
    padded = np.zeros((6, 6), np.int64)
    padded[: theirs.shape[0], : theirs.shape[1]] = theirs
    assert (dense[1:, 1:] == padded[1:, 1:]).all()
    assert dict(zip(table.segments, table.segment_area, strict=True)) == {
        i: a for i, a in enumerate(padded.sum(axis=0)) if i and a
    }
    assert dict(zip(table.references, table.reference_area, strict=True)) == {
        i: a for i, a in enumerate(padded.sum(axis=1)) if i and a
    }
    assert table.unreferenced.tolist() == [padded[0, s] for s in table.segments]
    assert table.referenced == padded[1:].sum()
    assert table.referenced_covered == padded[1:, 1:].sum()
    assert table.pixels == segments.size


def test_ids_up_to_the_largest_uint32_are_kept_apart():
    top = 2**32 - 1
    table = table_of([[top, top - 1, 2**24 + 1]], [[top, top, 2**24]])
    assert table.segments.tolist() == [2**24 + 1, top - 1, top]
    assert table.references.tolist() == [2**24, top]
    assert table.overlap.tolist() == [1, 1, 1]


def test_overlapping_references_count_a_pixel_for_each_object_but_once_as_referenced():
    layers = [[[1, 1, 1, 0]], [[0, 0, 2, 2]]]
    table = table_of([[5, 5, 5, 5]], layers)
    assert table.reference_area.tolist() == [3, 2]
    assert table.overlap.tolist() == [3, 2]
    assert table.segment_area.tolist() == [4]
    assert table.referenced == 4
    assert table.unreferenced.tolist() == [0]


def test_pixels_without_data_count_nowhere():
    valid = np.array([[True, False, True, True]])
    table = table_of([[1, 1, 1, 0]], [[1, 1, 0, 2]], valid)
    assert (table.pixels, table.covered, table.referenced) == (3, 2, 2)
    assert table.reference_area.tolist() == [1, 1]


# Greedy match


def test_greedy_match_by_hand():
    """Object of 10 px; segment 1: 6 in, 0 out; 2: 3 in, 1 out; 3: 1 in, 9 out."""
    references = np.zeros((2, 10), np.uint32)
    references[0] = 1
    segments = np.array([[1] * 6 + [2] * 3 + [3], [2] + [3] * 9], np.uint32)
    matches = match(table_of(segments, references))
    # 0.6 with segment 1; 9/11 with 2 besides; 10/20 with 3 as well, which is worse.
    assert matches.greedy[0].tolist() == [0, 1]
    assert matches.greedy_iou[0] == pytest.approx(9 / 11)
    assert matches.single[0] == 0
    assert matches.single_iou[0] == pytest.approx(0.6)


def test_a_segment_that_only_keeps_the_iou_is_not_added():
    """Object of 4 px: segment 1 covers 2 px and nothing else (IoU 2/4); segment 2 has 1 px in, 2 px out."""
    references = np.array([[1, 1, 1, 1, 0, 0]], np.uint32)
    segments = np.array([[1, 1, 2, 0, 2, 2]], np.uint32)
    matches = match(table_of(segments, references))
    assert matches.greedy[0].tolist() == [0]
    assert matches.greedy_iou[0] == 0.5


def test_an_object_in_no_segment_has_iou_0():
    matches = match(table_of([[0, 0, 1]], [[1, 1, 2]]))
    assert matches.greedy_iou.tolist() == [0, 1]
    assert matches.single.tolist() == [-1, 0]


def brute_greedy(segments, goal):
    union, best = np.zeros(goal.shape, bool), 0.0
    used = []
    while True:
        candidates = []
        for label in np.unique(segments[segments > 0]):
            if label not in used:
                trial = union | (segments == label)
                candidates.append(((trial & goal).sum() / (trial | goal).sum(), -int(label)))
        if not candidates or max(candidates)[0] <= best:
            return used, best, union
        best, label = max(candidates)
        used.append(-label)
        union |= segments == -label


@settings(deadline=None)
@given(maps(6, (6, 7)), maps(3, (6, 7)))
def test_greedy_match_equals_brute_force_on_masks(segments, references):
    table = table_of(segments, references)
    matches = match(table)
    for index, label in enumerate(table.references):
        used, iou, _ = brute_greedy(segments, references == label)
        assert table.segments[matches.greedy[index]].tolist() == used
        assert matches.greedy_iou[index] == pytest.approx(iou)
        singles = [
            ((segments == s) & (references == label)).sum() / ((segments == s) | (references == label)).sum()
            for s in table.segments
        ]
        assert matches.single_iou[index] == pytest.approx(max(singles, default=0))


# ASA


def test_asa_by_hand():
    segments = np.array([[1, 1, 1, 2, 2, 0]], np.uint32)
    classes = np.array([[1, 1, 2, 2, 0, 2]], np.uint32)
    table = table_of(segments, classes)
    # Segment 1 → class 1 (2 right), segment 2 → class 2 (1 right), of 5 pixels with a class.
    assert accuracy(table, background=False) == pytest.approx(3 / 5)
    # Of all 6 pixels; the one without class lies in segment 2, whose tie class 2 : none goes to the class.
    assert accuracy(table, background=True) == pytest.approx(3 / 6)
    assert majority(table, background=False).right.tolist() == [2, 1]


def test_asa_with_background_as_majority():
    table = table_of([[1, 1, 1, 1]], [[0, 0, 0, 1]])
    assert accuracy(table, background=False) == 1
    assert accuracy(table, background=True) == 0.75
    assert majority(table, background=True).right.tolist() == [0]


@given(maps(), maps(3))
def test_asa_equals_brute_force(segments, classes):
    right = 0
    for label in range(1, 6):
        inside = classes[(segments == label) & (classes > 0)]
        right += np.bincount(inside).max() if inside.size else 0
    judged = (classes > 0).sum()
    expected = right / judged if judged else float("nan")
    assert accuracy(table_of(segments, classes), background=False) == pytest.approx(expected, nan_ok=True)


# Boundary


def eroded_band(mask, width):
    """Cheng et al. 2021 as published: mask minus its erosion, the image's edge counting as boundary."""
    return mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=width, border_value=0)


def padded(labels, width, outside):
    return np.pad(labels.astype(np.int32), width, constant_values=outside)


@pytest.mark.parametrize("width", [1, 2, 3])
@given(labels=maps(2, (12, 13)))
def test_band_is_what_erosion_takes_away(width, labels):
    band = boundary_band(padded(labels, width, -1), width)
    for label in np.unique(labels):
        mask = labels == label
        assert (band & mask == eroded_band(mask, width)).all()


@pytest.mark.parametrize("seed", range(6))
def test_boundary_iou_equals_the_published_form_for_unions_and_singles(seed):
    segments, references = blobs(seed, 60, (70, 80)), blobs(seed + 100, 12, (70, 80))
    table = table_of(segments, references)
    matches = match(table)
    counter = BoundaryCounter(table, matches, width=3)
    inside = np.pad(np.ones(segments.shape, bool), 3)
    counter.add(np.pad(segments, 3), np.pad(references, 3)[None], inside)
    greedy, single = counter.scores()
    assert max(len(chosen) for chosen in matches.greedy) > 2
    for index, label in enumerate(table.references):
        goal = eroded_band(references == label, 3)
        for chosen, found in (([matches.single[index]], single), (matches.greedy[index], greedy)):
            band = eroded_band(np.isin(segments, table.segments[chosen]), 3)
            assert found[index] == pytest.approx((goal & band).sum() / (goal | band).sum())


def test_boundary_iou_of_a_shifted_square_by_hand():
    """Squares of 10 px, 1 px apart, d = 1: bands of 36 px that share two runs of 9."""
    goal, found = np.zeros((20, 20), np.uint32), np.zeros((20, 20), np.uint32)
    goal[5:15, 5:15] = 1
    found[5:15, 6:16] = 1
    table = table_of(found, goal)
    counter = BoundaryCounter(table, match(table), width=1)
    counter.add(np.pad(found, 1), np.pad(goal, 1)[None], np.pad(np.ones((20, 20), bool), 1))
    # Top and bottom rows overlap in 9 px each; a column of one band crosses the other only there.
    assert counter.scores()[1][0] == pytest.approx(18 / (36 + 36 - 18))


# Seams


def seams_of(labels, valid, period, phase):
    context = [(LEAST_RUN, LEAST_RUN)] * 2
    return seam_count(np.pad(labels, context), np.pad(valid, context), -LEAST_RUN, -LEAST_RUN, period, phase)


def test_seam_count_by_hand():
    labels = np.ones((40, 40), np.uint32)
    labels[:20, 20:] = 2  # boundary on the tile edge x = 20 for 20 px, and on y = 20 for 20 px
    labels[33:, 10] = 3  # on the line x = 10 for 7 px: it crosses
    labels[30:, 29] = 4  # on the line x = 30 for 10 px
    seams = seams_of(labels, labels > 0, 20, 0)
    assert (seams.length, seams.boundary) == (80, 40)
    assert seams.rate == 0.5
    between = seams_of(labels, labels > 0, 20, 10)
    assert (between.length, between.boundary) == (160, 10)


def test_seams_are_not_counted_where_one_side_is_no_data_or_both_are_empty():
    rows = np.repeat(np.array([[1, 2, 2, 0, 0, 0, 5, 6]], np.uint32), 10, axis=0)
    valid = np.repeat(np.array([[True] * 7 + [False]]), 10, axis=0)
    # Lines every pixel: 1|2 and 2|2 and 2|0 and 0|5 have a label; 0|0 twice has none; 5|6 has no data.
    columns = seams_of(rows, valid, 1, 0)
    along_rows = 9 * 4  # between like rows, the four columns with data and a label
    assert (columns.length, columns.boundary) == (10 * 4 + along_rows, 10 * 3)


def test_windows_count_the_seams_of_the_whole():
    rng = np.random.default_rng(3)
    labels = np.kron(rng.integers(0, 3, (9, 7)), np.ones((7, 9), int)).astype(np.uint32)
    whole = seams_of(labels, labels >= 0, 9, 0)
    padded = np.pad(labels, LEAST_RUN)
    known = np.pad(np.ones(labels.shape, bool), LEAST_RUN)
    parts = SeamCount()
    for top in range(0, labels.shape[0], 11):
        rows = slice(top, min(top + 11, labels.shape[0]) + 2 * LEAST_RUN)
        parts += seam_count(padded[rows], known[rows], top - LEAST_RUN, -LEAST_RUN, 9, 0)
    assert parts == whole
    assert 0 < whole.boundary < whole.length


# Boxes


def test_label_boxes_by_hand_and_merged_over_windows():
    labels = np.array([[0, 3, 3, 0], [3, 0, 0, 8], [0, 0, 0, 8]], np.uint32)
    assert label_boxes(labels, 10, 20).tolist() == [[3, 20, 10, 23, 12], [8, 23, 11, 24, 13]]
    parts = np.concatenate([label_boxes(labels[:1], 10, 20), label_boxes(labels[1:], 11, 20)])
    assert merge_boxes(parts).tolist() == label_boxes(labels, 10, 20).tolist()


def test_a_run_over_two_rows_is_two_boxes_wide():
    labels = np.array([[0, 5], [5, 0]], np.uint32)
    assert label_boxes(labels, 0, 0).tolist() == [[5, 0, 0, 2, 2]]


def test_box_iou_by_hand():
    references = np.array([[0, 0, 2, 2], [10, 10, 12, 12]], float)
    segments = np.array([[1, 0, 3, 2], [0, 0, 2, 4]], float)
    assert best_box_iou(references, segments).tolist() == [0.5, 0]


# Streaming


@pytest.mark.parametrize("seed", range(3))
def test_scores_do_not_depend_on_the_windows(seed, monkeypatch):
    cut = blobs(seed, 50, (90, 64))
    cut[:, 32:] += np.where(cut[:, 32:] > 0, 1000, 0).astype(cut.dtype)  # at a tile edge
    segments = ArrayLabels("s", cut)
    references = ArrayLabels("r", blobs(seed + 9, 14, (90, 64)))
    references.classes = {i: "odd" if i % 2 else "even" for i in range(1, 15)}
    valid = blobs(seed + 5, 9, (90, 64)) > 0

    def judge():
        return scoring.score(
            "m", segments, references, 90, 64, valid=lambda w: valid[w.slices], tile_size=16, background=True
        )

    whole = judge()
    monkeypatch.setattr(scoring, "_WINDOW_ROWS", 7)
    monkeypatch.setattr(scoring, "_WINDOW_PIXELS", 1)
    assert judge() == whole
    assert 0 < whole.seam_rate < 1
    assert set(whole.classes) == {"odd", "even"}


def test_perfect_segments_score_one_everywhere():
    labels = blobs(1, 30, (60, 60))
    found = scoring.score("m", ArrayLabels("s", labels), ArrayLabels("r", labels), 60, 60)
    scores = found.all
    assert scores.objects == found.segments == len(np.unique(labels)) - 1
    assert scores.coverage == 1
    assert scores.figures == dict.fromkeys(OBJECT_METRICS, 1)
    assert found.coverage == (labels > 0).mean()


def test_classes_of_overlapping_objects_count_a_pixel_once_per_class():
    layers = np.zeros((2, 1, 6), np.uint32)
    layers[0, 0, :4] = 1
    layers[1, 0, 2:5] = 2
    references = ArrayLabels("r", layers[0])
    references._labels = layers
    references.classes = {1: "roof", 2: "roof"}
    found = scoring.score("m", ArrayLabels("s", np.array([[1, 1, 1, 0, 0, 0]])), references, 1, 6)
    assert found.classes["roof"].coverage == pytest.approx(3 / 5)
    assert found.classes["roof"]["asa"] == found.asa == pytest.approx(3 / 5)


def test_the_table_lines_up_and_sets_figures_to_the_right():
    rows = [["scene", "det", "rate"], ["naip_40.1", "9.5", "–"], ["k", "100.0", "1.0 (0.5)"]]
    assert markdown(rows).splitlines() == [
        "| scene     |   det |      rate |",
        "|-----------|------:|----------:|",
        "| naip_40.1 |   9.5 |         – |",
        "| k         | 100.0 | 1.0 (0.5) |",
    ]
