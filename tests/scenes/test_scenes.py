"""Scenes: exact labels, the same for the same seed, every ground size, and quick enough to train on."""

import numpy as np
import pytest
from scipy import ndimage

from remotesam.scenes.canvas import Canvas
from remotesam.scenes.countryside import countryside, trial_field, woodland
from remotesam.scenes.scene import plain_scene, scene, split_components
from remotesam.scenes.settlement import parking, settlement
from remotesam.scenes.showcase import showcase


@pytest.mark.parametrize("gsd", [0.05, 0.2, 0.7, 3.0, 10.0, None])
def test_every_label_is_one_region_with_a_class(gsd):
    for seed in range(3):
        made = scene(seed, (160, 208), gsd=gsd)
        assert made.image.shape == (160, 208, 3)
        assert made.image.dtype == np.uint8
        assert made.labels.shape == (160, 208)
        assert made.labels.dtype == np.int32
        present = np.unique(made.labels[made.labels > 0])
        assert present.tolist() == list(range(1, len(made.classes) + 1))
        for label in present:
            assert ndimage.label(made.labels == label)[1] == 1  # 4-connected by default


def test_seed_decides_everything():
    first, again, other = scene(5, (128, 128)), scene(5, (128, 128)), scene(6, (128, 128))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.labels, again.labels)
    assert first.classes == again.classes
    assert not np.array_equal(first.image, other.image)


def test_shape_need_not_be_square_or_even():
    for shape in ((33, 181), (64, 64), (257, 90)):
        assert scene(1, shape).labels.shape == shape
        assert plain_scene(1, shape).labels.shape == shape


def test_fields_far_away_and_cars_close_by():
    far = {name for seed in range(4) for name in scene(seed, (192, 192), gsd=5.0).classes}
    near = {name for seed in range(12) for name in scene(seed, (192, 192), gsd=0.1).classes}
    assert "field" in far or "pivot" in far
    assert "car" not in far
    assert {"car", "roof", "tree"} <= near


def test_edges_of_the_image_follow_edges_of_the_labels():
    """The picture shows what the labels say: brightness steps are larger on label borders than off them."""
    ratios = []
    for seed in range(10):
        made = scene(seed, (192, 192))
        grey = made.image.astype(float).mean(-1)
        step, border = np.abs(np.diff(grey, axis=1)), np.diff(made.labels, axis=1) != 0
        if border.sum() > 200:
            ratios.append(step[border].mean() / step[~border].mean())
    assert np.median(ratios) > 1.8


def test_like_things_share_an_appearance():
    """Many roofs look alike, so that colour alone cannot tell instances apart."""
    nearest = []
    for seed in range(8):
        canvas = Canvas(np.random.default_rng(seed), (256, 256))
        settlement(canvas, 0.3)
        roofs = [i + 1 for i, name in enumerate(canvas.classes) if name == "roof"]
        means = np.array(
            [canvas.image[canvas.labels == i].mean(0) for i in roofs if (canvas.labels == i).sum() > 60]
        )
        if len(means) > 3:
            gaps = np.linalg.norm(means[:, None] - means[None], axis=-1)
            np.fill_diagonal(gaps, np.inf)
            nearest.append(np.median(gaps.min(1)))
    assert len(nearest) >= 4
    assert np.median(nearest) < 12


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ([[1, 0, 1]], 2),
        ([[1, 0], [0, 1]], 2),  # a corner does not connect
        ([[2, 2], [2, 7]], 2),
        ([[0, 0], [0, 0]], 0),
        ([[1, 1, 1], [1, 0, 1], [1, 1, 1]], 1),
    ],
)
def test_split_components(values, count):
    labels = np.array(values, np.int32)
    parts, origin = split_components(labels)
    assert parts.max() == count
    assert len(origin) == count + 1
    assert np.array_equal(origin[parts], labels)


@pytest.mark.parametrize("place", [settlement, parking, woodland, countryside, trial_field])
def test_every_place_covers_the_canvas(place):
    for seed in range(3):
        canvas = Canvas(np.random.default_rng(seed), (128, 128))
        place(canvas, 0.3)
        assert (canvas.labels > 0).all()
        assert np.isfinite(canvas.finish()).all()


@pytest.mark.slow
def test_showcase_is_a_village():
    made = showcase((1000, 1200))
    assert (made.labels > 0).all()
    count = {name: made.classes.count(name) for name in set(made.classes)}
    assert count["roof"] > 30
    assert count["car"] > 20
    assert count["tree"] > 30
    assert count["water"] >= 1
    assert np.array_equal(made.image, showcase((1000, 1200)).image)
