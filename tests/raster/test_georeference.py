"""Where pixels lie: geotransforms, control points, overview levels, areas of interest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import Transformer
from rasterio.control import GroundControlPoint
from rasterio.features import geometry_mask
from rasterio.rpc import RPC

from remotesam.errors import ConfigError, InputError
from remotesam.raster.checks import valid_share, warnings
from remotesam.raster.pixels import shrink
from remotesam.raster.protocol import Raster
from remotesam.raster.reader import open_raster
from remotesam.windows import Window
from tests.conftest import NORTH_UP, UTM
from tests.raster.test_reader import assert_windows_agree, rgb, whole

Make = Callable[..., Path]
Shared = Callable[[str], Path]

FIJI = Affine(100, 0, 3_336_000, 0, -100, -2_000_000)
"""Across the antimeridian in EPSG:3832, whose central meridian is 150° E."""


def place(raster: Raster, x: float, y: float) -> tuple[float, float]:
    """Coordinates of a pixel position of the raster's grid."""
    return Affine(*raster.spec.transform) @ (x, y)


@pytest.mark.parametrize(
    "transform",
    [
        NORTH_UP,
        Affine(0.5, 0, 400_000, 0, 0.5, 5_000_000),
        Affine.translation(400_000, 5_000_000) @ Affine.rotation(33) @ Affine.scale(0.5, -0.5),
        Affine(0.5, 0.1, 400_000, 0.05, -0.4, 5_000_000),
    ],
    ids=["north-up", "south-up", "rotated", "sheared"],
)
def test_geotransforms_pass_through_unchanged(make_raster: Make, transform: Affine) -> None:
    values = rgb()
    raster = open_raster(make_raster(values, transform=transform))
    assert raster.spec.transform == pytest.approx(tuple(transform)[:6], rel=1e-12)
    assert raster.spec.crs == UTM
    assert np.array_equal(whole(raster)[0], np.moveaxis(values, 0, -1))
    corner = place(raster, 10, 20)
    west, south, east, north = shapely.MultiPoint([corner, place(raster, 30, 40)]).bounds
    part = open_raster(raster.spec.path, aoi=(west, south, east, north))
    x, y = ~transform @ place(part, 0, 0)
    assert (x, y) == pytest.approx((round(x), round(y)), abs=1e-6)
    window = Window(round(y), round(x), part.spec.height, part.spec.width)
    chip = part.read(part.spec.window)
    shown = np.moveaxis(values, 0, -1)[window.slices]
    assert np.array_equal(chip.image[chip.valid], shown[chip.valid])
    box = shapely.box(west, south, east, north)
    rows, cols = np.indices(window.shape) + 0.5
    centres = Affine(*part.spec.transform) @ (cols.ravel(), rows.ravel())
    differs = chip.valid.ravel() != shapely.contains_xy(box, *centres)
    # A centre on the very edge may fall either way.
    assert shapely.distance(box.exterior, shapely.points(*centres))[differs].max(initial=0) < 1e-6
    assert chip.valid.sum() > 150


def test_control_points_put_pixels_in_the_right_place(make_raster: Make) -> None:
    true = Affine(0.5, 0.02, 400_000, 0.03, -0.5, 5_000_000)
    points = [
        GroundControlPoint(row, col, *(true @ (col, row))) for row in (0, 30, 60) for col in (0, 40, 80)
    ]
    raster = open_raster(make_raster(rgb(), gcps=(points, UTM)))
    assert raster.spec.georeferencing == "gcps"
    assert raster.spec.crs == UTM
    assert place(raster, 33.5, 12.25) == pytest.approx(true @ (33.5, 12.25), abs=1e-4)
    assert any("9 ground control points" in text and "0.0 px" in text for text in warnings(raster))


def test_real_control_points(shared_data: Shared) -> None:
    raster = open_raster(shared_data("multiband_and_odd/sar_gcps_no_geotransform.tif"))
    with rasterio.open(raster.spec.path) as dataset:
        points, crs = dataset.gcps
    assert rasterio.crs.CRS.from_string(raster.spec.crs) == crs
    inverse = ~Affine(*raster.spec.transform)
    for point in points:
        col, row = inverse @ (point.x, point.y)
        assert np.hypot(col - point.col, row - point.row) < 3
    assert any("210 ground control points" in text for text in warnings(raster))


def test_points_on_a_line_and_sensor_models_leave_pixels(make_raster: Make) -> None:
    points = [GroundControlPoint(0, col, 400_000 + col, 5_000_000) for col in (0, 40, 80)]
    raster = open_raster(make_raster(rgb(), gcps=(points, UTM)))
    assert (raster.spec.georeferencing, raster.spec.crs) == ("none", None)
    assert raster.spec.transform == (1, 0, 0, 0, 1, 0)
    ones = [1.0] + [0.0] * 19
    model = RPC(0, 1, 0, 1, ones, ones, 45, 1, 30, 1, ones, ones, 15, 1, 40, 1)
    sensor = open_raster(make_raster(rgb(), name="rpc.tif", rpcs=model))
    assert (sensor.spec.georeferencing, sensor.spec.crs) == ("rpcs", None)
    assert any("gdalwarp -rpc" in text for text in warnings(sensor))


