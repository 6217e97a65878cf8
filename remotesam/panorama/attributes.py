"""Attributes of the objects of a panorama from the rows of the views they were found in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from remotesam.attributes import Shown
from remotesam.merge.attributes import Attributes
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
        (n,) columns of the attributes that panoramas show, and `seam_iou`: least agreement of two views about
        the object, NaN when only one saw it.
    """
    gathered = Attributes(Shown.PANORAMA)
    for index, final, table in rows:
        gathered.add(index, final, table.slice(0, len(final)))
    return {**gathered.take(ids), "seam_iou": _least_agreement(joined, edges)[ids].astype(np.float32)}


def _least_agreement(joined: Components, edges: Edges) -> NDArray[np.float64]:
    """(count + 1,) smallest score of the joins within each final id; NaN without any."""
    agreement = np.full(joined.count + 1, np.nan)
    views, labels = edges.key_a >> 32, edges.key_a & np.int64(2**32 - 1)
    for index in np.unique(views):
        of_view = views == index
        np.fmin.at(agreement, joined.lut(int(index))[labels[of_view] - 1], edges.score[of_view])
    return agreement
