"""Tasks of a panorama run: segment a view, compare it with its neighbours. The same for every executor."""

from __future__ import annotations

import json
import threading
import time
import traceback
from dataclasses import asdict, dataclass
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from remotesam.errors import Cancelled, TileError
from remotesam.merge.components import Edges
from remotesam.merge.joins import Joins, join_overlap
from remotesam.run.job import Job, WorkerContext
from remotesam.run.layout import Summary, failure_name, labels_name, read_summary, seams_name, segments_name
from remotesam.run.store import RunStore
from remotesam.sphere.equirect import Equirect
from remotesam.sphere.evidence import label_solid_angles, view_evidence
from remotesam.sphere.layouts import Layout
from remotesam.sphere.ownership import owners_in_view
from remotesam.sphere.sampler import Sampler
from remotesam.sphere.seamlines import ViewSeamline, find_seamline
from remotesam.tiles.multipass import ChipResult, Segment, segment_chip
from remotesam.windows import Window

_COLUMNS = ("key_a", "key_b", "score", "area", "kind")


@dataclass(frozen=True, slots=True)
class PanoramaJob(Job):
    """One run over one panorama; a view plays the part of a tile."""

    place: Equirect
    """Where the picture lies on the sphere."""
    layout: Layout
    """The views."""


_samplers: WeakKeyDictionary[WorkerContext, Sampler] = WeakKeyDictionary()
_lock = threading.Lock()


def sampler_of(context: WorkerContext) -> Sampler:
    """The picture of a run, read once per process and shared by its threads."""
    with _lock:
        if context not in _samplers:
            job = _job(context)
            chip = job.raster.read(job.raster.spec.window)
            _samplers[context] = Sampler(chip.image, job.place, None if chip.valid.all() else chip.valid)
        return _samplers[context]


def segment_view(context: WorkerContext, index: int) -> Summary:
    """Segment one view and write it to the run, as `remotesam.tiles.task.segment_tile` does for a tile.

    Raises:
        TileError: reading, segmenting or writing failed; the reason is recorded in the run too.
        Cancelled: the user stopped the run before the view was finished.
    """
    try:
        summary = _segment(context, index)
    except Cancelled:
        raise
    except Exception as error:
        trace = "".join(traceback.format_exception(error))
        context.store.put_json(failure_name(index), {"tile": index, "error": str(error), "trace": trace})
        raise TileError(f"view {index}: {type(error).__name__}: {error}") from error
    context.store.remove([failure_name(index)])
    return summary


def match_view(context: WorkerContext, index: int) -> int:
    """Compare one view with its neighbours of higher index; write joins and seamlines to the run.

    Returns:
        The number of joins.
    """
    layout = _job(context).layout
    edges, lines = [], []
    mine = read_view(context.store, index)
    if mine is not None and mine.n_core and context.job.config.merge != "none":
        owners = owners_in_view(layout, index)
        for view in layout.neighbours(index):
            if view.index < index or (other := read_view(context.store, view.index)) is None:
                continue
            joins = _compare(layout, mine, other, owners)
            edges.append(Edges.of(joins, index, view.index))
            line = find_seamline(
                layout,
                layout.views[index],
                view,
                (mine.labels, other.labels),
                (mine.n_core, other.n_core),
                joins,
            )
            lines += [] if line is None else [line]
    found = Edges.concatenate(edges)
    context.store.put_table(seams_name(index), pa.table({name: getattr(found, name) for name in _COLUMNS}))
    context.store.put_table(lines_name(index), _line_table(lines))
    return len(found)


def read_edges(store: RunStore, index: int) -> Edges:
    """What `match_view` wrote for a view."""
    table = store.get_table(seams_name(index))
    return Edges(**{name: table[name].to_numpy() for name in _COLUMNS})


def read_lines(store: RunStore, index: int) -> list[ViewSeamline]:
    """The seamlines that `match_view` wrote for a view."""
    table = store.get_table(lines_name(index))
    return [
        ViewSeamline(
            one=index,
            other=row["other"],
            start=row["start"],
            bend=np.array(row["bend"], np.float32),
            offset=np.array(row["offset"], np.int16),
        )
        for row in table.to_pylist()
    ]


def lines_name(index: int) -> str:
    """Where the lines of a view lie in the run."""
    return f"lines/{index}.arrow"


@dataclass(frozen=True, slots=True)
class SegmentedView:
    """A finished view."""

    index: int
    n_core: int
    """Labels 1..n_core own directions."""
    solid_angle: NDArray[np.float64]
    """(n,) of each label in the whole view, sr."""
    labels: NDArray[np.int32]
    """(size, size) labels 1..n, 0 = none."""