def test_missing_parts_of_georeferencing_are_said(make_raster: Make) -> None:
    bare = open_raster(make_raster(rgb(), crs=None, transform=None))
    assert (bare.spec.georeferencing, bare.spec.crs, bare.spec.transform[:2]) == ("none", None, (1, 0))
    assert any("pixel coordinates" in text for text in warnings(bare))
    no_crs = open_raster(make_raster(rgb(), name="b.tif", crs=None))
    assert no_crs.spec.transform == tuple(NORTH_UP)[:6]
    assert any("no CRS" in text for text in warnings(no_crs))
    png = open_raster(make_raster(rgb(), name="c.png", crs=None, transform=None, driver="PNG"))
    assert png.spec.georeferencing == "none"


def test_degrees_and_oblong_pixels_are_said(make_raster: Make) -> None:
    north = Affine(1e-5, 0, 25, 0, -1e-5, 66)
    found = warnings(open_raster(make_raster(rgb(), crs="EPSG:4326", transform=north)))
    assert any("degrees" in text for text in found)
    assert any("2.5 times" in text for text in found)
    assert warnings(open_raster(make_raster(rgb(), name="utm.tif"))) == []


def test_a_real_overview_is_read_as_gdal_reads_it(shared_data: Shared) -> None:
    path = shared_data("tartu_ortho/tartu_west_20cm.tif")
    raster = open_raster(path, overview=3)
    with rasterio.open(path) as dataset, rasterio.open(path, overview_level=3) as level:
        assert raster.spec.window.shape == level.shape
        assert place(raster, level.width, level.height) == pytest.approx(
            dataset.transform @ (dataset.width, dataset.height)
        )
        image, valid = whole(raster)
        assert np.array_equal(valid, level.dataset_mask() > 0)
        assert np.array_equal(image[valid], np.moveaxis(level.read(), 0, -1)[valid])
    assert 0.9 < valid_share(raster) < 0.95


@pytest.mark.parametrize("overview", [0, 1, 2])
def test_a_missing_overview_is_the_mean_of_exact_blocks(make_raster: Make, overview: int) -> None:
    values = rgb(61, 83)
    values[:, 20:33] = 0
    path = make_raster(values, nodata=0)
    factor = 2 ** (overview + 1)
    raster = open_raster(path, overview=overview)
    image, valid = whole(raster)
    small, kept = shrink(values, values.any(axis=0), factor)
    assert np.array_equal(valid, kept)
    assert np.array_equal(image[kept], np.moveaxis(small, 0, -1)[kept])
    assert place(raster, 3, 2) == NORTH_UP @ (3 * factor, 2 * factor)
    assert_windows_agree(raster)


def test_blocks_read_in_several_parts_are_the_same(
    make_raster: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_raster(rgb(61, 83))
    expected = whole(open_raster(path, overview=1))[0]
    monkeypatch.setattr("remotesam.raster.reader._READ_PIXELS", 700)
    assert np.array_equal(whole(open_raster(path, overview=1))[0], expected)


@pytest.mark.parametrize("overview", [-1, 12])
def test_impossible_overviews(make_raster: Make, overview: int) -> None:
    with pytest.raises(ConfigError, match="overview"):
        open_raster(make_raster(rgb()), overview=overview)


def test_the_stretch_is_that_of_the_whole_file_at_any_level_and_area(make_raster: Make) -> None:
    values = np.random.default_rng(1).integers(0, 5000, (1, 200, 300)).astype(np.uint16)
    values[:, :50] += 9000
    path = make_raster(values, overviews=[2, 4])
    full = open_raster(path)
    for variant in ({"overview": 0}, {"overview": 3}, {"aoi": "400010,4999950,400090,4999990"}):
        assert open_raster(path, **variant).stretch == full.stretch


def polygons_file(path: Path, shapes: list, crs: str | None) -> Path:
    """Write shapes as a vector file."""
    gpd.GeoDataFrame(geometry=shapes, crs=crs).to_file(path)
    return path


@pytest.mark.parametrize("overview", [None, 0])
def test_an_area_from_a_file_in_another_crs(make_raster: Make, tmp_path: Path, overview: int | None) -> None:
    hole = shapely.Point(400_020, 4_999_985).buffer(4)
    disc = shapely.Point(400_022, 4_999_984).buffer(12).difference(hole)
    move = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True).transform
    lonlat = shapely.transform(disc, move, interleaved=False)
    aoi = polygons_file(tmp_path / "aoi.gpkg", [lonlat], "EPSG:4326")
    values = rgb(100, 120)
    path = make_raster(values)
    raster = open_raster(path, aoi=aoi, overview=overview)
    full = open_raster(path, overview=overview)
    grid = Affine(*full.spec.transform)
    expected = ~geometry_mask([disc], full.spec.window.shape, grid)
    x, y = ~grid @ place(raster, 0, 0)
    window = Window(round(y), round(x), raster.spec.height, raster.spec.width)
    image, valid = whole(raster)
    # Reprojected there and back; a pixel centre may lie on the very edge of the disc.
    assert (valid != expected[window.slices]).sum() <= 2
    assert abs(int(valid.sum()) - int(expected.sum())) <= 2
    assert np.array_equal(image[valid], whole(full)[0][window.slices][valid])
    assert valid_share(raster) == pytest.approx(valid.mean())
    assert len(raster.spec.area) == 64
    assert full.spec.area == ""
    assert_windows_agree(raster)


