"""Vertices on the rim of a tile at which two labels meet: they may go if the border is straight there.

Simplification freezes the rim, and so leaves a vertex wherever a border crosses it. Where exactly two labels
meet, both polygons through the vertex have the same neighbours on both sides of it, so each can tell alone
whether it lies on a straight line, and comes to the same verdict (`remotesam.polygons.union`). Where three
meet, the vertex stays: it may be a corner of the third.

A border that is not quite straight keeps its vertex on the seam. That costs 0.3 to 0.4 % more vertices on
orthophotos at tiles of 1000 px than moving the crossing would, within what simplification may move anything
(`benchmarks/polygons.py --seam-vertices` counts what is left).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from remotesam.polygons.trace import Cracks
from remotesam.windows import Window

SEAM_VERTICES = np.dtype([("id", "i8"), ("x", "i8"), ("y", "i8")])
"""A vertex on a tile's rim where exactly two ids meet, raster px; one record for each of the two."""


def seam_vertices(labels: NDArray[np.int32], cracks: Cracks, core: Window) -> NDArray[np.void]:
    """The vertices on one tile's rim where two labels meet.

    Args:
        labels: (h+2, w+2) of the core with a 1-px ring.
        cracks: those of `labels`.
        core: the core in raster px.

    Returns:
        (m,) `SEAM_VERTICES` whose ids are labels. Corners of the core are among them even where the border
        runs along the rim: a neighbour's rim has a vertex there.
    """
    rim = np.zeros(cracks.degree.shape, np.bool_)
    rim[[0, -1]] = (cracks.north | cracks.south)[[0, -1]]
    rim[:, [0, -1]] |= (cracks.west | cracks.east)[:, [0, -1]]
    rim[np.ix_([0, -1], [0, -1])] = True
    y, x = np.nonzero(rim & (cracks.degree == 2))
    around = np.stack([labels[y, x], labels[y, x + 1], labels[y + 1, x], labels[y + 1, x + 1]])
    records = np.empty((2, len(x)), SEAM_VERTICES)
    records["id"] = around.min(axis=0), around.max(axis=0)
    records["x"], records["y"] = x + core.col, y + core.row
    return records.ravel()
