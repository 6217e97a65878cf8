"""Reading: values, validity, georeferencing, levels and areas, against rasterio and against whole reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from remotesam.errors import ConfigError
from remotesam.raster.checks import valid_share, warnings
from remotesam.raster.protocol import Raster
from remotesam.raster.reader import open_raster
from remotesam.raster.spec import RasterSpec
from remotesam.windows import Window
from tests.conftest import NORTH_UP, UTM

Make = Callable[..., Path]
Shared = Callable[[str], Path]
RNG = np.random.default_rng(7)


def rgb(height: int = 60, width: int = 80) -> np.ndarray:
    """Random uint8 (3, height, width) without the value 0."""
    return RNG.integers(1, 255, (3, height, width), dtype=np.uint8)


def whole(raster: Raster) -> tuple[np.ndarray, np.ndarray]:
    """Image and validity of everything."""
    chip = raster.read(raster.spec.window)
    return chip.image, chip.valid


def windows_of(raster: Raster, count: int, seed: int = 0) -> list[Window]:
    """Random windows inside the raster, down to one pixel."""
    rng = np.random.default_rng(seed)
    spec = raster.spec
    found = []
    for _ in range(count):
        row, col = rng.integers(spec.height), rng.integers(spec.width)
        height, width = rng.integers(1, spec.height - row + 1), rng.integers(1, spec.width - col + 1)
        found.append(Window(int(row), int(col), int(height), int(width)))
    return found


def assert_windows_agree(raster: Raster, count: int = 12) -> None:
    """Any window shows what the whole shows there."""
    image, valid = whole(raster)
    for window in windows_of(raster, count):
        chip = raster.read(window)
        assert chip.image.shape == (*window.shape, 3)
        assert chip.image.dtype == np.uint8
        assert np.array_equal(chip.image, image[window.slices])
        assert np.array_equal(chip.valid, valid[window.slices])


REAL = [
    "banepa_oam/banepa_predict_13cm.tif",
    "banepa_oam/banepa_predict_13cm_masked.tif",
    "breeding_plots/b5f29056_mask.png",
    "dk_fields_s2/dk_s2_rgb_uint16_10m.tif",
    "drone_raw_frames/DJI_0025.JPG",
    "kampala_oam/kampala_small_z21_7cm.tif",
    "kit_ais_cars/munich_street02_mos93.png",
    "multiband_and_odd/drone_rgba_2cm.tif",
    "multiband_and_odd/drone_rgba_35cm.tif",
    "multiband_and_odd/landsat8_rgb_uint16_60m.tif",
    "multiband_and_odd/landsat_4band_4326_nodata0.tif",
    "multiband_and_odd/landsat_rgb_nodata0_300m.tif",
    "multiband_and_odd/naip_rgbn_nodata0_5m.tif",
    "multiband_and_odd/s2_8band_uint16_10m.tif",
    "multiband_and_odd/s2_falsecolour_1500x806_10m.tif",
    "multiband_and_odd/sar_gcps_no_geotransform.tif",
    "multiband_and_odd/umbra_sar_rotated_geotransform.tif",
    "naip_fields/naip_41.805_-89.946.png",
    "neon_trees/neon_osbs029_10cm.tif",
    "ortho_unlabelled/nl_25cm_28992.tif",
    "ortho_unlabelled/swiss_lakeshore_50cm_2056.tif",
    "panorama/bluemarble_topo_2048x1024.jpg",
    "spacenet_uint16/vegas_rgb_uint16_30cm_4326.tif",
    "tartu_ortho/tartu_west_20cm.tif",
]


@pytest.mark.parametrize("name", REAL)
def test_real_files_show_what_rasterio_reads(shared_data: Shared, name: str) -> None:
    path = shared_data(name)
    with open_raster(path) as raster, rasterio.open(path) as dataset:
        spec = raster.spec
        assert (spec.height, spec.width, spec.count) == (dataset.height, dataset.width, dataset.count)
        assert RasterSpec.from_json(spec.to_json()) == spec
        if spec.georeferencing == "affine":
            assert spec.transform == tuple(dataset.transform)[:6]
            assert rasterio.crs.CRS.from_string(spec.crs) == dataset.crs
        for large in [Window(0, 0, 1, 1), *windows_of(raster, 3)]:
            window = large.intersect(Window(large.row, large.col, 500, 500))
            area = rasterio.windows.Window(window.col, window.row, window.width, window.height)
            chip = raster.read(window)
            values = dataset.read(list(spec.bands), window=area)
            if spec.dtype == "uint8":
                shown = np.broadcast_to(np.moveaxis(values, 0, -1), (*window.shape, 3))
                assert np.array_equal(chip.image[chip.valid], shown[chip.valid])
            if spec.nodata is None:
                assert np.array_equal(chip.valid, dataset.dataset_mask(window=area) > 0)
            else:
                assert np.array_equal(chip.valid, (values != float(spec.nodata[0])).any(axis=0))
            assert not chip.image[~chip.valid].any()


def test_a_stretched_image_uses_the_range_over_the_whole_raster(shared_data: Shared) -> None:
    raster = open_raster(shared_data("spacenet_uint16/vegas_rgb_uint16_30cm_4326.tif"), nodata=0)
    with rasterio.open(raster.spec.path) as dataset:
        values = dataset.read().astype(float)
    data = values[:, values.any(axis=0)]
    low, high = np.percentile(data, [2, 98], axis=1)
    assert np.allclose(raster.stretch.low, low)
    assert np.allclose(raster.stretch.high, high)
    image, valid = whole(raster)
    assert 0.7 < valid.mean() < 0.9
    expected = np.clip((values - low[:, None, None]) / (high - low)[:, None, None], 0, 1) * 255
    assert np.abs(np.moveaxis(image, -1, 0)[:, valid] - expected[:, valid]).max() <= 0.501
    assert_windows_agree(raster, 4)


def test_white_hole_is_named_and_cut_out_by_its_value(shared_data: Shared) -> None:
    path = shared_data("banepa_oam/banepa_predict_13cm.tif")
    found = [text for text in warnings(open_raster(path)) if "--nodata 255" in text]
    assert len(found) == 1
    assert "8%" in found[0]
    _, by_value = whole(open_raster(path, nodata=255))
    _, by_mask = whole(open_raster(shared_data("banepa_oam/banepa_predict_13cm_masked.tif")))
    assert (by_value == by_mask).mean() > 0.99
    assert warnings(open_raster(shared_data("banepa_oam/banepa_predict_13cm_masked.tif"))) == []


@pytest.mark.parametrize(
    ("count", "tags", "asked", "expected"),
    [
        (1, None, None, (1,)),
        (2, None, None, (1,)),
        (2, ["gray", "alpha"], None, (1,)),
        (3, ["blue", "green", "red"], None, (3, 2, 1)),
        (4, None, None, (1, 2, 3)),
        (4, None, (4, 1, 2), (4, 1, 2)),
        (4, ["gray", "alpha", "undefined", "undefined"], None, (1, 3, 4)),
        (12, None, None, (1, 2, 3)),
        (12, None, (11,), (11,)),
        (5, ["undefined", "red", "green", "blue", "undefined"], None, (2, 3, 4)),
    ],
)
def test_bands(
    make_raster: Make, count: int, tags: list[str] | None, asked: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    values = RNG.integers(1, 255, (count, 9, 11), dtype=np.uint8)
    photometric = {"photometric": "minisblack"}
    raster = open_raster(make_raster(values, colorinterp=tags, **photometric), bands=asked)
    assert raster.spec.bands == expected
    shown = np.moveaxis(values[np.array(expected) - 1], 0, -1)
    assert np.array_equal(whole(raster)[0], np.broadcast_to(shown, (9, 11, 3)))


@pytest.mark.parametrize("bands", [(0,), (5,), (1, 2), (1, 2, 9), (), (1, 2, 3, 4)])
def test_wrong_bands_are_refused(make_raster: Make, bands: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="bands"):
        open_raster(make_raster(np.ones((4, 5, 5), np.uint8)), bands=bands)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "uint64", "float32", "float64"]
)
def test_every_sample_type_shows_its_contrast(make_raster: Make, dtype: str) -> None:
    ramp = np.tile(np.arange(101), (20, 1)).astype(dtype)
    image, valid = whole(open_raster(make_raster(ramp), stretch="p2,p98"))
    assert valid.all()
    line = image[0, :, 0].astype(int)
    assert line[0] == 0
    assert line[-1] == 255
    assert (np.diff(line) >= 0).all()
    assert abs(line[50] - 127.5) <= 0.5


@pytest.mark.parametrize(("text", "value"), [("none", 200), ("0,500", 102), ("p0,p100", 127)])
def test_stretches_by_name(make_raster: Make, text: str, value: int) -> None:
    raster = open_raster(make_raster(np.full((4, 4), 200, np.uint16)), stretch=text)
    assert (whole(raster)[0] == value).all()


def test_palette_in_colour_with_transparent_and_nodata_entries(make_raster: Make) -> None:
    indices = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    colours = {0: (9, 9, 9, 255), 1: (200, 10, 30, 255), 2: (0, 90, 180, 255)}
    path = make_raster(indices, colormap=colours, photometric="palette", nodata=0)
    image, valid = whole(open_raster(path))
    assert valid.tolist() == [[False, True, True], [True, True, False]]
    assert image[0, 1].tolist() == [200, 10, 30]
    assert image[1, 0].tolist() == [0, 90, 180]
    grey = make_raster(np.tile(indices, (4, 4)), name="p.tif", colormap=colours, photometric="palette")
    assert_windows_agree(open_raster(grey, overview=0))


def test_nodata_tag_holds_only_where_all_bands_agree(make_raster: Make) -> None:
    values = rgb()
    values[:, 10:20, :] = 0
    values[0, 30:40, :] = 0
    raster = open_raster(make_raster(values, nodata=0))
    _, valid = whole(raster)
    assert not valid[10:20].any()
    assert valid[30:40].all()
    assert raster.spec.nodata == ("0", "0", "0")
    assert_windows_agree(raster)
    assert whole(open_raster(raster.spec.path, nodata=254))[1][10:20].all()


def test_alpha_mask_and_value_all_count(make_raster: Make) -> None:
    values = np.concatenate([rgb(), np.full((1, 60, 80), 255, np.uint8)])
    values[3, :10] = 0
    values[:3, 20:30] = 7
    tags = ["red", "green", "blue", "alpha"]
    _, valid = whole(open_raster(make_raster(values, colorinterp=tags), nodata=7))
    assert valid.mean(axis=1).tolist() == [0.0] * 10 + [1.0] * 10 + [0.0] * 10 + [1.0] * 30
    mask = np.ones((60, 80), bool)
    mask[:, 5:9] = False
    raster = open_raster(make_raster(rgb(), name="m.tif", mask=mask), nodata=300)
    assert np.array_equal(whole(raster)[1], mask)
    assert_windows_agree(raster)


@pytest.mark.parametrize("nodata", [None, float("nan"), -9999.0])
def test_nan_is_never_data(make_raster: Make, nodata: float | None) -> None:
    values = RNG.normal(size=(1, 30, 40)).astype(np.float32)
    values[0, :5], values[0, 10:15] = np.nan, -9999 if nodata == -9999 else np.inf
    raster = open_raster(make_raster(values, nodata=nodata))
    image, valid = whole(raster)
    assert valid.mean(axis=1).tolist() == [0.0] * 5 + [1.0] * 5 + [0.0] * 5 + [1.0] * 15
    assert np.isfinite(raster.stretch.low + raster.stretch.high).all()
    assert image[valid].std() > 30
    assert RasterSpec.from_json(raster.spec.to_json()) == raster.spec
    assert_windows_agree(raster)


def test_all_nodata_opens_shows_nothing_and_says_so(make_raster: Make) -> None:
    raster = open_raster(make_raster(np.zeros((3, 30, 30), np.uint16), nodata=0))
    image, valid = whole(raster)
    assert not valid.any()
    assert not image.any()
    assert valid_share(raster) == 0
    assert any("no valid pixel" in text for text in warnings(raster))


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1)])
def test_tiny_rasters(make_raster: Make, shape: tuple[int, int]) -> None:
    values = RNG.integers(0, 9, shape).astype(np.uint16)
    path = make_raster(values)
    assert whole(open_raster(path))[0].shape == (*shape, 3)
    for overview in (0, 3, 9):
        small = open_raster(path, overview=overview)
        assert small.spec.window.shape == tuple(-(-size // 2 ** (overview + 1)) for size in shape)
        assert whole(small)[1].all()


def test_huge_sparse_rasters_open_and_read(make_raster: Make, tmp_path: Path) -> None:
    path = tmp_path / "huge.tif"
    profile = {"count": 1, "height": 300_000, "width": 300_000, "dtype": "uint16", "nodata": 0}
    profile |= {"tiled": True, "compress": "deflate", "SPARSE_OK": True, "BIGTIFF": "YES"}
    with rasterio.open(path, "w", driver="GTiff", crs=UTM, transform=NORTH_UP, **profile) as dataset:
        values = RNG.integers(1000, 2000, (1, 512, 512), dtype=np.uint16)
        dataset.write(values, window=((299_488, 300_000), (1024, 1536)))
    raster = open_raster(path, stretch="1000,2000")
    chip = raster.read(Window(299_400, 1000, 600, 600))
    assert int(chip.valid.sum()) == 512 * 512
    assert chip.image[100:, 100:][:, :400].std() > 60


def test_a_window_outside_is_a_mistake_of_the_caller(make_raster: Make) -> None:
    raster = open_raster(make_raster(rgb()))
    for window in (Window(-1, 0, 5, 5), Window(58, 0, 5, 5), Window(0, 0, 61, 80)):
        with pytest.raises(ValueError, match="outside"):
            raster.read(window)
    assert raster.read(Window(3, 3, 0, 4)).image.shape == (0, 4, 3)


def test_bands_of_several_types(make_raster: Make, tmp_path: Path) -> None:
    names = [make_raster(np.full((5, 6), 10 + k, f"uint{8 * 2**k}"), name=f"{k}.tif") for k in range(3)]
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{k + 1}"><SimpleSource>'
        f"<SourceFilename>{name}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        for k, (name, kind) in enumerate(zip(names, ("Byte", "UInt16", "UInt32"), strict=True))
    )
    path = tmp_path / "mixed.vrt"
    path.write_text(f'<VRTDataset rasterXSize="6" rasterYSize="5">{bands}</VRTDataset>')
    raster = open_raster(path, stretch="0,255")
    assert raster.read_native(raster.spec.window).values[:, 0, 0].tolist() == [10, 11, 12]
    assert whole(raster)[0][0, 0].tolist() == [10, 11, 12]


def test_lossy_compression_of_nodata_is_said(make_raster: Make) -> None:
    options = {"compress": "jpeg", "photometric": "ycbcr", "tiled": True, "blockxsize": 64, "blockysize": 64}
    path = make_raster(rgb(64, 64), **options)
    assert any("jpeg" in text for text in warnings(open_raster(path, nodata=255)))
    assert warnings(open_raster(path)) == []


def test_a_black_and_white_mask_has_no_holes(make_raster: Make) -> None:
    mask = np.kron(RNG.integers(0, 2, (8, 8)), np.full((9, 9), 255)).astype(np.uint8)
    assert warnings(open_raster(make_raster(mask))) == []