def test_the_whole_world_is_an_area_too(make_raster: Make, tmp_path: Path) -> None:
    path = make_raster(rgb())
    world = polygons_file(tmp_path / "world.geojson", [shapely.box(-180, -90, 180, 90)], "EPSG:4326")
    raster = open_raster(path, aoi=world)
    assert raster.spec.window.shape == (60, 80)
    assert whole(raster)[1].all()
    antipode = polygons_file(tmp_path / "far.geojson", [shapely.box(-170, -60, -160, -50)], "EPSG:4326")
    with pytest.raises(InputError, match="overlap"):
        open_raster(path, aoi=antipode)
    fiji = open_raster(make_raster(rgb(), name="fiji.tif", crs="EPSG:3832", transform=FIJI), aoi=world)
    assert whole(fiji)[1].all()


def test_pixel_areas_without_a_crs(make_raster: Make, tmp_path: Path) -> None:
    values = rgb()
    path = make_raster(values, crs=None, transform=None)
    box = shapely.box(10, 20, 35, 50)
    by_file = open_raster(path, aoi=polygons_file(tmp_path / "px.geojson", [box], None))
    by_numbers = open_raster(path, aoi="10,20,35,50")
    for raster in (by_file, by_numbers):
        assert raster.spec.window.shape == (30, 25)
        assert place(raster, 0, 0) == (10, 20)
        image, valid = whole(raster)
        assert valid.all()
        assert np.array_equal(image, np.moveaxis(values, 0, -1)[20:50, 10:35])
    assert place(open_raster(path, aoi="10,20,35,50", overview=0), 0, 0) == (10, 20)


def test_many_polygons_count_together(make_raster: Make, tmp_path: Path) -> None:
    shapes = [shapely.box(0, 0, 5, 5), shapely.box(20, 30, 25, 35), shapely.Point(70, 50), None]
    aoi = polygons_file(tmp_path / "px.gpkg", shapes, None)
    raster = open_raster(make_raster(rgb(), crs=None, transform=None), aoi=aoi)
    _, valid = whole(raster)
    assert raster.spec.window == Window(0, 0, 35, 25)
    assert valid.sum() == 50
    assert valid[32, 22]
    assert not valid[10, 10]


def test_areas_that_hold_nothing_are_refused_in_one_line(make_raster: Make, tmp_path: Path) -> None:
    path = make_raster(rgb())
    text = tmp_path / "note.txt"
    text.write_text("no vector")
    line = polygons_file(tmp_path / "line.gpkg", [shapely.LineString([(0, 0), (1, 1)])], UTM)
    cases = {
        "0,0,10,10": "overlap",
        str(tmp_path / "nowhere.gpkg"): "no such file",
        str(text): "not a vector file",
        str(line): "holds no polygon",
    }
    for aoi, reason in cases.items():
        with pytest.raises(InputError, match=reason) as raised:
            open_raster(path, aoi=aoi)
        assert "\n" not in str(raised.value)
    with pytest.raises(ConfigError, match="W,S,E,N"):
        open_raster(path, aoi="10,20,5,30")


def test_a_real_area_on_a_real_raster(shared_data: Shared) -> None:
    path = shared_data("kampala_oam/kampala_small_z21_7cm.tif")
    buildings = shared_data("kampala_oam/kampala_small_z21_7cm_buildings.gpkg")
    raster = open_raster(path, aoi=buildings)
    frame = gpd.read_file(buildings).to_crs(raster.spec.crs)
    expected = ~geometry_mask(frame.geometry, raster.spec.window.shape, Affine(*raster.spec.transform))
    valid = raster.read(raster.spec.window).valid
    assert (valid != expected).mean() < 1e-4
    assert 0.2 < valid.mean() < 0.9
