"""Measures of polygons drawn in longitude and latitude: exact areas, boxes over the seam.

Edges are straight in longitude and latitude, which is what RFC 7946 (3.1.1) says they are, and polygons are
cut at the seam and run along the poles. Geodesic libraries join the same vertices by great circles and so
measure another figure (0 for the whole sphere, 0.74 instead of 0.56 sr for a 60° triangle).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from remotesam.grouping import first_of_run

Geometries = NDArray[np.object_]


def areas_sr(geometries: Geometries) -> NDArray[np.float64]:
    """Exact solid angle of polygons in lon/lat degrees, sr; holes subtract, ring direction does not matter.

    Green's theorem on sin φ dλ (`docs/algorithms.md#outlines-on-the-sphere`): A = -Σ (λ₂-λ₁) sin((φ₁+φ₂)/2)
    sinc((φ₂-φ₁)/2) over the edges of a ring. A ring that encircles a pole without running along it (foreign
    data) must be closed over the pole first.

    Args:
        geometries: (N,) Polygons or MultiPolygons.

    Returns:
        (N,) areas, 0..4π.
    """
    parts, part_of = shapely.get_parts(geometries, return_index=True)
    rings, ring_of = shapely.get_rings(parts, return_index=True)
    if len(rings) == 0:
        return np.zeros(len(geometries))
    points, point_of = shapely.get_coordinates(rings, return_index=True)
    lam, phi = np.radians(points).T
    inside = point_of[1:] == point_of[:-1]
    middle, half = (phi[1:] + phi[:-1]) / 2, (phi[1:] - phi[:-1]) / 2
    steps = -(lam[1:] - lam[:-1]) * np.sin(middle) * np.sinc(half / math.pi)
    ring_area = np.abs(np.bincount(point_of[1:][inside], steps[inside], minlength=len(rings)))
    outer = first_of_run(ring_of)
    signed = np.where(outer, ring_area, -ring_area)
    return np.bincount(part_of[ring_of], signed, minlength=len(geometries)).astype(np.float64)


def column_span(geometry: Any, full_width: float) -> tuple[float, float]:
    """Smallest stretch of columns that holds a geometry, over the seam if that is shorter.

    Args:
        geometry: Polygon or MultiPolygon whose x runs over one turn, e.g. 0..full_width.
        full_width: One turn in the unit of x.

    Returns:
        (west, east), west as in the geometry, east ≥ west; east lies beyond the turn when the stretch crosses
        the seam. A geometry that leaves no column free spans exactly one turn from its smallest x.
    """
    bounds = shapely.bounds(shapely.get_parts(geometry))
    order = np.argsort(bounds[:, 0], kind="stable")
    lows, highs = bounds[order, 0], np.maximum.accumulate(bounds[order, 2])
    gaps = np.append(lows[1:] - highs[:-1], lows[0] + full_width - highs[-1])
    widest = int(np.argmax(gaps))
    if gaps[widest] <= 0:
        return float(lows[0]), float(lows[0] + full_width)
    if widest == len(gaps) - 1:
        return float(lows[0]), float(highs[-1])
    return float(lows[widest + 1]), float(highs[widest] + full_width)


def bbox_rfc7946(geometry: Any, poles: str) -> tuple[float, float, float, float]:
    """Bounding box [west, south, east, north] in degrees as RFC 7946 wants it.

    Args:
        geometry: Polygon or MultiPolygon in lon/lat within ±180.
        poles: "", "north", "south" or "both": the poles the object holds (5.3: the box then spans ±180).

    Returns:
        West is larger than east when the box crosses the antimeridian (5.2).
    """
    west, south, east, north = shapely.bounds(geometry)
    if poles:
        return (
            -180.0,
            -90.0 if poles in ("south", "both") else float(south),
            180.0,
            90.0 if poles in ("north", "both") else float(north),
        )
    west, east = column_span(geometry, 360.0)
    if east - west >= 360.0:
        return -180.0, float(south), 180.0, float(north)
    return west, float(south), east - 360.0 if east > 180.0 else east, float(north)


def unwrapped(geometry: Any, full_width: float) -> Any:
    """The geometry with its parts moved beyond the seam where that makes it whole, for annotation tools.

    Returns:
        A Polygon or MultiPolygon whose x may reach beyond one turn; unchanged when it does not cross the seam
        or occupies every column (such an object cannot be unrolled).
    """
    west, east = column_span(geometry, full_width)
    bounds = shapely.bounds(geometry)
    if east <= bounds[2] or east - west >= full_width:
        return geometry
    parts = [
        part if part.bounds[0] >= west else shapely.transform(part, lambda xy: np.add(xy, (full_width, 0)))
        for part in shapely.get_parts(geometry)
    ]
    return shapely.union_all(parts)
