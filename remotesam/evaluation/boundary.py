"""Boundary IoU of many objects at once, window by window; arrays only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from remotesam.evaluation.contingency import Ints, PairCounter, PairTable, compact
from remotesam.evaluation.metrics import BAND, OUTSIDE, Floats, Matches, boundary_band


class BoundaryCounter:
    """Counts boundary bands of reference objects, of their best single segments and of their greedy unions.

    Boundary IoU of an object G and a prediction P is |G_d ∩ P_d| / |G_d ∪ P_d|, where G_d are the pixels of G
    within d px of its boundary (Cheng et al. 2021, §4). The bands of all segments are one picture; unions of
    several segments get look-up tables, as many as it takes that no segment is in two unions of one table.

    Args:
        table: the segments and reference objects of the whole raster.
        matches: which segments describe which object.
        width: d, px.
    """

    def __init__(self, table: PairTable, matches: Matches, width: int = BAND) -> None:
        self._table = table
        self._matches = matches
        self.width = width
        self._bands = PairCounter()
        self._unions = _union_tables(matches, len(table.segments))
        self._union_area = np.zeros(len(table.references) + 1, np.int64)
        self._union_hit = np.zeros(len(table.references) + 1, np.int64)

    def add(
        self, segments: NDArray[np.uint32], references: NDArray[np.uint32], inside: NDArray[np.bool_]
    ) -> None:
        """Count one window, which comes with `width` pixels of context on every side.

        Args:
            segments: (H, W) ids, 0 = none or not valid.
            references: (layers, H, W) ids, 0 = none or not valid.
            inside: (H, W), False = beyond the raster.
        """
        own = _indexed(segments, self._table.segments, inside)
        others = [_indexed(layer, self._table.references, inside) for layer in references]
        banded = np.stack([self._banded(layer) for layer in others])
        everything = np.ones(banded.shape[1:], np.bool_)
        self._bands.add(self._banded(own).astype(np.uint32), banded.astype(np.uint32), everything)
        present = np.bincount(np.maximum(own, 0).ravel(), minlength=len(self._table.segments) + 1) > 0
        for union in self._unions:
            if union[present].any():
                self._add_union(union[np.maximum(own, 0)], banded, inside)

    def _add_union(
        self, labels: NDArray[np.int32], references: NDArray[np.int32], inside: NDArray[np.bool_]
    ) -> None:
        labels[~inside] = OUTSIDE
        banded = self._banded(labels)
        size = len(self._union_area)
        self._union_area += np.bincount(banded.ravel(), minlength=size)
        for layer in references:
            self._union_hit += np.bincount(banded[(banded == layer) & (banded > 0)], minlength=size)

    def _banded(self, labels: NDArray[np.int32]) -> NDArray[np.int32]:
        """The labels without their context, 0 away from boundaries."""
        core = labels[self.width : -self.width, self.width : -self.width]
        return np.where(boundary_band(labels, self.width), core, 0)

    def scores(self) -> tuple[Floats, Floats]:
        """Boundary IoU of each object with its greedy union, and with its best single segment; 0..1."""
        bands = self._bands.table()
        count = len(self._table.references)
        reference_area = np.zeros(count, np.int64)
        reference_area[bands.references - 1] = bands.reference_area
        single = np.zeros(count)
        segment, reference = bands.segments[bands.segment] - 1, bands.references[bands.reference] - 1
        best = self._matches.single[reference] == segment
        shared = bands.overlap[best]
        union = bands.segment_area[bands.segment[best]] + reference_area[reference[best]] - shared
        single[reference[best]] = shared / union
        greedy = single.copy()
        several = np.array([len(chosen) > 1 for chosen in self._matches.greedy], np.bool_)
        hit, area = self._union_hit[1:], self._union_area[1:]
        greedy[several] = hit[several] / (area + reference_area - hit)[several]
        return greedy, single


def _indexed(labels: NDArray[np.uint32], ids: Ints, inside: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Labels as 1-based positions in `ids`; 0 = none, `OUTSIDE` beyond the raster."""
    present, index = compact(labels)
    position = np.searchsorted(ids, present.astype(np.int64)).astype(np.int32) + 1
    position[present == 0] = 0
    return np.where(inside, position[index], np.int32(OUTSIDE))


def _union_tables(matches: Matches, segments: int) -> list[NDArray[np.int32]]:
    """Look-up tables from 1-based segment to 1-based object, for objects of several segments; first fit."""
    tables: list[NDArray[np.int32]] = []
    for index, chosen in enumerate(matches.greedy):
        if len(chosen) < 2:
            continue
        fitting = next((table for table in tables if not table[chosen + 1].any()), None)
        if fitting is None:
            fitting = np.zeros(segments + 1, np.int32)
            tables.append(fitting)
        fitting[chosen + 1] = index + 1
    return tables