def read_view(store: RunStore, index: int) -> SegmentedView | None:
    """What `segment_view` wrote for a view; None when it failed."""
    if not store.exists(segments_name(index)):
        return None
    table = store.get_table(segments_name(index))
    return SegmentedView(
        index,
        read_summary(table)["segments"],
        table["solid_angle"].to_numpy(),
        store.get_labels(labels_name(index)),
    )


def _compare(layout: Layout, one: SegmentedView, other: SegmentedView, owners: NDArray[np.int16]) -> Joins:
    evidence = view_evidence(
        layout.views[one.index], layout.views[other.index], one.labels, other.labels, owners
    )
    return join_overlap(
        evidence, one.solid_angle, other.solid_angle, n_core_a=one.n_core, n_core_b=other.n_core
    )


def _line_table(lines: list[ViewSeamline]) -> pa.Table:
    """One row per line."""
    return pa.table(
        {
            "other": pa.array([line.other for line in lines], pa.int32()),
            "start": pa.array([line.start for line in lines], pa.float64()),
            "bend": pa.array([line.bend for line in lines], pa.list_(pa.float32())),
            "offset": pa.array([line.offset for line in lines], pa.list_(pa.int16())),
        }
    )


def _job(context: WorkerContext) -> PanoramaJob:
    if not isinstance(context.job, PanoramaJob):
        raise TypeError("a panorama task needs the worker context of a panorama job")
    return context.job


def _segment(context: WorkerContext, index: int) -> Summary:
    started = time.perf_counter()
    context.stop_if_cancelled()
    layout = _job(context).layout
    image, seen = sampler_of(context).sample(layout.views[index])
    owned = (owners_in_view(layout, index) == index) & seen
    if owned.any():
        result = segment_chip(
            image, seen, context.segmenter, context.job.config, before_pass=context.stop_if_cancelled
        )
    else:
        result = ChipResult(np.zeros(seen.shape, np.int32), [], [])
    labels, order, n_core = owned_first(result.labels, owned)
    segments = [result.segments[label - 1] for label in order]
    table = _segment_table(layout, index, labels, owned, segments)
    summary: Summary = {
        "tile": index,
        "segments": n_core,
        "valid": int(owned.sum()),
        "covered": int((labels[owned] > 0).sum()),
        "valid_sr": float(layout.views[index].solid_angles()[owned].sum(dtype=np.float64)),
        "passes": [asdict(report) for report in result.passes],
        "seconds": round(time.perf_counter() - started, 3),
    }
    context.store.put_labels(labels_name(index), labels, Window(0, 0, *labels.shape))
    metadata = {"summary": json.dumps(summary)}
    context.store.put_table(segments_name(index), table.replace_schema_metadata(metadata))
    return summary


def owned_first(
    labels: NDArray[np.int32], owned: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.intp], int]:
    """Renumber a map so that labels with owned pixels are 1..n_core and the others follow, in their order.

    Returns:
        The renumbered map; for each new label (from 1 on, at index 0) the old one; n_core.
    """
    top = int(labels.max(initial=0))
    present = np.bincount(labels.ravel(), minlength=top + 1) > 0
    core = np.bincount(labels[owned], minlength=top + 1) > 0
    present[0] = core[0] = False
    old = np.concatenate([np.flatnonzero(core), np.flatnonzero(present & ~core)])
    look_up = np.zeros(top + 1, np.int32)
    look_up[old] = np.arange(1, len(old) + 1, dtype=np.int32)
    return look_up[labels], old, int(core.sum())


def _segment_table(
    layout: Layout,
    index: int,
    labels: NDArray[np.int32],
    owned: NDArray[np.bool_],
    segments: list[Segment],
) -> pa.Table:
    """One row per label of the view, in label order; the columns of a tile's table, and solid angles."""
    count = len(segments)
    # An object goes on in another view when the padding shows more of it than is owned.
    core_area = np.bincount(labels[owned], minlength=count + 1)[1:]
    area = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    return pa.table(
        {
            "score": pa.array([s.score for s in segments], pa.float32()),
            "stability": pa.array([s.stability for s in segments], pa.float32()),
            "pass": pa.array([s.pass_index for s in segments], pa.int16()),
            "area": pa.array(area, pa.int64()),
            "core_area": pa.array(core_area, pa.int64()),
            "touches_seam": pa.array((core_area > 0) & (area > core_area), pa.bool_()),
            "solid_angle": pa.array(label_solid_angles(layout.views[index], labels, count), pa.float64()),
        }
    )
