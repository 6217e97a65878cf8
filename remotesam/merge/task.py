"""The seam task: what a tile and its neighbours to the east and south agree on, and their seamlines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from remotesam.choices import STRATEGIES
from remotesam.config import SegmentConfig
from remotesam.grid import Tile, strip
from remotesam.merge.components import Edges
from remotesam.merge.evidence import contact_evidence, facing_lines, strip_evidence
from remotesam.merge.joins import Joins, Pair, Rule
from remotesam.merge.tile_seamlines import TileSeamlines, find_seamlines, write_seamlines
from remotesam.run.job import TileJob, WorkerContext
from remotesam.run.layout import labels_name, seams_name, segments_name
from remotesam.run.records import SeamsSummary, UnitSummary
from remotesam.run.store import RunStore, decode_labels, summary_of
from remotesam.windows import Window

_COLUMNS = ("key_a", "key_b", "score", "area", "kind")


@dataclass(frozen=True, slots=True)
class SegmentedTile:
    """A finished tile, as its neighbours need to know it."""

    tile: Tile
    """Where it lies."""
    n_core: int
    """Labels 1..n_core own core pixels."""
    chip_area: NDArray[np.int64]
    """(n,) pixels of each label in the chip."""
    compressed: bytes
    """The label map."""

    def labels(self, window: Window) -> NDArray[np.int32]:
        """The tile's labels in a window of its chip, in raster pixels."""
        return decode_labels(self.compressed, window.relative_to(self.tile.chip))


def match_seams(context: WorkerContext[TileJob], index: int) -> int:
    """Compare one tile with its neighbours and write the joins and the lines between them to the run.

    A tile that failed has no labels and joins nothing.

    Returns:
        The number of joins.
    """
    grid = context.job.grid
    config = context.job.config
    tile = _open(context.store, grid[index])
    edges, line = Edges.concatenate([]), TileSeamlines()
    if tile is not None and tile.n_core:
        others = [_open(context.store, other) for other in grid.neighbours(index)]
        joined = [(other, join(tile, other, config)) for other in others if other is not None]
        edges = Edges.concatenate([Edges.of(joins, index, other.tile.index) for other, joins in joined])
        if STRATEGIES[config.merge].seamlines:
            line = find_seamlines(tile, joined, grid, config.padding)
    write_seamlines(context.store, index, line)
    table = pa.table({name: getattr(edges, name) for name in _COLUMNS})
    summary = SeamsSummary(segments=tile.n_core if tile else 0)
    context.store.put_table(seams_name(index), table, summary)
    return len(edges)


def join(tile: SegmentedTile, other: SegmentedTile, config: SegmentConfig) -> Joins:
    """The joins of two neighbouring tiles by the strategy asked for, or its stand-in without padding."""
    strategy = STRATEGIES[config.merge]
    if config.padding == 0 and strategy.without_padding is not None:
        strategy = STRATEGIES[strategy.without_padding]
    lines, windows = facing_lines(tile.tile, other.tile), strip(tile.tile, other.tile)
    seen = contacts = None
    if "strip" in strategy.evidence:
        seen = strip_evidence(_pixels(tile, windows), _pixels(other, windows))
    if "contacts" in strategy.evidence and lines is not None:
        contacts = contact_evidence(tile.labels(lines[0]), other.labels(lines[1]))
    rule: Rule = strategy.load()
    return rule(
        Pair(
            strip=seen,
            contacts=contacts,
            chip_area_a=tile.chip_area,
            chip_area_b=other.chip_area,
            n_core_a=tile.n_core,
            n_core_b=other.n_core,
            at_corner=lines is None,
            min_contact=config.min_contact,
        )
    )


def read_edges(store: RunStore, index: int) -> tuple[Edges, int]:
    """What `match_seams` wrote for a tile: its edges, and its number of labels that own core pixels."""
    table = store.get_table(seams_name(index))
    return Edges(**{name: table[name].to_numpy() for name in _COLUMNS}), summary_of(
        table, SeamsSummary
    ).segments


def _open(store: RunStore, tile: Tile) -> SegmentedTile | None:
    if not store.exists(segments_name(tile.index)):
        return None
    table = store.get_table(segments_name(tile.index))
    n_core = summary_of(table, UnitSummary).segments
    return SegmentedTile(tile, n_core, table["area"].to_numpy(), store.get(labels_name(tile.index)))


def _pixels(tile: SegmentedTile, windows: list[Window]) -> NDArray[np.int32]:
    return np.concatenate([np.empty(0, np.int32), *(tile.labels(window).ravel() for window in windows)])
