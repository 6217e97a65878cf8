"""Arrays, DataArrays and opened datasets as rasters: the same as their files, lazily, or refused by name."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
import zarr
from affine import Affine
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT

from remotesam.errors import InputError, RasterError
from remotesam.raster import arrays
from remotesam.raster.arrays import ArraySource
from remotesam.raster.checks import warnings
from remotesam.raster.georeference import from_transform
from remotesam.raster.protocol import Band, Header, PixelSource, Raster
from remotesam.raster.reader import RasterInput, open_raster
from remotesam.raster.sample import BUDGET
from remotesam.windows import Window
from tests.conftest import NORTH_UP, UTM
from tests.raster.test_reader import assert_windows_agree, rgb, whole, windows_of

Make = Callable[..., Path]
ODD = Affine(0.1234567, 0, 400_000.12345, 0, -0.1234567, 4_999_999.98765)
"""A transform whose numbers have no short decimals, so that any detour through coordinates would show."""


def assert_same(one: RasterInput, other: RasterInput, **request: Any) -> None:
    """Both are the same raster but for name and identity."""
    first, second = open_raster(one, **request), open_raster(other, **request)
    assert replace(first.spec, path="", identity="") == replace(second.spec, path="", identity="")
    assert first.notes == second.notes
    assert first.stretch == second.stretch
    assert warnings(first) == warnings(second)
    window = first.spec.window
    for read in ("read", "read_native"):
        expected, found = getattr(first, read)(window), getattr(second, read)(window)
        for field in expected.__slots__:
            assert getattr(expected, field).dtype == getattr(found, field).dtype
            assert np.array_equal(
                getattr(expected, field), getattr(found, field), equal_nan=field == "values"
            )
    assert_windows_agree(second, 4)


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"overview": 1},
        {"bands": (3, 1, 2)},
        {"bands": (2,), "stretch": "p1,p90"},
        {"nodata": 7},
        {"aoi": "400003,4999980,400020,4999995", "overview": 0},
    ],
    ids=str,
)
@pytest.mark.parametrize(("dtype", "nodata"), [("uint8", 0), ("uint16", None), ("float32", float("nan"))])
def test_an_array_is_read_as_its_file(
    make_raster: Make, dtype: str, nodata: float | None, request_: dict[str, Any]
) -> None:
    values = rgb(61, 83).astype(dtype)
    values[:, 10:20], values[0, 30:35] = 7, 0
    values[:, 40:43] = 0 if nodata is None else nodata
    path = make_raster(values, nodata=nodata)
    assert_same(path, ArraySource(values, NORTH_UP, UTM, nodata), **request_)


@pytest.mark.parametrize(
    ("transform", "crs"),
    [
        (ODD, UTM),
        (Affine(0.5, 0, 400_000, 0, 0.5, 5_000_000), UTM),
        (Affine.translation(400_000, 5_000_000) @ Affine.rotation(33) @ Affine.scale(0.5, -0.5), UTM),
        (Affine(1e-5, 0, 12.5, 0, -1e-5, 48.1), "EPSG:4326"),
        (NORTH_UP, None),
        (None, None),
    ],
    ids=["odd", "south-up", "rotated", "degrees", "no CRS", "pixels"],
)
def test_an_array_lies_where_its_file_lies(
    make_raster: Make, transform: Affine | None, crs: str | None
) -> None:
    values = rgb()[0]
    assert_same(make_raster(values, transform=transform, crs=crs), ArraySource(values, transform, crs))


def test_a_masked_array_is_read_as_a_file_with_a_mask_band(make_raster: Make) -> None:
    values, mask = rgb(), np.ones((60, 80), bool)
    mask[5:30, 40:50] = False
    masked = np.ma.masked_array(values, np.broadcast_to(~mask, values.shape))
    assert_same(make_raster(values, mask=mask), ArraySource(masked, NORTH_UP, UTM))
    values[0, 50:] = 0  # a pixel that is masked in one band is data, as it is with a nodata value
    by_value = np.ma.masked_equal(values, 0)
    assert_same(make_raster(values, name="n.tif", nodata=0), ArraySource(by_value, NORTH_UP, UTM, 0))


def test_an_array_that_is_no_simple_block_of_memory(make_raster: Make) -> None:
    values = rgb(60, 80).astype("uint16") * 200
    path = make_raster(values)
    swapped = np.moveaxis(np.ascontiguousarray(np.moveaxis(values, 0, -1)), -1, 0)
    for array in (values.astype(">u2"), swapped, np.repeat(values, 2, axis=2)[..., ::2]):
        assert_same(path, ArraySource(array, NORTH_UP, UTM))


def test_many_bands_are_data_all_of_them() -> None:
    values = RNG.integers(0, 4000, (8, 50, 60)).astype(np.int16)
    raster = open_raster(ArraySource(values, NORTH_UP, UTM), bands=(8, 4, 2))
    assert raster.spec.count == 8
    assert np.array_equal(raster.read_native(Window(3, 4, 20, 30)).values, values[[7, 3, 1], 3:23, 4:34])


RNG = np.random.default_rng(11)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((rgb(),), "ArraySource"),
        ((np.ones((60, 80, 3), np.uint8),), "ArraySource"),
        (([[1, 2], [3, 4]],), "is no raster"),
        ((None,), "is no raster"),
    ],
    ids=["array", "array with bands last", "list", "nothing"],
)
def test_what_says_not_where_it_lies_is_refused(arguments: tuple[Any], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        open_raster(*arguments)


@pytest.mark.parametrize(
    ("array", "more", "expected"),
    [
        (np.ones((60, 80, 3), np.uint8), {}, "bands last"),
        (np.ones((2, 3, 60, 80), np.uint8), {}, "shape"),
        (np.ones((3, 0, 80), np.uint8), {}, "shape"),
        (np.ones((60, 80), bool), {}, "bool"),
        (np.ones((60, 80), complex), {}, "complex"),
        (np.ones((60, 80), "U3"), {}, "U3"),
        ([[1, 2], [3, 4]], {}, "list"),
        (np.ones((60, 80)), {"crs": UTM}, "no transform"),
        (np.ones((60, 80)), {"crs": "EPSG:999999", "transform": NORTH_UP}, "no such CRS"),
        (np.ones((60, 80)), {"transform": (1, 2, 3)}, "transform"),
        (np.ones((60, 80)), {"transform": (1, 0, 5, 0, 0, 5)}, "transform"),
        (np.ones((60, 80)), {"transform": (np.nan, 0, 5, 0, 1, 5)}, "transform"),
    ],
)
def test_arrays_that_cannot_be_rasters_are_refused(array: Any, more: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError, match=expected) as raised:
        ArraySource(array, **more, name="mine")
    assert "memory:mine" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_name_of_an_array_leads_nowhere() -> None:
    with pytest.raises(InputError, match="with the array"):
        open_raster(open_raster(ArraySource(rgb())).spec.path)


def identity(*arguments: Any, **request: Any) -> str:
    return open_raster(ArraySource(*arguments), **request).spec.identity


def test_identity_of_an_array_is_that_of_its_pixels_and_place() -> None:
    values = rgb(700, 90)
    known = identity(values, NORTH_UP, UTM)
    swapped = np.moveaxis(np.ascontiguousarray(np.moveaxis(values, 0, -1)), -1, 0)
    assert known == identity(swapped, NORTH_UP, UTM, None, "other")
    assert known == identity(values, NORTH_UP, UTM, bands=(2,), overview=0)
    for band, row, col in [(0, 0, 0), (1, 255, 89), (2, 256, 0), (2, 699, 89)]:
        changed = values.copy()
        changed[band, row, col] ^= 1
        assert identity(changed, NORTH_UP, UTM) != known
    others = [
        identity(values, ODD, UTM),
        identity(values, NORTH_UP, "EPSG:32634"),
        identity(values, NORTH_UP, UTM, 0),
        identity(values.astype(np.uint16), NORTH_UP, UTM),
        identity(values[:, :350].reshape(3, 350, 90), NORTH_UP, UTM),
        identity(np.ma.masked_equal(values, 5), NORTH_UP, UTM),
    ]
    assert len({known, *others}) == 7


class Recorder:
    """A lazy array that remembers what was asked of it."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.asked = values, []  # type: ignore[var-annotated]
        self.shape, self.dtype = values.shape, values.dtype

    def __getitem__(self, key: Any) -> np.ndarray:
        self.asked.append(self.values[key].shape)
        return self.values[key]


