"""The look-around page in a real browser: it draws, offline, and what it draws is the panorama."""

import shutil
import subprocess

import cv2
import numpy as np
import pytest
import rasterio.features
import shapely

from remotesam.panorama.page import look_around_page
from remotesam.sphere import Equirect
from remotesam.sphere.objects import measure
from remotesam.sphere.run_lengths import find_runs
from tests.sphere_fakes import painted

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def page_of(image, labels, **more):
    grid = Equirect.whole(labels.shape[1])
    parts = {}
    for geometry, value in rasterio.features.shapes(labels, labels > 0, connectivity=4):
        parts.setdefault(int(value), []).append(shapely.geometry.shape(geometry))
    ids = np.array(sorted(parts), np.int64)
    outlines = np.array([shapely.union_all(parts[k]) for k in ids.tolist()], object)
    return look_around_page(
        "a </script> name", image, measure(find_runs(labels, grid), ids, outlines), **more
    )


@pytest.mark.gate
def test_the_page_draws_what_lies_straight_ahead(tmp_path):
    if BROWSER is None:
        pytest.skip("chromium is not installed")
    image, labels = painted(512, cells=12)
    (tmp_path / "page.html").write_bytes(page_of(image, labels, look=(100.0, 20.0)))
    command = [
        BROWSER, "--headless=new", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader", "--window-size=800,800", "--hide-scrollbars",
        "--virtual-time-budget=20000", f"--user-data-dir={tmp_path / 'profile'}",
        f"--screenshot={tmp_path / 'shot.png'}", (tmp_path / "page.html").as_uri(),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=200)
    shot = cv2.imread(str(tmp_path / "shot.png"))[..., ::-1].astype(int)
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
    page = page_of(np.zeros((64, 128, 3), np.uint8), labels).decode()
    assert '"objects":[]' in page


def test_a_name_cannot_leave_its_script_element():
    image, labels = painted(128, cells=5)
    page = page_of(image, labels).decode()
    assert page.count("</script>") == 2
    assert "\\u003c/script>" in page
