"""What finished polygons look like: as traced, smooth, or with right angles and circles where they fit.

The last two treat each polygon alone, so neighbours no longer share their edges: narrow gaps and overlaps
appear, and the result is no coverage any more. They need the packages of the extra `shapes`. The table of
styles is `remotesam.choices.OUTLINES`.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from remotesam.errors import ConfigError

Geometries = NDArray[np.object_]

_REGULAR_TOLERANCE = 2.0
"""px; outlines are thinned this far before right angles are sought, or steps of pixels count as corners."""


def shared(geometries: Geometries) -> Geometries:
    """Outlines as they were traced: neighbours share their borders."""
    return geometries


def smooth(geometries: Geometries) -> Geometries:
    """Round off outlines by Chaikin's corner cutting, areas kept to 1 % (package `smoothify`).

    Args:
        geometries: (n,) Polygons and MultiPolygons in raster px.

    Raises:
        ConfigError: the package is not installed.
    """
    try:
        from smoothify import smoothify
    except ImportError as error:
        raise ConfigError("smooth needs the package smoothify; pip install 'remotesam[shapes]'") from error
    if len(geometries) == 0:
        return geometries
    parts, owner = shapely.get_parts(geometries, return_index=True)
    smoothed = [
        smoothify(part, segment_length=1.0, num_cores=1, merge_collection=False, merge_multipolygons=False)
        for part in parts
    ]
    return _reassemble(geometries, np.array(smoothed, object), owner)


def regularize(geometries: Geometries) -> Geometries:
    """Give outlines right angles, 45° corners or a circle where they come close (`buildingregulariser`).

    Made for buildings; other outlines are straightened just the same, so use it on layers of simple shapes.

    Args:
        geometries: (n,) Polygons and MultiPolygons in raster px.

    Raises:
        ConfigError: the package is not installed.
    """
    try:
        from buildingregulariser import regularize_geodataframe
    except ImportError as error:
        raise ConfigError(
            "regularize needs the package buildingregulariser; pip install 'remotesam[shapes]'"
        ) from error
    if len(geometries) == 0:
        return geometries
    import geopandas

    parts, owner = shapely.get_parts(geometries, return_index=True)
    frame = geopandas.GeoDataFrame({"part": np.arange(len(parts))}, geometry=parts)
    regular = regularize_geodataframe(frame, simplify_tolerance=_REGULAR_TOLERANCE, num_cores=1)
    shapes = np.array(parts, object)
    shapes[regular["part"].to_numpy()] = regular.geometry.to_numpy()
    return _reassemble(geometries, shapes, owner)


def _reassemble(before: Geometries, shapes: Geometries, owner: NDArray[np.intp]) -> Geometries:
    """Put parts together again; a geometry that came out empty or broken stays as it was."""
    result = before.copy()
    starts = np.searchsorted(owner, np.arange(1, len(before)))
    for index, pieces in enumerate(np.split(shapes, starts)):
        whole = shapely.union_all(pieces)
        if whole.geom_type in ("Polygon", "MultiPolygon") and not whole.is_empty and whole.is_valid:
            result[index] = whole
    return result
