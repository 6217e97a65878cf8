"""Hard scenes: exact labels in every kind, marks and shadows that leave labels alone, true perspective."""

import numpy as np
import pytest
from scipy import ndimage

from remotesam.scenes.canvas import Canvas, rectangle
from remotesam.scenes.disturbances import building_shadow, cloud_shadows, tree_shadow, unsettle
from remotesam.scenes.hard import KINDS, LEAST, hard_scene, without_specks
from remotesam.scenes.perspective import GROUND, NEAR, Camera, Surface, lay, looked_up
from remotesam.scenes.trials import breeding
from remotesam.scenes.vegetation import strokes


@pytest.mark.parametrize("kind", KINDS)
def test_every_label_is_one_region_with_a_class_and_a_seed_decides_all(kind):
    again = hard_scene(1, (120, 168), kind=kind)
    for seed in range(2):
        made = hard_scene(seed, (120, 168), kind=kind)
        assert made.image.shape == (120, 168, 3)
        assert made.image.dtype == np.uint8
        assert made.labels.min() >= 1
        assert np.unique(made.labels).tolist() == list(range(1, len(made.classes) + 1))
        assert all(ndimage.label(made.labels == label)[1] == 1 for label in np.unique(made.labels))
    assert np.array_equal(made.image, again.image)
    assert np.array_equal(made.labels, again.labels)


def test_kinds_are_drawn_by_their_shares():
    assert sum(share for share, _ in KINDS.values()) == pytest.approx(1)
    classes = {name for seed in range(16) for name in hard_scene(seed, (48, 48)).classes}
    assert {"plot", "tree", "car"} <= classes


def test_a_plot_is_one_object_with_rows_and_soil_inside():
    """Much light and dark within plots, more than between them: colour alone cannot find them."""
    within, between = [], []
    for seed in range(8):
        canvas = Canvas(np.random.default_rng(seed), (240, 240))
        breeding(canvas, 0.01)
        grey = canvas.finish().mean(-1)
        area = np.bincount(canvas.labels.ravel(), minlength=len(canvas.classes) + 1)
        plots = [k for k, name in enumerate(canvas.classes, 1) if name == "plot" and area[k] > 1000]
        if len(plots) > 3:
            within.append(np.mean([grey[canvas.labels == k].std() for k in plots]))
            between.append(np.std([grey[canvas.labels == k].mean() for k in plots]))
    assert len(within) > 3
    assert np.median(within) > 1.5 * np.median(between)


@pytest.mark.parametrize("shadow", [building_shadow, tree_shadow, cloud_shadows])
def test_shadows_darken_and_leave_labels_alone(shadow):
    darkened = 0
    for seed in range(8):
        canvas = Canvas(np.random.default_rng(seed), (96, 128))
        canvas.image[:] = 200
        canvas.labels[:] = canvas.new("ground")
        shadow(canvas)
        lit = canvas.finish()
        assert (lit.mean(-1) < 203).all()
        assert (canvas.labels == 1).all()
        darkened += (lit.mean(-1) < 180).mean() > 0.02
    assert darkened >= 3


def test_wet_spots_stay_inside_their_field():
    canvas = Canvas(np.random.default_rng(3), (128, 128))
    canvas.image[:] = 120
    field, other = canvas.new("field"), canvas.new("field")
    canvas.labels[:], canvas.labels[:, 70:] = field, other
    before = canvas.labels.copy()
    for _ in range(6):
        unsettle(canvas, field)
    assert np.array_equal(canvas.labels, before)
    assert canvas.image[:, :70].std() > 1
    assert (canvas.image[:, 70:] == 120).all()


def test_specks_go_to_their_neighbours_and_nothing_else_changes():
    labels = np.ones((40, 40), np.int32)
    labels[:, 20:] = 2
    labels[5:7, 5:7] = 3  # a speck amid 1
    labels[10:30, 30:36] = 4  # large enough
    labels[0:2, 30:33] = 1  # a speck of a label that is large elsewhere
    cleaned = without_specks(labels)
    assert (cleaned[5:7, 5:7] == 1).all()
    assert (cleaned[0:2, 30:33] == 2).all()
    assert np.array_equal(cleaned == 4, labels == 4)
    assert (labels[5:7, 5:7] == 3).all()
    parts, count = ndimage.label(cleaned == 2)
    assert count == 1
    assert np.bincount(parts.ravel())[1] >= LEAST


def test_strokes_fill_a_plane_of_any_shape():
    for shape in ((40, 70), (500, 410)):
        light = strokes(np.random.default_rng(1), shape, 9, 3)
        assert light.shape == shape
        assert 0 <= light.min() < 0.2
        assert 0.6 < light.max() <= 1


def test_rays_and_projection_agree():
    camera = Camera(1.6, -0.3, 200.0, (80.0, 60.0))
    rays = camera.rays((slice(40, 100), slice(0, 160)))
    hit = rays * (-camera.height / rays[..., 1:2]) + (0, camera.height, 0)
    row, column = 55, 31
    (seen,) = camera.pixels(hit[row, column][None])
    assert seen == pytest.approx((column + 0.5, 40 + row + 0.5))
    assert camera.scale(hit[row, column]) == pytest.approx(200 / camera.seen(hit[row, column][None])[0, 2])


def test_what_lies_behind_the_camera_is_cut_off():
    camera = Camera(1.5, 0.0, 100.0, (50.0, 50.0))
    behind = np.array([[-1.0, 0, -5], [1, 0, -5], [1, 0, -1]])
    assert len(camera.pixels(behind)) == 0
    ring = camera.pixels(np.array([[-1.0, 0, -5], [1, 0, -5], [1, 0, 5], [-1, 0, 5]]))
    assert np.isfinite(ring).all()
    assert ring[:, 1].max() == pytest.approx(50 + 100 * 1.5 / NEAR)


def test_a_floor_is_painted_where_its_metres_are_seen():
    """Squares of 1 m in two colours: every painted pixel has the colour of the place that its ray meets."""
    canvas = Canvas(np.random.default_rng(0), (120, 160))
    camera = Camera(1.6, -0.4, 120.0, (80.0, 60.0))
    tile = np.zeros((64, 64, 3), np.float32)
    tile[:32, :32] = tile[32:, 32:] = 200
    label = canvas.new("floor")
    lay(canvas, camera, GROUND, rectangle(0, 3, 4, 4), Surface(tile, 1 / 32), label)
    rays = camera.rays((slice(0, 120), slice(0, 160)))
    hit = rays * (-camera.height / np.minimum(rays[..., 1:2], -1e-6))
    inside = (np.abs(hit[..., 0]) < 2) & (np.abs(hit[..., 2] - 3) < 2) & (rays[..., 1] < 0)
    assert ((canvas.labels == label) == inside).mean() > 0.99
    u, v = np.floor(hit[..., 0]).astype(int), np.floor(hit[..., 2]).astype(int)
    u, v = (np.where(a % 4 < 2, a % 2, 1 - a % 2) for a in (u, v))  # the tile repeats mirrored
    expected = np.where(u == v, 200, 0)
    near = inside & (canvas.labels == label)
    assert (np.abs(canvas.image[..., 0] - expected)[near] < 60).mean() > 0.93


def test_a_tile_far_away_is_its_mean():
    tile = np.zeros((64, 64, 3), np.float32)
    tile[::2] = 100
    places = np.linspace(-500, 500, 40)
    near = looked_up(tile, places, places, np.ones(40))
    far = looked_up(tile, places, places, np.full(40, 64.0))
    assert set(np.unique(near)) == {0, 100}
    assert far == pytest.approx(50)
