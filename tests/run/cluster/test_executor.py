"""Runs on real Dask workers: the same polygons as one thread, whatever happens to the workers."""

from __future__ import annotations

import os
import random
import signal
import threading

import pytest
from distributed import Client

from remotesam.errors import ClusterError
from remotesam.pipeline.segment import retry
from remotesam.run import cluster
from remotesam.run.cluster import DaskExecutor, local_cluster
from remotesam.run.options import RunOptions
from remotesam.run.status import describe, run_status
from tests.cluster_fakes import Poisoned, Slow, Sticky, with_poison
from tests.fakes import ColourSegmenter
from tests.oracle import cells, polygons, segment

TILES = {"tile_size": 40, "padding": 12}
COUNT = 20
POISON_AT, POISON_TILE = (93, 100), 12
"""A pixel that only the chip of one tile holds."""


@pytest.fixture(scope="module")
def client():
    with local_cluster("2") as client:
        yield client


@pytest.fixture
def image():
    return cells(5, 160, 200, 40)


@pytest.fixture
def scene(make_raster, image):
    return make_raster(image, "scene.tif")


@pytest.fixture
def poisoned(make_raster, image):
    return make_raster(with_poison(image, *POISON_AT), "poisoned.tif")


@pytest.fixture
def whole(scene, tmp_path):
    return polygons(segment(scene, tmp_path / "serial.gpkg", **TILES), scene, **TILES)


def pids(client: Client) -> dict[str, int]:
    return client.run(os.getpid)


class Heard:
    """A listener that remembers events, and does something at the n-th one of a kind."""

    def __init__(self, event: str = "", count: int = 0, action=None) -> None:
        self.events, self.event, self.count, self.action = [], event, count, action

    def __call__(self, event, /, **fields):
        self.events.append((event, fields))
        self.count -= event == self.event
        if self.action is not None and event == self.event and self.count == 0:
            self.action()

    def tiles(self):
        return [fields for event, fields in self.events if event == "tile"]


def test_two_workers_give_the_same_polygons_in_any_order_with_one_killed(
    client, scene, whole, tmp_path, monkeypatch
):
    class Shuffled(DaskExecutor):
        def run(self, task, indices, cancel):
            indices = list(indices)
            random.Random(1).shuffle(indices)
            return super().run(task, indices, cancel)

    monkeypatch.setattr(cluster, "DaskExecutor", Shuffled)
    address, victim = next(iter(pids(client).items()))
    heard = Heard("tile", 3, lambda: os.kill(victim, signal.SIGKILL))
    result = segment(scene, tmp_path / "dask.gpkg", client, segmenter=Slow(0.1), listener=heard, **TILES)
    assert result.failed == []
    assert polygons(result, scene, **TILES) == whole
    assert sorted(tile["index"] for tile in heard.tiles()) == list(range(COUNT))
    assert address not in pids(client)


@pytest.mark.parametrize("allowed", [pytest.param(0, marks=pytest.mark.gate), 1000])
def test_a_tile_that_kills_its_workers_is_the_only_one_missing_and_retried(
    client, poisoned, tmp_path, allowed
):
    """`allowed-failures` belongs to the scheduler: a foreign one may have any."""

    def allow(dask_scheduler, count):
        before, dask_scheduler.allowed_failures = dask_scheduler.allowed_failures, count
        return before

    before = client.run_on_scheduler(allow, count=allowed)
    try:
        output = tmp_path / "poisoned.gpkg"
        result = segment(poisoned, output, client, segmenter=Poisoned(), **TILES)
    finally:
        client.run_on_scheduler(allow, count=before)
    assert result.failed == [POISON_TILE]
    found = run_status(result.run_dir)
    assert found.finished["tiles"] == COUNT - 1
    assert f"tile {POISON_TILE}: its worker died three times" in describe(found)

    heard = Heard()
    again = retry(result.run_dir, RunOptions(listener=heard, segmenter=ColourSegmenter(), executor="serial"))
    assert [tile["index"] for tile in heard.tiles()] == [POISON_TILE]
    assert again.failed == []
    assert run_status(result.run_dir).failures == []
    whole = segment(poisoned, tmp_path / "whole.gpkg", **TILES)
    assert polygons(again, poisoned, **TILES) == polygons(whole, poisoned, **TILES)


def test_a_device_error_that_sticks_to_a_process_restarts_the_worker(client, poisoned, tmp_path):
    before = set(pids(client).values())
    result = segment(poisoned, tmp_path / "o.gpkg", client, segmenter=Sticky(tmp_path / "broke"), **TILES)
    whole = segment(poisoned, tmp_path / "whole.gpkg", **TILES)
    assert (tmp_path / "broke").exists()
    assert result.failed == []
    assert polygons(result, poisoned, **TILES) == polygons(whole, poisoned, **TILES)
    client.wait_for_workers(2, timeout=60)
    assert len(before & set(pids(client).values())) == 1


def test_a_slow_worker_gets_fewer_tiles(client, scene, whole, tmp_path):
    client.wait_for_workers(2, timeout=60)
    heard = Heard()
    slow = Slow(0.05, slow_worker=1, slow_seconds=1.5)
    result = segment(scene, tmp_path / "o.gpkg", client, segmenter=slow, listener=heard, **TILES)
    assert polygons(result, scene, **TILES) == whole
    by_worker = [tile["worker"] for tile in heard.tiles()]
    assert 0 < by_worker.count("1") < by_worker.count("0")


def test_events_tell_the_pace_of_each_worker(client, scene, tmp_path):
    heard = Heard()
    segment(scene, tmp_path / "o.gpkg", client, listener=heard, **TILES)
    assert [fields["workers"] for event, fields in heard.events if event == "cluster"] == [2]
    last = {tile["worker"]: tile["worker_rate"] for tile in heard.tiles()}
    assert set(last) == {"0", "1"}
    assert all(rate > 0 for rate in last.values())


def test_cancel_keeps_what_is_finished_and_stops_the_rest(client, scene, whole, tmp_path):
    from remotesam.errors import Cancelled

    cancel = threading.Event()
    heard = Heard("tile", 5, cancel.set)
    with pytest.raises(Cancelled):
        segment(
            scene, tmp_path / "o.gpkg", client, segmenter=Slow(0.1), listener=heard, cancel=cancel, **TILES
        )
    kept = run_status(str(tmp_path / "o.remotesam")).finished["tiles"]
    assert 5 <= kept < COUNT
    assert kept == len(heard.tiles())
    after = Heard()
    result = segment(scene, tmp_path / "o.gpkg", client, listener=after, **TILES)
    assert len(after.tiles()) == COUNT - kept
    assert polygons(result, scene, **TILES) == whole


def test_no_answer_at_the_address_is_one_line(monkeypatch):
    monkeypatch.setattr(cluster.launch, "CONNECT_S", 1)
    with (
        pytest.raises(ClusterError, match="no Dask scheduler answers") as error,
        cluster.running_cluster("tcp://127.0.0.1:9"),
    ):
        pass
    assert "\n" not in str(error.value)
