"""How fast labels become polygons: tracing and simplifying, joining over seams, writing a GeoPackage.

Labels are rough-edged cells of about `--segment` px each, made tile by tile with ids that agree across tiles,
so nothing in memory grows with the area but what the code under test holds. One process does everything in
turn, and seconds are CPU seconds, so other programs do not count; tracing is the part that a run spreads
over its workers.

    python benchmarks/polygons.py --gpx 0.1

With `--seam-vertices RUN` (the directory of a finished run) it counts instead how many vertices of the run's
polygons the rules for seams take out (`remotesam.polygons.union`).
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from remotesam.grid import Tile, TileGrid
from remotesam.polygons.task import read_parts
from remotesam.polygons.tile_polygons import tile_parts
from remotesam.polygons.union import SeamUnion
from remotesam.run.store import RunStore
from remotesam.vector.measures import measure
from remotesam.vector.transform import place
from remotesam.vector.writer import Features, write_features

TRANSFORM = (0.25, 0.0, 650_000.0, 0.0, -0.25, 6_480_000.0)
SCHEMA = pa.schema([("id", pa.int64()), ("area_m2", pa.float64()), ("perimeter_m", pa.float64())])
ROUGH = 256
"""Period of the wobble of the cells' edges, px."""


class Cells:
    """A label map of any size that can be asked for window by window."""

    def __init__(self, height: int, width: int, segment: int) -> None:
        """Cells of `segment` px on a jittered grid, `height` × `width` px in all."""
        self.side = round(segment**0.5)
        self.rows, self.cols = -(-height // self.side), -(-width // self.side)
        self.height, self.width = height, width
        rng = np.random.default_rng(0)
        steps = rng.normal(size=(2, ROUGH, ROUGH))
        for axis in (1, 2):
            steps = sum(np.roll(steps, shift, axis) for shift in range(-10, 11)) / 21
        self.wobble = (steps * self.side * 0.7).astype(np.int64)

    def ring(self, tile: Tile) -> NDArray[np.int64]:
        """Ids of the tile's core with a 1-px ring; 0 outside the raster."""
        core = tile.core.pad(1)
        rows, cols = np.ogrid[core.row : core.row_stop, core.col : core.col_stop]
        shift = self.wobble[:, rows % ROUGH, cols % ROUGH]
        cell_row = np.clip((rows + shift[0]) // self.side, 0, self.rows - 1)
        brick = (cell_row % 2) * (self.side // 2)
        cell_col = np.clip((cols + shift[1] + brick) // self.side, 0, self.cols - 1)
        inside = (rows >= 0) & (rows < self.height) & (cols >= 0) & (cols < self.width)
        return np.where(inside, cell_row * self.cols + cell_col + 1, 0)


def count_seam_vertices(run: str) -> None:
    """Print how many vertices a run's polygons have without and with the rule for seams, and what it leaves.

    Left are vertices on seams at which two labels meet, the background being one. No other rule could take
    out more than those.
    """
    store = RunStore(run)
    parts = [read_parts(store, index) for index in sorted(store.finished("polygons"))]
    tiles_of: Counter[int] = Counter()
    for tile in parts:
        tiles_of.update(np.unique(tile.ids).tolist())
    seams = np.unique(np.concatenate([tile.seams[["x", "y"]] for tile in parts]))
    counts = {}
    for rule in ("without", "with"):
        union = SeamUnion(tiles_of)
        shapes = [
            union.add(tile if rule == "with" else replace(tile, seams=tile.seams[:0]))[1] for tile in parts
        ]
        vertices = shapely.get_coordinates(np.concatenate(shapes)).astype(np.int64)
        on_seam = np.isin(vertices @ [1, 1 << 32], seams["x"] + (seams["y"] << 32))
        counts[rule] = len(vertices)
    counts["left"] = int(on_seam.sum())
    print(f"{run}: {len(parts)} tiles, {len(tiles_of)} polygons")
    for name, count in counts.items():
        print(f"{name:>9} {count:10d} vertices {count / counts['without']:8.2%}")


@click.command()
@click.option("--gpx", default=0.1, show_default=True, help="Size of the raster, gigapixels.")
@click.option("--segment", default=16_000, show_default=True, help="Pixels of a segment.")
@click.option("--tile-size", default=1000, show_default=True, help="Side of a tile, px.")
@click.option("--tolerance", default=1.0, show_default=True, help="Simplification, px.")
@click.option("--seam-vertices", metavar="RUN", help="Count vertices with and without the rules for seams.")
def main(gpx: float, segment: int, tile_size: int, tolerance: float, seam_vertices: str | None) -> None:
    """Print CPU seconds and Mpx/s of each stage, peak memory and held parts."""
    if seam_vertices is not None:
        count_seam_vertices(seam_vertices)
        return
    height = round((gpx * 1e9 * 2 / 3) ** 0.5)
    grid = TileGrid(height, round(gpx * 1e9 / height), tile_size, 0)
    cells = Cells(grid.height, grid.width, segment)
    tiles_of = np.zeros(cells.rows * cells.cols + 1, np.int32)
    for tile in grid:
        tiles_of[np.unique(cells.ring(tile)[1:-1, 1:-1])] += 1
    union, spent = SeamUnion(tiles_of), dict.fromkeys(("cells", "trace", "join", "write"), 0.0)

    def features() -> Iterator[Features]:
        for tile in grid:
            begun = time.process_time()
            ring = cells.ring(tile)
            start = time.process_time()
            parts = tile_parts(ring, tile.core, tolerance=tolerance)
            traced = time.process_time()
            ids, geometries = union.add(parts)
            joined = time.process_time()
            spent["cells"] += start - begun
            spent["trace"] += traced - start
            spent["join"] += joined - traced
            placed = place(geometries, TRANSFORM)
            yield placed, pa.table([ids, *measure(placed, "EPSG:3301")], schema=SCHEMA)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cells.gpkg"
        begun = time.process_time()
        written = write_features(path, features(), crs="EPSG:3301", schema=SCHEMA)
        spent["write"] = time.process_time() - begun - sum(spent.values())
        size = path.stat().st_size
    del spent["cells"]
    pixels = grid.height * grid.width / 1e6
    print(f"{grid.height} x {grid.width} px, {len(grid)} tiles, {written} polygons, {size / 1e6:.0f} MB")
    for stage, seconds in (*spent.items(), ("all", sum(spent.values()))):
        print(f"{stage:>6} {seconds:8.1f} CPU s {pixels / seconds:8.1f} Mpx/s of one core")
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
    print(f"peak memory {peak:.0f} MiB, at most {union.most_held} parts held, {len(union.waiting())} left")


if __name__ == "__main__":
    main()
