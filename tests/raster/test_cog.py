"""The label raster: what was written is read, overviews hold ids that exist, a full disk is an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import rasterio

from remotesam.errors import OutputError
from remotesam.grid import TileGrid
from remotesam.raster.cog import LabelsCog

TRANSFORM = (0.25, 0.0, 650_000.0, 0.0, -0.25, 6_480_000.0)
BIG = 2**31 + 7


def labels(side: int = 1300) -> np.ndarray:
    cells = np.arange((side // 26 + 1) ** 2).reshape(side // 26 + 1, -1) * 4001 + BIG
    cells[::7] = 0
    return cells.repeat(26, 0).repeat(26, 1)[:side, :side]


def write(path: Path, values: np.ndarray, attributes: pa.Table | None = None, **options: object) -> None:
    height, width = values.shape
    settings = {"height": height, "width": width, "crs": "EPSG:3301", "transform": TRANSFORM, **options}
    with LabelsCog(path, **settings) as cog:
        for tile in TileGrid(height, width, 500, 0):
            cog.write(tile.core, values[tile.core.slices])
        cog.close(attributes)


def test_ids_survive_in_a_cog_with_overviews_by_majority(tmp_path: Path) -> None:
    values = labels()
    write(tmp_path / "labels.tif", values)
    with rasterio.open(tmp_path / "labels.tif") as found:
        assert found.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert (found.dtypes[0], found.nodata, found.crs.to_epsg()) == ("uint32", 0, 3301)
        assert tuple(found.transform)[:6] == TRANSFORM
        assert found.block_shapes == [(512, 512)]
        assert found.overviews(1) == [2, 4]
        np.testing.assert_array_equal(found.read(1), values)
    with rasterio.open(tmp_path / "labels.tif", overview_level=0) as half:
        np.testing.assert_array_equal(half.read(1), values[::2, ::2])
    assert [part.name for part in tmp_path.iterdir()] == ["labels.tif"]


def test_the_attribute_table_is_where_gdal_looks(tmp_path: Path) -> None:
    table = pa.table({"id": [BIG, 5], "score": [0.5, None], "name": ["<a & b>", "c"]})
    write(tmp_path / "labels.tif", labels(64), table)
    text = (tmp_path / "labels.tif.aux.xml").read_text("utf-8")
    assert f'<Row index="0"><F>{BIG}</F><F>0.5</F><F>&lt;a &amp; b&gt;</F></Row>' in text
    with rasterio.open(tmp_path / "labels.tif") as found:
        assert (tmp_path / "labels.tif.aux.xml").as_posix() in [Path(name).as_posix() for name in found.files]


def test_windows_never_written_are_none(tmp_path: Path) -> None:
    settings = {"height": 700, "width": 600, "crs": None, "transform": (1, 0, 0, 0, 1, 0)}
    grid = TileGrid(700, 600, 300, 0)
    with LabelsCog(tmp_path / "labels.tif", **settings) as cog:
        cog.write(grid[3].core, np.full((300, 300), 9))
    with rasterio.open(tmp_path / "labels.tif") as found:
        assert found.read(1).sum() == 9 * 300 * 300


def test_errors_keep_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "labels.tif"
    write(path, labels(64))
    before = path.read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        write(path, labels(64))
    with pytest.raises(OutputError, match="do not fit 32 bits"):
        write(path, labels(64) + 2**32, overwrite=True)
    with pytest.raises(OutputError, match=r"name it \*\.tif"):
        write(tmp_path / "labels.png", labels(64))
    with pytest.raises(OutputError, match="cannot be written"):
        write(tmp_path / "nowhere" / "labels.tif", labels(64))
    assert path.read_bytes() == before
    assert [part.name for part in tmp_path.iterdir()] == ["labels.tif"]


@pytest.mark.parametrize("limit", [1000, 100_000, 800_000])
def test_a_full_disk_is_said_in_one_line(tmp_path: Path, limit: int) -> None:
    resource = pytest.importorskip("resource")
    noise = np.random.default_rng(0).integers(0, 2**31, (1100, 1100))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(OutputError, match="cannot be written") as caught:
            write(tmp_path / "labels.tif", noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
