import numpy as np
import pytest

from remotesam.config import make_config
from remotesam.errors import Cancelled
from remotesam.multipass import segment_chip
from tests.fakes import ColourSegmenter, ScriptedSegmenter, candidate

SIZE = 40


def box_mask(row, col, height, width):
    mask = np.zeros((SIZE, SIZE), bool)
    mask[row : row + height, col : col + width] = True
    return mask


def chip(value=200):
    return np.full((SIZE, SIZE, 3), value, np.uint8), np.ones((SIZE, SIZE), bool)


def run(segmenter, image=None, valid=None, **settings):
    default_image, default_valid = chip()
    config = make_config({"points_per_side": 8, "min_area": 10, **settings})
    return segment_chip(
        default_image if image is None else image,
        default_valid if valid is None else valid,
        segmenter,
        config,
    )


def test_first_pass_prompts_the_whole_grid_and_later_passes_only_what_is_left():
    segmenter = ScriptedSegmenter([candidate(box_mask(0, 0, 20, 40))])
    run(segmenter, max_passes=2)
    first, second = segmenter.queries
    assert len(first.points) == 64
    assert len(second.points) == 32
    assert second.points[:, 1].min() > 20


def test_accepted_pixels_are_painted_black_and_nothing_else_is():
    segmenter = ScriptedSegmenter([candidate(box_mask(5, 5, 10, 10))])
    run(segmenter, max_passes=2)
    assert (segmenter.queries[0].image == 200).all()
    painted = (segmenter.queries[1].image == 0).all(axis=2)
    assert (painted == box_mask(5, 5, 10, 10)).all()


def test_black_paint_can_be_turned_off():
    segmenter = ScriptedSegmenter([candidate(box_mask(5, 5, 10, 10))])
    run(segmenter, max_passes=2, black_paint=False)
    assert (segmenter.queries[1].image == 200).all()


def test_a_pass_that_painted_nothing_costs_no_second_look():
    weak = candidate(box_mask(0, 0, 20, 20), score=0.75)
    segmenter = ScriptedSegmenter([weak])
    result = run(segmenter, iou_start=0.9, iou_end=0.7, step=0.05, max_passes=4)
    # .90, .85, .80, .75 accept nothing (the filter is >); the network was asked once.
    assert len(segmenter.queries) == 1
    assert [round(p.iou_threshold, 2) for p in result.passes] == [0.9, 0.85, 0.8, 0.75]
    assert [p.points for p in result.passes] == [64, 0, 0, 0]
    result = run(ScriptedSegmenter([weak]), iou_start=0.9, iou_end=0.7, step=0.05)
    assert result.segments[0].pass_index == 4
    assert result.segments[0].iou_threshold == pytest.approx(0.7)


def test_small_changes_can_wait_for_the_next_look():
    strong, weak = candidate(box_mask(0, 0, 10, 10)), candidate(box_mask(20, 20, 10, 10), score=0.88)
    thresholds = {"iou_start": 0.9, "iou_end": 0.85, "stability_end": 0.93, "step": 0.05}
    result = run(ScriptedSegmenter([strong, weak]), look_again=0.1, **thresholds)
    assert [p.points for p in result.passes] == [64, 0, 0, 56]
    assert [p.accepted for p in result.passes] == [1, 0, 1, 0]
    result = run(ScriptedSegmenter([strong, weak]), **thresholds)
    assert [p.points for p in result.passes] == [64, 60, 0]


def test_thresholds_fall_only_when_coverage_stagnates():
    answers = [[candidate(box_mask(row, 0, 4, 40))] for row in range(0, 40, 4)]
    result = run(ScriptedSegmenter(*answers))
    assert len(result.passes) == 10
    assert {p.iou_threshold for p in result.passes} == {0.93}
    assert result.passes[-1].coverage == 1


