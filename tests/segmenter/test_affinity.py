"""nano-affinity behind the Segmenter protocol, with the bundled checkpoint."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch

from remotesam.errors import CheckpointError
from remotesam.scenes.scene import scene
from remotesam.segmenter.affinity import load_affinity
from remotesam.segmenter.protocol import Query
from remotesam.segmenter.regions import merge_tree

EVERYTHING = {"min_iou": 0.0, "min_stability": 0.0, "nms_iou": 0.7}
CHECKPOINT = Path(str(files("remotesam") / "segmenter" / "weights" / "nano.pt"))


@pytest.fixture(scope="module")
def segmenter():
    torch.set_num_threads(1)
    return load_affinity(CHECKPOINT, image_size=512)


@pytest.fixture(scope="module")
def example():
    return scene(77, (500, 620), gsd=0.2)


def ask(image: np.ndarray) -> Query:
    return Query(image, np.array([[10.0, 10.0]]))


def test_regions_cover_the_chip_once(segmenter, example):
    (proposals,) = segmenter.propose([ask(example.image)])
    found = proposals.select(**EVERYTHING)
    times = np.zeros(example.labels.shape, int)
    for candidate in found:
        assert candidate.mask.shape == candidate.box.shape
        assert candidate.mask.any(0)[[0, -1]].all()
        assert candidate.mask.any(1)[[0, -1]].all()
        assert 0 <= candidate.stability <= 1
        times[candidate.box.slices] += candidate.mask
    assert (times > 0).mean() > 0.97
    assert (times > 1).mean() < 0.1
    assert [c.score for c in found] == sorted((c.score for c in found), reverse=True)


def test_regions_follow_the_objects_of_a_new_scene(segmenter, example):
    """A good share of the larger objects are each matched by one region, which chance does to nearly none."""
    (proposals,) = segmenter.propose([ask(example.image)])
    labels = np.zeros(example.labels.shape, int)
    for number, candidate in enumerate(proposals.select(**EVERYTHING), 1):
        labels[candidate.box.slices][candidate.mask] = number
    matched = []
    for value in np.flatnonzero(np.bincount(example.labels.ravel()) > 400):
        there = example.labels == value
        best = max(
            (there & (labels == number)).sum() / (there | (labels == number)).sum()
            for number in np.unique(labels[there])
        )
        matched.append(best > 0.5)
    assert len(matched) > 10
    assert np.mean(matched) > 0.3


def test_lower_thresholds_only_add(segmenter, example):
    (proposals,) = segmenter.propose([ask(example.image)])
    strict = proposals.select(min_iou=0.8, min_stability=0.8, nms_iou=0.7)
    loose = proposals.select(min_iou=0.7, min_stability=0.7, nms_iou=0.7)
    assert {c.point for c in strict} < {c.point for c in loose}


def test_black_paint_costs_no_network_call(segmenter, example):
    (first,) = segmenter.propose([ask(example.image)])
    before = segmenter.network_calls.encodes
    painted = example.image.copy()
    painted[100:200] = 0
    (second,) = segmenter.propose([ask(painted)])
    assert segmenter.network_calls.encodes == before
    assert [c.point for c in second.select(**EVERYTHING)] == [c.point for c in first.select(**EVERYTHING)]
    segmenter.propose([ask(np.ascontiguousarray(example.image[::-1]))])
    assert segmenter.network_calls.encodes == before + 1


def test_nothing_asked_nothing_proposed(segmenter, example):
    (proposals,) = segmenter.propose([Query(example.image, np.empty((0, 2)))])
    assert proposals.select(**EVERYTHING) == []


def test_checkpoint_without_affinity_part(tmp_path):
    path = tmp_path / "plain.pt"
    torch.save({"model": {}}, path)
    with pytest.raises(CheckpointError, match=r"plain\.pt: has no affinity part"):
        load_affinity(path, image_size=512)


def test_what_fills_a_chip_is_no_object_unless_its_cells_agree(segmenter):
    """Cells that rather differ may make up a small region, not a quarter of the chip; equal cells may."""
    scorer = segmenter._scorer
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(32, 32, 8)).astype(np.float32)
    scores = []
    for unevenness in (0.5, 2.0):  # mean affinity logit of the whole: level / 2 and -level
        spread = unevenness * scorer.level / (2 * scorer.slope)
        tree = merge_tree(noise * np.float32(np.sqrt(spread / 8)))
        worth = scorer(tree, np.arange(len(tree.area)))
        assert tree.spread[tree.area.argmax()] == pytest.approx(spread, rel=0.1)
        scores.append((worth[tree.area.argmax()], worth[(tree.area > 30) & (tree.area < 250)].max()))
    assert scores[0][0] > 0
    assert scores[1][0] == 0
    assert scores[1][1] > 0
