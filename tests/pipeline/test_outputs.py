"""What a run writes: polygons, label raster, picture, report, and that they agree."""

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
from rasterio.features import rasterize

import remotesam
from tests.fakes import ColourSegmenter
from tests.oracle import EXACT, cells, segment


@pytest.fixture
def scene(make_raster):
    image = cells(8, 150, 180, 30)
    image[:, 40:70, 60:90] = 0
    return make_raster(image, "scene.tif", nodata=0)


@pytest.fixture
def result(scene, tmp_path):
    names = {"labels": "labels.tif", "preview": "preview.png", "report": "report.html"}
    paths = {name: tmp_path / file for name, file in names.items()}
    settings = {"tile_size": 64, "padding": 24, "band_statistics": True, "label_attributes": True}
    return remotesam.segment(
        scene, tmp_path / "out.gpkg", segmenter=ColourSegmenter(), **paths, **{**EXACT, **settings}
    )


def test_label_raster_and_polygons_say_the_same(result):
    found = result.polygons()
    with rasterio.open(result.labels) as dataset:
        labels = dataset.read(1)
        assert dataset.dtypes == ("uint32",)
        assert dataset.crs == found.crs
        drawn = rasterize(
            zip(found.geometry, found.segment_id, strict=True),
            labels.shape,
            transform=dataset.transform,
            dtype="int32",
        )
    assert (drawn == labels).all()
    assert not labels[40:70, 60:90].any()


def test_attributes_are_those_of_the_pixels(result, scene):
    found = result.polygons().set_index("segment_id")
    with rasterio.open(result.labels) as dataset, rasterio.open(scene) as image:
        labels, pixels = dataset.read(1), image.read()
    for key, row in found.iterrows():
        inside = labels == key
        assert row.area_px == inside.sum()
        assert row.area_m2 == pytest.approx(inside.sum() * 0.25, rel=1e-3)
        assert row.band2_mean == pytest.approx(pixels[1][inside].mean())
        assert row.band2_std == pytest.approx(pixels[1][inside].std(), abs=1e-6)
    assert ((found.score > 0.93) & (found.score <= 1)).all()
    assert (found["scale"] == 64).all()
    tiles = {key: len(np.unique(np.argwhere(labels == key) // 64, axis=0)) for key in found.index}
    assert all(found.tiles[key] == count for key, count in tiles.items())
    assert (found.touches_seam >= (found.tiles > 1)).all()


def test_the_file_says_how_it_was_made(result, scene):
    assert {"segments", "metadata"} <= set(pyogrio.list_layers(result.output)[:, 0])
    table = pyogrio.read_dataframe(result.output, layer="metadata")
    facts = dict(zip(table.iloc[:, 0], table.iloc[:, 1], strict=True))
    assert facts["remotesam"] == remotesam.__version__
    assert facts["raster"] == str(scene)
    assert json.loads(facts["settings"])["padding"] == 24


def test_report_and_picture(result):
    text = Path(result.report).read_text(encoding="utf-8")
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "ColourSegmenter" not in text
    assert "coverage" in text.lower()
    with rasterio.open(result.preview) as picture:
        assert picture.width > picture.height or picture.height > 150


@pytest.mark.parametrize("name", ["out.parquet", "out.fgb", "out.geojson", "out.geojsonl", "out.shp"])
def test_every_format_holds_the_same_segments(scene, tmp_path, result, name):
    other = segment(scene, tmp_path / name, tile_size=64, padding=24).polygons()
    expected = result.polygons()
    assert len(other) == len(expected)
    if name.startswith("out.geojson"):
        assert other.crs == "EPSG:4326"
    area = other.to_crs(expected.crs).area.sum()
    assert area == pytest.approx(expected.area.sum(), rel=1e-6)


@pytest.mark.parametrize("outline", ["smooth", "regular"])
def test_other_outlines_keep_the_segments_and_nearly_their_areas(scene, tmp_path, result, outline):
    found = segment(scene, tmp_path / "styled.gpkg", tile_size=64, padding=24, outline=outline).polygons()
    expected = result.polygons()
    assert found.is_valid.all()
    assert set(found.segment_id) == set(expected.segment_id)
    assert found.area.sum() == pytest.approx(expected.area.sum(), rel=0.1)
    assert not found.geometry.sort_index().geom_equals(expected.geometry.sort_index()).all()


def test_another_crs(scene, tmp_path):
    found = segment(scene, tmp_path / "out.gpkg", dst_crs="EPSG:3857").polygons()
    assert found.crs == "EPSG:3857"
    assert found.area_m2.sum() == pytest.approx((150 * 180 - 900) * 0.25, rel=1e-3)


def test_config_file_and_samgeo_names(scene, tmp_path):
    (tmp_path / "settings.yaml").write_text("tile_size: 90\npred_iou_thresh: 0.5\niou_end: 0.4\n")
    result = remotesam.segment(
        str(scene),
        str(tmp_path / "o.gpkg"),
        config=tmp_path / "settings.yaml",
        segmenter=ColourSegmenter(),
        max_passes=1,
    )
    assert result.stats.units == 4
    assert result.stats.passes[0].iou_threshold == 0.5
    assert isinstance(result.polygons(), gpd.GeoDataFrame)
