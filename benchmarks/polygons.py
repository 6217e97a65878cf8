"""How fast labels become polygons: tracing and simplifying, joining over seams, writing a GeoPackage.

Labels are rough-edged cells of about `--segment` px each, made tile by tile with ids that agree across tiles,
so nothing in memory grows with the area but what the code under test holds. One process does everything in
turn, and seconds are CPU seconds, so other programs do not count; tracing is the part that a run spreads
over its workers. What the thread that writes uses up is booked wherever it runs.

    python benchmarks/polygons.py --gpx 0.1
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from remotesam.grid import Tile, TileGrid
from remotesam.polygons.tile_polygons import tile_parts
from remotesam.polygons.union import SeamUnion
from remotesam.vector.measures import measure
from remotesam.vector.transform import place
from remotesam.vector.writer import open_writer

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


@click.command()
@click.option("--gpx", default=0.1, show_default=True, help="Size of the raster, gigapixels.")
@click.option("--segment", default=16_000, show_default=True, help="Pixels of a segment.")
@click.option("--tile-size", default=1000, show_default=True, help="Side of a tile, px.")
@click.option("--tolerance", default=1.0, show_default=True, help="Simplification, px.")
def main(gpx: float, segment: int, tile_size: int, tolerance: float) -> None:
    """Print CPU seconds and Mpx/s of each stage, peak memory and held parts."""
    height = round((gpx * 1e9 * 2 / 3) ** 0.5)
    grid = TileGrid(height, round(gpx * 1e9 / height), tile_size, 0)
    cells = Cells(grid.height, grid.width, segment)
    tiles_of = np.zeros(cells.rows * cells.cols + 1, np.int32)
    for tile in grid:
        tiles_of[np.unique(cells.ring(tile)[1:-1, 1:-1])] += 1
    union, spent, written = SeamUnion(tiles_of), dict.fromkeys(("trace", "join", "write"), 0.0), 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cells.gpkg"
        writer = open_writer(path, crs="EPSG:3301", schema=SCHEMA)
        for tile in grid:
            ring = cells.ring(tile)
            start = time.process_time()
            parts = tile_parts(ring, tile.core, tolerance=tolerance)
            traced = time.process_time()
            ids, geometries = union.add(parts)
            joined = time.process_time()
            placed = place(geometries, TRANSFORM)
            writer.write(placed, pa.table([ids, *measure(placed, "EPSG:3301")], schema=SCHEMA))
            written += len(ids)
            spent["trace"] += traced - start
            spent["join"] += joined - traced
            spent["write"] += time.process_time() - joined
        start = time.process_time()
        writer.close()
        spent["write"] += time.process_time() - start
        size = path.stat().st_size
    pixels = grid.height * grid.width / 1e6
    print(f"{grid.height} x {grid.width} px, {len(grid)} tiles, {written} polygons, {size / 1e6:.0f} MB")
    for stage, seconds in (*spent.items(), ("all", sum(spent.values()))):
        print(f"{stage:>6} {seconds:8.1f} CPU s {pixels / seconds:8.1f} Mpx/s of one core")
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
    print(f"peak memory {peak:.0f} MiB, at most {union.most_held} parts held, {len(union.waiting())} left")


if __name__ == "__main__":
    main()
