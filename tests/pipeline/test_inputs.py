"""A file, its pixels as an array, as a DataArray and as an opened dataset become the same polygons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import rioxarray
from geopandas.testing import assert_geodataframe_equal

import remotesam
from remotesam.errors import InputError, ResumeError
from tests.fakes import ColourSegmenter
from tests.oracle import EXACT, cells

TILES = {"tile_size": 64, "padding": 12}


def inputs(path: Path) -> dict[str, Any]:
    """The raster in every form but its file."""
    with rasterio.open(path) as dataset:
        pixels, transform, crs = dataset.read(), dataset.transform, dataset.crs
    lazy = rioxarray.open_rasterio(path, chunks={"x": 50, "y": 40})
    return {
        "array": remotesam.ArraySource(pixels, transform=transform, crs=crs.to_string()),
        "lazy DataArray": lazy,
        "dataset": rasterio.open(path),
    }


def polygons(output: Path) -> gpd.GeoDataFrame:
    return gpd.read_file(output, layer="segments")


def test_every_form_gives_the_polygons_of_the_file(make_raster, tmp_path):
    path = make_raster(cells(11, 150, 170, 40), "scene.tif")
    settings = {**EXACT, **TILES, "band_statistics": True}
    remotesam.segment(path, tmp_path / "file.gpkg", segmenter=ColourSegmenter(), **settings)
    expected = polygons(tmp_path / "file.gpkg")
    assert len(expected) > 30
    for name, source in inputs(path).items():
        output = tmp_path / f"{name}.gpkg"
        result = remotesam.segment(source, output, segmenter=ColourSegmenter(), **settings)
        assert result.coverage == 1
        assert_geodataframe_equal(polygons(output), expected)


def test_the_bundled_model_sees_the_same(make_raster, tmp_path):
    rng = np.random.default_rng(4)
    grain = rng.normal(0, 3, (3, 200, 220))
    path = make_raster(
        (cells(12, 200, 220, 12) * 0.8 + 20 + grain).clip(1, 255).astype(np.uint8), "scene.tif"
    )
    remotesam.segment(path, tmp_path / "file.gpkg", tile_size=150, workers="1")
    expected = polygons(tmp_path / "file.gpkg")
    assert len(expected) > 1
    source = inputs(path)["array"]
    remotesam.segment(source, tmp_path / "array.gpkg", tile_size=150, workers="1")
    assert_geodataframe_equal(polygons(tmp_path / "array.gpkg"), expected)


def test_a_run_over_an_array_goes_on_with_the_same_pixels_only(make_raster, tmp_path):
    path = make_raster(cells(13, 150, 170, 40), "scene.tif")
    with rasterio.open(path) as dataset:
        pixels = dataset.read()
    first = ColourSegmenter()
    source = remotesam.ArraySource(pixels)
    result = remotesam.segment(source, tmp_path / "o.gpkg", segmenter=first, **EXACT, **TILES)
    (Path(result.run_dir) / "tiles" / "2.arrow").unlink()
    again = ColourSegmenter()
    remotesam.segment(source, tmp_path / "o.gpkg", segmenter=again, **EXACT, **TILES)
    assert again.network_calls.encodes < first.network_calls.encodes
    changed = pixels.copy()
    changed[0, 3, 3] ^= 1
    other = remotesam.ArraySource(changed)
    with pytest.raises(ResumeError, match="raster"):
        remotesam.segment(other, tmp_path / "o.gpkg", segmenter=again, **EXACT, **TILES)


def test_a_bare_array_is_one_line(tmp_path):
    with pytest.raises(InputError, match="ArraySource"):
        remotesam.segment(np.zeros((3, 10, 10), np.uint8), tmp_path / "o.gpkg")
