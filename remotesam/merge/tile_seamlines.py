"""The seamlines of a tile and its neighbours in the east and south, kept in the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from remotesam.grid import Tile, TileGrid
from remotesam.merge.joins import Joins
from remotesam.merge.seamlines import Offsets, Strip, seamline, with_joins
from remotesam.run.layout import seamlines_name, segments_name
from remotesam.run.records import UnitSummary
from remotesam.run.store import RunStore, summary_of
from remotesam.windows import Window

Ints = NDArray[np.int64]

_NO_LINE = np.empty(0, np.int16)
_NOTHING = np.empty(0, np.int64)


ReadSeamlines = Callable[[int], "TileSeamlines"]
"""Gives the lines of a tile by its index; `read_seamlines`, with what memory the caller can spare."""

_FIELDS = ("east", "south", "tile", "label", "moved")


class Segmented(Protocol):
    """A finished tile."""

    @property
    def tile(self) -> Tile:
        """Where it lies."""
        ...

    @property
    def n_core(self) -> int:
        """Labels 1..n_core own core pixels."""
        ...

    def labels(self, window: Window) -> NDArray[np.int32]:
        """The tile's labels in a window of its chip, in raster pixels."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TileSeamlines:
    """The seamlines of one tile with two of its neighbours, and what they move."""

    east: Offsets = field(default_factory=lambda: _NO_LINE)
    """(core rows,) px by which the line lies east of the seam with the eastern neighbour; empty = nowhere."""
    south: Offsets = field(default_factory=lambda: _NO_LINE)
    """(core columns,) px by which the line lies south of the seam with the southern neighbour; likewise."""
    tile: Ints = field(default_factory=lambda: _NOTHING)
    """(k,) tile ..."""
    label: Ints = field(default_factory=lambda: _NOTHING)
    """(k,) ... and label of the segments that gain or lose pixels; rows may repeat."""
    moved: Ints = field(default_factory=lambda: _NOTHING)
    """(k,) pixels gained in the other tile's core (> 0) or lost in its own (< 0)."""


def find_seamlines(
    segmented: Segmented, others: Sequence[tuple[Segmented, Joins]], grid: TileGrid, padding: int
) -> TileSeamlines:
    """Find the lines of one tile.

    Args:
        segmented: the tile.
        others: its neighbours that were segmented, with their joins; those at a corner have no line.
        grid: all tiles.
        padding: how far a line may stray, px.
    """
    lines: dict[str, Offsets] = {}
    moved = [(_NOTHING, _NOTHING, _NOTHING)]
    for other, joins in others:
        if segmented.tile.row != other.tile.row and segmented.tile.col != other.tile.col:
            continue
        name = "east" if segmented.tile.row == other.tile.row else "south"
        window, middle = _band(segmented.tile, other.tile, padding)
        own, theirs = segmented.labels(window), other.labels(window)
        position, count = segmented.tile.row, grid.rows
        if name == "south":
            own, theirs, position, count = own.T, theirs.T, segmented.tile.col, grid.cols
        a, b = with_joins(own, theirs, joins.label_a, joins.label_b)
        own_a, own_b = (own > 0) & (own <= segmented.n_core), (theirs > 0) & (theirs <= other.n_core)
        strip = Strip(a=a, b=b, owned_a=own_a, owned_b=own_b, middle=middle)
        line = seamline(strip, open_start=position == 0, open_end=position == count - 1)
        if not line.any():
            continue
        lines[name] = line
        column, cut = np.arange(own.shape[1]), middle + line[:, None].astype(np.int64)
        to_one, to_other = (column >= middle) & (column < cut), (column < middle) & (column >= cut)
        moved.append(_count(segmented, own[to_one], 1))
        moved.append(_count(other, theirs[to_one], -1))
        moved.append(_count(other, theirs[to_other], 1))
        moved.append(_count(segmented, own[to_other], -1))
    tile, label, pixels = (np.concatenate(column) for column in zip(*moved, strict=True))
    return TileSeamlines(**lines, tile=tile, label=label, moved=pixels)


