"""What a user should hear about a raster before hours are spent on it."""

from __future__ import annotations

import math

import numpy as np
import pyproj
from affine import Affine

from remotesam.raster.protocol import Raster
from remotesam.raster.sample import Sample
from remotesam.raster.spec import RasterSpec

SUSPICIOUS_SHARE = 0.01
"""Share of pure white or black pixels from which they look like a fill colour rather than like roofs."""

ALL_BUT_NOTHING = 0.99
"""Share of pure white and black together above which the raster is a mask, not a picture with a hole."""

SQUARE_ENOUGH = 1.25
"""Ratio of a pixel's sides on the ground above which shapes look distorted to the model."""


def valid_share(raster: Raster) -> float:
    """Share of the raster's pixels that hold data, 0–1, estimated from a bounded sample.

    Raises:
        RasterError: a sampled window cannot be read.
    """
    return raster.sample().valid_share


def warnings(raster: Raster) -> list[str]:
    """Everything odd about a raster that does not stop a run, one sentence each; empty when all is well.

    Raises:
        RasterError: a sampled window cannot be read.
    """
    sample = raster.sample()
    sentences = [*raster.notes, *_units(raster.spec), *_pixel_shape(raster.spec)]
    if sample.values.shape[1] == 0:
        sentences.append("no valid pixel found: all looked-at pixels are nodata, masked or outside the aoi")
    return sentences + _fill_colours(raster.spec, sample)


def _units(spec: RasterSpec) -> list[str]:
    if spec.crs is None or not pyproj.CRS.from_user_input(spec.crs).is_geographic:
        return []
    return ["geographic CRS (degrees): areas and lengths are computed on the ellipsoid, in metres"]


def _pixel_shape(spec: RasterSpec) -> list[str]:
    """Sides of a pixel on the ground; near the poles a pixel of equal degrees is a thin upright strip."""
    a, b, _, d, e, _ = spec.transform
    scale = 1.0
    if spec.crs is not None and pyproj.CRS.from_user_input(spec.crs).is_geographic:
        _, latitude = Affine(*spec.transform) @ (spec.width / 2, spec.height / 2)
        scale = max(math.cos(math.radians(latitude)), 1e-6)
    across, down = math.hypot(a * scale, d), math.hypot(b * scale, e)
    ratio = max(across, down) / min(across, down)
    if ratio <= SQUARE_ENOUGH:
        return []
    return [f"pixels are {ratio:.1f} times longer than wide on the ground: resample to square pixels first"]


def _fill_colours(spec: RasterSpec, sample: Sample) -> list[str]:
    """Collars and holes painted white or black by software that wrote no nodata tag."""
    dtype = np.dtype(spec.dtype)
    top = 255 if len(sample.values) == 3 and sample.values.dtype == np.uint8 else None
    if dtype.kind in "iu":
        top = int(np.iinfo(sample.values.dtype).max)
    colours = [("black", 0)] if top is None else [("white", top), ("black", 0)]
    shares = [sample.share_of(value) for _, value in colours]
    if sum(shares) > ALL_BUT_NOTHING:
        return []
    return [
        f"{share:.0%} of the pixels are pure {name} ({value} in all bands): "
        f"if that is fill, give --nodata {value}"
        for (name, value), share in zip(colours, shares, strict=True)
        if share >= SUSPICIOUS_SHARE
    ]
