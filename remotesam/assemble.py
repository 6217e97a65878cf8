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
from remotesam.polygon_task import read_parts
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
    final = FinalLabels(store, grid)
    union, attributes = SeamUnion(_tiles_of(final, grid)), Attributes()
    for index in range(len(grid)):
        own = final.of_tile(index)
        if len(own):
            attributes.add(index, own, store.get_table(segments_name(index)))
        ids, geometries = union.add(read_parts(store, index))
        yield Batch(index, ids, geometries, attributes.take(ids))
    waiting = union.waiting()
    if len(waiting):
        raise StoreError(f"{store.url}: parts of segment {waiting[0]} are missing; run again with --fresh")


def _tiles_of(final: FinalLabels, grid: TileGrid) -> _TilesOf:
    """Count the tiles of every id that was joined; the others are in one tile.

    Reaching the tile's edge would not do as a mark: two tiles can agree on an object of which one of them
    gives a piece away to another segment right at the edge.
    """
    counts = _TilesOf()
    for index in range(len(grid)):
        for key in final.shared(index).tolist():
            counts[key] = dict.get(counts, key, 0) + 1
    return _TilesOf((key, count) for key, count in counts.items() if count > 1)
