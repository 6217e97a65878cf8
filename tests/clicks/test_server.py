"""Clicks to polygons: geometry against a model whose answers are known, then the real process."""

import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import rasterio
import shapely
import torch
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import Affine
from scipy import ndimage

from remotesam.clicks.server import serve
from remotesam.clicks.service import ClickService, clean_mask, mask_polygon
from remotesam.errors import InputError
from remotesam.events import EventWriter
from remotesam.raster.reader import open_raster
from remotesam.segmenter.architectures import build
from remotesam.segmenter.prompts import Prediction, PromptSegmenter

ROTATED = Affine(0.8, 0.6, 1000.0, 0.6, -0.8, 2000.0)
TRANSFORMS = {"north up": Affine(0.5, 0, 1000.0, 0, -0.5, 2000.0), "rotated": ROTATED}


@dataclass
class FloodModel:
    """The object at a click is everything of the same colour that is connected with it."""

    image_size: int = 64

    def encode(self, image):
        return image

    def decode(self, encoded, points, labels, box=None):
        place = points[labels][0] if len(points) else [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]
        row, col = (min(int(place[1]), encoded.shape[0] - 1), min(int(place[0]), encoded.shape[1] - 1))
        regions, _ = ndimage.label((encoded == encoded[row, col]).all(axis=2))
        return [Prediction(regions == regions[row, col], 0.9, np.zeros((16, 16), np.float32))]


@pytest.fixture
def scene(tmp_path):
    """Write 300 x 400 px of background with rectangles (row, col, height, width); returns a function."""

    def write(rectangles, transform=TRANSFORMS["north up"], crs="EPSG:32633"):
        image = np.full((3, 300, 400), 40, np.uint8)
        for number, (row, col, height, width) in enumerate(rectangles):
            image[:, row : row + height, col : col + width] = 90 + 30 * number
        path = tmp_path / "scene.tif"
        profile = {"driver": "GTiff", "height": 300, "width": 400, "count": 3, "dtype": "uint8"}
        with rasterio.open(path, "w", **profile, transform=transform, crs=crs) as out:
            out.write(image)
        return path

    return write


def rectangle_in_crs(rectangle, transform):
    row, col, height, width = rectangle
    ring = [(col, row), (col + width, row), (col + width, row + height), (col, row + height)]
    return shapely.Polygon([tuple(_at(transform, *place)) for place in ring])


def _at(transform, x, y):
    return (
        transform.a * x + transform.b * y + transform.c,
        transform.d * x + transform.e * y + transform.f,
    )


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("place", ["middle", "corner of the raster"])
def test_the_polygon_is_the_object_in_the_crs_of_the_raster(scene, name, place):
    rectangle = (120, 200, 20, 30) if place == "middle" else (290, 385, 10, 15)
    transform = TRANSFORMS[name]
    service = ClickService(open_raster(scene([rectangle], transform)), FloodModel())
    row, col, height, width = rectangle
    click = _at(transform, col + width / 2, row + height / 2)
    (found,) = service.predict([click], [1], None)
    assert shapely.from_wkb(found["wkb"]).equals(rectangle_in_crs(rectangle, transform))
    assert found["area_px"] == height * width
    assert service.encodes == 1


def test_an_object_larger_than_the_chip_is_seen_whole(scene):
    rectangle = (40, 60, 150, 170)  # the model's input is 64 px
    service = ClickService(open_raster(scene([rectangle])), FloodModel())
    (found,) = service.predict([_at(TRANSFORMS["north up"], 145, 115)], [1], None)
    assert found["area_px"] == 150 * 170
    assert service.encodes == 3, "64, 128 and 256 px"


def test_clicks_near_each_other_share_one_encoding(scene):
    service = ClickService(open_raster(scene([(100, 100, 10, 10), (100, 115, 10, 10)])), FloodModel())
    for col in (105, 107, 120):
        service.predict([_at(TRANSFORMS["north up"], col, 105)], [1], None)
    assert service.encodes == 1
    service.reset()
    service.predict([_at(TRANSFORMS["north up"], 105, 105)], [1], None)
    assert service.encodes == 2


