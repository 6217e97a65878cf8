"""The run directory on a local disk and on an S3 server: whole files only, one-line errors, resume."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pyarrow as pa
import pytest

from remotesam.errors import Cancelled, ResumeError, StoreError
from remotesam.pipeline.result import Result
from remotesam.run.records import Manifest
from remotesam.run.status import run_status
from remotesam.run.store import RunStore, absolute
from remotesam.windows import Window
from tests.oracle import cells, polygons, segment

TILES = {"tile_size": 80, "padding": 20}


@pytest.fixture(scope="module")
def s3():
    """A bucket on a real server in a process of its own; settings come by the environment, as in practice."""
    for package in ("moto.server", "s3fs"):
        pytest.importorskip(package)
    import boto3

    started = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", "0"], stderr=subprocess.PIPE, text=True
    )
    with started as server, pytest.MonkeyPatch.context() as patch:
        url = next(line.split()[-1] for line in server.stderr if "Running on" in line)
        threading.Thread(target=server.stderr.read, daemon=True).start()
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", url)
        boto3.client("s3").create_bucket(Bucket="runs")
        yield "s3://runs"
        server.terminate()


@pytest.fixture(params=["local", "s3"])
def store(request, tmp_path):
    if request.param == "local":
        return RunStore(tmp_path / "run")
    return RunStore(f"{request.getfixturevalue('s3')}/{tmp_path.name}")


def test_files_tables_and_windows_of_labels_come_back(store):
    store.put("a/b", b"0123456789")
    assert store.get("a/b") == b"0123456789"
    assert store.get("a/b", 2, 5) == b"234"
    table = pa.table({"x": [1, 2]}).replace_schema_metadata({"summary": "{}"})
    store.put_table("t.arrow", table)
    assert store.get_table("t.arrow").equals(table, check_metadata=True)
    labels = np.random.default_rng(0).integers(0, 9, (300, 280)).astype(np.int32)
    store.put_labels("1.tif", labels, Window(40, 20, 300, 280))
    part = Window(250, 100, 50, 60)
    np.testing.assert_array_equal(store.get_labels("1.tif", part), labels[part.slices])


def test_finished_tiles_are_those_with_a_marker(store):
    assert store.finished("tiles") == set()
    for name in ("3.tif", "3.arrow", "10.arrow", "4.tif", "5.failed"):
        store.put(f"tiles/{name}", b"")
    assert store.finished("tiles") == {3, 10}
    assert store.finished("tiles", ".failed") == {5}
    store.remove(["tiles/3.arrow", "tiles/none"])
    assert store.finished("tiles") == {10}


def test_another_process_sees_new_files_at_once(store):
    other = RunStore(store.url)
    assert other.finished("tiles") == set()
    store.put("tiles/7.arrow", b"")
    assert other.finished("tiles") == {7}
    assert other.exists("tiles/7.arrow")


def manifest(**identity):
    return Manifest(
        remotesam="0",
        kind="segment",
        source="raster.tif",
        units={"": 1},
        outputs={"polygons": "out.gpkg"},
        config={},
        identity=identity,
    )


def test_cleaning_removes_what_runs_write_and_nothing_else(store):
    assert store.start(manifest(a=1), resume=True) is False
    store.put("tiles/1.arrow", b"")
    store.put("mine.txt", b"keep")
    assert store.start(manifest(a=1), resume=True) is True
    with pytest.raises(ResumeError, match=r"a \(1 → 2\)"):
        store.start(manifest(a=2), resume=True)
    store.clean()
    assert not store.exists("manifest.json")
    assert store.finished("tiles") == set()
    assert store.get("mine.txt") == b"keep"


def test_what_is_missing_is_one_line(store):
    with pytest.raises(StoreError, match=r"cannot read none\.arrow") as error:
        store.get("none.arrow")
    assert "\n" not in str(error.value)
    with pytest.raises(StoreError, match="not a run directory"):
        store.manifest()


def test_damaged_files_are_one_line(store):
    store.put("t.arrow", b"junk")
    store.put("1.tif", b"junk")
    store.put("m.json", b"{")
    for read in (store.get_table, store.get_labels, store.get_json):
        with pytest.raises(StoreError, match="damaged"):
            read({"get_table": "t.arrow", "get_labels": "1.tif", "get_json": "m.json"}[read.__name__])


def test_a_bucket_that_is_not_there_is_one_line(s3):
    with pytest.raises(StoreError, match=r"s3://nowhere/run: cannot write a \(") as error:
        RunStore("s3://nowhere/run").put("a", b"")
    assert "\n" not in str(error.value)


def test_an_unknown_kind_of_storage_is_one_line():
    with pytest.raises(StoreError, match="no such kind of storage here"):
        RunStore("floppy://a/run")


def test_readers_never_see_half_a_file(tmp_path):
    store, done = RunStore(tmp_path), threading.Event()
    contents = [bytes([value]) * 2_000_000 for value in range(2)]
    store.put("f", contents[0])

    def write():
        for turn in range(60):
            store.put("f", contents[turn % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert store.get("f") in contents
    writer.join()
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_relative_directory_gets_its_full_name_for_other_processes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute("run") == str(tmp_path / "run")
    assert absolute("memory://x/run") == "memory://x/run"


def test_a_run_on_s3_is_stopped_and_resumed(s3, make_raster, tmp_path):
    scene = make_raster(cells(5, 160, 200, 40), "scene.tif")
    whole = polygons(segment(scene, tmp_path / "w.gpkg", **TILES), scene, **TILES)
    url, cancel, heard = f"{s3}/scene", threading.Event(), []

    def listener(event, /, **fields):
        heard.append(event)
        if heard.count("tile") == 2:
            cancel.set()

    def again(**more) -> Result:
        return segment(scene, tmp_path / "o.gpkg", run_dir=url, **TILES, **more)

    with pytest.raises(Cancelled):
        again(listener=listener, cancel=cancel)
    assert run_status(url).finished["tiles"] == 2
    heard.clear()
    result = again(listener=lambda event, **_: heard.append(event))
    assert heard.count("tile") == 4
    assert polygons(result, scene, **TILES) == whole


def test_arrays_come_back_with_shape_and_type(tmp_path):
    store = RunStore(tmp_path)
    arrays = {
        "rows": np.arange(6, dtype=np.int16).reshape(3, 2),
        "none": np.empty((0, 4), np.float64),
        "flags": np.array([True, False, True]),
    }
    store.put_arrays("some/1.arrow", arrays, "a text")
    found, text = store.get_arrays("some/1.arrow")
    assert text == "a text"
    assert found.keys() == arrays.keys()
    for name, values in arrays.items():
        assert found[name].dtype == values.dtype
        assert np.array_equal(found[name], values)
        assert found[name].shape == values.shape
