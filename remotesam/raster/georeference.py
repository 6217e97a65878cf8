"""Where the pixels of a file lie on the earth, whichever way the file says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.io import DatasetReader
from rasterio.transform import from_gcps

from remotesam.windows import Affine6


@dataclass(frozen=True, slots=True)
class Georeference:
    """Pixels of the full file → coordinates."""

    kind: Literal["affine", "gcps", "rpcs", "none"]
    """Where `transform` comes from; the last two leave pixel coordinates."""
    transform: Affine
    """Pixels (edges at integers) → CRS; identity for pixel coordinates, y downwards."""
    crs: CRS | None
    """None when the coordinates belong to no known system."""
    notes: tuple[str, ...]
    """What a user should know, one sentence each."""


def georeference(dataset: DatasetReader) -> Georeference:
    """Read geotransform, else ground control points, else settle for pixel coordinates.

    Rotated, sheared and south-up geotransforms are kept as they are. Control points are replaced by their
    least-squares affine, whose residual is one of the notes; sensor models (RPC) need terrain and are left
    to an orthorectifier.
    """
    placed = from_transform(dataset.transform, dataset.crs)
    if placed.kind == "affine":
        return placed
    points, points_crs = dataset.gcps
    if len(points) >= 3:
        return _from_points(points, points_crs)
    if dataset.rpcs is not None:
        note = "RPC sensor model only: polygons are in pixel coordinates; orthorectify first (gdalwarp -rpc)"
        return Georeference("rpcs", Affine.identity(), None, (note,))
    return placed


def from_transform(transform: Affine, crs: CRS | None) -> Georeference:
    """What a transform says: the identity and one that maps everything to a line say nothing."""
    if transform.is_identity or transform.is_degenerate:
        note = "not georeferenced: polygons are in pixel coordinates (x right, y down), areas in pixels"
        return Georeference("none", Affine.identity(), None, (note,))
    if not crs:
        note = "no CRS: coordinates are written as the geotransform gives them, areas in its units squared"
        return Georeference("affine", transform, None, (note,))
    return Georeference("affine", transform, crs, ())


def _from_points(points: list[GroundControlPoint], crs: CRS | None) -> Georeference:
    pixels = np.array([(point.col, point.row) for point in points])
    places = np.array([(point.x, point.y) for point in points])
    if min(_dimensions(pixels), _dimensions(places)) < 2:
        note = f"the {len(points)} ground control points lie on one line: polygons are in pixel coordinates"
        return Georeference("none", Affine.identity(), None, (note,))
    transform = from_gcps(points)
    fitted = np.column_stack(~transform @ (places[:, 0], places[:, 1]))
    residual = np.hypot(*(fitted - pixels).T)
    note = (
        f"placed by {len(points)} ground control points through one affine: off by {_rms(residual):.1f} px "
        f"on average and {residual.max():.1f} px at worst; warp first (gdalwarp) if that is too much"
    )
    return Georeference("gcps", transform, crs or None, (note,))


def _dimensions(positions: np.ndarray) -> int:
    """0 when all positions coincide, 1 when they lie on a line, else 2."""
    centred = positions - positions.mean(axis=0)
    return int(np.linalg.matrix_rank(centred, tol=1e-6 * max(np.abs(centred).max(), 1e-300)))


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def rescale(transform: Affine, col: float, row: float, x_scale: float, y_scale: float) -> Affine6:
    """The transform of a part of a file at another scale.

    Args:
        transform: Pixels of the full file → coordinates.
        col: Where the part's left edge lies, in pixels of the full file.
        row: Where its top edge lies.
        x_scale: Width of one of its pixels in pixels of the full file.
        y_scale: Height of one of its pixels.
    """
    a, b, c, d, e, f, *_ = transform @ Affine.translation(col, row) @ Affine.scale(x_scale, y_scale)
    return a, b, c, d, e, f
