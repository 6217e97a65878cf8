"""Polygons from pixels to the raster's CRS and on to another one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyproj
import shapely
from affine import Affine
from numpy.typing import NDArray

from remotesam.windows import Affine6

Geometries = NDArray[np.object_]

Transform = Callable[..., tuple[NDArray[np.float64], ...]]
"""Arrays of x and y → arrays of longitude and latitude."""


def place(geometries: Geometries, transform: Affine6) -> Geometries:
    """Move polygons from raster px to coordinates; outer rings turn counterclockwise, holes clockwise.

    Any affine will do: north-up, south-up, rotated or sheared.

    Args:
        geometries: (n,) Polygons and MultiPolygons, vertices (x, y) in px with pixel edges at integers.
        transform: pixels → coordinates.
    """
    affine = Affine(*transform)
    moved = shapely.transform(geometries, lambda x, y: affine @ (x, y), interleaved=False)
    return np.asarray(shapely.orient_polygons(moved, exterior_cw=False))


def reproject(geometries: Geometries, crs: str, dst_crs: str) -> Geometries:
    """Move the vertices of polygons into another CRS, ring directions as in `place`.

    Vertices are moved, edges stay straight lines between them, so neighbours still share their edges; no
    vertices are added. In a geographic CRS, polygons that cross the antimeridian or hold a pole become
    MultiPolygons cut there; longitudes are in [-180, 180], whatever those of a geographic raster were.

    The package `antimeridian` (0.4.9) is made for footprints and wrong for outlines of pixels: of the
    triangle (180 8.5, 180.25 9, 180.25 8.5), one corner on the line, it makes the earth less that triangle;
    of polygons with holes that cross or touch the line every third comes out invalid, wrong or as an
    AssertionError; and it rounds crossings to 1e-7°, a centimetre. Tests compare the two where it is right.

    Args:
        geometries: (n,) Polygons and MultiPolygons in `crs`, (x, y) = (easting, northing) or (longitude,
            latitude) whatever the CRS says about its axes. What crosses the antimeridian in a projected CRS
            may have no edge that spans more than 180° of longitude.
        crs: anything that pyproj takes, e.g. "EPSG:3301" or WKT.
        dst_crs: likewise.
    """
    source, target = pyproj.CRS.from_user_input(crs), pyproj.CRS.from_user_input(dst_crs)
    transform = pyproj.Transformer.from_crs(source, target, always_xy=True).transform
    moved = shapely.transform(geometries, transform, interleaved=False)
    if target.is_geographic:
        wraps = not source.is_geographic
        for index in _crossing(geometries, moved, transform if wraps else None):
            moved[index] = _cut(moved[index], wraps=wraps)
    return np.asarray(shapely.orient_polygons(moved, exterior_cw=False))


def _crossing(geometries: Geometries, moved: Geometries, transform: Transform | None) -> NDArray[np.intp]:
    """Which polygons cross the antimeridian, hold a pole, or lie beyond the antimeridian.

    An edge crosses where the longitude jumps by more than 180° from one vertex to the next, unless its middle
    lies between them, as that of a long edge on a map of the world does.

    Args:
        geometries: (n,) Polygons and MultiPolygons before they were moved.
        moved: (n,) the same in degrees.
        transform: from the ones to the others; None = longitudes are as they were, and do not jump.
    """
    parts, owner = shapely.get_parts(moved, return_index=True)
    rings, part_of_ring = shapely.get_rings(parts, return_index=True)
    vertices, ring = shapely.get_coordinates(rings, return_index=True)
    lon = vertices[:, 0]
    crosses = np.abs(lon) > 180
    if transform is not None:
        jump = np.flatnonzero((np.abs(np.diff(lon)) > 180) & (ring[1:] == ring[:-1]))
        before = shapely.get_coordinates(geometries)
        middle = transform(*((before[jump] + before[jump + 1]) / 2).T)[0]
        west, east = np.minimum(lon[jump], lon[jump + 1]), np.maximum(lon[jump], lon[jump + 1])
        crosses[jump[(middle <= west) | (middle >= east)]] = True
    return np.unique(owner[part_of_ring[ring[crosses]]])


def _cut(geometry: shapely.Geometry, *, wraps: bool) -> shapely.Geometry:
    """Cut a polygon in degrees into pieces within ±180°; see `_region`."""
    pieces = []
    for polygon in shapely.get_parts(geometry):
        shell, *holes = (
            _region(np.asarray(ring.coords), wraps=wraps) for ring in (polygon.exterior, *polygon.interiors)
        )
        pieces.append(shapely.difference(shell, shapely.union_all(holes)) if holes else shell)
    merged = shapely.union_all(pieces)
    return shapely.multipolygons([part for part in shapely.get_parts(merged) if part.area > 0])


def _region(ring: NDArray[np.float64], *, wraps: bool) -> shapely.Geometry:
    """What a closed ring encloses, within ±180°.

    Args:
        ring: (n, 2) longitude and latitude.
        wraps: longitudes jump where the ring crosses the antimeridian. One that goes once around the earth
            holds the pole that lies on its side of the equator, and is closed along that pole.
    """
    lon, lat = ring.T
    if wraps:
        lon = np.unwrap(lon, period=360)
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
