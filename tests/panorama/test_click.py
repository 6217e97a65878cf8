"""Clicks on panoramas with SAM 2's own video predictor: the bundled nano, and a tiny in the official
format."""

import cv2
import numpy as np
import pytest
import torch

from remotesam.errors import Cancelled, InputError
from remotesam.panorama.click import parse_click, segment_clicked
from remotesam.panorama.segment import PanoramaOutputs
from remotesam.segmenter.architectures import build
from remotesam.segmenter.loading import load_video
from remotesam.segmenter.tracking import track
from remotesam.sphere import Equirect, Sampler, views
from remotesam.sphere.equirect import direction
from remotesam.sphere.scan import Click, plan_scan
from tests.sphere_fakes import grid_directions

WIDTH = 1024
GRID = Equirect.whole(WIDTH)
SMALL = {"view_size": 256}


@pytest.fixture(scope="module")
def ball(tmp_path_factory):
    """A red ball across the seam of a green, grainy panorama: its path and its pixels."""
    rng = np.random.default_rng(0)
    inside = grid_directions(GRID) @ direction(178, 5) > np.cos(np.radians(14))
    colours = np.where(inside[..., None], [210, 60, 50], [90, 120, 80])
    image = (colours + rng.normal(0, 6, (GRID.height, WIDTH, 1))).clip(0, 255).astype(np.uint8)
    path = tmp_path_factory.mktemp("ball") / "ball.png"
    cv2.imwrite(str(path), image[..., ::-1])
    return str(path), inside


def iou(found, truth):
    weight = np.broadcast_to(GRID.row_solid_angles()[:, None], truth.shape)
    return weight[found & truth].sum() / weight[found | truth].sum()


def test_a_click_on_an_object_across_the_seam(ball, tmp_path):
    path, truth = ball
    outputs = PanoramaOutputs(
        polygons=str(tmp_path / "out.geojson"),
        preview=str(tmp_path / "preview.png"),
        page=str(tmp_path / "page.html"),
    )
    result = segment_clicked(path, outputs, [(178.0, 5.0, True)], config=SMALL)
    assert len(result.objects) == 1
    assert result.objects.columns["crosses_seam"].tolist() == [True]
    outline = result.objects.in_degrees()[0]
    assert outline.geom_type == "MultiPolygon"
    assert outline.bounds[0] == -180
    assert outline.bounds[2] == 180
    assert outline.is_valid
    assert iou(result.labels > 0, truth) > 0.6
    assert result.stats.units == 24


def test_views_alone_and_clicks_in_pixels(ball, tmp_path):
    path, truth = ball
    x, y = GRID.point(-178.0, 5.0)
    listened = []
    result = segment_clicked(
        path,
        PanoramaOutputs(polygons=str(tmp_path / "out.gpkg")),
        pixel_clicks=[(float(x), float(y), True), (WIDTH / 2, 100.0, False)],
        memory=False,
        config=SMALL,
        listener=lambda event, **fields: listened.append(event),
    )
    assert 3 <= result.stats.units <= 6
    assert iou(result.labels > 0, truth) > 0.6
    assert listened.count("step") == result.stats.units
    assert listened[-1] == "done"


def test_heading_counts_for_clicks(ball, tmp_path):
    path, _ = ball
    config = {**SMALL, "heading": 90.0}
    result = segment_clicked(
        path,
        PanoramaOutputs(polygons=str(tmp_path / "o.geojson")),
        [(-92.0, 5.0, True)],
        memory=False,
        config=config,
    )
    assert result.objects.columns["lon"][0] == pytest.approx(-92, abs=3)
    assert not result.objects.columns["crosses_seam"][0]


@pytest.mark.slow
def test_the_official_format_of_tiny_runs_along_the_views(ball, tmp_path):
    """Random weights give noise for masks, but frames of 1024 px, memory and file format are the real
    ones."""
    torch.manual_seed(0)
    checkpoint = tmp_path / "tiny.pt"
    torch.save({"model": build("sam2.1-tiny", video=True).state_dict()}, checkpoint)
    layout = views(WIDTH, "sap", view_size=256)
    sampler = Sampler(cv2.imread(ball[0])[..., ::-1].copy(), GRID)
    scan = plan_scan(layout, [Click(178.0, 5.0)])
    count = 6
    prompts = {k: (p.points, p.positive) for k, p in scan.prompts.items() if k < count}
    followed = dict(
        track(
            load_video(str(checkpoint), device="cpu"),
            lambda k: sampler.sample(layout.views[scan.order[k]])[0],
            count,
            (256, 256),
            prompts,
        )
    )
    assert sorted(followed) == list(range(count))
    assert len(prompts) < count, "one view at least is reached by memory alone"
    assert all(logits.shape == (256, 256) and np.isfinite(logits).all() for logits in followed.values())


def test_a_click_can_be_cancelled(ball, tmp_path):
    class Now:
        def is_set(self):
            return True

    with pytest.raises(Cancelled):
        segment_clicked(
            ball[0],
            PanoramaOutputs(polygons=str(tmp_path / "o.gpkg")),
            [(178.0, 5.0, True)],
            memory=False,
            config=SMALL,
            cancel=Now(),
        )
    assert not (tmp_path / "o.gpkg").exists()


def test_clicks_are_read_strictly(ball, tmp_path):
    assert parse_click("12.5,-3") == (12.5, -3.0, True)
    assert parse_click(" 12 , 3.25 , - ") == (12.0, 3.25, False)
    assert parse_click(".5,+4,+") == (0.5, 4.0, True)
    for wrong in ("12", "a,b", "1,2,3", "1,2,+,-", "1;2", "nan,2"):
        with pytest.raises(InputError, match="two numbers"):
            parse_click(wrong)
    with pytest.raises(InputError, match="outside the picture"):
        segment_clicked(
            ball[0],
            PanoramaOutputs(polygons=str(tmp_path / "o.gpkg")),
            pixel_clicks=[(5000.0, 3.0, True)],
            config=SMALL,
        )
    with pytest.raises(InputError, match="on the object"):
        segment_clicked(
            ball[0], PanoramaOutputs(polygons=str(tmp_path / "o.gpkg")), [(1.0, 3.0, False)], config=SMALL
        )
