"""Polygons from pixels to the raster's CRS and on to another one."""

from __future__ import annotations

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from remotesam.raster.spec import Affine6
from remotesam.vector import antimeridian

Geometries = NDArray[np.object_]


def place(geometries: Geometries, transform: Affine6) -> Geometries:
    """Move polygons from raster px to coordinates; outer rings turn counterclockwise, holes clockwise.

    Any affine will do: north-up, south-up, rotated or sheared.

    Args:
        geometries: (n,) Polygons and MultiPolygons, vertices (x, y) in px with pixel edges at integers.
        transform: pixels → coordinates.
    """
    a, b, c, d, e, f = transform
    matrix, offset = np.array([[a, d], [b, e]]), np.array([c, f])
    moved = shapely.transform(geometries, lambda xy: xy @ matrix + offset)
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
        moved = antimeridian.cut(moved)
    return shapely.orient_polygons(moved, exterior_cw=False)