def test_a_box_wider_than_the_chip_is_covered(scene):
    rectangle = (100, 100, 80, 120)
    service = ClickService(open_raster(scene([rectangle])), FloodModel())
    west, south = _at(TRANSFORMS["north up"], 90, 190)
    east, north = _at(TRANSFORMS["north up"], 230, 90)
    (found,) = service.predict([], [], [west, south, east, north])
    assert found["area_px"] == 80 * 120


@pytest.mark.parametrize(
    ("points", "labels", "box", "message"),
    [
        ([[0.0, 0.0]], [1], None, "outside the raster"),
        ([], [], [0, 0, 1, 1], "outside the raster"),
        ([[1010.0, 1990.0]], [0], None, "names the object"),
        ([[1010.0, 1990.0]], [1, 1], None, "one label per point"),
    ],
)
def test_prompts_that_mean_nothing_are_refused(scene, points, labels, box, message):
    service = ClickService(open_raster(scene([])), FloodModel())
    with pytest.raises(InputError, match=message):
        service.predict(points, labels, box)


@given(st.integers(0, 2**32 - 1))
def test_cleaning_keeps_only_clicked_parts_and_no_small_hole(seed):
    rng = np.random.default_rng(seed)
    mask = ndimage.gaussian_filter(rng.standard_normal((40, 50)), 2) > 0
    click = np.array([[rng.uniform(0, 50), rng.uniform(0, 40)]])
    clean = clean_mask(mask, click)
    regions, count = ndimage.label(mask)
    at_click = regions[int(click[0, 1]), int(click[0, 0])]
    if count == 0:
        assert not clean.any()
        return
    sizes = np.bincount(regions.ravel())[1:]
    wanted = at_click or int(sizes.argmax()) + 1
    added = clean & (regions != wanted)
    assert (clean | (regions != wanted)).all(), "the wanted part is there"
    holes, number = ndimage.label(added)
    assert all((holes == i).sum() < 0.01 * sizes[wanted - 1] for i in range(1, number + 1))


@given(st.integers(0, 2**32 - 1))
def test_an_exact_outline_covers_exactly_the_mask(seed):
    rng = np.random.default_rng(seed)
    mask = ndimage.gaussian_filter(rng.standard_normal((30, 30)), 1.5) > 0
    if mask.any():
        polygon = mask_polygon(mask, 0)
        assert polygon.is_valid
        assert polygon.area == mask.sum()
        assert mask_polygon(mask, 0.75).is_valid


def converse(lines, load=lambda name, device: FloodModel()):
    stream = io.BytesIO()
    serve(
        (json.dumps(line).encode() if isinstance(line, dict) else line for line in lines),
        EventWriter(stream),
        load,
    )
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_wrong_requests_are_answered_and_the_process_goes_on(scene):
    raster = str(scene([(100, 100, 10, 10)]))
    replies = converse(
        [
            {"id": 1, "cmd": "predict", "points": [[1, 1]], "labels": [1]},
            b"not json",
            b"[]",
            {"id": 2, "cmd": "dance"},
            {"id": 3, "cmd": "open"},
            {"id": 4, "cmd": "open", "raster": "/nowhere/x.tif"},
            {"id": 5, "cmd": "open", "raster": raster},
            {"id": 6, "cmd": "predict", "points": [[1052.5, 1947.5]], "labels": [2]},
            {"id": 7, "cmd": "predict", "points": [[1052.5, 1947.5]], "labels": [1]},
            {"id": 8, "cmd": "quit"},
            {"id": 9, "cmd": "reset"},
        ]
    )
    failed, fine = [1, None, None, 2, 3, 4, 6], [5, 7]
    assert [reply.get("id") for reply in replies if not reply["ok"]] == failed
    assert [reply["id"] for reply in replies if reply["ok"]] == fine
    assert "send open first" in replies[0]["message"]
    assert "dance" in replies[3]["message"]
    assert "/nowhere/x.tif" in replies[5]["message"]
    assert replies[6]["crs"] == "EPSG:32633"
    assert len(replies[8]["candidates"]) == 1


