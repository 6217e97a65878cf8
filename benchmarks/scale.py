"""Everything after the tiles, at the size of a city: seams, match, polygons, GeoPackage. No model is needed.

    python benchmarks/scale.py --gpx 0.1 0.5 1 1.94 --plot docs/images/scale.png

A synthetic mosaic of wavy cells (16 000 px each, 3 % missing, one in ten split differently by each tile)
is written to a run directory as if tiles had been segmented; then the stages of a real run follow. Seconds,
Mpx/s and the peak of all processes' memory are measured for each. Making the mosaic is not counted.
"""

from __future__ import annotations

import argparse
import datetime as dt
import itertools
import json
import math
import platform
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import psutil
import pyogrio
import shapely

from remotesam.config import make_config
from remotesam.merge.match import match
from remotesam.merge.task import match_seams
from remotesam.pipeline.outputs import write_polygons
from remotesam.polygons.task import trace_tile
from remotesam.raster.spec import RasterSpec
from remotesam.run.job import TileJob, UnitImage, WorkerContext
from remotesam.run.options import RunOptions
from remotesam.run.runner import each_unit, runner_for
from remotesam.run.store import RunStore
from remotesam.segmenter.protocol import NetworkCalls
from remotesam.tiles.multipass import ChipResult, Segment
from remotesam.tiles.task import write_unit
from remotesam.windows import Window

CELL = 126
"""Side of a cell, px: 15 876 px, the mean segment of the published 1.94 Gpx run (124 180 segments)."""

ASPECT = 1.5
"""Height over width of the mosaic, as the 36 000 × 54 000 of the published run."""


@dataclass(frozen=True)
class Mosaic:
    """A raster of which only the grid is ever asked for."""

    spec: RasterSpec
    stretch: None = None

    def read(self, window: Window) -> None:
        """A cluster's workers show that they reach the raster; this one has no pixels."""


class NoModel:
    """In the model's place; no tile is segmented here."""

    name, digest, image_size, device = "none", "0" * 64, 0, "none"
    network_calls = NetworkCalls()


def make_tile(context: WorkerContext[TileJob], index: int) -> int:
    """Task: write the label map that a segmented tile would have left."""
    tile = context.job.grid[index]
    chip = tile.chip
    y = np.arange(chip.row, chip.row_stop, dtype=np.float32)[:, None]
    x = np.arange(chip.col, chip.col_stop, dtype=np.float32)[None]
    down = y + 14 * np.sin(x / 37) + 5 * np.sin(x / 9)
    row = np.floor(down / CELL).astype(np.int32)
    across = x + 14 * np.sin(y / 41) + 5 * np.sin(y / 10) + (row * 7919 % 101).astype(np.float32) / 101 * CELL
    col = np.floor(across / CELL).astype(np.int32)
    mixed = (row * 73856093) ^ (col * 19349663)
    split = ((mixed + index * 7919) % 10 == 0) & (across - col * CELL > CELL / 2)
    width = int(col.max() - col.min() + 1)
    labels = 2 * ((row - row.min()) * width + (col - col.min())) + 1 + split
    labels[mixed % 33 == 0] = 0
    count = int(labels.max())
    result = ChipResult(labels.astype(np.int32), [Segment(0.9, 0.9, 0, 0.9, 0.9, (0.0, 0.0))] * count, [])
    owned = np.zeros(chip.shape, np.bool_)
    owned[tile.core_in_chip.slices] = True
    unit = UnitImage(np.empty(0, np.uint8), np.ones(chip.shape, np.bool_), owned, float(owned.sum()), chip)
    write_unit(context.store, context.reader, index, unit, result, 0.0)
    return count


class Peak:
    """The most memory that this process and its children had together while the block ran, bytes."""

    def __enter__(self) -> Self:
        self.bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        own = psutil.Process()
        while True:
            total = 0
            for process in [own, *own.children(recursive=True)]:
                try:
                    # Shared pages (libraries) once, not once per worker.
                    total += process.memory_full_info().pss
                except psutil.Error:
                    continue
            self.bytes = max(self.bytes, total)
            if self._stop.wait(0.3):
                return


