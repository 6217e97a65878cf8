"""The look-around page in a real browser: it draws, offline, and what it draws is the panorama."""

import json

import numpy as np
import pytest
import rasterio.features
import shapely

from remotesam.panorama.page import look_around_page
from remotesam.sphere import Equirect
from remotesam.sphere.objects import measure
from remotesam.sphere.run_lengths import find_runs
from tests.browser import show
from tests.pages import HOSTILE, Page, assert_closed
from tests.sphere_fakes import painted


def page_of(image, labels, name="panorama", **more):
    grid = Equirect.whole(labels.shape[1])
    parts = {}
    for geometry, value in rasterio.features.shapes(labels, labels > 0, connectivity=4):
        parts.setdefault(int(value), []).append(shapely.geometry.shape(geometry))
    ids = np.array(sorted(parts), np.int64)
    outlines = np.array([shapely.union_all(parts[k]) for k in ids.tolist()], object)
    return look_around_page(name, image, measure(find_runs(labels, grid), ids, outlines), **more)


@pytest.mark.gate
def test_the_page_draws_what_lies_straight_ahead(tmp_path):
    image, labels = painted(512, cells=12)
    name = "<img src=x onerror=\"document.title='ran'\"></script>"
    (tmp_path / "page.html").write_bytes(page_of(image, labels, name, look=(100.0, 20.0)))
    shown = show(tmp_path / "page.html")
    assert shown.complaints == []
    assert shown.title == name.replace("<", "&lt;").replace(">", "&gt;") + " · segments"
    assert 'data-ready="true"' in shown.dom
    shot = shown.picture.astype(int)
    grid = Equirect.whole(512)
    agree = []
    # Away from the panels: what the middle of the window shows is what lies there on the sphere.
    for dx, dy in [(0, 0), (-150, 0), (150, 0), (0, -150), (0, 120), (80, 80)]:
        seen = shot[shot.shape[0] // 2 + dy, shot.shape[1] // 2 + dx]
        x, y = grid.point(*direction_of(dx, dy, shot.shape, (100.0, 20.0)))
        agree.append(np.abs(seen - image[int(y), int(x)]).max() < 90)
    assert sum(agree) >= 5


def direction_of(dx, dy, shape, look):
    """Longitude and latitude of a window point at a field of view of 90° across."""
    from remotesam.sphere import View
    from remotesam.sphere.equirect import lonlat

    view = View(0, *look, shape[1], shape[1] / 2)
    lon, lat = lonlat(view.rays(np.array([[shape[1] / 2 + dx, shape[1] / 2 + dy]])))
    return lon[0], lat[0]


def test_a_page_without_objects_is_a_page():
    labels = np.zeros((64, 128), np.int32)
    page = Page(page_of(np.zeros((64, 128, 3), np.uint8), labels).decode())
    (scene,) = map(json.loads, page.inside["data"])
    assert scene["objects"] == []
    assert "panorama · 0 segments" in page.words


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_stays_a_name(name):
    image, labels = painted(128, cells=5)
    page = Page(page_of(image, labels, name).decode())
    assert page.elements == Page(page_of(image, labels).decode()).elements
    (scene,) = map(json.loads, page.inside["data"])
    assert scene["name"] == name
    assert f"{name} · {len(scene['objects'])} segments" in page.words
    assert "<" not in page.inside["data"][0]
    assert page.inside["data"][0].isascii()
    assert_closed(page)
