"""The unit task: read a tile or a view, segment it, write its labels and segments; on any executor."""

from __future__ import annotations

import time
import traceback
from typing import Any

import numpy as np
import pyarrow as pa

from remotesam.attributes import UnitSegments, unit_columns
from remotesam.errors import FATAL, Cancelled, RemotesamError, TileError
from remotesam.run.job import Job, UnitImage, UnitReader, WorkerContext
from remotesam.run.layout import failure_name, labels_name, segments_name
from remotesam.run.records import UnitFailure, UnitSummary
from remotesam.run.store import RunStore
from remotesam.tiles.labels import owned_first
from remotesam.tiles.multipass import ChipResult, segment_chip


def segment_unit(context: WorkerContext[Any], index: int) -> UnitSummary:
    """Segment one unit and write it to the run.

    Raises:
        TileError: reading or segmenting failed; the reason is recorded in the run too.
        RemotesamError: one of `FATAL`.
        Cancelled: the user stopped the run before the unit was finished.
    """
    try:
        summary = _segment(context, index)
    except (Cancelled, *FATAL):
        raise
    except Exception as error:
        reason = _reason(error)
        trace = "".join(traceback.format_exception(error))
        context.store.put_record(failure_name(index), UnitFailure(unit=index, error=reason, trace=trace))
        raise TileError(f"{context.job.unit} {index}: {reason}") from error
    context.store.remove([failure_name(index)])
    return summary


def write_unit(
    store: RunStore, reader: UnitReader, index: int, unit: UnitImage, result: ChipResult, seconds: float
) -> UnitSummary:
    """Write a segmented unit to the run; it is done when its table is there.

    Args:
        store: the run.
        reader: adds what its kind of unit says of each label.
        index: number of the unit.
        unit: its pixels.
        result: labels and segments of its image.
        seconds: what it took.

    Returns:
        The summary that is kept with the unit.
    """
    labels, order, n_core = owned_first(result.labels, unit.owned)
    owned = labels[unit.owned]
    area = np.bincount(labels.ravel(), minlength=len(order) + 1)[1:]
    core_area = np.bincount(owned, minlength=len(order) + 1)[1:]
    summary = UnitSummary(
        unit=index,
        segments=n_core,
        valid=len(owned),
        covered=int(core_area.sum()),
        extent=unit.extent,
        passes=result.passes,
        seconds=round(seconds, 3),
    )
    of_kind = reader.columns(index, labels, unit.owned)
    segments = [result.segments[label - 1] for label in order]
    points = np.array([s.point for s in segments], np.float64).reshape(-1, 2)
    measured = UnitSegments(
        image=unit.image,
        labels=labels,
        area=area,
        core_area=core_area,
        touches_seam=of_kind["touches_seam"],
        score=np.array([s.score for s in segments], np.float32),
        stability=np.array([s.stability for s in segments], np.float32),
        pass_index=np.array([s.pass_index for s in segments], np.int16),
        iou_threshold=np.array([s.iou_threshold for s in segments], np.float32),
        stability_threshold=np.array([s.stability_threshold for s in segments], np.float32),
        prompt=points + np.array([unit.window.col, unit.window.row]),
    )
    store.put_labels(labels_name(index), labels, unit.window)
    store.put_table(segments_name(index), pa.table({**of_kind, **unit_columns(measured)}), summary)
    return summary


def _segment(context: WorkerContext[Job], index: int) -> UnitSummary:
    started = time.perf_counter()
    context.stop_if_cancelled()
    unit = context.reader.read(index)
    if unit.owned.any():
        result = segment_chip(
            unit.image,
            unit.valid,
            context.segmenter,
            context.job.config,
            before_pass=context.stop_if_cancelled,
        )
    else:
        result = ChipResult(np.zeros(unit.valid.shape, np.int32), [], [])
    return write_unit(context.store, context.reader, index, unit, result, time.perf_counter() - started)


def _reason(error: Exception) -> str:
    """One line for the user."""
    if isinstance(error, RemotesamError):
        return str(error)
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
