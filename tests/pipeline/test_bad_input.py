"""Every odd or broken input ends in one line that says what to do, or in a right result."""

import os
import resource

import geopandas as gpd
import numpy as np
import pytest
from affine import Affine

from remotesam.segmenter.checkpoints import CHECKPOINTS, expected_path
from tests.oracle import cells

QUICK = ["--points-per-side", "4", "--max-passes", "2", "--tile-size", "96", "--padding", "16"]
LOOSE = [*QUICK, "--iou-start", "0", "--iou-end", "0", "--stability-start", "0", "--stability-end", "0"]
"""Thresholds under which any model segments something."""


@pytest.fixture
def segment(command, tmp_path):
    def run(raster, *options, output="out.gpkg"):
        return command("segment", raster, "-o", tmp_path / output, "--progress", "none", *QUICK, *options)

    return run


def test_a_missing_file(segment, tmp_path):
    ran = segment(tmp_path / "no.tif")
    assert ran.code == 1
    assert "no.tif" in ran.error


def test_a_file_that_is_no_raster(segment, tmp_path):
    (tmp_path / "notes.tif").write_text("not a picture")
    ran = segment(tmp_path / "notes.tif")
    assert ran.code == 1
    assert "notes.tif" in ran.error


def test_a_folder(segment, tmp_path):
    ran = segment(tmp_path)
    assert ran.code == 1
    assert ran.error


def test_a_truncated_file_loses_only_the_tiles_that_cannot_be_read(segment, make_raster, tmp_path):
    path = make_raster(cells(1, 200, 200, 20), "cut.tif", tiled=True, blockxsize=64, blockysize=64)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    ran = segment(path)
    assert ran.code == 1
    assert "cut.tif" in ran.error or "tiles failed" in ran.error


@pytest.mark.parametrize("fill", ["nodata", "nan", "masked"])
def test_a_raster_without_any_data(segment, make_raster, fill):
    if fill == "nodata":
        path = make_raster(np.zeros((3, 80, 80), np.uint8), nodata=0)
    elif fill == "nan":
        path = make_raster(np.full((80, 80), np.nan, np.float32))
    else:
        path = make_raster(np.ones((3, 80, 80), np.uint8), mask=np.zeros((80, 80), bool))
    ran = segment(path)
    assert ran.code == 1
    assert "no valid pixel" in ran.error


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 2), (97, 33)])
def test_tiny_and_thin_rasters(segment, make_raster, tmp_path, shape):
    path = make_raster(cells(2, *shape, 4))
    ran = segment(path, *LOOSE, "--min-area", "0")
    assert ran.code == 0, ran.err
    found = gpd.read_file(tmp_path / "out.gpkg", layer="segments")
    assert found.is_valid.all()
    assert found.crs == "EPSG:32633"


@pytest.mark.parametrize(
    "transform",
    [
        Affine(0.5, 0, 400_000, 0, 0.5, 5_000_000),
        Affine.translation(400_000, 5_000_000) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5),
    ],
    ids=["south-up", "rotated"],
)
def test_polygons_land_where_the_geotransform_says(segment, make_raster, tmp_path, transform):
    path = make_raster(cells(3, 120, 100, 12), transform=transform)
    assert segment(path, *LOOSE).code == 0
    found = gpd.read_file(tmp_path / "out.gpkg", layer="segments")
    corners = [transform @ (x, y) for x in (0, 100) for y in (0, 120)]
    west, north = np.min(corners, axis=0)
    east, south = np.max(corners, axis=0)
    assert found.total_bounds == pytest.approx([west, north, east, south], abs=30)
    assert len(found)
    assert found.area.sum() <= 120 * 100 * 0.25 * 1.0001
    assert found.area_m2.to_numpy() == pytest.approx(found.area.to_numpy(), rel=0.01)


def test_no_crs_gives_pixel_coordinates(segment, make_raster, tmp_path):
    path = make_raster(cells(3, 120, 100, 12), "photo.png", crs=None, transform=None, driver="PNG")
    assert segment(path, *LOOSE).code == 0
    found = gpd.read_file(tmp_path / "out.gpkg", layer="segments")
    assert found.crs is None or found.crs.is_engineering or "Undefined" in found.crs.name
    assert found.area.sum() == pytest.approx(found.area_px.sum(), rel=0.02)


def test_a_geographic_crs_gives_square_metres(segment, make_raster, tmp_path):
    path = make_raster(cells(3, 120, 100, 12), crs="EPSG:4326", transform=Affine(1e-5, 0, 25, 0, -1e-5, 60))
    assert segment(path, *LOOSE).code == 0
    found = gpd.read_file(tmp_path / "out.gpkg", layer="segments")
    metres = found.to_crs("EPSG:32635").area
    assert found.area_m2.to_numpy() == pytest.approx(metres.to_numpy(), rel=0.01)


