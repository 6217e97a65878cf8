"""Views as units of a run: what a view shows and owns, and how it is compared with its neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from remotesam.choices import STRATEGIES
from remotesam.config import PanoramaConfig
from remotesam.merge.components import Edges
from remotesam.merge.joins import Joins, Pair, Rule
from remotesam.run.job import Job, UnitImage, WorkerContext
from remotesam.run.layout import labels_name, seamlines_name, seams_name, segments_name
from remotesam.run.records import UnitSummary
from remotesam.run.store import RunStore, summary_of
from remotesam.sphere.equirect import Equirect
from remotesam.sphere.evidence import label_solid_angles, view_evidence
from remotesam.sphere.layouts import Layout
from remotesam.sphere.ownership import owners_in_view
from remotesam.sphere.sampler import Sampler
from remotesam.sphere.seamlines import ViewSeamline, find_seamline
from remotesam.windows import Window

_COLUMNS = ("key_a", "key_b", "score", "area", "kind")


@dataclass(frozen=True, slots=True)
class PanoramaJob(Job):
    """One run over one panorama; a view plays the part of a tile."""

    kind: ClassVar[str] = "panorama"
    unit: ClassVar[str] = "view"

    config: PanoramaConfig
    """All settings."""
    place: Equirect
    """Where the picture lies on the sphere."""
    layout: Layout
    """The views."""

    @property
    def units(self) -> int:
        """Number of views."""
        return len(self.layout)

    def reader(self) -> ViewReader:
        """Reads the picture once, to sample views from."""
        chip = self.raster.read(self.raster.spec.window)
        sampler = Sampler(chip.image, self.place, None if chip.valid.all() else chip.valid)
        return ViewReader(sampler, self.layout)


@dataclass(frozen=True, slots=True)
class ViewReader:
    """Samples views; see `remotesam.run.job.UnitReader`."""

    sampler: Sampler
    """Holds the whole picture."""
    layout: Layout
    """The views."""

    def read(self, index: int) -> UnitImage:
        """What a view shows, and the directions it owns."""
        view = self.layout.views[index]
        image, seen = self.sampler.sample(view)
        owned = (owners_in_view(self.layout, index) == index) & seen
        extent = float(view.solid_angles()[owned].sum(dtype=np.float64))
        return UnitImage(image, seen, owned, extent, Window(0, 0, *seen.shape))

    def columns(
        self, index: int, labels: NDArray[np.int32], owned: NDArray[np.bool_]
    ) -> Mapping[str, NDArray[Any]]:
        """`touches_seam`, and `solid_angle`: of each label in the whole view, sr."""
        count = int(labels.max(initial=0))
        core_area = np.bincount(labels[owned], minlength=count + 1)[1:]
        area = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        return {
            # An object goes on in another view when the padding shows more of it than is owned.
            "touches_seam": (core_area > 0) & (area > core_area),
            "solid_angle": label_solid_angles(self.layout.views[index], labels, count),
        }


def match_view(context: WorkerContext[PanoramaJob], index: int) -> int:
    """Compare one view with its neighbours of higher index; write joins and seamlines to the run.

    Returns:
        The number of joins.
    """
    layout, strategy = context.job.layout, STRATEGIES[context.job.config.merge]
    edges, lines = [], []
    view_labels = read_view(context.store, index)
    if view_labels is not None and view_labels.n_core and strategy.evidence:
        owners = owners_in_view(layout, index)
        for view in layout.neighbours(index):
            if view.index < index or (other := read_view(context.store, view.index)) is None:
                continue
            joins = _compare(context.job, view_labels, other, owners)
            edges.append(Edges.of(joins, index, view.index))
            if not strategy.seamlines:
                continue
            line = find_seamline(
                layout,
                layout.views[index],
                view,
                (view_labels.labels, other.labels),
                (view_labels.n_core, other.n_core),
                joins,
            )
            lines += [] if line is None else [line]
    joined = Edges.concatenate(edges)
    context.store.put_table(seams_name(index), pa.table({name: getattr(joined, name) for name in _COLUMNS}))
    context.store.put_table(seamlines_name(index), _line_table(lines))
    return len(joined)


def read_edges(store: RunStore, index: int) -> Edges:
    """What `match_view` wrote for a view."""
    table = store.get_table(seams_name(index))
    return Edges(**{name: table[name].to_numpy() for name in _COLUMNS})


def read_lines(store: RunStore, index: int) -> list[ViewSeamline]:
    """The seamlines that `match_view` wrote for a view."""
    table = store.get_table(seamlines_name(index))
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


@dataclass(frozen=True, slots=True)
class SegmentedView:
    """A finished view."""

    index: int
    """Its number."""
    n_core: int
    """Labels 1..n_core own directions."""
    solid_angle: NDArray[np.float64]
    """(n,) of each label in the whole view, sr."""
    labels: NDArray[np.int32]
    """(size, size) labels 1..n, 0 = none."""


def read_view(store: RunStore, index: int) -> SegmentedView | None:
    """What the unit task wrote for a view; None when it failed."""
    if not store.exists(segments_name(index)):
        return None
    table = store.get_table(segments_name(index))
    return SegmentedView(
        index,
        summary_of(table, UnitSummary).segments,
        table["solid_angle"].to_numpy(),
        store.get_labels(labels_name(index)),
    )


def _compare(job: PanoramaJob, one: SegmentedView, other: SegmentedView, owners: NDArray[np.int16]) -> Joins:
    views, strategy = job.layout.views, STRATEGIES[job.config.merge]
    strip = None
    if "strip" in strategy.evidence:
        strip = view_evidence(views[one.index], views[other.index], one.labels, other.labels, owners)
    rule: Rule = strategy.load()
    return rule(
        Pair(
            strip=strip,
            chip_area_a=one.solid_angle,
            chip_area_b=other.solid_angle,
            n_core_a=one.n_core,
            n_core_b=other.n_core,
        )
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