def test_small_gain_counts_as_stagnation_but_is_kept():
    segmenter = ScriptedSegmenter([candidate(box_mask(0, 0, 4, 4))], [])
    result = run(segmenter, stagnation=0.02, max_passes=2)
    assert [p.iou_threshold for p in result.passes] == [0.93, 0.92]
    assert (result.labels > 0).sum() == 16


def test_stops_when_the_thresholds_are_exhausted():
    result = run(ScriptedSegmenter(), iou_start=0.93, iou_end=0.90, stability_start=0.8, stability_end=0.79)
    assert [p.iou_threshold for p in result.passes] == [0.93, 0.92, 0.91, 0.9]
    assert [p.stability_threshold for p in result.passes] == [0.8, 0.79, 0.79, 0.79]


def test_the_published_schedule_has_34_thresholds():
    assert len(run(ScriptedSegmenter()).passes) == 34


def test_without_decay_a_stagnating_pass_is_the_last():
    assert len(run(ScriptedSegmenter(), decay=False).passes) == 1


def test_stops_at_the_target_coverage():
    half = ScriptedSegmenter([candidate(box_mask(0, 0, 20, 40))], [candidate(box_mask(20, 0, 20, 40))])
    assert len(run(half, target_coverage=0.5).passes) == 1


def test_masks_are_split_into_components_and_small_ones_dropped():
    mask = box_mask(0, 0, 10, 10) | box_mask(20, 20, 10, 10) | box_mask(0, 30, 3, 3)
    result = run(ScriptedSegmenter([candidate(mask)]), max_passes=1)
    assert result.labels.max() == 2
    assert (result.labels > 0).sum() == 200


def test_components_touching_at_a_corner_only_are_two_segments():
    mask = box_mask(0, 0, 10, 10) | box_mask(10, 10, 10, 10)
    assert run(ScriptedSegmenter([candidate(mask)]), max_passes=1).labels.max() == 2


def test_half_labelled_components_are_dropped_and_others_keep_only_what_was_free():
    best = candidate(box_mask(0, 0, 20, 20), score=0.99)
    dropped = candidate(box_mask(0, 10, 20, 20), score=0.98)  # exactly half is labelled
    kept = candidate(box_mask(19, 0, 20, 20), score=0.97)
    result = run(ScriptedSegmenter([kept, dropped, best]), max_passes=1)
    assert (result.labels == 1).sum() == 400
    assert (result.labels == 2).sum() == 380
    assert [s.score for s in result.segments] == [0.99, 0.97]


def test_pixels_without_data_are_never_labelled_and_do_not_count():
    _, valid = chip()
    valid[:, 30:] = False
    result = run(ScriptedSegmenter([candidate(box_mask(0, 0, 40, 40))]), valid=valid)
    assert not result.labels[:, 30:].any()
    assert result.passes[0].coverage == 1
    assert result.passes[0].points == 48


def test_kmeans_points_lie_on_what_is_left():
    segmenter = ScriptedSegmenter([candidate(box_mask(0, 0, 20, 40))])
    run(segmenter, max_passes=2, point_strategy="kmeans")
    points = segmenter.queries[1].points
    assert 32 < len(points) <= 64
    assert points[:, 1].min() > 20


def test_the_image_of_the_caller_is_not_painted():
    image, valid = chip()
    run(ColourSegmenter(), image, valid)
    assert (image == 200).all()


def test_cancel_between_two_passes():
    def stop():
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        segment_chip(*chip(), ScriptedSegmenter(), make_config(), before_pass=stop)


def test_every_label_has_a_segment_and_every_segment_a_pixel():
    rng = np.random.default_rng(3)
    colours = rng.integers(1, 255, (12, 3), dtype=np.uint8)
    image = np.kron(colours[rng.integers(0, 12, (8, 8))], np.ones((5, 5, 1), np.uint8))
    result = run(ColourSegmenter(), image)
    assert sorted(np.unique(result.labels)) == list(range(1, len(result.segments) + 1))
    assert result.passes[-1].coverage == 1
