"""The label raster: what was written is read, overviews hold ids that exist, a full disk is an error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import rasterio

from remotesam.errors import OutputError
from remotesam.grid import TileGrid
from remotesam.raster.cog import Block, CogHeader, write_cog
from remotesam.windows import Window

TRANSFORM = (0.25, 0.0, 650_000.0, 0.0, -0.25, 6_480_000.0)
BIG = 2**31 + 7


def labels(side: int = 1300) -> np.ndarray:
    cells = np.arange((side // 26 + 1) ** 2).reshape(side // 26 + 1, -1) * 4001 + BIG
    cells[::7] = 0
    return cells.repeat(26, 0).repeat(26, 1)[:side, :side]


def write(path: Path, values: np.ndarray, attributes: pa.Table | None = None, **options: object) -> None:
    height, width = values.shape
    header = CogHeader(height=height, width=width, crs="EPSG:3301", transform=TRANSFORM)
    blocks = (Block(tile.core, values[tile.core.slices]) for tile in TileGrid(height, width, 500, 0))
    write_cog(path, blocks, header, attributes=attributes, **options)


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
    header = CogHeader(height=700, width=600, crs=None, transform=(1, 0, 0, 0, 1, 0))
    grid = TileGrid(700, 600, 300, 0)
    write_cog(tmp_path / "labels.tif", [Block(grid[3].core, np.full((300, 300), 9))], header)
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


@pytest.mark.parametrize(
    ("dtype", "bands", "nodata", "resampling"),
    [
        ("float32", 3, None, "AVERAGE"),
        ("uint8", 3, None, "AVERAGE"),
        ("int32", 1, None, "NEAREST"),
        ("float64", 1, -1.0, "AVERAGE"),
    ],
)
def test_values_of_any_kind_come_back_with_their_mask(
    tmp_path: Path, dtype: str, bands: int, nodata: float | None, resampling: str
) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 250, (600, 1200, bands)).astype(dtype)
    valid = None if nodata is not None else np.arange(1200)[None, :] >= np.full((600, 1), 700)
    header = CogHeader(
        height=600,
        width=1200,
        crs="EPSG:4326",
        transform=(0.3, 0, -180, 0, -0.3, 90),
        dtype=dtype,
        bands=bands,
        nodata=nodata,
        resampling=resampling,
    )
    given = values[..., 0] if bands == 1 else values
    write_cog(tmp_path / "values.tif", [Block(Window(0, 0, 600, 1200), given, valid)], header)
    with rasterio.open(tmp_path / "values.tif") as found:
        assert found.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert (set(found.dtypes), found.nodata, found.count) == ({dtype}, nodata, bands)
        np.testing.assert_array_equal(found.read(), np.moveaxis(values, 2, 0))
        np.testing.assert_array_equal(found.dataset_mask() > 0, True if valid is None else valid)
    with rasterio.open(tmp_path / "values.tif", overview_level=0) as half:
        blocks = values.reshape(300, 2, 600, 2, bands).astype(float)
        seen = np.ones((300, 600), bool) if valid is None else valid[::2, ::2]
        average, read = np.moveaxis(blocks.mean(axis=(1, 3)), 2, 0), half.read().astype(float)
        if resampling == "AVERAGE":
            assert np.abs(read - average)[:, seen].max() <= 0.5
        else:
            assert (
                (read[0][..., None] == blocks[..., 0].swapaxes(1, 2).reshape(300, 600, 4)).any(-1)[seen].all()
            )
    assert [part.name for part in tmp_path.iterdir()] == ["values.tif"]


def test_a_table_of_an_earlier_file_does_not_describe_the_new_one(tmp_path: Path) -> None:
    write(tmp_path / "labels.tif", labels(64), pa.table({"id": [BIG], "score": [0.5]}))
    write(tmp_path / "labels.tif", labels(64), overwrite=True)
    assert [part.name for part in tmp_path.iterdir()] == ["labels.tif"]


def test_an_error_while_blocks_are_made_comes_out_as_it_is(tmp_path: Path) -> None:
    def blocks() -> Iterator[Block]:
        yield Block(Window(0, 0, 64, 64), labels(64))
        raise ZeroDivisionError

    header = CogHeader(height=64, width=64, crs="EPSG:3301", transform=TRANSFORM)
    with pytest.raises(ZeroDivisionError):
        write_cog(tmp_path / "labels.tif", blocks(), header)
    assert list(tmp_path.iterdir()) == []
