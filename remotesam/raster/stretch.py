"""Bands of any type → the uint8 RGB that the model sees, and which pixels hold data.

One stretch serves the whole raster: a stretch per tile would draw the tile borders into the image.
Pure array code; the statistics come from outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from remotesam.errors import ConfigError

AUTO_PERCENTILES = (2.0, 98.0)
"""Percentiles of `auto`: the bounds of QGIS's "cumulative count cut" (QGIS API, QgsRasterMinMaxOrigin,
CUMULATIVE_CUT_LOWER = 0.02 and CUMULATIVE_CUT_UPPER = 0.98), which its users know."""

NO_CONTRAST = 127
"""Grey of a band that has one value only: neither light nor dark."""


@dataclass(frozen=True, slots=True)
class StretchSpec:
    """How values become 0–255, before any pixel is known."""

    kind: Literal["auto", "none", "range", "percentiles"]
    """auto: uint8 as it is, else `AUTO_PERCENTILES`; none: values as they are, cut to 0–255;
    range: `low`–`high` in raster values; percentiles: `low`–`high` in percent of the valid pixels."""
    low: float = 0.0
    """Becomes 0: a raster value or a percentage, by `kind`."""
    high: float = 255.0
    """Becomes 255; > `low`."""

    def percentiles(self, dtype: np.dtype[Any]) -> tuple[float, float] | None:
        """The percentiles to measure on a raster of this type, None when it needs no statistics."""
        if self.kind == "percentiles":
            return (self.low, self.high)
        if self.kind == "auto" and dtype != np.uint8:
            return AUTO_PERCENTILES
        return None


def parse_stretch(text: str) -> StretchSpec:
    """Read `auto`, `none`, `LOW,HIGH` (raster values) or `pLOW,pHIGH` (percent, as in `p1,p99`).

    Raises:
        ConfigError: the text is none of these, or low is not below high, or a percentage is not in 0–100.
    """
    word = text.strip().lower()
    if word in ("auto", "none"):
        return StretchSpec("auto" if word == "auto" else "none")
    parts = [part.strip() for part in word.split(",")]
    percent = all(part.startswith("p") for part in parts)
    try:
        low, high = (float(part[1:] if percent else part) for part in parts)
    except ValueError:
        raise ConfigError(
            f"stretch {text!r} is not auto, none, LOW,HIGH or pLOW,pHIGH (for example p2,p98)"
        ) from None
    if not low < high or not np.isfinite([low, high]).all():
        raise ConfigError(f"stretch {text!r}: the first number must be below the second")
    if percent and not (low >= 0 and high <= 100):
        raise ConfigError(f"stretch {text!r}: percentages lie between 0 and 100")
    return StretchSpec("percentiles" if percent else "range", low, high)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A linear map per band from raster values to 0–255; the same for every tile."""

    low: tuple[float, ...]
    """Value that becomes 0, one per band."""
    high: tuple[float, ...]
    """Value that becomes 255, one per band; equal to `low` where the band is constant."""

    def apply(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Stretch (bands, H, W) of any real type to uint8 of the same shape; NaN becomes 0.

        Raises:
            ValueError: `values` has another number of bands than the stretch.
        """
        if len(values) != len(self.low):
            raise ValueError(f"{len(values)} bands for a stretch of {len(self.low)}")
        planes = zip(values, self.low, self.high, strict=True)
        return np.stack([_stretch_plane(plane, low, high) for plane, low, high in planes])


def _stretch_plane(plane: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    if plane.dtype == np.uint8 and (low, high) == (0, 255):
        return plane
    if plane.dtype.kind in "iu" and plane.dtype.itemsize <= 2:
        # Every possible value once, then a gather: no floating point image at all.
        unsigned = np.dtype(f"u{plane.dtype.itemsize}")
        every = np.arange(2 ** (8 * plane.dtype.itemsize), dtype=unsigned)
        table = _ramp(every.view(plane.dtype).astype(np.float64), low, high)
        return np.asarray(np.take(table, plane.view(unsigned)), dtype=np.uint8)
    small = plane.dtype.kind == "f" and plane.dtype.itemsize <= 4
    return _ramp(plane.astype(np.float32 if small else np.float64), low, high)


def _ramp(work: NDArray[np.floating[Any]], low: float, high: float) -> NDArray[np.uint8]:
    """Linear ramp to 0–255, rounded to nearest; destroys `work`, which its callers own."""
    if high <= low:
        return np.full(work.shape, NO_CONTRAST, np.uint8)
    with np.errstate(invalid="ignore", over="ignore"):
        work -= low
        work *= 255.0 / (high - low)
    np.clip(work, 0, 255, out=work)
    np.nan_to_num(work, copy=False, nan=0)
    np.rint(work, out=work)
    return work.astype(np.uint8)


def fit_stretch(spec: StretchSpec, dtype: np.dtype[Any], values: NDArray[Any], bands: int) -> Stretch:
    """The stretch of a raster, from a sample of its valid pixels.

    Args:
        spec: What was asked for.
        dtype: Type of the bands that will be stretched.
        values: (bands, n) sample of valid, finite values; looked at only when the spec needs percentiles,
            and may be empty (a raster without valid pixels gets a stretch too; nothing will be shown).
        bands: Number of bands, 1 or 3.
    """
    percent = spec.percentiles(dtype)
    if percent is None:
        low, high = (spec.low, spec.high) if spec.kind == "range" else (0.0, 255.0)
        return Stretch((low,) * bands, (high,) * bands)
    if values.size == 0:
        return Stretch((0.0,) * bands, (0.0,) * bands)
    limits = [_limits(band, percent) for band in values]
    return Stretch(tuple(low for low, _ in limits), tuple(high for _, high in limits))


def _limits(band: NDArray[Any], percent: tuple[float, float]) -> tuple[float, float]:
    low, high = (float(value) for value in np.percentile(band, percent))
    if low < high:
        return low, high
    # Nearly everything has one value (a mask, a scene of calm water): what differs must stay visible.
    return float(band.min()), float(band.max())
