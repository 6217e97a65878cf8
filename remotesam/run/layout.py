"""What lies where in a run directory."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

Summary = dict[str, Any]
"""What travels back from a worker: a few numbers, never pixels."""


def labels_name(index: int) -> str:
    """Where a tile's label map lies in the run."""
    return f"tiles/{index}.tif"


def segments_name(index: int) -> str:
    """Where a tile's segment table lies in the run; it exists when the tile is done."""
    return f"tiles/{index}.arrow"


def failure_name(index: int) -> str:
    """Where a tile's failure is recorded in the run."""
    return f"tiles/{index}.failed"


def read_summary(table: pa.Table) -> Summary:
    """The summary that `segment_tile` left in a segment table."""
    summary: Summary = json.loads(table.schema.metadata[b"summary"])
    return summary


def seams_name(index: int) -> str:
    """Where the joins of a tile with its neighbours to the east and south lie in the run."""
    return f"seams/{index}.arrow"


def seamlines_name(index: int) -> str:
    """Where the lines of a tile lie in the run."""
    return f"lines/{index}.arrow"


SUMMARY_NAME = "match/summary.json"
"""Written last; what the match found."""


SMALL_NAME = "match/small.i64"


def contacts_name(index: int) -> str:
    return f"contacts/{index}.i64"


LUT_NAME = "match/lut.i64"
"""Final ids of all owned labels, tile after tile, little-endian int64."""


OFFSETS_NAME = "match/offsets.i64"
"""(tiles + 1,) int64: where each tile's final ids start in the look-up table, counted in ids."""


SHARED_NAME = "match/shared.u1"
"""A byte for each final id in the look-up table: 1 = the segment has pieces in other tiles or labels."""
