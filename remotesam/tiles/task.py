"""The tile task: read a chip, segment it, write its labels and segments. The same for every executor."""

from __future__ import annotations

import json
import time
import traceback
from dataclasses import asdict

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from remotesam.errors import (
    FATAL,
    Cancelled,
    RemotesamError,
    TileError,
)
from remotesam.grid import Tile
from remotesam.run.job import WorkerContext
from remotesam.run.layout import Summary, failure_name, labels_name, segments_name
from remotesam.run.store import RunStore
from remotesam.tiles.labels import core_first, statistics
from remotesam.tiles.multipass import ChipResult, segment_chip


def segment_tile(context: WorkerContext, index: int) -> Summary:
    """Segment one tile and write it to the run.

    Returns:
        The tile's summary: tile, segments (owning core pixels), valid and covered (core px), passes, seconds.

    Raises:
        TileError: reading or segmenting failed; the reason is recorded in the run too.
        RemotesamError: one of `FATAL`.
        Cancelled: the user stopped the run before the tile was finished.
    """
    tile = context.grid[index]
    try:
        summary = _segment(context, tile)
    except (Cancelled, *FATAL):
        raise
    except Exception as error:
        context.store.put_json(
            failure_name(index), {"tile": index, "error": _reason(error), "trace": _trace(error)}
        )
        raise TileError(f"tile {index}: {_reason(error)}") from error
    context.store.remove([failure_name(index)])
    return summary


def write_tile(
    store: RunStore, tile: Tile, result: ChipResult, valid: NDArray[np.bool_], seconds: float
) -> Summary:
    """Write a segmented chip to the run; the tile is done when its table is there.

    Args:
        store: the run.
        tile: where the chip lies.
        result: labels and segments of the chip.
        valid: (H, W) of the chip, True = data.
        seconds: what the tile took.

    Returns:
        The summary that is kept with the tile.
    """
    labels, order, n_core = core_first(result.labels, tile.core_in_chip)
    table, core_area = _segment_table(tile, labels, order, result)
    summary: Summary = {
        "tile": tile.index,
        "segments": n_core,
        "valid": int(valid[tile.core_in_chip.slices].sum()),
        "covered": core_area,
        "passes": [asdict(report) for report in result.passes],
        "seconds": round(seconds, 3),
    }
    store.put_labels(labels_name(tile.index), labels, tile.chip)
    store.put_table(
        segments_name(tile.index), table.replace_schema_metadata({"summary": json.dumps(summary)})
    )
    return summary


def _segment(context: WorkerContext, tile: Tile) -> Summary:
    started = time.perf_counter()
    context.stop_if_cancelled()
    chip = context.raster.read(tile.chip)
    if chip.valid[tile.core_in_chip.slices].any():
        result = segment_chip(
            chip.image,
            chip.valid,
            context.segmenter,
            context.job.config,
            before_pass=context.stop_if_cancelled,
        )
    else:
        result = ChipResult(np.zeros(tile.chip.shape, np.int32), [], [])
    return write_tile(context.store, tile, result, chip.valid, time.perf_counter() - started)


def _segment_table(
    tile: Tile, labels: np.ndarray, order: np.ndarray, result: ChipResult
) -> tuple[pa.Table, int]:
    """One row per label of the chip, in label order, and the core pixels that have a label."""
    counts = statistics(labels, tile.core_in_chip)
    segments = [result.segments[label - 1] for label in order]
    table = pa.table(
        {
            "score": pa.array([s.score for s in segments], pa.float32()),
            "stability": pa.array([s.stability for s in segments], pa.float32()),
            "pass": pa.array([s.pass_index for s in segments], pa.int16()),
            "iou_threshold": pa.array([s.iou_threshold for s in segments], pa.float32()),
            "stability_threshold": pa.array([s.stability_threshold for s in segments], pa.float32()),
            "area": pa.array(counts.area, pa.int64()),
            "core_area": pa.array(counts.core_area, pa.int64()),
            "touches_seam": pa.array(counts.touches_core_edge, pa.bool_()),
            "x": pa.array([s.point[0] + tile.chip.col for s in segments], pa.float64()),
            "y": pa.array([s.point[1] + tile.chip.row for s in segments], pa.float64()),
        }
    )
    return table, int(counts.core_area.sum())


def _reason(error: Exception) -> str:
    """One line for the user."""
    if isinstance(error, RemotesamError):
        return str(error)
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _trace(error: Exception) -> str:
    return "".join(traceback.format_exception(error))
