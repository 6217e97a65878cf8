"""What the cluster costs: overhead per tile, speed-up, bytes through the scheduler, plans of a million tiles.

    python -m benchmarks.cluster            all of it
    python -m benchmarks.cluster plan       only the plan of 10^6 tiles
    python -m benchmarks.cluster sizing --tile-seconds 0.5 37 --area 357000

The device is a stand-in that sleeps, so the figures are those of remotesam and Dask, not of a model. Prints
Markdown; each line is measured in the run that prints it.
"""

from __future__ import annotations

import argparse
import datetime as dt
import math
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from remotesam.run.job import WorkerContext

TILES_SERIAL, TILES_EACH = 20, 60
"""Tiles of the serial reference, and tiles per worker on the cluster."""


class SleepingTask:
    """A tile that sleeps on the device and returns a summary like a real one's."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, _: WorkerContext, index: int) -> dict[str, Any]:
        """Run one tile."""
        with _device:
            time.sleep(self.seconds)
        reports = [{"index": n, "accepted": 40, "coverage": 0.5, "seconds": 0.1} for n in range(6)]
        return {"tile": index, "segments": 120, "valid": 10**6, "covered": 9 * 10**5, "passes": reports}


_device = threading.Lock()
"""The device of this process: tiles of one worker take turns."""


def small_job(folder: Path) -> Any:
    """A job over a tiny raster; the stand-in reads none of it."""
    import rasterio

    from remotesam.config import make_config
    from remotesam.run.job import TileJob, open_for

    path = folder / "raster.tif"
    with rasterio.open(path, "w", driver="GTiff", height=64, width=64, count=3, dtype="uint8") as dataset:
        dataset.write(np.full((3, 64, 64), 9, np.uint8))
    config = make_config(tile_size=32, padding=0)
    return TileJob(open_for(str(path), config), str(folder / "run"), config)


def overhead() -> None:
    """Overhead and speed-up for several tile times and numbers of workers."""
    from remotesam.run.cluster import DaskExecutor, local_cluster
    from remotesam.run.executors import SerialExecutor

    never = threading.Event()
    print("\n| s per tile | executor | tiles | s | ms over the device, per tile | overhead | speed-up |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        job = small_job(Path(folder))
        serial: dict[float, float] = {}
        for seconds in (0.05, 0.5, 1.0):
            started = time.perf_counter()
            count = sum(
                1
                for _ in SerialExecutor(WorkerContext(job)).run(
                    SleepingTask(seconds), range(TILES_SERIAL), never
                )
            )
            serial[seconds] = (time.perf_counter() - started) / count
            row(seconds, "serial", count, serial[seconds] * count, seconds, serial[seconds], 1)
        for workers in (1, 2, 4):
            with local_cluster(str(workers)) as client:
                executor = DaskExecutor(client, job)
                list(executor.run(SleepingTask(0), range(4 * workers), never))
                for seconds, alone in serial.items():
                    count = round(min(TILES_EACH, 20 / seconds)) * workers
                    started = time.perf_counter()
                    done = sum(1 for _ in executor.run(SleepingTask(seconds), range(count), never))
                    assert done == count
                    row(
                        seconds,
                        f"{workers} workers",
                        count,
                        time.perf_counter() - started,
                        seconds,
                        alone,
                        workers,
                    )
                executor.close()


def row(
    seconds: float, name: str, count: int, took: float, device: float, serial: float, workers: int
) -> None:
    """Print one line of the table; the overhead is what the wall time has over the serial loop's share."""
    per_tile = took * workers / count
    print(
        f"| {seconds:g} | {name} | {count} | {took:.2f} | {1000 * (per_tile - device):.1f} "
        f"| {100 * (per_tile / serial - 1):.1f} % | {serial * count / took:.2f} |"
    )


def traffic(count: int = 300) -> None:
    """Bytes that client, scheduler and worker send each other, per tile."""
    from remotesam.run.cluster import DaskExecutor, local_cluster

    with tempfile.TemporaryDirectory() as folder, local_cluster("1") as client:
        executor = DaskExecutor(client, small_job(Path(folder)))
        client.run(count_writes)
        here = count_writes()
        list(executor.run(SleepingTask(0), range(10), threading.Event()))
        before = here["bytes"] + sum(found["bytes"] for found in client.run(count_writes).values())
        list(executor.run(SleepingTask(0.02), range(count), threading.Event()))
        after = here["bytes"] + sum(found["bytes"] for found in client.run(count_writes).values())
        executor.close()
    print(
        f"\nSent by client, scheduler and worker together: {(after - before) / count:.0f} bytes per tile "
        f"({count} tiles)"
    )


def count_writes() -> dict[str, int]:
    """From the first call on, count what this process writes to Dask's sockets; returns the count."""
    from distributed.comm.tcp import TCP

    if not hasattr(TCP, "counted"):
        TCP.counted = {"bytes": 0}
        write = TCP.write

        async def counting(self: Any, *args: Any, **kwargs: Any) -> int:
            sent = int(await write(self, *args, **kwargs))
            TCP.counted["bytes"] += sent
            return sent

        TCP.write = counting
    counted: dict[str, int] = TCP.counted
    return counted