def test_a_model_is_loaded_once_and_again_only_for_another(scene):
    raster, loads = str(scene([])), []

    def load(*wanted):
        loads.append(wanted)
        return FloodModel()

    names = ["nano", "nano", "tiny", "nano"]
    converse(
        [{"id": i, "cmd": "open", "raster": raster, "model": name} for i, name in enumerate(names)], load
    )
    assert loads == [("nano", "auto"), ("tiny", "auto"), ("nano", "auto")]


@pytest.fixture(scope="module")
def random_nano(tmp_path_factory):
    """An untrained nano in the official checkpoint format: right shapes, meaningless masks."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "random.pt"
    torch.save({"model": build("nano").state_dict()}, path)
    return path


def test_decoding_agrees_with_the_heads_of_sam2(random_nano):
    """SAM2Base's own path from features to masks, without our prompts module."""
    model = build("nano", video=True).eval()
    model.load_state_dict(torch.load(random_nano, weights_only=True)["model"])
    ours = PromptSegmenter("random", model)
    image = np.random.default_rng(1).integers(0, 255, (512, 512, 3), dtype=np.uint8)
    encoded = ours.encode(image)
    points, labels = np.array([[100.5, 200.5], [300.5, 50.5]]), np.array([True, False])
    (answer,) = ours.decode(encoded, points, labels)
    with torch.inference_mode():
        low, _, scores, *_ = model._forward_sam_heads(
            backbone_features=encoded.embedding,
            point_inputs={
                "point_coords": torch.tensor(points - 0.5, dtype=torch.float32)[None],
                "point_labels": torch.tensor(labels, dtype=torch.int32)[None],
            },
            high_res_features=encoded.high_resolution,
            multimask_output=False,
        )
    assert answer.score == pytest.approx(float(scores[0, 0]), abs=1e-5)
    expected = low[0, 0].clamp(-32, 32).numpy()
    if expected.max() > -32:  # sam2 blanks its mask when it takes the object for absent
        np.testing.assert_allclose(answer.logits, expected, atol=1e-4)
    assert answer.mask.shape == (512, 512)


def test_one_click_is_ambiguous_and_more_are_not(random_nano):
    model = build("nano", video=True).eval()
    ours = PromptSegmenter("random", model)
    encoded = ours.encode(np.zeros((100, 140, 3), np.uint8))
    click, more = np.array([[70.0, 50.0]]), np.array([[70.0, 50.0], [5.0, 5.0]])
    three = ours.decode(encoded, click, np.array([True]))
    assert len(three) == 3
    assert [answer.score for answer in three] == sorted((answer.score for answer in three), reverse=True)
    assert len(ours.decode(encoded, more, np.array([True, False]))) == 1
    assert len(ours.decode(encoded, np.empty((0, 2)), np.empty(0, bool), box=(10, 10, 90, 90))) == 1
    refined = ours.decode(encoded, click, np.array([True]), previous=three[0].logits)
    assert len(refined) == 1
    assert refined[0].mask.shape == (100, 140)
    with pytest.raises(ValueError, match="no prompt"):
        ours.decode(encoded, np.empty((0, 2)), np.empty(0, bool))


def test_the_real_process_answers_clicks_and_ends_with_its_input(scene, random_nano):
    raster = scene([(100, 100, 60, 60)])
    requests = [
        {"id": 1, "cmd": "open", "raster": str(raster), "model": str(random_nano), "device": "cpu"},
        {"id": 2, "cmd": "predict", "points": [[1065.0, 1935.0]], "labels": [1]},
        {"id": 3, "cmd": "predict", "points": [[1065.0, 1935.0], [1010.0, 1990.0]], "labels": [1, 0]},
    ]
    done = subprocess.run(
        [sys.executable, "-m", "remotesam", "serve"],
        input="".join(json.dumps(request) + "\n" for request in requests).encode(),
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    start, opened, first, second = map(json.loads, done.stdout.splitlines())
    assert (start["event"], start["protocol"]) == ("start", 1)
    assert opened["ok"], opened
    assert opened["width"] == 400
    assert first["encodes"] == 1
    assert second["encodes"] == 0, "the second click needs the decoder only"
    bounds = shapely.box(1000, 1850, 1200, 2000)
    for reply in (first, second):
        assert reply["ok"]
        assert all(bounds.covers(shapely.from_wkb(found["wkb"])) for found in reply["candidates"])
