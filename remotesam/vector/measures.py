"""Areas and perimeters on the ground, in metres, whatever the CRS."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from remotesam.grouping import first_of_run

Floats = NDArray[np.float64]

DISTORTION = 0.01
"""Largest error of planar areas that is put up with. Transverse Mercator zones (0.2 %), national grids and
equal-area projections stay below it; Web Mercator (300 % at 60° north) does not."""


def measure(geometries: NDArray[np.object_], crs: str | None) -> tuple[Floats, Floats]:
    """Area and perimeter of polygons on the ground.

    Planar in projected CRSs, with coordinates turned into metres by the CRS's unit, as long as the projection
    keeps areas to 1 % within its area of use (EPSG's). Otherwise, and in geographic CRSs, on the ellipsoid:
    Web Mercator, for example, doubles all lengths at 60° north. There areas are exact for edges straight in
    longitude and latitude, which pixel edges of a geographic raster are, by Green's theorem on the authalic
    function q (Snyder 1987, Map Projections, eq. 3-12), integrated by Simpson's rule along each edge; lengths
    are geodesics between vertices (Karney 2013, through `pyproj.Geod`).

    Args:
        geometries: (n,) Polygons and MultiPolygons in `crs`, (x, y) = (easting, northing) or (longitude,
            latitude).
        crs: anything that pyproj takes; None = unknown.

    Returns:
        (n,) areas in m², holes taken off; (n,) perimeters in m, holes included. NaN without a CRS.
    """
    if crs is None:
        return np.full(len(geometries), np.nan), np.full(len(geometries), np.nan)
    kind, unit = _method(crs)
    if kind == "planar":
        return shapely.area(geometries) * unit**2, shapely.length(geometries) * unit
    return _on_ellipsoid(geometries, pyproj.CRS.from_user_input(crs))


@lru_cache(maxsize=16)
def _method(crs: str) -> tuple[Literal["planar", "ellipsoid"], float]:
    """How to measure in a CRS and, for planar measures, metres per unit."""
    reference = pyproj.CRS.from_user_input(crs)
    reference = reference.source_crs if reference.is_bound and reference.source_crs else reference
    if reference.is_compound:
        reference = reference.sub_crs_list[0]
    if reference.is_geographic or (reference.is_projected and _distorts(reference)):
        return "ellipsoid", 1.0
    return "planar", reference.axis_info[0].unit_conversion_factor if reference.axis_info else 1.0


def _distorts(crs: pyproj.CRS) -> bool:
    """True = areas are off by more than `DISTORTION` somewhere in the CRS's area of use, or it is unknown."""
    area = crs.area_of_use
    if area is None:
        return True
    east = area.east if area.east >= area.west else area.east + 360
    lon, lat = np.meshgrid(np.linspace(area.west, east, 7), np.linspace(area.south, area.north, 7))
    lat = np.clip(lat, -89.9, 89.9)
    scale = pyproj.Proj(crs).get_factors(lon.ravel(), lat.ravel()).areal_scale
    finite = np.isfinite(scale)
    return not finite.any() or bool(np.abs(np.asarray(scale)[finite] - 1).max() > DISTORTION)


def _on_ellipsoid(geometries: NDArray[np.object_], crs: pyproj.CRS) -> tuple[Floats, Floats]:
    geod = crs.get_geod()
    if geod is None:
        return np.full(len(geometries), np.nan), np.full(len(geometries), np.nan)
    parts, part_of = shapely.get_parts(geometries, return_index=True)
    rings, ring_part = shapely.get_rings(parts, return_index=True)
    points, point_ring = shapely.get_coordinates(rings, return_index=True)
    if len(points) == 0:
        return np.zeros(len(geometries)), np.zeros(len(geometries))
    to_degrees = pyproj.Transformer.from_crs(crs, _in_degrees(geod), always_xy=True)
    lon, lat = to_degrees.transform(*points.T)
    edge = np.flatnonzero(point_ring[1:] == point_ring[:-1])
    ring_of = point_ring[edge]
    length = geod.inv(lon[edge], lat[edge], lon[edge + 1], lat[edge + 1])[2]
    turn = np.radians((lon[edge + 1] - lon[edge] + 180) % 360 - 180)
    radians = np.radians(lat)
    height = _authalic(radians[edge], geod.es) + _authalic(radians[edge + 1], geod.es)
    height += 4 * _authalic((radians[edge] + radians[edge + 1]) / 2, geod.es)
    swept = np.bincount(ring_of, turn * height / 6, minlength=len(rings))
    around = np.abs(np.bincount(ring_of, turn, minlength=len(rings))) > np.pi
    cap = 2 * np.pi * _authalic(np.array(np.pi / 2), geod.es)
    ring_area = np.where(around, cap - np.abs(swept), np.abs(swept)) * geod.a**2 / 2
    outer = first_of_run(ring_part)
    owner = part_of[ring_part]
    area = np.bincount(owner, np.where(outer, ring_area, -ring_area), minlength=len(geometries))
    return area.astype(float), np.bincount(owner[ring_of], length, minlength=len(geometries)).astype(float)


def _authalic(lat: Floats, es: float) -> Floats:
    """Snyder's q (eq. 3-12) of latitudes in radians: 2/a² times the area per radian up from the equator.

    Args:
        lat: any shape.
        es: squared eccentricity of the ellipsoid; 0 for a sphere.
    """
    sine = np.sin(lat)
    if es == 0:
        return 2 * sine
    e = np.sqrt(es)
    return np.asarray((1 - es) * (sine / (1 - es * sine**2) + np.arctanh(e * sine) / e))


def _in_degrees(geod: pyproj.Geod) -> pyproj.CRS:
    """Longitude from Greenwich and latitude on an ellipsoid, both in degrees."""
    return pyproj.CRS.from_proj4(f"+proj=longlat +a={geod.a} +b={geod.b} +no_defs +type=crs")