def test_a_lazy_array_is_asked_for_windows_only() -> None:
    side = 6000
    lazy = Recorder(np.broadcast_to(np.arange(side, dtype=np.uint16), (4, side, side)))
    raster = open_raster(ArraySource(lazy, NORTH_UP, UTM))
    assert sum(np.prod(shape) for shape in lazy.asked) <= 3 * BUDGET
    lazy.asked.clear()
    raster.read_native(Window(5, 5990, 7, 9))
    assert lazy.asked == [(3, 7, 9)]


def test_identity_of_a_large_lazy_array_sees_windows_spread_over_it() -> None:
    side = 6000
    values = np.zeros((side, side), np.uint8)
    known = identity(Recorder(values))
    values[side // 16 * 3 :: side // 8, side // 16 * 5 :: side // 8] = 1
    assert identity(Recorder(values)) != known
    small = np.zeros((500, 400), np.uint8)
    known = identity(Recorder(small))
    small[499, 399] = 1
    assert identity(Recorder(small)) != known


def test_dask_computes_only_the_chunks_under_a_window() -> None:
    computed: list[tuple[int, ...]] = []

    def block(block_info: Any = None) -> np.ndarray:
        rows, cols = block_info[None]["array-location"]
        computed.append((rows[0], cols[0]))
        return np.add.outer(np.arange(*rows), np.arange(*cols)).astype(np.uint16)

    lazy = dask.array.map_blocks(block, chunks=((1000,) * 6, (1000,) * 6), dtype=np.uint16)
    expected = np.add.outer(np.arange(990, 1010), np.arange(3500, 3510))
    for array in (lazy, xr.DataArray(lazy, dims=("y", "x"))):
        source = array if isinstance(array, xr.DataArray) else ArraySource(array)
        raster = open_raster(source, stretch="0,255")
        computed.clear()
        assert np.array_equal(raster.read_native(Window(990, 3500, 20, 10)).values[0], expected)
        assert sorted(computed) == [(0, 3000), (1000, 3000)]


def test_a_lazy_array_that_fails_names_itself_and_the_window() -> None:
    def block(block_info: Any = None) -> np.ndarray:
        if block_info[None]["chunk-location"] == (1, 0):
            raise KeyError("chunk 1.0")
        return np.ones(block_info[None]["chunk-shape"], np.uint8)

    small = dask.array.map_blocks(block, chunks=((30, 30), (20,)), dtype=np.uint8)
    with pytest.raises(RasterError, match=r"memory:scene: cannot be read \(.*chunk 1\.0"):
        open_raster(ArraySource(small, name="scene"))
    large = dask.array.map_blocks(block, chunks=((20, 20, 6000), (6000,)), dtype=np.uint8)
    raster = open_raster(ArraySource(large, name="scene"))  # the windows of its identity miss the chunk
    assert raster.read(Window(0, 0, 20, 20)).valid.all()
    with pytest.raises(RasterError, match=r"memory:scene: rows 5–34, columns 0–9 .* \(.*chunk 1\.0"):
        raster.read(Window(5, 0, 30, 10))


def write_zarr(path: Path, raster: Path) -> Path:
    """A Zarr store as rioxarray leaves it."""
    with rioxarray.open_rasterio(raster) as array:
        array.drop_encoding().to_dataset(name="image").chunk(y=32, x=32).to_zarr(path, consolidated=False)
    return path


def lazily(store: Path, chunks: dict[str, int] | None) -> xr.DataArray:
    more = {"decode_coords": "all", "mask_and_scale": False, "consolidated": False}
    return xr.open_dataset(store, engine="zarr", chunks=chunks, **more)["image"]


@pytest.mark.parametrize("accessor", [True, False], ids=["rioxarray", "xarray alone"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_data_array_is_read_as_its_file(
    make_raster: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, accessor: bool
) -> None:
    values = rgb(61, 83).astype(dtype)
    values[:, 10:20] = 3
    path = make_raster(values, transform=ODD, nodata=3)
    store = write_zarr(tmp_path / "scene.zarr", path)
    stored = [rioxarray.open_rasterio(path), rioxarray.open_rasterio(path, chunks={"x": 40})]
    loaded = stored[0].load()
    if not accessor:
        monkeypatch.delattr(xr.DataArray, "rio")
    for array in [*stored, lazily(store, {}), lazily(store, None), loaded.transpose("x", "band", "y")]:
        assert_same(path, array)
        assert_same(path, array, overview=0, bands=(2,))
    assert not lazily(store, None)._in_memory
    assert open_raster(lazily(store, None)).spec.path == "memory:image"


def test_a_zarr_array_by_itself(make_raster: Make, tmp_path: Path) -> None:
    values = rgb(61, 83)
    stored = zarr.create_array(
        str(tmp_path / "a.zarr"), shape=values.shape, dtype="uint8", chunks=(1, 32, 32)
    )
    stored[...] = values
    assert_same(make_raster(values), ArraySource(stored, NORTH_UP, UTM))


def test_a_part_of_a_data_array_lies_where_it_is(make_raster: Make) -> None:
    values = rgb(60, 80)
    with rioxarray.open_rasterio(make_raster(values, transform=ODD)) as array:
        part = open_raster(array.isel(y=slice(10, 50), x=slice(20, None, 3)))
        upside_down = open_raster(array.isel(y=slice(None, None, -1)))
    assert part.spec.window.shape == (40, 20)
    expected = ODD @ Affine.translation(19, 10) @ Affine.scale(3, 1)  # centres of every third pixel
    assert part.spec.transform == pytest.approx(tuple(expected)[:6], rel=1e-9, abs=1e-9)
    assert np.array_equal(part.read(part.spec.window).image, np.moveaxis(values[:, 10:50, 20::3], 0, -1))
    a, _, c, _, e, f = upside_down.spec.transform
    assert (a, c, e) == pytest.approx((ODD.a, ODD.c, -ODD.e), rel=1e-9)
    assert f == pytest.approx(ODD.f + 60 * ODD.e, rel=1e-9)


def test_memory_of_a_data_array_is_known_by_all_its_pixels() -> None:
    values = np.zeros((3000, 3000), np.uint8)
    array = xr.DataArray(values, dims=("lat", "lon"), name="scene")
    known = open_raster(array).spec.identity
    values[5, 7] = 1
    assert open_raster(array).spec.identity != known


def grid(**more: Any) -> xr.DataArray:
    """A small DataArray with coordinates."""
    coords = {"y": 100 - np.arange(6.0), "x": 50 + np.arange(8.0)}
    return xr.DataArray(np.ones((6, 8), np.uint8), dims=("y", "x"), coords=coords | more)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (grid().expand_dims(time=2), "time"),
        (grid().rename(x="column"), "column"),
        (grid().isel(y=0), "dimensions"),
        (grid().to_dataset(name="image"), "image"),
        (grid().assign_coords(x=np.arange(8.0) ** 2), "x .* not evenly spaced"),
        (grid().assign_coords(y=np.zeros(6)), "y .* not evenly spaced"),
        (grid().isel(x=slice(1)), "pixel size"),
        (grid().drop_vars("x"), "along y only"),
        (grid().drop_vars(["x", "y"]).assign_coords(lat=(("y", "x"), np.ones((6, 8)))), "each pixel"),
        (grid().drop_vars(["x", "y"]).rio.write_crs(UTM), "no coordinates"),
        (grid() > 0, "bool"),
    ],
)
def test_data_arrays_without_a_regular_grid_are_refused(array: Any, expected: str) -> None:
    with pytest.raises(InputError, match=expected) as raised:
        open_raster(array)
    assert "\n" not in str(raised.value)


def test_coordinates_are_centres_and_a_crs_may_be_missing() -> None:
    raster = open_raster(grid())
    assert raster.spec.transform == (1, 0, 49.5, 0, -1, 100.5)
    assert raster.spec.crs is None
    assert "no CRS" in raster.notes[0]
    assert open_raster(grid().drop_vars(["x", "y"])).spec.georeferencing == "none"
    degrees = grid().assign_coords(x=(9 + np.arange(8) * 1e-4).astype("f4")).rio.write_crs(4326)
    assert open_raster(degrees).spec.transform[0] == pytest.approx(1e-4, rel=1e-2)


def test_an_opened_dataset_is_read_by_its_name(make_raster: Make) -> None:
    path = make_raster(rgb(200, 300), overviews=[2, 4])
    with rasterio.open(path) as dataset:
        raster = open_raster(dataset)
        assert_same(path, dataset)
    with ThreadPoolExecutor(4) as pool:  # the caller's handle is closed, and was never used
        assert all(chip.valid.all() for chip in pool.map(raster.read, windows_of(raster, 20)))
    assert raster.spec == open_raster(path).spec


def test_datasets_that_their_name_does_not_lead_to_are_refused(make_raster: Make) -> None:
    path = make_raster(rgb(200, 300), overviews=[2, 4])
    with rasterio.open(path, overview_level=0) as dataset, pytest.raises(InputError, match="overview"):
        open_raster(dataset)
    with rasterio.open(path, "r+") as dataset, pytest.raises(InputError, match="writing"):
        open_raster(dataset)
    with (
        rasterio.open(path) as dataset,
        WarpedVRT(dataset, crs="EPSG:4326") as warped,
        pytest.raises(InputError, match="gdalwarp"),
    ):
        open_raster(warped)


def test_a_dataset_in_memory_stays_in_its_process(make_raster: Make) -> None:
    path = make_raster(rgb())
    with MemoryFile(path.read_bytes()) as memory, memory.open() as dataset:
        assert_same(path, dataset)
        with pytest.raises(InputError, match="write it to disk"):
            open_raster(dataset).check_portable()
    open_raster(path).check_portable()


def test_arrays_travel_unless_they_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    values = rgb()
    lazy = dask.array.from_array(values, chunks=(3, 30, 40))
    for source in (ArraySource(values), ArraySource(lazy)):
        raster: Raster = open_raster(source)
        raster.check_portable()
        travelled = pickle.loads(pickle.dumps(raster))
        assert travelled.spec == raster.spec
        assert np.array_equal(whole(travelled)[0], whole(raster)[0])  # type: ignore[arg-type]
        monkeypatch.setattr(arrays, "PORTABLE_BYTES", values.nbytes - 1)
        with pytest.raises(InputError, match="too much to send"):
            raster.check_portable()
        monkeypatch.undo()
    with pytest.raises(InputError, match="cannot be sent"):
        open_raster(ArraySource(dask.array.from_array(Unsendable(values), asarray=False))).check_portable()


class Unsendable(Recorder):
    """A lazy array over something that stays in its process."""

    ndim = 3

    def __reduce__(self) -> Any:
        raise TypeError("an open connection")


class Checkerboard(PixelSource):
    """A source of another kind in one class: fields of 10 × 10 px."""

    name = "checkerboard"

    def header(self) -> Header:
        placed = from_transform(NORTH_UP, rasterio.crs.CRS.from_user_input(UTM))
        return Header(height=40, width=50, bands=(Band("uint8"),), placed=placed, identity="10")

    def read(self, bands: Any, window: Window, level: int | None) -> tuple[np.ndarray, None]:
        rows, cols = np.ogrid[window.row : window.row_stop, window.col : window.col_stop]
        return ((rows // 10 + cols // 10) % 2 * 155 + 100).astype(np.uint8)[None], None


def test_a_source_of_another_kind_is_one_class() -> None:
    raster = open_raster(Checkerboard(), overview=0, aoi="400005,4999985,400015,4999995")
    assert_windows_agree(raster)
    assert raster.spec.window.shape == (10, 10)
    assert set(np.unique(whole(raster)[0])) == {100, 255}
    raster.check_portable()
    raster.close()
    with pytest.raises(LookupError, match="checkerboard"):
        Checkerboard().level_shape(0)
