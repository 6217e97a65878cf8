"""Whole segments from the parts of all tiles, in tile order, as they become complete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from remotesam.attributes import Shown
from remotesam.errors import StoreError
from remotesam.merge.attributes import Attributes
from remotesam.merge.final_labels import FinalLabels
from remotesam.merge.scale_task import SEGMENTS_NAME
from remotesam.merge.tile_seamlines import owned_segments
from remotesam.polygons.task import read_parts
from remotesam.polygons.union import SeamUnion
from remotesam.run.job import TileJob
from remotesam.run.store import RunStore


@dataclass(frozen=True, slots=True)
class Batch:
    """Segments that became complete with one tile."""

    tile: int
    """The tile that completed them."""
    ids: NDArray[np.int64]
    """(n,) final ids, ascending."""
    geometries: NDArray[np.object_]
    """(n,) Polygons and MultiPolygons in raster px."""
    columns: dict[str, NDArray[Any]]
    """(n,) attributes by name, see `Attributes.take`."""


class _TilesOf(dict[int, int]):
    """In how many tiles an id owns pixels; ids that are not named own pixels in one."""

    def __missing__(self, key: int) -> int:
        return 1


def assemble(job: TileJob, store: RunStore) -> Iterator[Batch]:
    """Put the segments of a finished polygon stage together.

    Holds in memory only the parts of segments that still wait for a tile.

    Args:
        job: the run.
        store: its directory.

    Raises:
        StoreError: the files of the run do not fit together.
    """
    source: _Attributes = _Streamed(job, store) if len(job.config.tile_size) == 1 else _Fused(job, store)
    tiles_of = source.tiles_of()
    union = SeamUnion(tiles_of)
    for index in range(len(job.grid)):
        source.reach(index)
        ids, geometries = union.add(read_parts(store, index))
        columns = source.take(ids) | {"tiles": np.array([tiles_of[key] for key in ids.tolist()], np.int32)}
        yield Batch(index, ids, geometries, columns)
    waiting = union.waiting()
    if len(waiting):
        raise StoreError(f"{store.url}: parts of segment {waiting[0]} are missing; run again with --fresh")


class _Attributes(Protocol):
    def tiles_of(self) -> _TilesOf: ...

    def reach(self, index: int) -> None: ...

    def take(self, ids: NDArray[np.int64]) -> dict[str, NDArray[Any]]: ...


class _Streamed:
    """Attributes gathered from the tiles' own tables as they are reached."""

    def __init__(self, job: TileJob, store: RunStore) -> None:
        self._grid, self._store = job.grid, store
        self._final = FinalLabels(store, job.grid)
        self._gathered = Attributes(Shown.POLYGONS, {"scale": max(job.config.tile_size)})
        self._ahead: set[int] = set()

    def tiles_of(self) -> _TilesOf:
        # Reaching the tile's edge would not do as a mark: two tiles can agree on an object of which one of
        # them gives a piece away to another segment right at the edge.
        return _count(
            np.intersect1d(read_parts(self._store, index).ids, self._final.shared(index))
            for index in range(len(self._grid))
        )

    def reach(self, index: int) -> None:
        # A later tile may have written here, and nowhere else: its rows are needed now.
        lines = self._final.seamlines(index)
        later = set(np.unique(lines.tile[lines.moved > 0]).tolist()) - {index}
        for tile in sorted(({index} | later) - self._ahead):
            own = self._final.of_tile(tile)
            if len(own):
                table = owned_segments(self._store, self._grid, tile, self._final.seamlines)
                self._gathered.add(tile, own, table)
        self._ahead = {tile for tile in self._ahead | later if tile > index}

    def take(self, ids: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        return self._gathered.take(ids)


class _Fused:
    """Attributes of segments that were chosen from several scales."""

    def __init__(self, job: TileJob, store: RunStore) -> None:
        table = store.get_table(SEGMENTS_NAME)
        self._columns = {name: table[name].to_numpy() for name in table.column_names}
        self._tiles, self._store = len(job.grid), store

    def tiles_of(self) -> _TilesOf:
        return _count(np.unique(read_parts(self._store, index).ids) for index in range(self._tiles))

    def reach(self, index: int) -> None:
        """Everything is known from the start."""

    def take(self, ids: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        return {name: values[ids - 1] for name, values in self._columns.items()}


def _count(ids_of_tiles: Iterable[NDArray[np.int64]]) -> _TilesOf:
    """In how many tiles each id is met, for those met more than once."""
    counts = _TilesOf()
    for ids in ids_of_tiles:
        for key in ids.tolist():
            counts[key] = dict.get(counts, key, 0) + 1
    return _TilesOf((key, count) for key, count in counts.items() if count > 1)
