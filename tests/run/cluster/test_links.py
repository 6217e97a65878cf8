"""Workers on "hosts" of their own, network namespaces whose link is cut and healed."""

from __future__ import annotations

import os
import subprocess
import threading

import pytest

from tests.cluster_fakes import Slow
from tests.dask_processes import dask_processes
from tests.oracle import cells, polygons, segment
from tests.run.cluster.test_executor import COUNT, TILES, Heard
from tests.skips import BeyondInstalling

pytestmark = pytest.mark.gate

NETWORK = "10.231.77"


def ip(*arguments: object) -> None:
    subprocess.run(["ip", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture
def host():
    """A namespace joined to this one by a pair of virtual cables; yields its name."""
    if os.geteuid() != 0:
        raise BeyondInstalling("network namespaces need root")
    try:
        ip("netns", "add", "rsam-host")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no network namespaces here")
    try:
        ip("link", "add", "rsam-here", "type", "veth", "peer", "name", "rsam-there", "netns", "rsam-host")
        ip("addr", "add", f"{NETWORK}.1/24", "dev", "rsam-here")
        ip("link", "set", "rsam-here", "up")
        ip("-n", "rsam-host", "addr", "add", f"{NETWORK}.2/24", "dev", "rsam-there")
        ip("-n", "rsam-host", "link", "set", "rsam-there", "up")
        ip("-n", "rsam-host", "link", "set", "lo", "up")
        yield "rsam-host"
    finally:
        ip("netns", "del", "rsam-host")


def test_a_cut_and_healed_link_loses_no_tile(host, make_raster, tmp_path):
    scene = make_raster(cells(5, 160, 200, 40), "scene.tif")
    whole = polygons(segment(scene, tmp_path / "whole.gpkg", **TILES), scene, **TILES)
    quick = {
        "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "15s",
        "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s",
        "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "8s",
    }

    def cut():
        ip("link", "set", "rsam-here", "down")
        healing = threading.Timer(15, ip, ("link", "set", "rsam-here", "up"))
        healing.daemon = True
        healing.start()

    with dask_processes(tmp_path / "dask", host=f"{NETWORK}.1", **quick) as cluster:
        cluster.worker("near", "--host", f"{NETWORK}.1")
        cluster.worker("far", "--host", f"{NETWORK}.2", before=("ip", "netns", "exec", host))
        with cluster.client() as client:
            client.wait_for_workers(2, timeout=60)
        heard = Heard("tile", 6, cut)
        result = segment(
            *(scene, tmp_path / "o.gpkg"),
            scheduler=str(cluster.file),
            segmenter=Slow(1.5),
            listener=heard,
            **TILES,
        )
    assert result.failed == []
    assert sorted(tile["index"] for tile in heard.tiles()) == list(range(COUNT))
    assert {tile["worker"] for tile in heard.tiles()} == {"near", "far"}
    assert polygons(result, scene, **TILES) == whole
