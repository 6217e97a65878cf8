"""Polygons of a panorama's label picture: cut at the seam, closed over the poles, neighbours edge to edge."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from remotesam.grid import TileGrid
from remotesam.polygons.tile_polygons import tile_parts
from remotesam.polygons.union import SeamUnion
from remotesam.sphere.geometry import Geometries

TILE = 1024
"""Side of the tiles that the picture is traced in, px."""


def trace_picture(labels: NDArray[np.int32], tolerance: float) -> tuple[NDArray[np.int64], Geometries]:
    """Trace a whole picture (`docs/algorithms.md#outlines-on-the-sphere`).

    The picture's frame is a border like any other: an object over the seam becomes a MultiPolygon whose parts
    touch x = 0 and x = width, one that holds a pole runs along y = 0 or y = height. That is what RFC 7946
    (3.1.9) asks for, so nothing is to be cut or repaired afterwards.

    Args:
        labels: (H, W) int32 ids, 0 = none.
        tolerance: of the shared-edge simplification, px; 0 keeps every pixel edge.

    Returns:
        (n,) ids, ascending, and (n,) Polygons and MultiPolygons in picture pixels.
    """
    height, width = labels.shape
    grid = TileGrid(height, width, TILE, 0)
    tiles_of: Counter[int] = Counter()
    for tile in grid:
        tiles_of.update(np.unique(labels[tile.core.slices]).tolist())
    union = SeamUnion(tiles_of)
    ids: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    outlines: list[Geometries] = [np.empty(0, object)]
    for tile in grid:
        ringed = np.zeros((tile.core.height + 2, tile.core.width + 2), np.int64)
        around = tile.core.pad(1).clip(height, width)
        ringed[around.relative_to(tile.core.pad(1)).slices] = labels[around.slices]
        done, geometries = union.add(tile_parts(ringed, tile.core, tolerance=tolerance))
        ids.append(done)
        outlines.append(geometries)
    every, shapes = np.concatenate(ids), np.concatenate(outlines)
    order = np.argsort(every)
    return every[order], shapes[order]
