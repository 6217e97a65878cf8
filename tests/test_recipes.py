"""The recipes of CONTRIBUTING.md, each followed once with a toy that is registered from outside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import remotesam
from remotesam.attributes import ATTRIBUTES, Attribute, Merging, Shown, UnitSegments
from remotesam.choices import STRATEGIES, MergeStrategy
from remotesam.config import schema
from remotesam.errors import ConfigError
from remotesam.evaluation.label_sources import ArrayLabels
from remotesam.evaluation.metric_table import OBJECT_METRICS, Metric, mean
from remotesam.evaluation.report import score_rows
from remotesam.evaluation.scoring import score
from remotesam.merge.joins import Joins, Pair, join_min_contact
from remotesam.raster.reader import open_raster
from remotesam.segmenter.checkpoints import CHECKPOINTS, MODELS_VARIABLE, Checkpoint, list_models
from remotesam.segmenter.families import FAMILIES, Family, LoadRequest
from remotesam.segmenter.loading import check, load_video
from remotesam.segmenter.prompts import load_prompts
from tests.fakes import ColourSegmenter
from tests.oracle import EXACT, cells, polygons, segment

TILES = {"tile_size": 64, "padding": 10}


@pytest.fixture
def registered() -> Iterator[Any]:
    """Registers an entry in a table until the test ends."""
    done = []

    def register(table: dict[str, Any], entry: Any) -> None:
        table[entry.name] = entry
        done.append((table, entry.name))

    yield register
    for table, name in done:
        del table[name]


def join_long_borders(pair: Pair) -> Joins:
    """What shares at least 12 pixels of border is joined."""
    return join_min_contact(Pair(contacts=pair.contacts, min_contact=12))


def test_a_merge_strategy(registered, make_raster, tmp_path):
    registered(
        STRATEGIES,
        MergeStrategy(
            name="long-borders",
            help="joins what shares a long border",
            function="tests.test_recipes:join_long_borders",
            evidence=frozenset({"contacts"}),
        ),
    )
    offered = schema()["properties"]["merge"]
    assert "long-borders" in offered["enum"]
    assert "joins what shares a long border" in offered["description"]
    scene = make_raster(cells(21, 130, 150, 20), "scene.tif")
    toy = segment(scene, tmp_path / "toy.gpkg", merge="long-borders", **TILES)
    same = segment(scene, tmp_path / "same.gpkg", merge="min-contact", min_contact=12, **TILES)
    assert 0 < toy.stats.joins == same.stats.joins
    assert polygons(toy, scene, merge="long-borders", **TILES) == polygons(
        same, scene, merge="min-contact", min_contact=12, **TILES
    )


def mean_brightness(unit: UnitSegments) -> np.ndarray:
    """Mean of the picture's channels over what a unit sees of each segment."""
    grey = unit.image.mean(axis=2)
    counts = np.bincount(unit.labels.ravel(), minlength=len(unit.area) + 1)[1:]
    return np.bincount(unit.labels.ravel(), grey.ravel(), len(unit.area) + 1)[1:] / counts


def test_an_attribute(registered, make_raster, tmp_path):
    registered(
        ATTRIBUTES,
        Attribute(
            name="brightness",
            type=pa.float32(),
            help="mean of the channels, 0..255",
            of_unit=mean_brightness,
            merging=Merging.MEAN,
            shown=Shown.POLYGONS,
        ),
    )
    image = cells(22, 130, 150, 20)
    scene = make_raster(image, "scene.tif")
    frame = segment(scene, tmp_path / "o.gpkg", **TILES).polygons()
    assert (frame["tiles"] > 1).any()
    with open_raster(scene) as raster:
        a, _, c, _, e, f = raster.spec.transform
    inside = frame.representative_point()
    cols, rows = ((inside.x - c) / a).astype(int), ((inside.y - f) / e).astype(int)
    expected = image[:, rows, cols].mean(axis=0)  # a region has one colour
    assert np.allclose(frame["brightness"], expected, atol=1e-3)
    assert len(np.unique(frame["brightness"])) > 5


def load_colours(request: LoadRequest) -> ColourSegmenter:
    """Reads the toy's file, and segments by colour."""
    assert request.path.read_bytes() == b"colours"
    return ColourSegmenter()


def test_a_model_family(registered, make_raster, tmp_path, monkeypatch):
    registered(
        FAMILIES,
        Family(
            name="colours",
            help="regions of one colour",
            function="tests.test_recipes:load_colours",
            prompts=False,
            video=False,
        ),
    )
    registered(CHECKPOINTS, Checkpoint("toy", "toy.bin", family="colours"))
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path))
    (tmp_path / "toy.bin").write_bytes(b"colours")
    assert [model.family for model in list_models() if model.name == "toy" and model.present] == ["colours"]
    scene = make_raster(cells(23, 130, 150, 20), "scene.tif")
    toy = remotesam.segment(scene, tmp_path / "toy.gpkg", model="toy", **EXACT, **TILES)
    usual = segment(scene, tmp_path / "usual.gpkg", **TILES)
    assert polygons(toy, scene, **TILES) == polygons(usual, scene, **TILES)
    with pytest.raises(ConfigError, match="answer no clicks; choose one of nano"):
        load_video("toy")
    checked = check("toy")
    assert (checked.architecture, checked.parameters) == ("colours", None)


def test_a_family_without_video_memory_answers_clicks_but_follows_nothing(registered):
    registered(
        FAMILIES,
        Family(
            name="still",
            help="masks from points",
            function="remotesam.segmenter.loading:load_sam2",
            prompts=True,
            video=False,
        ),
    )
    registered(CHECKPOINTS, Checkpoint("still-nano", "nano.pt", architecture="nano", family="still"))
    assert FAMILIES["still"].abilities == ["masks from points", "clicks"]
    assert load_prompts("still-nano", device="cpu").image_size == 512
    with pytest.raises(ConfigError, match="follow no object"):
        load_video("still-nano", device="cpu")


def test_a_metric(registered):
    registered(
        OBJECT_METRICS,
        Metric(
            name="missed",
            title="missed",
            help="share of objects that no segment touches",
            measure=lambda judged: mean(judged.used == 0),
            better="lower",
        ),
    )
    truth = np.zeros((20, 40), np.uint32)
    truth[2:8, 2:8], truth[2:8, 20:30], truth[12:18, 2:8] = 1, 2, 3
    found = np.where(truth == 3, 0, truth)
    scores = score("toy", ArrayLabels("found", found), ArrayLabels("true", truth), 20, 40)
    assert scores.all["missed"] == pytest.approx(1 / 3)
    titles, row = score_rows([scores])
    assert row[titles.index("missed %")] == "33.3"
