"""Polygons in longitude and latitude cut where ±180° is, as RFC 7946 (3.1.9) asks."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

Geometries = NDArray[np.object_]


def cut(geometries: Geometries) -> Geometries:
    """Cut the polygons that cross the antimeridian or hold a pole; all others come back as they are.

    A ring crosses where the longitude jumps by more than 180° from one vertex to the next, or where it leaves
    [-180, 180]; so no edge may be longer than 180°. A ring that goes once around the earth holds the pole
    that lies on its side of the equator, and is closed along that pole.

    Args:
        geometries: (n,) Polygons and MultiPolygons in degrees, (x, y) = (longitude, latitude).

    Returns:
        (n,) the same areas with all longitudes in [-180, 180]; what was cut is a MultiPolygon.
    """
    vertices, owner = shapely.get_coordinates(geometries, return_index=True)
    if len(vertices) == 0:
        return geometries
    outside = np.abs(vertices[:, 0]) > 180
    jumps = np.append(np.abs(np.diff(vertices[:, 0])) > 180, False)
    affected = np.unique(owner[outside | jumps])
    result = geometries.copy()
    for index in affected:
        result[index] = _cut(geometries[index])
    return result


def _cut(geometry: shapely.Geometry) -> shapely.Geometry:
    pieces = []
    for polygon in shapely.get_parts(geometry):
        shell, *holes = (_region(np.asarray(ring.coords)) for ring in (polygon.exterior, *polygon.interiors))
        pieces.append(shapely.difference(shell, shapely.union_all(holes)) if holes else shell)
    merged = shapely.union_all(pieces)
    return shapely.multipolygons([part for part in shapely.get_parts(merged) if part.area > 0])


def _region(ring: NDArray[np.float64]) -> shapely.Geometry:
    """What a closed ring encloses, within ±180°."""
    lon, lat = np.unwrap(ring[:, 0], period=360), ring[:, 1]
    if abs(lon[-1] - lon[0]) > 180:
        pole = np.copysign(90.0, lat.mean())
        lon, lat = np.append(lon, [lon[-1], lon[0], lon[0]]), np.append(lat, [pole, pole, lat[0]])
    area = shapely.make_valid(shapely.polygons(np.column_stack([lon, lat])))
    turns = np.arange(np.floor((lon.min() + 180) / 360), np.floor((lon.max() + 180) / 360) + 1)
    slices = [
        shapely.transform(
            shapely.intersection(area, shapely.box(360 * turn - 180, -90, 360 * turn + 180, 90)),
            lambda xy, turn=turn: xy - [360 * turn, 0],
        )
        for turn in turns
    ]
    polygons = [part for part in shapely.get_parts(slices) if shapely.get_dimensions(part) == 2]
    return shapely.union_all(polygons)
