"""Values of views fused on the panorama: what goes in as a function on the sphere comes out as that
function."""

import json

import numpy as np
import pytest

from remotesam.errors import InputError
from remotesam.sphere import Equirect, View, import_views, map_views, views
from remotesam.sphere.equirect import direction
from remotesam.sphere.footprint import footprints
from remotesam.sphere.fusion import describe_views, fuse
from remotesam.sphere.scan import UNSEEN, Agreement, Click, fuse_logits, plan_scan

GRID = Equirect.whole(512)


def grid_directions(grid):
    x, y = np.arange(grid.width) + 0.5, np.arange(grid.height) + 0.5
    return direction(grid.lonlat(x, 0)[0][None, :] + grid.centre, grid.lonlat(0, y)[1][:, None])


def view_rays(view):
    centre = np.arange(view.size) + 0.5
    x, y = np.meshgrid(centre, centre)
    return view.rays(np.stack([x.ravel(), y.ravel()], 1)).reshape(view.size, view.size, 3)


def everywhere(view):
    return np.ones((view.size, view.size), bool)


@pytest.fixture(params=["rings", "sap", "cube"])
def layout(request):
    return views(512, request.param, view_size=128)


def test_footprints_hold_every_pixel_that_a_view_sees(layout):
    directions = grid_directions(GRID).reshape(-1, 3)
    for view in layout.views[::3]:
        points, inside = view.project(directions)
        seen = np.zeros((GRID.height, GRID.width), bool)
        for part in footprints(view, GRID):
            assert not (seen[part.window.slices] & part.seen).any(), "two windows of one view overlap"
            seen[part.window.slices] |= part.seen
            near = points.reshape(GRID.height, GRID.width, 2)[part.window.slices][part.seen]
            assert np.abs(near - np.stack([part.x[part.seen], part.y[part.seen]], 1)).max() < 0.01
        wrong = seen.ravel() != inside
        border = np.abs(np.abs(points[wrong] - view.size / 2).max(axis=1) - view.size / 2)
        assert (border < 1e-3).all()


def test_scores_come_back(layout):
    """A smooth function of the direction, seen through views, is that function again."""
    fused = fuse(((v, view_rays(v)[..., [0, 2]] + 2, everywhere(v)) for v in layout.views), GRID)
    assert fused.valid.all()
    assert np.abs(fused.values - (grid_directions(GRID)[..., [0, 2]] + 2)).max() < 2e-3


def test_depth_becomes_range(layout):
    """Inside a unit sphere the range is 1 in every direction; z-depth is not."""
    z_depth = [(v, (view_rays(v) @ v.frame[2]).astype(np.float32), everywhere(v)) for v in layout.views]
    fused = fuse(z_depth, GRID, "depth")
    assert np.abs(fused.values - 1).max() < 2e-3


def test_normals_are_turned_with_the_view(layout):
    """Inside a sphere the normal is minus the direction; each camera states it in its own axes, y down."""
    answers = [(v, -(view_rays(v) @ v.frame.T) * [1, -1, 1], everywhere(v)) for v in layout.views]
    fused = fuse(answers, GRID, "variant")
    assert np.abs(fused.values + grid_directions(GRID)).max() < 2e-3


def test_labels_come_from_the_most_central_view():
    layout = views(512, "rings")
    fused = fuse(
        ((v, np.full((v.size, v.size), v.index + 1, np.uint8), everywhere(v)) for v in layout.views),
        GRID,
        "labels",
    )
    directions = grid_directions(GRID)
    for label in (1, 5, len(layout)):
        view = layout.views[label - 1]
        _, inside = view.project(directions[fused.values == label])
        assert inside.all()
    assert set(np.unique(fused.values)) == set(range(1, len(layout) + 1))


def test_map_views_runs_the_model_on_pictures():
    """The picture's own brightness, 'predicted' per view, is the panorama again."""
    y = np.linspace(0, 255, 256)[:, None]
    image = np.broadcast_to(y[..., None], (256, 512, 3)).astype(np.uint8)
    fused = map_views(lambda picture: picture[..., 1], image)
    assert np.abs(fused.values - image[..., 0]).max() < 2.5


def test_views_without_data_leave_a_hole():
    part = Equirect(width=200, height=100, full_width=512, full_height=256, left=100, top=60)
    fused = map_views(lambda picture: picture[..., 0], np.full((100, 200, 3), 9, np.uint8), grid=part)
    assert fused.valid.all()
    assert fused.values.shape == (100, 200)
    one = View(0, 0.0, 0.0, 64, 64.0)
    alone = fuse([(one, np.ones((64, 64)), everywhere(one))], GRID)
    assert 0 < alone.valid.mean() < 0.1
    assert (alone.values[~alone.valid] == 0).all()
    assert np.allclose(alone.values[alone.valid], 1)


