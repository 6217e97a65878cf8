"""Objects of a panorama: outlines in picture pixels with everything that depends on the sphere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from remotesam.sphere.equirect import Equirect, lonlat
from remotesam.sphere.geometry import Geometries, areas_sr, column_span
from remotesam.sphere.run_lengths import Runs

POLES = ("", "north", "south", "both")
"""Values of `contains_pole`."""


@dataclass(frozen=True, slots=True)
class SphereObjects:
    """Objects in id order; each array has one entry per object."""

    grid: Equirect
    """The picture whose pixels the outlines are in."""
    ids: NDArray[np.int64]
    """Ids, as in the label picture."""
    outlines: Geometries
    """Polygons in picture pixels (y down), cut at the seam, running along the first or last row at a pole."""
    columns: dict[str, NDArray[Any]]
    """Attributes by name, in the order in which they are written."""

    def __len__(self) -> int:
        return len(self.ids)

    def in_degrees(self) -> Geometries:
        """Outlines in longitude and latitude, outer rings counter-clockwise (RFC 7946, 3.1.6)."""
        turned = shapely.transform(self.outlines, lambda xy: np.stack(self.grid.lonlat(*xy.T), axis=1))
        return np.asarray(shapely.orient_polygons(turned), object)


def measure(runs: Runs, ids: NDArray[np.int64], outlines: Geometries) -> SphereObjects:
    """Attributes of objects.

    Args:
        runs: runs of the label picture, for what is exact there: centroid, seam and poles.
        ids: (N,) labels of the picture, ascending.
        outlines: (N,) their polygons in picture pixels.

    Returns:
        The objects with `area_sr` (of the outline, exact), `area_px` (of the outline), `lon` and `lat`
        (degrees of the mean direction, 3-D mean over the surface), `crosses_seam`, `contains_pole` (one of
        `POLES`), and the unwrapped box `box_x`, `box_y`, `box_width`, `box_height` (px; box_x + box_width
        lies beyond the picture when the object crosses the seam).
    """
    grid = runs.grid
    slot = np.searchsorted(ids, runs.label)
    known = (slot < len(ids)) & (ids[np.minimum(slot, len(ids) - 1)] == runs.label) if len(ids) else slot < 0
    slot, moments = slot[known], runs.moments()[known]
    total = np.stack([np.bincount(slot, moments[:, axis], minlength=len(ids)) for axis in range(3)], axis=1)
    lon, lat = lonlat(total)
    degrees = shapely.transform(outlines, lambda xy: np.stack(grid.lonlat(*xy.T), axis=1))
    bounds = shapely.bounds(outlines).reshape(-1, 4)
    turn = float(grid.full_width)
    spans = (
        np.array([column_span(g, turn) for g in outlines]).reshape(-1, 2) if grid.wraps else bounds[:, [0, 2]]
    )
    columns = {
        "area_sr": areas_sr(degrees),
        "area_px": shapely.area(outlines),
        "lon": (lon - grid.centre + 180.0) % 360.0 - 180.0,
        "lat": lat,
        "crosses_seam": np.isin(ids, _over_seam(runs)),
        "contains_pole": _poles(runs, ids),
        "box_x": spans[:, 0],
        "box_y": bounds[:, 1],
        "box_width": spans[:, 1] - spans[:, 0],
        "box_height": bounds[:, 3] - bounds[:, 1],
    }
    return SphereObjects(grid, ids, outlines, columns)


def _over_seam(runs: Runs) -> NDArray[np.int32]:
    """Labels that some row has on both sides of the seam."""
    if not runs.grid.wraps:
        return np.zeros(0, np.int32)
    west = runs.label[runs.start == 0]
    east = runs.label[runs.stop == runs.grid.width]
    return np.unique(west[west == east])


def _poles(runs: Runs, ids: NDArray[np.int64]) -> NDArray[np.object_]:
    """Which poles each label holds: it has more than half of the pixels that meet there."""
    grid = runs.grid
    state = np.zeros(len(ids), np.int64)
    for bit, reaches, row in ((1, grid.reaches_north, 0), (2, grid.reaches_south, grid.height - 1)):
        if not (reaches and grid.wraps):
            continue
        here = runs.row == row
        lengths = np.bincount(runs.label[here], (runs.stop - runs.start)[here])
        if lengths.max() * 2 > grid.width:
            state[ids == int(lengths.argmax())] |= bit
    return np.array(POLES, object)[state]
