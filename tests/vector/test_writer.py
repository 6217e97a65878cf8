"""Every vector format through GDAL and geopandas; wrong names, wrong folders, full disks."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from numpy.typing import NDArray

from remotesam.errors import Cancelled, OutputError
from remotesam.pipeline.live_preview import LiveLayer
from remotesam.vector import geoparquet
from remotesam.vector.formats import suffixes
from remotesam.vector.transform import place
from remotesam.vector.writer import Features, write_features

NORTH_UP = (0.25, 0.0, 650_000.0, 0.0, -0.25, 6_480_000.0)
SCHEMA = pa.schema([("id", pa.int64()), ("score", pa.float32()), ("a_name_longer_than_ten", pa.string())])


def squares(count: int) -> NDArray[np.object_]:
    """Squares of 8 px with a hole of 2 px, every fifth in two pieces, in raster px."""
    cols, rows = np.divmod(np.arange(count), 20)
    outer = shapely.box(10 * cols, 10 * rows, 10 * cols + 8, 10 * rows + 8)
    hollow = shapely.difference(
        outer, shapely.box(10 * cols + 3, 10 * rows + 3, 10 * cols + 5, 10 * rows + 5)
    )
    far = shapely.transform(hollow[::5], lambda xy: xy + np.array([1000, 0]))
    hollow[::5] = shapely.union(hollow[::5], far)
    return hollow


def rows(ids: NDArray[np.integer]) -> pa.Table:
    return pa.table([ids, ids / 7, [f"é {i}" for i in ids]], schema=SCHEMA)


def write(path: Path, count: int = 60, **options: object) -> NDArray[np.object_]:
    geometries = place(squares(count), NORTH_UP)
    settings = {"crs": "EPSG:3301", "schema": SCHEMA, "metadata": {"model": "nano"}, **options}
    some = [np.arange(start, min(start + 25, count)) for start in range(0, count, 25)]
    assert write_features(path, ((geometries[few], rows(few)) for few in some), **settings) == count
    return geometries


def read(path: Path) -> geopandas.GeoDataFrame:
    if path.suffix == ".parquet":
        return geopandas.read_parquet(path)
    return geopandas.read_file(path, layer=0)


@pytest.mark.parametrize("suffix", suffixes())
def test_every_format_keeps_crs_count_area_and_columns(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    written = write(path)
    found = read(path).sort_values("id")
    wgs84 = suffix.startswith(".geojson")
    assert found.crs.to_epsg() == (4326 if wgs84 else 3301)
    local = found.to_crs("EPSG:3301").geometry
    assert found["id"].tolist() == list(range(60))
    np.testing.assert_allclose(local.area, shapely.area(written), rtol=1e-4 if wgs84 else 1e-9)
    assert found.geometry.is_valid.all()
    assert found.iloc[7, 2] == "é 7"
    assert [part.name for part in tmp_path.iterdir() if ".part" in part.name] == []
    assert all(shapely.is_ccw(part.exterior) == (suffix != ".shp") for part in local.explode())


@pytest.mark.parametrize(
    "transform",
    [NORTH_UP, (0.5, 0, 1, 0, 0.5, 2), (0.3, 0.4, 10, 0.4, -0.3, 20), (-1, 0, 0, 0, 1, 0)],
    ids=["north-up", "south-up", "rotated", "mirrored"],
)
def test_any_affine_gives_counterclockwise_shells(transform: tuple[float, ...]) -> None:
    a, b, c, d, e, f = transform
    flat = squares(10)
    placed = place(flat, transform)
    np.testing.assert_allclose(shapely.area(placed), shapely.area(flat) * abs(a * e - b * d))
    parts = shapely.get_parts(placed)
    assert all(shapely.is_ccw(part.exterior) for part in parts)
    assert not any(shapely.is_ccw(hole) for part in parts for hole in part.interiors)
    corner = place(np.array([shapely.box(3, 5, 4, 6)]), transform)[0]
    assert (a * 3 + b * 5 + c, d * 3 + e * 5 + f) in [pytest.approx(xy) for xy in corner.exterior.coords]


def test_geopackage_has_an_index_and_the_settings(tmp_path: Path) -> None:
    write(tmp_path / "out.gpkg", layer="things")
    with contextlib.closing(sqlite3.connect(tmp_path / "out.gpkg")) as database:
        tables = dict(database.execute("SELECT table_name, data_type FROM gpkg_contents").fetchall())
        assert tables == {"things": "features", "metadata": "attributes"}
        assert database.execute("SELECT key, value FROM metadata").fetchall() == [("model", "nano")]
        assert database.execute("SELECT count(*) FROM rtree_things_geom").fetchone() == (60,)
    found = pyogrio.read_dataframe(
        tmp_path / "out.gpkg", layer="things", bbox=(650_000, 6_479_990, 650_001, 6_480_000)
    )
    assert 0 < len(found) < 10


def test_geoparquet_follows_the_specification(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geoparquet, "ROW_GROUP", 50)
    monkeypatch.setattr(geoparquet, "BUCKET_BYTES", 20_000)
    path = tmp_path / "out.parquet"
    written = write(path, count=800)
    file = pq.ParquetFile(path)
    geo = json.loads(file.schema_arrow.metadata[b"geo"])
    column = geo["columns"]["geometry"]
    assert geo["version"] == "1.1.0"
    assert column["encoding"] == "WKB"
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 3301}
    assert column["geometry_types"] == ["MultiPolygon", "Polygon"]
    assert column["bbox"] == pytest.approx(shapely.total_bounds(written).tolist())
    assert file.schema_arrow.metadata[b"model"] == b"nano"
    found = geopandas.read_parquet(path)
    assert sorted(found["id"]) == list(range(800))
    assert all(found.geometry.geom_equals(geopandas.GeoSeries(written[found["id"]], crs=3301)))
    box = (650_000, 6_479_960, 650_020, 6_480_000)
    assert len(geopandas.read_parquet(path, bbox=box)) == shapely.intersects(written, shapely.box(*box)).sum()
    assert _group_area(path) < 0.5 * _group_area_unsorted(written)


def _group_area(path: Path) -> float:
    bounds = pq.read_table(path, columns=["bbox", "id"])
    single = np.array(bounds["id"]) % 5 != 0
    boxes = np.array([list(row.values()) for row in bounds["bbox"].to_pylist()])[single]
    return _chunk_area(boxes)


def _group_area_unsorted(geometries: NDArray[np.object_]) -> float:
    shuffled = np.random.default_rng(0).permutation(np.flatnonzero(np.arange(len(geometries)) % 5))
    return _chunk_area(shapely.bounds(geometries[shuffled]))


def _chunk_area(boxes: NDArray[np.float64]) -> float:
    chunks = np.array_split(boxes, len(boxes) // 50)
    return sum(np.ptp(chunk[:, [0, 2]]) * np.ptp(chunk[:, [1, 3]]) for chunk in chunks)


@pytest.mark.parametrize("suffix", [".geojson", ".geojsonl"])
def test_geojson_is_cut_at_the_antimeridian(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    over = np.array([shapely.box(820_000, 1_000_000, 900_000, 1_100_000)])
    schema = pa.schema([("id", pa.int64())])
    write_features(path, [(over, pa.table({"id": [1]}))], crs="EPSG:32660", schema=schema)
    text = json.loads(path.read_text())
    feature = text["features"][0] if suffix == ".geojson" else text
    west, _, east, _ = feature["bbox"]
    assert west > 179
    assert east < -179
    geometry = shapely.from_geojson(json.dumps(feature["geometry"]))
    assert len(geometry.geoms) == 2
    assert all(shapely.is_ccw(part.exterior) for part in geometry.geoms)
    assert all(np.ptp(shapely.get_coordinates(part)[:, 0]) < 1 for part in geometry.geoms)


def test_output_can_be_reprojected(tmp_path: Path) -> None:
    written = write(tmp_path / "out.fgb", dst_crs="EPSG:32635")
    found = read(tmp_path / "out.fgb")
    assert found.crs.to_epsg() == 32635
    np.testing.assert_allclose(found.to_crs(3301).area.sum(), shapely.area(written).sum(), rtol=1e-6)


def test_pixels_without_crs_can_be_written(tmp_path: Path) -> None:
    for suffix in (".gpkg", ".parquet", ".geojson"):
        path = tmp_path / f"out{suffix}"
        write(path, crs=None)
        found = read(path)
        assert found.total_bounds[0] == pytest.approx(650_000)
        if suffix != ".geojson":
            assert found.crs is None


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet", ".fgb", ".geojson", ".shp"])
def test_nothing_found_is_an_empty_layer(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    write(path, count=0)
    assert len(read(path)) == 0


def test_short_names_of_a_shapefile_stay_apart(tmp_path: Path) -> None:
    schema = pa.schema([("coverage_mean", pa.float64()), ("coverage_median", pa.float64())])
    feature = np.array([shapely.box(0, 0, 1, 1)]), pa.table([[1.0], [2.0]], schema=schema)
    write_features(tmp_path / "out.shp", [feature], crs="EPSG:3301", schema=schema)
    found = read(tmp_path / "out.shp")
    assert found[["coverage_m", "coverage_1"]].iloc[0].tolist() == [1.0, 2.0]


def test_an_existing_file_is_kept_unless_told_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "out.gpkg"
    write(path)
    with pytest.raises(OutputError, match=r"out\.gpkg: exists already"):
        write(path)
    write(path, count=5, overwrite=True)
    assert len(read(path)) == 5


@pytest.mark.parametrize("suffix", suffixes())
@pytest.mark.parametrize("error", [KeyboardInterrupt, Cancelled, ZeroDivisionError])
def test_an_error_while_rows_are_made_comes_out_and_leaves_the_old_file(
    tmp_path: Path, suffix: str, error: type[BaseException]
) -> None:
    path = tmp_path / f"out{suffix}"
    write(path)
    before = sorted((part.name, part.read_bytes()) for part in tmp_path.iterdir())
    raised = error("while rows are made")

    def features() -> Iterator[Features]:
        yield place(squares(5), NORTH_UP), rows(np.arange(5))
        yield place(squares(5), NORTH_UP), rows(np.arange(5))
        raise raised

    with pytest.raises(error) as caught:
        write_features(path, features(), crs="EPSG:3301", schema=SCHEMA, overwrite=True)
    assert caught.value is raised
    assert sorted((part.name, part.read_bytes()) for part in tmp_path.iterdir()) == before


@pytest.mark.parametrize("suffix", suffixes())
@pytest.mark.parametrize("limit", [0, 20_000, 200_000])
def test_a_full_disk_is_said_in_one_line(tmp_path: Path, suffix: str, limit: int) -> None:
    """A limit on file size stands in for the disk: the same calls fail at the same places."""
    path = tmp_path / f"out{suffix}"
    write(path, count=3)
    before = path.read_bytes()
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(OutputError, match="cannot be written") as caught:
            write(path, count=3000, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before
    assert [part for part in tmp_path.iterdir() if part.suffix == ".part"] == []


def test_wrong_requests_say_what_to_do(tmp_path: Path) -> None:
    for name, options, message in [
        ("out.xyz", {}, r"unknown format; name it \*\.gpkg"),
        ("nowhere/out.gpkg", {}, "choose another place"),
        ("out.geojson", {"dst_crs": "EPSG:3857"}, "always WGS 84"),
        ("out.gpkg", {"crs": None, "dst_crs": "EPSG:3857"}, "no CRS to reproject from"),
    ]:
        with pytest.raises(OutputError, match=message):
            write(tmp_path / name, **options)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another place"):
        write(tmp_path / "file" / "out.gpkg")
    assert [part.name for part in tmp_path.iterdir()] == ["file"]


def test_a_live_layer_is_readable_after_every_tile(tmp_path: Path) -> None:
    path = tmp_path / "live.gpkg"
    geometries = place(squares(60), NORTH_UP)
    layer = LiveLayer(path, crs="EPSG:3301", schema=SCHEMA)
    layer.append(geometries[:0], rows(np.arange(0)))
    assert not path.exists()
    for start in (0, 20, 40):
        some = np.arange(start, start + 20)
        layer.append(geometries[some], rows(some))
        assert len(read(path)) == start + 20
    again = LiveLayer(path, crs="EPSG:3301", schema=SCHEMA)
    again.append(geometries[:1], rows(np.arange(100, 101)))
    assert pyogrio.read_info(path)["features"] == 61
    assert pyogrio.list_layers(path).tolist() == [["segments", "MultiPolygon"]]


def test_a_live_layer_waits_for_a_reader(tmp_path: Path) -> None:
    """A reader in the middle of a transaction delays an append; it does not break it."""
    path = tmp_path / "live.gpkg"
    layer = LiveLayer(path, crs="EPSG:3301", schema=SCHEMA)
    geometries = place(squares(4), NORTH_UP)
    layer.append(geometries[:2], rows(np.arange(2)))
    reader = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM segments").fetchone() == (2,)
    release = threading.Thread(target=lambda: (time.sleep(0.5), reader.execute("COMMIT"), reader.close()))
    release.start()
    layer.append(geometries[2:], rows(np.arange(2, 4)))
    release.join()
    assert len(read(path)) == 4


def test_nothing_is_said_on_the_way(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for suffix in suffixes():
            write(tmp_path / f"out{suffix}")
    assert capfd.readouterr() == ("", "")