def write_seamlines(store: RunStore, index: int, seamlines: TileSeamlines) -> None:
    """Keep the lines of a tile in the run."""
    store.put_arrays(seamlines_name(index), {name: getattr(seamlines, name) for name in _FIELDS})


def read_seamlines(store: RunStore, index: int) -> TileSeamlines:
    """What `write_seamlines` wrote; no lines for a tile that failed."""
    arrays, _ = store.get_arrays(seamlines_name(index))
    return TileSeamlines(**arrays)


def owned_segments(store: RunStore, grid: TileGrid, index: int, read: ReadSeamlines) -> pa.Table:
    """The segments of a tile that own pixels: the first rows of its table, `core_area` as after seamlines.

    Args:
        store: the run.
        grid: all tiles.
        index: of the tile.
        read: gives the lines of a tile.
    """
    table = store.get_table(segments_name(index))
    table = table.slice(0, summary_of(table, UnitSummary).segments)
    areas = table["core_area"].to_numpy().copy()
    for source in grid.before(index):
        seamlines = read(source)
        of_tile = seamlines.tile == index
        np.add.at(areas, seamlines.label[of_tile] - 1, seamlines.moved[of_tile])
    return table.set_column(table.column_names.index("core_area"), "core_area", pa.array(areas))


def taken_from(
    grid: TileGrid, index: int, read: ReadSeamlines
) -> Iterator[tuple[Tile, Window, NDArray[np.bool_]]]:
    """The parts of a tile's core that its neighbours write.

    Args:
        grid: all tiles.
        index: of the tile.
        read: gives the lines of a tile.

    Yields:
        The neighbour, a window in the core in raster px, and (H, W) True where the neighbour writes; no pixel
        is marked twice.
    """
    tile = grid[index]
    core = tile.core
    own = read(index)
    if own.east.size and own.east.min() < 0:
        reach = -int(own.east.min())
        window = Window(core.row, core.col_stop - reach, core.height, reach)
        yield grid[index + 1], window, np.arange(reach) >= reach + own.east[:, None]
    if own.south.size and own.south.min() < 0:
        reach = -int(own.south.min())
        window = Window(core.row_stop - reach, core.col, reach, core.width)
        yield grid[index + grid.cols], window, np.arange(reach)[:, None] >= reach + own.south
    if tile.col and (line := read(index - 1).east).size and (reach := int(line.max())) > 0:
        window = Window(core.row, core.col, core.height, reach)
        yield grid[index - 1], window, np.arange(reach) < line[:, None]
    if tile.row and (line := read(index - grid.cols).south).size and (reach := int(line.max())) > 0:
        window = Window(core.row, core.col, reach, core.width)
        yield grid[index - grid.cols], window, np.arange(reach)[:, None] < line


def _band(tile: Tile, other: Tile, padding: int) -> tuple[Window, int]:
    """The pixels round a seam that both tiles see, over the seam's whole length, and how many lie before it.

    At most half of a core, so that the lines on its two sides cannot cross.
    """
    vertical = tile.row == other.row
    a, b, chip_a, chip_b = (
        w if vertical else _turned(w) for w in (tile.core, other.core, tile.chip, other.chip)
    )
    before = min(padding, a.width // 2, b.col - max(chip_b.col, a.col))
    after = min(padding, b.width // 2, min(chip_a.col_stop, b.col_stop) - b.col)
    window = Window(a.row, b.col - before, a.height, before + after)
    return window if vertical else _turned(window), before


def _turned(window: Window) -> Window:
    return Window(window.col, window.row, window.width, window.height)


def _count(tile: Segmented, labels: NDArray[np.int32], sign: int) -> tuple[Ints, Ints, Ints]:
    """Tile, label and signed number of pixels of the labels that can own pixels."""
    amounts = np.bincount(labels[labels <= tile.n_core])
    found = np.flatnonzero(amounts[1:]) + 1
    return np.full(len(found), tile.tile.index, np.int64), found, sign * amounts[found]