def measure(gpx: float, workers: str, tile_size: int) -> dict[str, object]:
    """One mosaic through all stages."""
    width = int(math.sqrt(gpx * 1e9 / ASPECT))
    height = int(width * ASPECT)
    spec = RasterSpec(
        path="mosaic.tif",
        height=height,
        width=width,
        dtype="uint8",
        count=3,
        crs="EPSG:32633",
        transform=(0.05, 0.0, 400_000.0, 0.0, -0.05, 5_800_000.0),
        georeferencing="affine",
        bands=(1, 2, 3),
        nodata=None,
        area="",
        identity="synthetic",
    )
    folder = Path(tempfile.mkdtemp(prefix="remotesam-scale-"))
    config = make_config(workers=workers, tile_size=tile_size)
    job = TileJob(Mosaic(spec), str(folder / "run"), config)  # type: ignore[arg-type]
    store = RunStore(job.run_url)
    row: dict[str, object] = {"gpx": round(height * width / 1e9, 3), "height": height, "width": width}
    peaks = {}
    try:
        with runner_for(job, RunOptions(segmenter=NoModel()), None) as runner:

            def stage(name: str, work: Callable[[], Any]) -> Any:
                started = time.perf_counter()
                with Peak() as peak:
                    result = work()
                row[f"{name}_s"], peaks[name] = round(time.perf_counter() - started, 1), peak.bytes
                return result

            each_unit(job, runner, "tiles", make_tile)
            stage("seams", lambda: each_unit(job, runner, "seams", match_seams))
            found = stage("match", lambda: match(job, lambda name, task: each_unit(job, runner, name, task)))
            stage("polygons", lambda: each_unit(job, runner, "polygons", trace_tile))
            output = folder / "out.gpkg"
            table = stage("write", lambda: write_polygons(job, store, str(output), runner))
        total = sum(float(str(value)) for name, value in row.items() if name.endswith("_s"))
        row |= {
            "total_s": round(total, 1),
            "mpx_per_s": round(height * width / 1e6 / total, 2),
            "peak_gib": round(max(peaks.values()) / 2**30, 2),
            "peaks_gib": {name: round(value / 2**30, 2) for name, value in peaks.items()},
            "segments": len(table),
            "joins": found.joins,
            "features": pyogrio.read_info(output, layer="segments")["features"],
            "gpkg_mb": round(output.stat().st_size / 1e6),
            "valid_coverage": is_coverage(output),
        }
    finally:
        shutil.rmtree(folder)
    return row


def is_coverage(path: Path, blocks: int = 12) -> bool:
    """True when no two polygons overlap and shared borders have the same vertices on both sides.

    Looked at block by block: whatever two polygons share lies in some block that both reach into.
    """
    info = pyogrio.read_info(path, layer="segments", force_total_bounds=True)
    west, south, east, north = info["total_bounds"]
    xs, ys = np.linspace(west, east, blocks + 1), np.linspace(south, north, blocks + 1)
    for x0, x1 in itertools.pairwise(xs):
        for y0, y1 in itertools.pairwise(ys):
            shapes = pyogrio.read_dataframe(path, layer="segments", columns=[], bbox=(x0, y0, x1, y1))
            if not shapely.coverage_is_valid(shapes.geometry.to_numpy()):
                return False
    return True


def plot(rows: list[dict[str, object]], path: Path) -> None:
    """Speed and memory over the size of the mosaic."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    size = [row["gpx"] for row in rows]
    left.plot(size, [row["mpx_per_s"] for row in rows], marker="o")
    left.set(xlabel="mosaic, Gpx", ylabel="Mpx/s", title="Seams to GeoPackage", ylim=(0, None))
    right.plot(size, [row["peak_gib"] for row in rows], marker="o", color="tab:orange")
    right.set(xlabel="mosaic, Gpx", ylabel="GiB", title="Peak memory, all processes", ylim=(0, None))
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gpx", type=float, nargs="+", default=[0.1])
    parser.add_argument("--workers", default="2")
    parser.add_argument("--tile-size", type=int, default=1000)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    print(
        f"{dt.date.today()}, {platform.machine()}, {psutil.cpu_count()} cores, "
        f"workers {options.workers}, tiles of {options.tile_size} px"
    )
    rows = []
    for gpx in options.gpx:
        rows.append(measure(gpx, options.workers, options.tile_size))
        print(json.dumps(rows[-1]), flush=True)
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