@pytest.mark.parametrize(
    ("bands", "dtype"), [(1, "uint8"), (2, "uint8"), (3, "uint16"), (4, "float32"), (12, "int16")]
)
def test_bands_and_types(segment, make_raster, tmp_path, bands, dtype):
    image = np.resize(cells(4, 110, 110, 12), (bands, 110, 110)).astype(dtype) * (
        3 if dtype != "uint8" else 1
    )
    assert segment(make_raster(image), *LOOSE).code == 0
    assert len(gpd.read_file(tmp_path / "out.gpkg", layer="segments"))


def test_a_palette(segment, make_raster, tmp_path):
    index = cells(4, 110, 110, 12)[0] % 6
    colormap = {k: (40 * k, 255 - 40 * k, 90, 255) for k in range(6)}
    assert segment(make_raster(index.astype(np.uint8), colormap=colormap), *LOOSE).code == 0


def test_a_band_that_is_not_there(segment, make_raster):
    ran = segment(make_raster(cells(1, 50, 50, 4)), "--bands", "4,2,1")
    assert ran.code == 2
    assert "band" in ran.error


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--iou-start", "2", "iou_start"),
        ("--tile-size", "0", "tile_size"),
        ("--stretch", "loud", "stretch"),
        ("--merge", "glue", "merge"),
        ("--no-such-option", "1", "no-such-option"),
    ],
)
def test_impossible_options(segment, make_raster, option, value, expected):
    ran = segment(make_raster(cells(1, 50, 50, 4)), option, value)
    assert ran.code == 2
    assert expected in ran.error


def test_an_unknown_setting_in_a_file_suggests_the_nearest(segment, make_raster, tmp_path):
    (tmp_path / "settings.yaml").write_text("tile_sise: 500\n")
    ran = segment(make_raster(cells(1, 50, 50, 4)), "--config", tmp_path / "settings.yaml")
    assert ran.code == 2
    assert "did you mean 'tile_size'" in ran.error


@pytest.mark.parametrize("name", ["out.xyz", "missing/out.gpkg", "out"])
def test_an_output_that_cannot_be(segment, make_raster, name):
    ran = segment(make_raster(cells(1, 50, 50, 4)), output=name)
    assert ran.code == 1
    assert "out" in ran.error


def test_an_unknown_model(segment, make_raster):
    ran = segment(make_raster(cells(1, 50, 50, 4)), "--model", "sam9-giant")
    assert ran.code == 1
    assert "sam9-giant" in ran.error


def test_a_corrupt_checkpoint(segment, make_raster, tmp_path):
    (tmp_path / "broken.pt").write_bytes(os.urandom(4000))
    ran = segment(make_raster(cells(1, 50, 50, 4)), "--model", tmp_path / "broken.pt")
    assert ran.code == 1
    assert "broken.pt" in ran.error


def test_a_checkpoint_of_the_wrong_size(segment, make_raster, tmp_path, monkeypatch):
    monkeypatch.setenv("REMOTESAM_MODELS", str(tmp_path))
    wrong = expected_path(CHECKPOINTS["sam2.1-tiny"])
    wrong.write_bytes(b"half a download")
    ran = segment(make_raster(cells(1, 50, 50, 4)), "--model", "sam2.1-tiny")
    assert ran.code == 1
    assert wrong.name in ran.error


def test_a_device_that_is_not_there(segment, make_raster):
    ran = segment(make_raster(cells(1, 50, 50, 4)), "--device", "cuda:7")
    assert ran.code == 1
    assert "cuda" in ran.error


def test_a_full_disk_keeps_the_finished_tiles(segment, make_raster, tmp_path):
    path = make_raster(cells(1, 300, 300, 30))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (900, before[1]))
    try:
        ran = segment(path, *LOOSE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert ran.code == 1
    assert ran.error
    assert segment(path, *LOOSE).code == 0
    assert len(gpd.read_file(tmp_path / "out.gpkg", layer="segments"))


def test_an_earlier_output_survives_a_failed_run(segment, make_raster, tmp_path):
    path = make_raster(cells(1, 100, 100, 9))
    assert segment(path, *LOOSE).code == 0
    before = (tmp_path / "out.gpkg").read_bytes()
    ran = segment(path, *LOOSE, "--padding", "8")
    assert ran.code == 1
    assert "padding" in ran.error
    assert (tmp_path / "out.gpkg").read_bytes() == before


def test_a_zero_band_file(segment, tmp_path):
    path = tmp_path / "none.vrt"
    path.write_text('<VRTDataset rasterXSize="10" rasterYSize="10"></VRTDataset>')
    ran = segment(path)
    assert ran.code == 1
    assert "none.vrt" in ran.error
