"""Polygons of one tile that fit those of its neighbours: simplified inside, exact on the rim.

`coverage_simplify` (GEOS: Visvalingam-Whyatt on the shared edges of a coverage, with checks of the topology)
moves borders of two neighbours as one, so there are neither gaps nor overlaps. Each tile is simplified alone
with its rim frozen; `remotesam.polygons.union` takes out the vertices that leaves on straight borders.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from remotesam.polygons.seam_vertices import SEAM_VERTICES, seam_vertices
from remotesam.polygons.trace import Cracks, compact, trace
from remotesam.windows import Window


@dataclass(frozen=True, slots=True)
class Parts:
    """What one tile contributes to the polygons of a raster."""

    ids: NDArray[np.int64]
    """(n,) ascending; an id occurs once for each of its separate areas in the core."""
    geometries: NDArray[np.object_]
    """(n,) Polygons in raster px, vertices at pixel corners."""
    seams: NDArray[np.void]
    """(k,) `SEAM_VERTICES`, ordered by id."""


def tile_parts(labels: NDArray[np.integer], core: Window, *, tolerance: float) -> Parts:
    """Trace and simplify the core of one tile (`docs/algorithms.md#polygons`).

    Args:
        labels: (h+2, w+2) final ids ≥ 0 of the core with a 1-px ring around it; 0 = none. Outside the raster
            the ring is 0.
        core: the core, in raster pixels.
        tolerance: px; triangles of borders below its square are cut off. 0 keeps every pixel edge.

    Raises:
        ValueError: labels and core differ in size, or the tolerance is negative.
    """
    if labels.shape != (core.height + 2, core.width + 2):
        raise ValueError(f"labels of shape {labels.shape} do not fit {core} and its ring")
    if not tolerance >= 0:
        raise ValueError(f"tolerance {tolerance} is negative")
    if not labels[1:-1, 1:-1].any():
        return Parts(np.empty(0, np.int64), np.empty(0, object), np.empty(0, SEAM_VERTICES))
    small, names = compact(labels)
    cracks = Cracks.of(small)
    nodes = cracks.nodes()
    values, geometries = trace(np.ascontiguousarray(small[1:-1, 1:-1]), nodes)
    if tolerance > 0:
        geometries = shapely.coverage_simplify(geometries, tolerance, simplify_boundary=False)
    ids = values.astype(np.int64) if names is None else names[values]
    keep = np.flatnonzero(ids > 0)
    keep = keep[np.argsort(ids[keep], kind="stable")]
    shift = np.array([core.col, core.row])
    moved = shapely.transform(geometries[keep], lambda xy: xy + shift)
    seams = seam_vertices(small, cracks, core)
    if names is not None:
        seams["id"] = names[seams["id"]]
    seams = seams[np.isin(seams["id"], ids[keep])]
    return Parts(ids[keep], moved, seams[np.argsort(seams["id"], kind="stable")])
