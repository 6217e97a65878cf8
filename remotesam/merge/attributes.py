"""Attributes of whole segments from the rows of the units they were found in, by the rules of their table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from remotesam.attributes import Attribute, Merging, Shown, shown_in
from remotesam.errors import StoreError
from remotesam.grouping import first_of_run, run_starts

_COMBINE: dict[Merging, np.ufunc] = {
    Merging.SUM: np.add,
    Merging.MEAN: np.add,
    Merging.MIN: np.minimum,
    Merging.MAX: np.maximum,
    Merging.ANY: np.logical_or,
}
"""What makes one value of two. Means are sums weighted by owned pixels until the segment is complete."""


class Attributes:
    """Gathers rows by final id, unit by unit; holds only ids that were not asked for yet."""

    def __init__(self, result: Shown, known: Mapping[str, float] | None = None) -> None:
        """Start without rows.

        Args:
            result: whose attributes to merge.
            known: values that are the same for all segments, by the attribute's name.
        """
        self._known = dict(known or {})
        self._merged = [(a, a.merging) for a in shown_in(result) if a.merging is not None]
        values = np.dtype([(a.name, _gathered_as(a)) for a, _ in self._merged])
        self._row = np.dtype([("id", "i8"), ("owned", "i8"), ("largest", "i8"), ("value", values)])
        self._fresh: list[NDArray[np.void]] = [np.empty(0, self._row)]
        self._waiting: dict[int, list[np.void]] = {}

    def add(self, unit: int, ids: NDArray[np.int64], table: pa.Table) -> None:
        """Take the segments of a unit.

        Args:
            unit: its index.
            ids: (n,) final id of each label that owns pixels, 0 = removed.
            table: rows of those labels, with the columns that units measure; `core_area` is what they own.
        """
        owned = table["core_area"].to_numpy()
        order = np.lexsort((-owned, ids))
        order = order[(ids[order] > 0) & (owned[order] > 0)]
        ids, owned = ids[order], owned[order]
        starts = run_starts(ids)
        pieces = np.zeros(len(starts), self._row)
        pieces["id"], pieces["largest"] = ids[starts], owned[starts]
        pieces["owned"] = np.add.reduceat(owned, starts)
        known = {
            "area_px": pieces["owned"],
            "tile": unit,
            "tiles": 1,
            "view": unit,
            "views": 1,
            **self._known,
        }
        for attribute, merging in self._merged:
            if attribute.name in known:
                values = known[attribute.name]
            else:
                values = table[attribute.name].to_numpy()[order]
                if merging is Merging.MEAN:
                    values = values.astype(np.float64) * owned
                combine = _COMBINE.get(merging)
                values = values[starts] if combine is None else combine.reduceat(values, starts)
            pieces["value"][attribute.name] = values
        self._fresh.append(pieces)

    def ids(self) -> NDArray[np.int64]:
        """(n,) ids that were not taken yet, ascending."""
        waiting = np.fromiter(self._waiting, np.int64, len(self._waiting))
        return np.unique(np.concatenate([waiting, *(pieces["id"] for pieces in self._fresh)]))

    def take(self, ids: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Columns of complete segments, which are forgotten here.

        Args:
            ids: (n,) final ids, ascending.

        Returns:
            (n,) values by the attribute's name.

        Raises:
            StoreError: an id was never added.
        """
        fresh = np.concatenate(self._fresh)
        now = np.isin(fresh["id"], ids)
        # Few segments wait for another unit. One look-up each, so that a step's cost does not grow with all
        # that wait.
        before = [piece for key in ids.tolist() for piece in self._waiting.pop(key, ())]
        for piece in fresh[~now]:
            self._waiting.setdefault(int(piece["id"]), []).append(piece)
        self._fresh = [np.empty(0, self._row)]
        return self._complete(ids, np.concatenate([np.array(before, self._row), fresh[now]]))

    def _complete(self, ids: NDArray[np.int64], pieces: NDArray[np.void]) -> dict[str, NDArray[Any]]:
        """Merge the pieces of each id, in the order in which they came."""
        pieces = pieces[np.argsort(pieces["id"], kind="stable")]
        first = first_of_run(pieces["id"])
        if np.count_nonzero(first) < len(ids):
            missing = np.setdiff1d(ids, pieces["id"])[0]
            raise StoreError(f"segment {missing} has polygons but no attributes; run again with --fresh")
        place = np.cumsum(first) - 1
        whole, more, where = pieces[first], pieces[~first], place[~first]
        np.add.at(whole["owned"], where, more["owned"])
        largest = np.lexsort((-pieces["largest"], place))[first]
        columns = {}
        for attribute, merging in self._merged:
            values = whole["value"][attribute.name]
            if merging in _COMBINE:
                # One after the other, so that a sum does not depend on how many wait.
                _COMBINE[merging].at(values, where, more["value"][attribute.name])
            else:
                values = pieces["value"][attribute.name][largest]
            if merging is Merging.MEAN:
                values = values / whole["owned"]
            columns[attribute.name] = values.astype(attribute.dtype)
        return columns


def _gathered_as(attribute: Attribute) -> np.dtype[Any]:
    """Type in which an attribute waits for further pieces: wide where it is summed."""
    if attribute.merging is Merging.MEAN:
        return np.dtype(np.float64)
    if attribute.merging is Merging.SUM:
        return np.result_type(attribute.dtype, np.int64)
    return attribute.dtype
