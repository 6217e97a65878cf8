"""A file, its pixels as an array, as a DataArray and as an opened dataset become the same polygons."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from distributed import Client
from geopandas.testing import assert_geodataframe_equal

import remotesam
from remotesam.errors import InputError, ResumeError
from remotesam.pipeline.segment import retry
from remotesam.run.cluster import local_cluster
from tests.conftest import UTM
from tests.fakes import ColourSegmenter
from tests.oracle import EXACT, cells
from tests.raster.test_arrays import ODD, Checkerboard, lazily, write_zarr

TILES = {"tile_size": 64, "padding": 12, "nodata": 9, "simplify": 1, "band_statistics": True}


@pytest.fixture
def pixels() -> np.ndarray:
    """(3, 150, 170) uint8 regions of one colour, with a hole."""
    pixels = cells(11, 150, 170, 40)
    pixels[:, 60:75, 30:140] = 9
    return pixels


@pytest.fixture
def scene(make_raster: Callable[..., Path], pixels: np.ndarray) -> Path:
    return make_raster(pixels, "scene.tif", transform=ODD)


@pytest.fixture
def store(scene: Path, tmp_path: Path) -> Path:
    return write_zarr(tmp_path / "scene.zarr", scene)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with local_cluster("2") as client:
        yield client


def written(source: Any, output: Path, **settings: Any) -> gpd.GeoDataFrame:
    """What a run writes."""
    settings = {"segmenter": ColourSegmenter(), **EXACT, **TILES, **settings}
    assert remotesam.segment(source, output, **settings).failed == []
    return gpd.read_file(output, layer="segments")


def assert_same(found: gpd.GeoDataFrame, expected: gpd.GeoDataFrame) -> None:
    """The same geometries, bit by bit, with the same attributes."""
    assert_geodataframe_equal(found, expected)
    assert found.geometry.to_wkb().equals(expected.geometry.to_wkb())


def test_every_form_gives_the_polygons_of_the_file(
    scene: Path, store: Path, pixels: np.ndarray, tmp_path: Path
) -> None:
    expected = written(scene, tmp_path / "file.gpkg")
    assert len(expected) > 30
    with rasterio.open(scene) as dataset:
        assert_same(written(dataset, tmp_path / "dataset.gpkg"), expected)
    forms: dict[str, Any] = {
        "array": remotesam.ArraySource(pixels, transform=ODD, crs=UTM),
        "file through xarray": rioxarray.open_rasterio(scene),
        "the same in memory": rioxarray.open_rasterio(scene).load(),
        "the same in chunks": rioxarray.open_rasterio(scene, chunks={"x": 50, "y": 40}),
        "Zarr": lazily(store, None),
        "Zarr in chunks": lazily(store, {}),
    }
    for name, source in forms.items():
        assert_same(written(source, tmp_path / f"{name}.gpkg", executor="threads"), expected)


def test_without_rioxarray_the_coordinates_say_enough(
    scene: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = written(scene, tmp_path / "file.gpkg")
    monkeypatch.delattr(xr.DataArray, "rio")
    assert_same(written(lazily(store, {}), tmp_path / "zarr.gpkg"), expected)


def test_the_bundled_model_sees_the_same(make_raster, tmp_path):
    rng = np.random.default_rng(4)
    grain = rng.normal(0, 3, (3, 200, 220))
    pixels = (cells(12, 200, 220, 12) * 0.8 + 20 + grain).clip(1, 255).astype(np.uint8)
    settings = {"tile_size": 150, "workers": "1"}
    path = make_raster(pixels, "scene.tif", transform=ODD)
    remotesam.segment(path, tmp_path / "file.gpkg", **settings)
    expected = gpd.read_file(tmp_path / "file.gpkg", layer="segments")
    assert len(expected) > 1
    source = remotesam.ArraySource(pixels, transform=ODD, crs=UTM)
    remotesam.segment(source, tmp_path / "array.gpkg", **settings)
    assert_same(gpd.read_file(tmp_path / "array.gpkg", layer="segments"), expected)


def test_workers_are_sent_arrays_and_read_lazy_ones_themselves(
    client: Client, scene: Path, store: Path, pixels: np.ndarray, tmp_path: Path
) -> None:
    expected = written(scene, tmp_path / "file.gpkg")
    forms: dict[str, Any] = {
        "array": remotesam.ArraySource(pixels, transform=ODD, crs=UTM),
        "Zarr": lazily(store, None),
        "Zarr in chunks": lazily(store, {}),
    }
    for name, source in forms.items():
        assert_same(written(source, tmp_path / f"{name}.gpkg", executor=client), expected)


def test_an_array_too_large_for_workers_is_refused_before_anything_is_sent(
    client: Client, pixels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remotesam.raster.arrays.PORTABLE_BYTES", pixels.nbytes - 1)
    with pytest.raises(InputError, match=r"memory:array: .* write it to a GeoTIFF"):
        written(remotesam.ArraySource(pixels), tmp_path / "o.gpkg", executor=client)


def test_an_array_that_a_cluster_holds_is_refused(client: Client, store: Path, tmp_path: Path) -> None:
    held = client.persist(lazily(store, {}))
    for source in (held, held + 1):
        with pytest.raises(InputError, match=r"memory:image: .*before \.persist\(\)"):
            written(source, tmp_path / "o.gpkg", executor=client)


def test_a_source_of_ones_own_runs(tmp_path: Path) -> None:
    found = written(Checkerboard(), tmp_path / "o.gpkg", tile_size=16, padding=8, simplify=0)
    assert len(found) == 20
    assert set(found.area_px) == {100}


def test_a_run_over_an_array_goes_on_with_the_same_pixels_only(pixels: np.ndarray, tmp_path: Path) -> None:
    first, again = ColourSegmenter(), ColourSegmenter()
    written(remotesam.ArraySource(pixels), tmp_path / "o.gpkg", segmenter=first)
    (tmp_path / "o.remotesam" / "tiles" / "2.arrow").unlink()
    written(remotesam.ArraySource(pixels.copy()), tmp_path / "o.gpkg", segmenter=again)
    assert 0 < again.network_calls.encodes < first.network_calls.encodes
    pixels[0, 3, 3] ^= 1
    with pytest.raises(ResumeError, match="raster"):
        written(remotesam.ArraySource(pixels), tmp_path / "o.gpkg")


def test_everything_names_the_array_and_no_name_leads_back_to_it(pixels: np.ndarray, tmp_path: Path) -> None:
    extras = {"labels": "o.tif", "preview": "o.png", "report": "o.html"}
    source = remotesam.ArraySource(pixels, transform=ODD, crs=UTM, name="mosaic")
    written(source, tmp_path / "o.gpkg", **{name: tmp_path / file for name, file in extras.items()})
    assert "memory:mosaic" in (tmp_path / "o.html").read_text()
    assert (tmp_path / "o.tif").exists()
    assert (tmp_path / "o.png").exists()
    with pytest.raises(InputError, match=r"memory:mosaic: .*call remotesam\.segment with the array"):
        retry(str(tmp_path / "o.remotesam"))


def test_a_bare_array_is_one_line(tmp_path):
    with pytest.raises(InputError, match="ArraySource"):
        remotesam.segment(np.zeros((3, 10, 10), np.uint8), tmp_path / "o.gpkg")
