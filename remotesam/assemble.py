"""Whole segments from the parts of all tiles, in tile order, as they become complete."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from remotesam.attributes import Attributes
from remotesam.errors import StoreError
from remotesam.final_labels import FinalLabels
from remotesam.grid import TileGrid
from remotesam.polygon_task import read_parts, read_rim
from remotesam.seam_union import SeamUnion
from remotesam.store import RunStore
from remotesam.tile_task import segments_name


@dataclass(frozen=True, slots=True)
class Batch:
    """Segments that became complete with one tile."""

    tile: int
    """The tile that completed them."""
    ids: NDArray[np.int64]
    """(n,) final ids, ascending."""
    geometries: NDArray[np.object_]
    """(n,) Polygons and MultiPolygons in raster px."""
    columns: dict[str, NDArray]
    """(n,) attributes by name, see `Attributes.take`."""


class _TilesOf(dict[int, int]):
    """In how many tiles an id owns pixels; ids that are not named own pixels in one."""

    def __missing__(self, key: int) -> int:
        return 1


def assemble(store: RunStore, grid: TileGrid) -> Iterator[Batch]:
    """Put the segments of a finished polygon stage together.

    Holds in memory only the parts of segments that still wait for a tile.

    Raises:
        StoreError: the files of the run do not fit together.
    """
    union, attributes = SeamUnion(_tiles_of(store, grid)), Attributes()
    final = FinalLabels(store, grid)
    for index in range(len(grid)):
        own = final.of_tile(index)
        if len(own):
            attributes.add(index, own, store.get_table(segments_name(index)))
        ids, geometries = union.add(read_parts(store, index))
        yield Batch(index, ids, geometries, attributes.take(ids))
    if len(union.waiting()):
        raise StoreError(f"{store.url}: parts of segment {union.waiting()[0]} are missing; run again with --fresh")


def _tiles_of(store: RunStore, grid: TileGrid) -> _TilesOf:
    """Count the tiles of every id that reaches a rim; the others cannot continue anywhere."""
    counts = _TilesOf()
    for index in range(len(grid)):
        for key in read_rim(store, index).tolist():
            counts[key] = dict.get(counts, key, 0) + 1
    return _TilesOf((key, count) for key, count in counts.items() if count > 1)
