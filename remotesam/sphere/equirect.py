"""The pixel grid of an equirectangular picture: pixels, longitude and latitude, directions, solid angles.

Longitude is in degrees east of the picture's centre, -180..180; latitude in degrees, +90 is the zenith. A
direction is the unit vector `[cos φ cos λ, cos φ sin λ, sin φ]` (SAP, arXiv 2603.12759, section 3.1). Points
of the picture are (x, y) with pixel edges at integers, so both maps are affine and a straight pixel edge is a
straight edge in longitude and latitude.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from remotesam.errors import InputError

Floats = NDArray[np.float64]

RATIO_TOLERANCE = 0.01
"""How far width / height may lie from 2: stitchers round (4061×2031), an ordinary photo is far away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Equirect:
    """A picture that is a rectangle of an equirectangular panorama, often the whole of it."""

    width: int
    """Columns of the picture, px, ≥ 1."""
    height: int
    """Rows of the picture, px, ≥ 1."""
    full_width: int
    """Columns of the whole panorama: 360° in px, ≥ width."""
    full_height: int
    """Rows of the whole panorama: 180° in px, ≥ height."""
    left: int = 0
    """Column of the panorama at which the picture starts."""
    top: int = 0
    """Row of the panorama at which the picture starts."""
    centre: float = 0.0
    """Camera longitude of the panorama's middle column, degrees; not 0 for a grid turned to true north."""

    def __post_init__(self) -> None:
        sizes = min(self.width, self.height) >= 1
        inside = (
            0 <= self.left <= self.full_width - self.width and 0 <= self.top <= self.full_height - self.height
        )
        if not (sizes and inside):
            raise InputError(
                f"a picture of {self.width}×{self.height} px at column {self.left}, row {self.top} does not "
                f"fit a panorama of {self.full_width}×{self.full_height} px; check its GPano metadata"
            )

    @classmethod
    def whole(cls, width: int, height: int | None = None) -> Equirect:
        """The grid of a whole panorama.

        Args:
            width: Columns, px.
            height: Rows, px; half the width (rounded) when left out.

        Raises:
            InputError: width is not about twice the height, so this cannot be a whole panorama.
        """
        height = max(round(width / 2), 1) if height is None else height
        # One pixel is allowed whatever the size: rounding half of an odd width must not be an error.
        if abs(width - 2 * height) > max(RATIO_TOLERANCE * width, 1):
            raise InputError(
                f"{width}×{height} px is not a 360° panorama (width must be twice the height); "
                "give GPano metadata for a partial one, or use `remotesam segment`"
            )
        return cls(width=width, height=height, full_width=width, full_height=height)

    @property
    def wraps(self) -> bool:
        """True when the left and the right edge of the picture are neighbours on the sphere."""
        return self.width == self.full_width

    @property
    def reaches_north(self) -> bool:
        """True when the picture's first row lies at the zenith."""
        return self.top == 0

    @property
    def reaches_south(self) -> bool:
        """True when the picture's last row lies at the nadir."""
        return self.top + self.height == self.full_height

    @property
    def focal(self) -> float:
        """Pixels per radian along the equator: the focal length of a view at native resolution."""
        return self.full_width / math.tau

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        """Affine (a, b, c, d, e, f) from (x, y) of the picture to (longitude, latitude) in degrees."""
        across, down = 360.0 / self.full_width, 180.0 / self.full_height
        return (across, 0.0, self.left * across - 180.0, 0.0, -down, 90.0 - self.top * down)

    def lonlat(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Longitude from the middle column and latitude of points of the picture, degrees."""
        a, _, c, _, e, f = self.transform
        return np.asarray(x, float) * a + c, np.asarray(y, float) * e + f

    def point(self, lon: ArrayLike, lat: ArrayLike) -> tuple[Floats, Floats]:
        """(x, y) of the picture for longitude and latitude in degrees; x lies in the panorama's one turn."""
        a, _, c, _, e, f = self.transform
        turned = (np.asarray(lon, float) + 180.0) % 360.0 - 180.0
        return (turned - c) / a, (np.asarray(lat, float) - f) / e

    def row_solid_angles(self, start: int = 0, stop: int | None = None) -> Floats:
        """Solid angle of one pixel of each row `start..stop`, sr; they add up to 4π over a whole panorama."""
        rows = np.arange(start, (self.height if stop is None else stop) + 1) + self.top
        sines: NDArray[np.float64] = np.cos(rows * (math.pi / self.full_height))
        return (sines[:-1] - sines[1:]) * (math.tau / self.full_width)


def direction(lon: ArrayLike, lat: ArrayLike) -> Floats:
    """Unit vectors (..., 3) of longitudes and latitudes in degrees."""
    lam, phi = np.radians(np.asarray(lon, float)), np.radians(np.asarray(lat, float))
    return np.stack(
        np.broadcast_arrays(np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)), axis=-1
    )


def lonlat(vectors: ArrayLike) -> tuple[Floats, Floats]:
    """Longitude and latitude in degrees of vectors (..., 3) of any length > 0."""
    d = np.asarray(vectors, float)
    return (
        np.degrees(np.arctan2(d[..., 1], d[..., 0])),
        np.degrees(np.arctan2(d[..., 2], np.hypot(d[..., 0], d[..., 1]))),
    )