def test_import_views_reads_what_describe_views_wrote():
    layout = views(512, "cube", view_size=64)
    document = json.loads(
        json.dumps(describe_views(layout, GRID, [f"{v.index}.npy" for v in layout.views], "variant"))
    )
    files = {f"{v.index}.npy": -(view_rays(v) @ v.frame.T) * [1, -1, 1] for v in layout.views}
    fused = import_views(document, files.__getitem__)
    assert np.abs(fused.values + grid_directions(GRID)).max() < 5e-3
    del document["views"][2]["focal"]
    with pytest.raises(InputError, match="focal"):
        import_views(document, files.__getitem__)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.ones((10, 10)), "invariant"),
        (np.ones((64, 64)), "variant"),
        (np.ones((64, 64)), "labels"),
        (np.ones((64, 64, 2)), "depth"),
        (np.ones((64, 64)), "colour"),
    ],
)
def test_outputs_that_do_not_fit_are_errors(values, kind):
    view = View(0, 0.0, 0.0, 64, 64.0)
    with pytest.raises(InputError):
        fuse([(view, values, everywhere(view))], GRID, kind)


# Scan order and click fusion


def test_sap_walk_is_a_closed_loop_of_single_steps():
    layout = views(4096, "sap", view_size=64)
    assert len(layout) == 24
    for view, after in zip(layout.views, layout.views[1:] + layout.views[:1], strict=True):
        yaw = abs((after.lon - view.lon + 180) % 360 - 180)
        pitch = abs(after.lat - view.lat)
        assert sorted((yaw, pitch)) == [0, 45]


def test_sap_views_see_each_direction_three_to_five_times():
    layout = views(4096, "sap", view_size=1024)
    assert layout.views[0].focal == pytest.approx(511.5)
    directions = np.random.default_rng(0).normal(size=(20_000, 3))
    seen = np.sum([view.project(directions)[1] for view in layout.views], axis=0)
    # SAP's 90° run between the outer pixels' centres; with those pixels' outer halves a few rays more are
    # seen.
    assert seen.min() == 3
    assert (seen > 5).mean() < 1e-3
    assert seen.mean() == pytest.approx(4.0, abs=0.05)


def test_a_walk_starts_where_the_click_is_most_central():
    layout = views(4096, "sap", view_size=512)
    target = layout.views[10]
    away = layout.views[22]
    clicks = [
        Click(target.lon + 1, target.lat),
        Click(target.lon, target.lat + 2, positive=False),
        Click(away.lon, away.lat),
    ]
    scan = plan_scan(layout, clicks)
    assert scan.order[0] == 10
    assert sorted(scan.order) == list(range(24))
    assert scan.order[1] == 11
    assert scan.prompts[0].positive.tolist() == [True, False]
    x, y = scan.prompts[0].points[0]
    assert x > 256
    assert y == pytest.approx(256, abs=1)
    assert scan.prompts[0].points[1][1] < 256, "a click above the centre has a smaller y"
    assert 12 in scan.prompts
    for position, view in enumerate(layout.views[k] for k in scan.order):
        _, inside = view.project(direction([c.lon for c in clicks], [c.lat for c in clicks]))
        assert (position in scan.prompts) == (inside[0] or inside[2]), (
            "every view that sees a click on the object"
        )


def test_a_mask_must_agree_with_what_was_seen_before():
    """One view in which the memory lost the object must not paint over the panorama."""
    layout = views(512, "sap", view_size=64)
    disc = lambda index: (view_rays(layout.views[index]) @ direction(10.0, 0.0) - 0.97) * 50  # noqa: E731
    home = plan_scan(layout, [Click(10.0, 0.0)]).order[0]
    gate = Agreement()
    assert gate.takes(layout.views[home], disc(home), certain=True)
    beside = (home + 1) % 24
    assert gate.takes(layout.views[beside], disc(beside), certain=False)
    lost = (home + 2) % 24
    assert not gate.takes(layout.views[lost], np.ones((64, 64)), certain=False)
    assert gate.takes(layout.views[lost], disc(lost), certain=False)
    far = (home + 12) % 24
    assert not gate.takes(layout.views[far], np.ones((64, 64)), certain=False), (
        "nothing before it speaks for it"
    )
    assert gate.takes(layout.views[far], -np.ones((64, 64)), certain=False)


def test_clicks_that_cannot_be_used_are_errors():
    layout = views(4096, "sap", view_size=64)
    with pytest.raises(InputError, match="on the object"):
        plan_scan(layout, [Click(0, 0, positive=False)])
    with pytest.raises(InputError, match="latitude"):
        plan_scan(layout, [Click(0, 100)])


@pytest.mark.parametrize(("lon", "lat"), [(180.0, 0.0), (20.0, 89.0), (60.0, -20.0)])
def test_a_disc_seen_by_views_is_that_disc_on_the_panorama(lon, lat):
    """Over the seam and over a pole: logits of a spherical cap, fused by their maximum."""
    layout = views(512, "sap", view_size=128)
    centre, radius = direction(lon, lat), np.cos(np.radians(20))
    fused = fuse_logits(layout, GRID, lambda i: (view_rays(layout.views[i]) @ centre - radius) * 50)
    truth = grid_directions(GRID) @ centre > radius
    weight = GRID.row_solid_angles()[:, None]
    disagreement = (weight * ((fused > 0) != truth)).sum() / (weight * truth).sum()
    assert disagreement < 0.02
    partly = fuse_logits(layout, GRID, lambda i: None if i else np.ones((128, 128)))
    assert (partly == UNSEEN).mean() > 0.7