def sizing(
    tile_seconds: list[float], area_km2: float, resolution_m: float, tile_size: int, days: float
) -> None:
    """GPUs for a country: from seconds per tile, and what was measured here of overhead and ceiling."""
    from remotesam.run.cluster import DaskExecutor, local_cluster

    with tempfile.TemporaryDirectory() as folder, local_cluster("2") as client:
        executor = DaskExecutor(client, small_job(Path(folder)))
        list(executor.run(SleepingTask(0), range(20), threading.Event()))
        started = time.perf_counter()
        count = sum(1 for _ in executor.run(SleepingTask(0), range(600), threading.Event()))
        ceiling = count / (time.perf_counter() - started)
        started = time.perf_counter()
        count = sum(1 for _ in executor.run(SleepingTask(0.5), range(40), threading.Event()))
        extra = 2 * (time.perf_counter() - started) / count - 0.5
        executor.close()
    tiles = area_km2 * 1e6 / (tile_size * resolution_m) ** 2
    print(
        f"\n{area_km2:,.0f} km² at {100 * resolution_m:g} cm in tiles of {tile_size} px: {tiles:,.0f} tiles, "
        f"within {days:g} days. Measured: {1000 * extra:.0f} ms per tile beside the device; one scheduler "
        f"and client hand out at most {ceiling:.0f} tiles/s."
    )
    print("\n| s per tile and GPU | tiles/s needed | GPUs | GPUs that one scheduler feeds |")
    print("|---:|---:|---:|---:|")
    needed = tiles / (days * 86400)
    for seconds in tile_seconds:
        each = seconds + max(extra, 0)
        print(f"| {seconds:g} | {needed:.1f} | {math.ceil(needed * each)} | {math.floor(ceiling * each)} |")


def plan() -> None:
    """Plan 10^6 tiles in a process of its own: seconds and peak memory."""
    code = "from benchmarks.cluster import plan_here; plan_here()"
    subprocess.run([sys.executable, "-c", code], check=True)


def plan_here(side: int = 1000, tile_size: int = 1000, padding: int = 50) -> None:
    """The plan of a raster of `side` × `side` tiles: grid, manifest, finished tiles, tiles left, joins."""
    from remotesam.config import as_dict, make_config
    from remotesam.grid import TileGrid
    from remotesam.merge.components import Edges, components
    from remotesam.run.records import Manifest
    from remotesam.run.store import RunStore

    rows: list[tuple[str, float]] = []

    def timed(name: str, action: Any) -> Any:
        started = time.perf_counter()
        result = action()
        rows.append((name, time.perf_counter() - started))
        return result

    pixels = side * tile_size
    config = make_config(tile_size=tile_size, padding=padding)
    grid = timed("grid", lambda: TileGrid(pixels, pixels, tile_size, padding))
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(folder)
        manifest = Manifest(
            remotesam="benchmark",
            kind="segment",
            source="raster.tif",
            units={"": len(grid)},
            outputs={"polygons": "out.gpkg"},
            config=as_dict(config),
            identity={},
        )
        timed("manifest", lambda: store.start(manifest, resume=True))
        finished = timed("finished tiles", lambda: store.finished("tiles"))
    todo = timed("tiles left", lambda: [index for index in range(len(grid)) if index not in finished])
    areas = timed("every tile's windows", lambda: sum(grid[index].core.area for index in todo))
    assert areas == pixels * pixels
    planned, memory = sum(seconds for _, seconds in rows), peak_mb()
    print(f"\nPlan of {len(grid):.0e} tiles, {pixels**2 / 1e12:g} Tpx: {planned:.1f} s, peak {memory:.0f} MB")
    for name, seconds in rows:
        print(f"* {name}: {seconds:.2f} s")

    rng = np.random.default_rng(0)
    tiles = rng.integers(0, len(grid) - 1, 2 * 10**6)
    pair = {
        "key_a": tiles << 32 | rng.integers(1, 11, len(tiles)),
        "key_b": (tiles + 1) << 32 | rng.integers(1, 11, len(tiles)),
    }
    edges = Edges(
        score=np.ones(len(tiles)), area=np.ones(len(tiles)), kind=np.zeros(len(tiles), np.int8), **pair
    )
    joined = timed("components", lambda: components([10] * len(grid), edges, max_span=64))
    timed("look-up tables", lambda: sum(len(joined.lut(index)) for index in range(0, len(grid), 100)))
    print(
        f"* joining {len(tiles):.0e} joins among {10 * len(grid):.0e} segments: {rows[-2][1]:.1f} s, "
        f"look-up tables {rows[-1][1] * 100:.0f} s, peak {peak_mb():.0f} MB"
    )


def peak_mb() -> float:
    """Peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", default=["overhead", "traffic", "plan", "sizing"])
    parser.add_argument("--tile-seconds", type=float, nargs="+", default=[0.2, 1, 5, 37])
    parser.add_argument("--area", type=float, default=357_000, help="km²")
    parser.add_argument("--resolution", type=float, default=0.1, help="m per px")
    parser.add_argument("--tile-size", type=int, default=1000)
    parser.add_argument("--days", type=float, default=30)
    given = parser.parse_args()
    print(
        f"{dt.date.today()}, {os.cpu_count()} cores of {platform.machine()}, "
        f"load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}"
    )
    for part in given.parts:
        if part == "sizing":
            sizing(given.tile_seconds, given.area, given.resolution, given.tile_size, given.days)
        else:
            {"overhead": overhead, "traffic": traffic, "plan": plan}[part]()


if __name__ == "__main__":
    # Workers import this module by its name; what is pickled must not belong to `__main__`.
    from benchmarks.cluster import main as run_main

    run_main()
