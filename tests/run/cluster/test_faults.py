"""Schedulers, workers and links of a real cluster that go away, come late or do not fit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from remotesam.errors import ClusterError
from remotesam.run.cluster import local_cluster
from remotesam.run.status import run_status
from tests.cluster_fakes import BrokenOn, Slow, with_poison
from tests.dask_processes import COLOURS, ROOT, dask_processes, wait_until
from tests.oracle import EXACT, cells, polygons, segment
from tests.run.cluster.test_executor import COUNT, POISON_AT, POISON_TILE, TILES, Heard
from tests.skips import BeyondInstalling

pytestmark = pytest.mark.gate


@pytest.fixture
def scene(make_raster):
    return make_raster(cells(5, 160, 200, 40), "scene.tif")


@pytest.fixture
def whole(scene, tmp_path):
    return polygons(segment(scene, tmp_path / "serial.gpkg", **TILES), scene, **TILES)


def on(cluster, scene, output, **more):
    return segment(scene, output, scheduler=str(cluster.file), **TILES, **more)


def test_the_schedulers_death_keeps_what_is_finished_and_another_cluster_continues(scene, whole, tmp_path):
    output = tmp_path / "o.gpkg"
    with dask_processes(tmp_path / "first", "a", "b") as cluster:
        heard = Heard("tile", 5, lambda: cluster.kill(cluster.scheduler))
        started = time.monotonic()
        with pytest.raises(ClusterError, match="went away; finished tiles are kept, run again"):
            on(cluster, scene, output, segmenter=Slow(0.2), listener=heard)
        assert time.monotonic() - started < 60
    kept = run_status(str(tmp_path / "o.remotesam")).finished["tiles"]
    assert 5 <= kept < COUNT
    with dask_processes(tmp_path / "second", "c") as cluster:
        after = Heard()
        result = on(cluster, scene, output, listener=after)
    assert len(after.tiles()) == COUNT - kept
    assert polygons(result, scene, **TILES) == whole


def joined(cluster, name, **more):
    """Start a second worker and wait for it: the run, in whose listener this is called, waits too."""
    cluster.worker(name, **more)
    with cluster.client() as client:
        client.wait_for_workers(2, timeout=60)


def test_a_worker_that_joins_late_takes_part(scene, whole, tmp_path):
    with dask_processes(tmp_path / "dask", "early") as cluster:
        heard = Heard("tile", 2, lambda: joined(cluster, "late"))
        result = on(cluster, scene, tmp_path / "o.gpkg", segmenter=Slow(0.5), listener=heard)
    assert {tile["worker"] for tile in heard.tiles()} == {"early", "late"}
    assert polygons(result, scene, **TILES) == whole


def hidden(folder):
    """A command prefix under which `folder` is another, empty one: a machine without the shared storage."""
    if os.geteuid() != 0:
        raise BeyondInstalling("mount namespaces need root")
    script = f'mount -t tmpfs none "{folder}" && exec "$@"'
    before = ("unshare", "--mount", "sh", "-c", script, "sh")
    try:
        subprocess.run([*before, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no mount namespaces here")
    return before


def test_a_worker_without_access_to_the_run_is_named_before_any_work(scene, tmp_path):
    (tmp_path / "runs").mkdir()
    before = hidden(tmp_path / "runs")
    with dask_processes(tmp_path / "dask", "good") as cluster:
        cluster.worker("bad", before=before)
        with cluster.client() as client:
            client.wait_for_workers(2, timeout=60)
        heard = Heard()
        with pytest.raises(ClusterError, match="put --run-dir on storage that all workers share") as error:
            on(cluster, scene, tmp_path / "runs" / "o.gpkg", listener=heard)
    assert "\n" not in str(error.value)
    assert heard.tiles() == []


def test_a_late_worker_without_access_is_sent_away(scene, whole, tmp_path):
    (tmp_path / "runs").mkdir()
    before = hidden(tmp_path / "runs")
    with dask_processes(tmp_path / "dask", "good") as cluster:
        heard = Heard("tile", 2, lambda: joined(cluster, "bad", before=before))
        output = tmp_path / "runs" / "o.gpkg"
        result = on(cluster, scene, output, segmenter=Slow(0.5), listener=heard)
        with cluster.client() as client:
            assert [worker["name"] for worker in client.scheduler_info()["workers"].values()] == ["good"]
    assert result.failed == []
    assert {tile["worker"] for tile in heard.tiles()} == {"good"}
    assert polygons(result, scene, **TILES) == whole


def test_a_worker_with_other_versions_is_named(scene, tmp_path):
    preload = tmp_path / "older.py"
    preload.write_text(
        "import distributed.versions as v\n"
        "known = v.version\n"
        "v.version = lambda name: '0.0.1' if name == 'remotesam' else known(name)\n"
    )
    with dask_processes(tmp_path / "dask") as cluster:
        cluster.worker("old", "--preload", preload)
        with pytest.raises(ClusterError, match=r"worker tcp://\S+ has remotesam 0\.0\.1, the run needs"):
            on(cluster, scene, tmp_path / "o.gpkg")


def command(*arguments, **more):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    start = [sys.executable, "-m", "remotesam", *map(str, arguments)]
    return subprocess.Popen(start, env=environment, stdout=-1, stderr=-1, text=True, **more)


def options():
    exact = {**EXACT, **TILES}
    return [part for name, value in exact.items() for part in (f"--{name.replace('_', '-')}", value)]


def test_the_command_on_a_cluster_fails_by_its_poison_tile_only_and_says_so(make_raster, tmp_path):
    scene = make_raster(with_poison(cells(5, 160, 200, 40), *POISON_AT), "scene.tif")
    output = tmp_path / "o.gpkg"
    with dask_processes(tmp_path / "dask") as cluster:
        for name in "ab":
            cluster.worker(name, "--preload", COLOURS)
        line = ["segment", scene, "-o", output, "--scheduler", cluster.file, "--progress", "json", *options()]
        process = command(*line)
        out, err = process.communicate(timeout=240)
        status = command("run", "status", tmp_path / "o.remotesam").communicate(timeout=60)[0]
    assert process.returncode == 1, err
    assert f"1 of {COUNT} tiles failed (first: {POISON_TILE})" in err
    assert f"failed: tile {POISON_TILE}: tile {POISON_TILE}: its worker died" in status
    events = [json.loads(text) for text in out.splitlines()]
    heard = Heard()
    segment(scene, tmp_path / "serial.gpkg", listener=heard, **TILES)
    fields = {event["event"]: set(event) - {"event"} for event in events if event["event"] != "warning"}
    serial = {event: set(found) for event, found in heard.events}
    assert {name: fields[name] for name in serial if name in fields} == {
        name: found for name, found in serial.items() if name in fields
    }
    assert set(fields) - set(serial) == {"cluster"}


def test_interrupting_the_command_keeps_finished_tiles(scene, whole, tmp_path):
    output = tmp_path / "o.gpkg"
    with dask_processes(tmp_path / "dask", TEST_TILE_SECONDS="0.3") as cluster:
        for name in "ab":
            cluster.worker(name, "--preload", COLOURS)
        line = ["segment", scene, "-o", output, "--scheduler", cluster.file, *options()]
        process = command(*line)
        tiles = tmp_path / "o.remotesam" / "tiles"
        wait_until(lambda: len(list(tiles.glob("*.arrow"))) >= 4)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 3, err
        kept = len(list(tiles.glob("*.arrow")))
        assert 4 <= kept < COUNT
        assert run_status(str(tmp_path / "o.remotesam")).finished["tiles"] == kept
        again = command(*line)
        again.communicate(timeout=240)
        assert again.returncode == 0
    finished = SimpleNamespace(run_dir=str(tmp_path / "o.remotesam"))
    assert polygons(finished, scene, **TILES) == whole


@pytest.mark.parametrize("workers", ["1", "4"])
def test_other_numbers_of_workers_give_the_same_polygons(scene, whole, tmp_path, workers):
    with local_cluster(workers) as client:
        client.wait_for_workers(int(workers), timeout=60)
        result = segment(scene, tmp_path / "o.gpkg", client, **TILES)
    assert polygons(result, scene, **TILES) == whole


def test_a_device_that_fails_again_at_once_is_left_out(scene, whole, tmp_path):
    with local_cluster("2") as client:
        client.wait_for_workers(2, timeout=60)
        broken = BrokenOn(0, tmp_path / "log")
        result = segment(scene, tmp_path / "o.gpkg", client, segmenter=broken, **TILES)
    assert (tmp_path / "log").exists()
    assert result.failed == []
    assert polygons(result, scene, **TILES) == whole
