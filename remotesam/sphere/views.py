"""Perspective views of the sphere: squares of a tangent plane, their rays, overlaps and solid angles."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class View:
    """A square perspective picture taken from the centre of the sphere, upright except at the poles.

    See `docs/algorithms.md#views`. Its frame is c (centre), e (east), n = c × e. A direction d lies at the
    plane coordinates x = d·e / d·c, y = d·n / d·c, and at the pixel point (size/2 + focal·x, size/2 -
    focal·y), pixel edges at integers.
    """

    index: int
    """Position in its layout; part of every segment's key."""
    lon: float
    """Camera longitude of the centre, degrees."""
    lat: float
    """Latitude of the centre, degrees, -90..90."""
    size: int
    """Side, px."""
    focal: float
    """Focal length, px: pixels per radian at the centre, where the view is coarsest."""

    @property
    def half(self) -> float:
        """Half the side in plane coordinates: the tangent of half the field of view."""
        return self.size / (2 * self.focal)

    @property
    def fov(self) -> float:
        """Field of view from edge to edge, degrees."""
        return 2 * math.degrees(math.atan(self.half))

    @property
    def frame(self) -> Floats:
        """(3, 3) rotation whose rows are e (right), n (up) and c (forward): camera = frame @ direction."""
        lam, phi = math.radians(self.lon), math.radians(self.lat)
        east = [-math.sin(lam), math.cos(lam), 0.0]
        north = [-math.sin(phi) * math.cos(lam), -math.sin(phi) * math.sin(lam), math.cos(phi)]
        centre = [math.cos(phi) * math.cos(lam), math.cos(phi) * math.sin(lam), math.sin(phi)]
        return np.array([east, north, centre])

    @property
    def intrinsics(self) -> Floats:
        """(3, 3) matrix K: [px, py, 1] ~ K @ [x, y, 1], y up in the plane and down in pixels."""
        middle = self.size / 2
        return np.array([[self.focal, 0, middle], [0, -self.focal, middle], [0, 0, 1.0]])

    def plane_axis(self) -> Floats:
        """(size,) plane coordinate x of each column's centre; y of the rows is its negative."""
        axis: Floats = (np.arange(self.size, dtype=np.float64) + 0.5 - self.size / 2) / self.focal
        return axis

    def rays(self, points: ArrayLike) -> Floats:
        """Unit vectors (N, 3) through pixel points (N, 2)."""
        p = np.asarray(points, float)
        plane = np.stack(
            [
                (p[:, 0] - self.size / 2) / self.focal,
                (self.size / 2 - p[:, 1]) / self.focal,
                np.ones(len(p)),
            ],
            axis=1,
        )
        rays: Floats = plane @ self.frame
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        return rays

    def project(self, directions: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
        """Pixel points of directions.

        Args:
            directions: (N, 3) vectors.

        Returns:
            (N, 2) points, NaN behind the view, and (N,) bool, True where the direction lies inside the view.
        """
        x, y, z = self.frame @ np.asarray(directions, float).T
        front = z > 1e-9
        with np.errstate(divide="ignore", invalid="ignore"):
            points = np.stack(
                [self.size / 2 + self.focal * x / z, self.size / 2 - self.focal * y / z], axis=1
            )
        points[~front] = np.nan
        inside = front & np.all((points >= 0) & (points <= self.size), axis=1)
        return points, inside

    def solid_angles(self) -> NDArray[np.float32]:
        """(size, size) solid angle of each pixel, sr: 1 / (f² (1 + x² + y²)^1.5)."""
        square = self.plane_axis() ** 2
        return ((1 + square[None, :] + square[:, None]) ** -1.5 / self.focal**2).astype(np.float32)

    def homography(self, other: View) -> Floats:
        """(3, 3) map of this view's pixel points to those of `other`.

        Two views share their centre of projection, so the map K' R' Rᵀ K⁻¹ is exact for every direction:
        there is no seam and no pole between views. The third coordinate is ≤ 0 for points behind `other`.
        """
        return other.intrinsics @ other.frame @ self.frame.T @ np.linalg.inv(self.intrinsics)

    def angle_to(self, other: View) -> float:
        """Angle between the two centres, radians."""
        cosine = float(self.frame[2] @ other.frame[2])
        return math.acos(min(max(cosine, -1.0), 1.0))

    def meets(self, other: View) -> bool:
        """True unless the circles round the two squares are apart; neighbours are found by this."""
        reach = math.atan(math.sqrt(2) * self.half) + math.atan(math.sqrt(2) * other.half)
        return self.angle_to(other) < reach
