import numpy as np
import pytest

from remotesam.config import make_config
from remotesam.errors import Cancelled
from remotesam.segmenter.points import grid, keep_allowed, nested_grids
from remotesam.tiles.multipass import segment_chip
from remotesam.tiles.zoom import zoom_windows
from remotesam.windows import Window
from tests.fakes import ColourSegmenter, Fixed, ScriptedSegmenter, candidate, regions

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


class PointSegmenter:
    """Proposes the regions of one colour that a prompt has hit so far, and remembers queries and prompts."""

    name, digest, image_size, device = "points", "2" * 64, 64, "cpu"

    def __init__(self):
        self.images, self.asked = [], []

    def propose(self, queries):
        (query,) = queries
        self.images.append(query.image.copy())
        return [Hit(self, query)]


class Hit:
    def __init__(self, owner, query):
        self.owner, self.hit, self.candidates = owner, set(), regions(query.image)
        self.extend(query.points)

    def extend(self, points):
        self.owner.asked.append(points)
        for number, one in enumerate(self.candidates):
            full = np.zeros((SIZE, SIZE), bool)
            full[one.box.slices] = one.mask
            if len(keep_allowed(points, full)):
                self.hit.add(number)

    def select(self, *, min_iou, min_stability, nms_iou):
        found = [self.candidates[number] for number in sorted(self.hit)]
        return [one for one in found if one.score > min_iou and one.stability >= min_stability]


def test_coarse_to_fine_skips_what_the_pass_itself_has_covered_and_encodes_once():
    image, _ = chip()
    image[:, 20:] = 100
    image[0:5, 0:5] = 50  # a thing that only the finest points hit
    exact, quick = PointSegmenter(), PointSegmenter()
    expected, found = run(exact, image), run(quick, image, coarse_to_fine=True)
    assert found.passes[-1].coverage == 1
    assert len(found.segments) == len(expected.segments) == 3
    assert [len(points) for points in exact.asked] == [64]
    assert sum(len(points) for points in quick.asked) == found.passes[0].points < 20
    assert len(quick.images) == 1, "the rounds of a pass share one image"
    assert len(found.passes) == 1


def test_rounds_of_the_grid_have_every_point_once():
    for side in (1, 5, 8, 12, 64):
        rounds = nested_grids(30, 50, side)
        together = np.concatenate(rounds)
        assert len(together) == side * side
        assert (together[np.lexsort(together.T)] == grid(30, 50, side)).all()
    assert [len(points) for points in rounds] == [64, 192, 768, 3072]


class NearsightedSegmenter(ColourSegmenter):
    """Sees regions only where the image is at most 20 px wide, and remembers the images."""

    def __init__(self):
        super().__init__()
        self.images = []

    def propose(self, queries):
        self.images += [query.image.copy() for query in queries]
        proposals = super().propose(queries)
        near = [query.image.shape[1] <= 20 for query in queries]
        return [own if seen else Fixed([]) for own, seen in zip(proposals, near, strict=True)]


def test_what_no_pass_covered_is_segmented_again_enlarged():
    image, valid = chip()
    image[30:, 30:] = 90
    valid[:10] = False
    segmenter = NearsightedSegmenter()
    thresholds = {"decay": False, "points_per_side": 4}
    assert run(NearsightedSegmenter(), image, valid, **thresholds).labels.max() == 0
    result = run(segmenter, image, valid, zoom_area=50, **thresholds)
    assert (result.labels[valid] > 0).all()
    assert not result.labels[~valid].any()
    assert result.passes[-1].coverage == pytest.approx(1)
    assert [report.index for report in result.passes] == list(range(len(result.passes)))
    assert np.all(np.diff([report.coverage for report in result.passes]) >= 0)
    assert len(result.segments) == result.labels.max()
    for label, segment in enumerate(result.segments, 1):
        x, y = segment.point
        assert result.labels[int(y), int(x)] == label, "points are in pixels of the whole chip"
        assert segment.pass_index >= 1
    assert all(max(window.shape) <= 20 for window in segmenter.images[1:])
    enough = run(NearsightedSegmenter(), image, valid, zoom_area=50, target_coverage=0.2, **thresholds)
    assert 0.2 <= enough.passes[-1].coverage < 0.8


def test_small_or_labelled_areas_get_no_window():
    residual = np.zeros((100, 120), bool)
    residual[5:15, 5:15] = residual[90:, :] = residual[50, 50] = True
    windows = zoom_windows(residual, 60)
    assert windows[0] == Window(0, 0, 31, 31)
    assert {(w.row, w.row_stop) for w in windows[1:]} == {(74, 100)}
    assert [w.width for w in windows[1:]] == [40, 40, 40]
    assert zoom_windows(residual, 2000) == []
    assert zoom_windows(~np.zeros((1, 1), bool), 1) == [Window(0, 0, 1, 1)]


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
