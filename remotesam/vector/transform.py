"""Polygons from pixels to the raster's CRS and on to another one."""

from __future__ import annotations

import numpy as np
import pyproj
import shapely
from affine import Affine
from numpy.typing import NDArray

from remotesam.windows import Affine6

Geometries = NDArray[np.object_]


def place(geometries: Geometries, transform: Affine6) -> Geometries:
    """Move polygons from raster px to coordinates; outer rings turn counterclockwise, holes clockwise.

    Any affine will do: north-up, south-up, rotated or sheared.

    Args:
        geometries: (n,) Polygons and MultiPolygons, vertices (x, y) in px with pixel edges at integers.
        transform: pixels → coordinates.
    """
    affine = Affine(*transform)
    moved = shapely.transform(geometries, lambda x, y: affine @ (x, y), interleaved=False)
    return shapely.orient_polygons(moved, exterior_cw=False)


def reproject(geometries: Geometries, crs: str, dst_crs: str) -> Geometries:
    """Move the vertices of polygons into another CRS, ring directions as in `place`.

    Vertices are moved, edges stay straight lines between them, so neighbours still share their edges; no
    vertices are added. In a geographic CRS, polygons that cross the antimeridian are cut there.

    Args:
        geometries: (n,) Polygons and MultiPolygons in `crs`, (x, y) = (easting, northing) or (longitude,
            latitude) whatever the CRS says about its axes.
        crs: anything that pyproj takes, e.g. "EPSG:3301" or WKT.
        dst_crs: likewise.
    """
    target = pyproj.CRS.from_user_input(dst_crs)
    transformer = pyproj.Transformer.from_crs(pyproj.CRS.from_user_input(crs), target, always_xy=True)
    moved = shapely.transform(geometries, transformer.transform, interleaved=False)
    if target.is_geographic:
        moved = cut(moved)
    return shapely.orient_polygons(moved, exterior_cw=False)


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
