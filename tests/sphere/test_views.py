"""Projection, layouts and ownership: the geometry everything on the sphere stands on
(docs/algorithms.md#views)."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remotesam.errors import ConfigError, InputError
from remotesam.sphere import Equirect, Sampler, View, views
from remotesam.sphere.equirect import direction, lonlat
from remotesam.sphere.ownership import NOBODY, centres, owners_in_view, owners_on_grid, point_in
from remotesam.sphere.sampler import wrapped_crop
from remotesam.windows import Window

WIDTHS = (512, 777, 1024, 2048, 4061, 4096, 5400, 8192, 8432, 11000, 16384)


def ray_field(grid):
    """A picture whose pixels are their own directions."""
    x, y = np.arange(grid.width) + 0.5, np.arange(grid.height) + 0.5
    lon, lat = grid.lonlat(x, 0)[0] + grid.centre, grid.lonlat(0, y)[1]
    return direction(lon[None, :], lat[:, None]).astype(np.float32)


def view_rays(view):
    centre = np.arange(view.size) + 0.5
    x, y = np.meshgrid(centre, centre)
    return view.rays(np.stack([x.ravel(), y.ravel()], 1)).reshape(view.size, view.size, 3)


def random_directions(count, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, 3))
    special = list(itertools.product((-1, 0, 1), repeat=3))
    special.remove((0, 0, 0))
    vectors = np.vstack([vectors, special])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("width", [2047, 4096])
@pytest.mark.parametrize("lat", [90.0, 88.0, 60.0, 0.0, -45.0, -90.0])
@pytest.mark.parametrize("lon", [0.0, 179.99, -97.3])
def test_ray_field_is_seen_where_it_is(width, lat, lon):
    """Each pixel of a view shows the direction it looks in: < 1e-3 px beside bilinear's own curvature
    error."""
    grid = Equirect.whole(width)
    view = View(0, lon, lat, 200, grid.focal)
    seen, valid = Sampler(ray_field(grid), grid).sample(view)
    assert valid.all()
    seen = seen / np.linalg.norm(seen, axis=2, keepdims=True)
    error = np.linalg.norm(seen - view_rays(view), axis=2) * grid.focal
    assert error.max() < 1e-3


def test_a_turned_grid_is_sampled_where_it_looks():
    grid = Equirect(width=1024, height=512, full_width=1024, full_height=512, centre=73.25)
    view = View(0, -120.0, 20.0, 128, grid.focal)
    seen, _ = Sampler(ray_field(grid), grid).sample(view)
    error = np.linalg.norm(seen / np.linalg.norm(seen, axis=2, keepdims=True) - view_rays(view), axis=2)
    assert error.max() * grid.focal < 2e-3


def test_partial_panorama_is_valid_only_where_it_is():
    whole = Equirect.whole(2048)
    part = Equirect(width=700, height=300, full_width=2048, full_height=1024, left=900, top=350)
    image = ray_field(whole)[350:650, 900:1600]
    view = View(0, 10.0, 5.0, 512, whole.focal)
    seen, valid = Sampler(image, part).sample(view)
    points = np.stack(part.point(*lonlat(view_rays(view))), axis=-1)
    well_inside = np.all((points > 1) & (points < [699, 299]), axis=-1)
    outside = np.any((points < -1) | (points > [701, 301]), axis=-1)
    assert valid[well_inside].all()
    assert not valid[outside].any()
    assert (seen[~valid] == 0).all()
    error = np.linalg.norm(seen - view_rays(view), axis=2)[well_inside] * whole.focal
    assert error.max() < 5e-3


def test_coarse_views_do_not_alias():
    """A one-pixel checkerboard has no structure a view of a quarter of the resolution could show."""
    grid = Equirect.whole(2048)
    board = ((np.indices((1024, 2048)).sum(0) % 2) * 255).astype(np.uint8)
    seen, _ = Sampler(board, grid).sample(View(0, 33.0, 0.0, 128, grid.focal / 4))
    assert abs(seen.astype(int) - 127).max() <= 1


@pytest.mark.parametrize("lat", [0.0, 90.0])
def test_panorama_wider_than_opencv_allows(lat):
    width = 40_000
    grid = Equirect(width=width, height=2_000, full_width=width, full_height=2_000)
    ramp = np.abs(np.arange(width) - width // 2) * (200.0 / (width // 2))
    image = np.tile(ramp.astype(np.uint8), (2_000, 1))
    view = View(0, 180.0, lat, 256, grid.focal)
    seen, valid = Sampler(image, grid).sample(view)
    assert valid.all()
    lon = np.abs(lonlat(view_rays(view))[0])
    wanted = lon / 180 * 200
    far_from_pole = np.abs(lonlat(view_rays(view))[1]) < 89.95
    assert np.abs(seen - wanted)[far_from_pole].max() < 2.5


def test_crop_over_a_pole_continues_half_a_turn_away():
    image = np.arange(6 * 8).reshape(6, 8)
    crop, known = wrapped_crop(image, None, (-2, -1), (10, 10), 8, (True, True))
    assert known is None
    for row, col in itertools.product(range(10), range(10)):
        r, c = row - 2, col - 1
        if r < 0:
            r, c = -1 - r, c + 4
        elif r >= 6:
            r, c = 11 - r, c + 4
        assert crop[row, col] == image[r, c % 8]


@pytest.mark.parametrize(("width", "count"), [(8192, 51), (8432, 51), (11000, 84), (16384, 166)])
def test_ring_layout_sizes(width, count):
    assert len(views(width)) == count


def test_the_rows_of_the_8k_layout():
    rows = [round(view.lat) for view in views(8192).views]
    assert [rows.count(lat) for lat in (90, 60, 30, 0, -30, -60, -90)] == [1, 8, 11, 11, 11, 8, 1]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["rings", "cube"])
def test_every_direction_is_owned_once_with_its_context(width, name):
    layout = views(width, name, view_size=1024 if name == "rings" else 512)
    directions = random_directions(20_000, seed=width)
    best = np.full(len(directions), np.inf)
    margin = np.zeros(len(directions))
    for view in layout.views:
        points, inside = view.project(directions)
        distance = np.where(inside, np.abs(points - view.size / 2).max(axis=1) / view.focal, np.inf)
        nearer = distance < best
        margin[nearer] = (view.size / 2 - distance * view.focal)[nearer]
        best = np.minimum(best, distance)
    assert margin.min() >= layout.pad - 1e-6


@pytest.mark.parametrize("width", [512, 2048, 8192])
@pytest.mark.parametrize("name", ["rings", "sap", "cube"])
def test_owner_on_the_grid_is_the_nearest_view(width, name):
    layout = views(width, name)
    grid = Equirect.whole(width)
    rng = np.random.default_rng(width)
    for row, col in [(0, 0), (grid.height - 40, width - 60), *rng.integers(0, grid.height - 40, (4, 2))]:
        window = Window(int(row), int(col), 40, 60).clip(grid.height, grid.width)
        owned = owners_on_grid(layout.views, grid, window)
        assert (owned.owner != NOBODY).all()
        rows, cols = np.mgrid[window.slices]
        directions = direction(*grid.lonlat(cols + 0.5, rows + 0.5)).reshape(-1, 3)
        distances = []
        for view in layout.views:
            points, inside = view.project(directions)
            distances.append(
                np.where(inside, np.abs(points - view.size / 2).max(axis=1) / view.focal, np.inf)
            )
        nearest = np.min(distances, axis=0)
        chosen = np.array(distances)[owned.owner.ravel(), np.arange(len(directions))]
        assert np.abs(chosen - nearest).max() < 1e-5
        others = np.array(distances)
        others[owned.owner.ravel(), np.arange(len(directions))] = np.inf
        seen = owned.second.ravel() != NOBODY
        assert (seen == np.isfinite(others.min(axis=0))).all()
        chosen = others[owned.second.ravel()[seen], np.flatnonzero(seen)]
        assert np.abs(chosen - others.min(axis=0)[seen]).max(initial=0) < 1e-5
        lattice = centres(grid, window)
        for index in np.unique(owned.owner):
            here = owned.owner == index
            expected, _ = layout.views[index].project(directions[here.ravel()])
            assert np.abs(expected - np.stack(point_in(layout.views[index], *lattice, here), 1)).max() < 0.02


def test_owner_in_a_view_agrees_with_every_other_view():
    layout = views(1024)
    owners = [owners_in_view(layout, index) for index in range(len(layout))]
    rng = np.random.default_rng(3)
    for view in layout.views[::5]:
        x, y = rng.integers(0, view.size, (2, 50))
        rays = view.rays(np.stack([x, y], 1) + 0.5)
        for ray, owner in zip(rays, owners[view.index][y, x], strict=True):
            distances = {
                other.index: np.abs(points[0] - other.size / 2).max()
                for other in layout.views
                for points, inside in [other.project(ray[None])]
                if inside[0]
            }
            assert distances[owner] <= min(distances.values()) + 1e-3


def test_homography_joins_views_exactly():
    layout = views(2048)
    one = layout.views[0]
    for other in layout.neighbours(0)[:3]:
        points = np.random.default_rng(1).uniform(0, one.size, (200, 2))
        expected, inside = other.project(one.rays(points))
        mapped = one.homography(other) @ np.column_stack([points, np.ones(200)]).T
        assert np.abs(expected - (mapped[:2] / mapped[2]).T)[inside].max() < 1e-6


@settings(max_examples=30, deadline=None)
@given(lon=st.floats(-180, 180), lat=st.floats(-90, 90), size=st.integers(4, 64), fov=st.floats(5, 100))
def test_rays_and_project_are_inverse(lon, lat, size, fov):
    view = View(0, lon, lat, size, size / 2 / math.tan(math.radians(fov / 2)))
    points = np.random.default_rng(0).uniform(0, size, (20, 2))
    back, inside = view.project(view.rays(points))
    assert np.abs(back - points).max() < 1e-6
    assert inside.all()
    behind, seen = view.project(-view.rays(points))
    assert np.isnan(behind).all()
    assert not seen.any()


def test_solid_angles_of_cube_faces_make_a_sphere():
    layout = views(4096, "cube", view_size=400, pad=0.0)
    assert sum(view.solid_angles().sum(dtype=float) for view in layout.views) == pytest.approx(
        4 * math.pi, rel=1e-5
    )


def test_row_solid_angles_make_a_sphere():
    grid = Equirect.whole(4061, 2031)
    assert grid.row_solid_angles().sum() * 4061 == pytest.approx(4 * math.pi, rel=1e-12)


def test_what_is_no_panorama_is_an_error():
    assert Equirect.whole(4061, 2031).wraps
    for size in [(4000, 3000), (1000, 1000), (2000, 980)]:
        with pytest.raises(InputError, match="not a 360"):
            Equirect.whole(*size)


def test_impossible_layouts_are_errors():
    for settings_ in ({"layout": "hexagons"}, {"pad": 0.6}, {"fov": 170.0}, {"layout": "cube", "fov": 80.0}):
        with pytest.raises(ConfigError):
            views(4096, **settings_)
