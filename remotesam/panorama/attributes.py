"""Scores of the objects of a panorama from the rows of the views they were found in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from remotesam.merge.components import Components, Edges

Ints = NDArray[np.int64]


def scores(
    rows: Iterable[tuple[int, Ints, pa.Table]], ids: Ints, joined: Components, edges: Edges
) -> dict[str, NDArray[Any]]:
    """Attributes of objects.

    Args:
        rows: per view its index, the (n_core,) final ids of its labels and its segment table.
        ids: (n,) final ids of the objects, ascending.
        joined: the components.
        edges: what they were made of.

    Returns:
        (n,) `score` and `stability`: means over the object's pieces, weighted by owned pixels; `pass`: of the
        largest piece; `view`: index of the first view; `views`: number of views with a piece; `seam_iou`: the
        least agreement of two views about the object, NaN when only one saw it.
    """
    pieces = list(_pieces(rows))
    view, final, area = (np.concatenate([part[k] for part in pieces]) for k in range(3))
    score, stability, pass_index = (np.concatenate([part[k] for part in pieces]) for k in range(3, 6))
    slot = np.minimum(np.searchsorted(ids, final), max(len(ids) - 1, 0))
    known = ids[slot] == final if len(ids) else np.zeros(len(final), bool)
    slot, view, area = slot[known], view[known], area[known]
    score, stability, pass_index = score[known], stability[known], pass_index[known]
    count = len(ids)
    total = np.bincount(slot, area, minlength=count)
    order = np.lexsort((view, -area, slot))
    largest = order[np.append(True, slot[order][1:] != slot[order][:-1])[: len(order)]]
    first = np.full(count, np.iinfo(np.int32).max)
    np.minimum.at(first, slot, view)
    seen = np.unique(np.stack([slot, view]), axis=1)[0]
    return {
        "score": (np.bincount(slot, score * area, minlength=count) / total).astype(np.float32),
        "stability": (np.bincount(slot, stability * area, minlength=count) / total).astype(np.float32),
        "pass": pass_index[largest].astype(np.int16),
        "view": first.astype(np.int32),
        "views": np.bincount(seen, minlength=count).astype(np.int32),
        "seam_iou": _least_agreement(joined, edges)[ids].astype(np.float32),
    }


def _pieces(rows: Iterable[tuple[int, Ints, pa.Table]]) -> Iterator[tuple[NDArray[Any], ...]]:
    """Columns of the owned labels of each view; an empty one first, so that there is always something."""
    yield tuple(np.empty(0, dtype) for dtype in ("i8", "i8", "f8", "f8", "f8", "i2"))
    for index, final, table in rows:
        names = ("core_area", "score", "stability", "pass")
        columns = (table[name].to_numpy()[: len(final)] for name in names)
        yield np.full(len(final), index), final, *columns


def _least_agreement(joined: Components, edges: Edges) -> NDArray[np.float64]:
    """(count + 1,) smallest score of the joins within each final id; NaN without any."""
    agreement = np.full(joined.count + 1, np.nan)
    views, labels = edges.key_a >> 32, edges.key_a & np.int64(2**32 - 1)
    for index in np.unique(views):
        here = views == index
        np.fmin.at(agreement, joined.lut(int(index))[labels[here] - 1], edges.score[here])
    return agreement
