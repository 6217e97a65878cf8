"""Final ids of any window of the raster, put together from the tiles' own labels and the look-up table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from remotesam.grid import Tile, TileGrid
from remotesam.merge.scales import Choice, Contribution
from remotesam.merge.tile_seamlines import read_seamlines, taken_from
from remotesam.run.job import TileJob
from remotesam.run.layout import LUT_NAME, OFFSETS_NAME, SHARED_NAME, labels_name
from remotesam.run.store import RunStore, decode_labels
from remotesam.windows import Window

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
        self.seamlines = lru_cache(4 * KEPT_TILES)(lambda index: read_seamlines(store, index))
        """Gives the seamlines of a tile by its index."""

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
            for other, place, taken in taken_from(self._grid, tile.index, self.seamlines):
                there = place.intersect(window)
                if not there.empty:
                    inside = taken[there.relative_to(place).slices]
                    ids[there.relative_to(window).slices][inside] = self._read_part(other, there)[inside]
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
            lines = self.seamlines(source)
            for tile in np.unique(lines.tile).tolist():
                moved = (lines.tile == tile) & (lines.moved > 0)
                ids.append(self.of_tile(tile)[lines.label[moved] - 1])
        return np.setdiff1d(np.concatenate(ids), [0])

    def _read_part(self, tile: Tile, part: Window) -> NDArray[np.int64]:
        look_up = self._final_ids(tile.index)
        if len(look_up) == 0:
            return np.zeros(part.shape, np.int64)
        labels = decode_labels(self._compressed(tile.index), part.relative_to(tile.chip))
        final_ids = np.zeros(max(len(look_up), int(labels.max())) + 1, np.int64)
        final_ids[1 : len(look_up) + 1] = look_up
        return final_ids[labels]

    def _read_ids(self, index: int) -> NDArray[np.int64]:
        start, stop = int(self._offsets[index]), int(self._offsets[index + 1])
        if start == stop:
            return np.empty(0, np.int64)
        return np.frombuffer(self._store.get(LUT_NAME, 8 * start, 8 * stop), "<i8")


_ARRAYS = ("from_fine", "from_coarse", "filling", "origin", "pixels", "old")


_COUNTS = ("fragments", "straddling")


class LabelReader(Protocol):
    """Reads final ids."""

    def read(self, window: Window) -> NDArray[np.int64]:
        """Final ids of a window in raster pixels, which may reach outside; 0 = none."""
        ...


class FusedLabels:
    """The labels of several scales, combined by the choices made between them.

    Args:
        scales: labels of each scale, the coarsest first.
        choices: the k-th says how scale k + 1 is combined with what came before.
    """

    def __init__(self, scales: Sequence[LabelReader], choices: Sequence[Choice]) -> None:
        self._scales = scales
        self._choices = choices

    def read(self, window: Window) -> NDArray[np.int64]:
        """See `LabelReader.read`."""
        labels = self._scales[0].read(window)
        for finer, choice in zip(self._scales[1:], self._choices, strict=True):
            labels, _ = choice.apply(labels, finer.read(window))
        return labels


def labels_of(job: TileJob) -> LabelReader:
    """The final labels of a run whose match, and whose choices between scales, are done."""
    scales = [FinalLabels(RunStore(one.run_url), one.grid) for one in job.scales()]
    if len(scales) == 1:
        return scales[0]
    store = RunStore(job.run_url)
    return FusedLabels(scales, [read_choice(store, step) for step in range(1, len(scales))])


def choice_name(step: int) -> str:
    """Where the choice between scale `step` and the coarser ones lies in the run."""
    return f"fused/choice-{step}.arrow"


def write_choice(store: RunStore, step: int, choice: Choice) -> None:
    """Keep a choice in the run."""
    counts = {name: getattr(choice, name) for name in _COUNTS}
    contributions = {"coarse": asdict(choice.coarse), "fine": asdict(choice.fine)}
    arrays = {name: getattr(choice, name) for name in _ARRAYS}
    store.put_arrays(choice_name(step), arrays, json.dumps({**counts, **contributions}))


def read_choice(store: RunStore, step: int) -> Choice:
    """What `write_choice` wrote."""
    arrays, text = store.get_arrays(choice_name(step))
    facts: dict[str, Any] = json.loads(text)
    values: dict[str, Any] = dict(arrays)
    return Choice(
        **values,
        coarse=Contribution(**facts.pop("coarse")),
        fine=Contribution(**facts.pop("fine")),
        **facts,
    )
