"""Final ids of any window of the raster, put together from the tiles' own labels and the look-up table."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from remotesam.grid import Tile, TileGrid
from remotesam.merge.tile_seamlines import read_handover, taken_from
from remotesam.run.store import RunStore, decode_labels
from remotesam.tiles.task import labels_name
from remotesam.windows import Window

LUT_NAME = "match/lut.i64"
"""Final ids of all owned labels, tile after tile, little-endian int64."""

OFFSETS_NAME = "match/offsets.i64"
"""(tiles + 1,) int64: where each tile's final ids start in the look-up table, counted in ids."""

SHARED_NAME = "match/shared.u1"
"""A byte for each final id in the look-up table: 1 = the segment has pieces in other tiles or labels."""

KEPT_TILES = 16
"""Compressed label maps kept in memory: a row-major walk meets each neighbour again soon."""


class FinalLabels:
    """Reads the joined labels of a run; nothing larger than the asked window is ever made.

    Safe to share between threads.
    """

    def __init__(self, store: RunStore, grid: TileGrid) -> None:
        self._store = store
        self._grid = grid
        self._offsets = np.frombuffer(store.get(OFFSETS_NAME), "<i8")
        self._compressed = lru_cache(KEPT_TILES)(lambda index: store.get(labels_name(index)))
        self._final_ids = lru_cache(4 * KEPT_TILES)(self._read_ids)
        self.handover = lru_cache(4 * KEPT_TILES)(lambda index: read_handover(store, index))
        """Gives the lines along which a tile hands over, by its index."""

    def read(self, window: Window) -> NDArray[np.int64]:
        """Final ids of a window; 0 = no segment, failed tile, or outside the raster.

        Args:
            window: in raster pixels; may reach outside.

        Returns:
            (window.height, window.width) int64.
        """
        ids = np.zeros(window.shape, np.int64)
        for tile in self._grid.around(window):
            part = tile.core.intersect(window)
            ids[part.relative_to(window).slices] = self._read_part(tile, part)
            for other, place, taken in taken_from(self._grid, tile.index, self.handover):
                there = place.intersect(window)
                if not there.empty:
                    here = taken[there.relative_to(place).slices]
                    ids[there.relative_to(window).slices][here] = self._read_part(other, there)[here]
        return ids

    def of_tile(self, index: int) -> NDArray[np.int64]:
        """(n_core,) int64: final id of each owned label of a tile, from label 1 on; 0 = removed."""
        return self._final_ids(index)

    def shared(self, index: int) -> NDArray[np.int64]:
        """(n,) ids, ascending: all of a tile's that own pixels in other tiles too, and perhaps some more."""
        start, stop = int(self._offsets[index]), int(self._offsets[index + 1])
        flags = np.frombuffer(self._store.get(SHARED_NAME, start, stop) if stop > start else b"", np.bool_)
        ids = [self.of_tile(index)[flags]]
        for source in self._grid.before(index):
            lines = self.handover(source)
            for tile in np.unique(lines.tile).tolist():
                moved = (lines.tile == tile) & (lines.moved > 0)
                ids.append(self.of_tile(tile)[lines.label[moved] - 1])
        return np.setdiff1d(np.concatenate(ids), [0])

    def _read_part(self, tile: Tile, part: Window) -> NDArray[np.int64]:
        look_up = self._final_ids(tile.index)
        if len(look_up) == 0:
            return np.zeros(part.shape, np.int64)
        labels = decode_labels(self._compressed(tile.index), part.relative_to(tile.chip))
        known = np.zeros(max(len(look_up), int(labels.max())) + 1, np.int64)
        known[1 : len(look_up) + 1] = look_up
        return known[labels]

    def _read_ids(self, index: int) -> NDArray[np.int64]:
        start, stop = int(self._offsets[index]), int(self._offsets[index + 1])
        if start == stop:
            return np.empty(0, np.int64)
        return np.frombuffer(self._store.get(LUT_NAME, 8 * start, 8 * stop), "<i8")
