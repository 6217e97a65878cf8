"""Any raster that GDAL reads, window by window, as uint8 RGB and validity.

`open_raster` is the only function that takes a path. What it returns knows its grid (`spec`) without having
read a pixel, may be used by many threads, and travels to another process as its arguments.
"""

from __future__ import annotations

import math
import os
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from remotesam.errors import RasterError
from remotesam.raster import aoi as areas
from remotesam.raster.gdal import gdal_env, gdal_name, is_remote, one_line, open_dataset
from remotesam.raster.header import Request, Source, plan_raster
from remotesam.raster.pixels import data_pixels, expand_palette, shrink, to_rgb
from remotesam.raster.sample import BUDGET, Sample, sample, sample_level
from remotesam.raster.spec import RasterSpec
from remotesam.raster.stretch import Stretch, StretchSpec, fit_stretch, parse_stretch
from remotesam.windows import Window

_READ_PIXELS = 2**24
"""Pixels read at once when a decimated window is made from full resolution: 16 M, 128 MB per float64 band."""

_REMOTE_TRIES = 3
_REMOTE_PAUSE = 0.5
"""Seconds before the second try of a remote read; doubled before the third."""


@dataclass(frozen=True, slots=True, eq=False)
class Chip:
    """What the model sees of a window."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB; black where not valid."""
    valid: NDArray[np.bool_]
    """(H, W), True = data."""


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """The chosen bands of a window before the stretch."""

    values: NDArray[Any]
    """(bands, H, W) in the raster's own type and units; a palette is expanded to three uint8 bands."""
    valid: NDArray[np.bool_]
    """(H, W), True = data."""


class _Handle:
    """A dataset that closes with the thread that owns it."""

    def __init__(self, dataset: DatasetReader) -> None:
        self.dataset = dataset


class Raster:
    """An opened raster; make one with `open_raster`.

    Safe to use from many threads: GDAL handles are not, so each thread opens its own on first use. Pickles
    as its arguments and its findings; the receiver opens the file again when it first reads.

    Attributes:
        spec: the grid, known before any pixel is read.
        notes: what the file's georeferencing leaves to say, one sentence each.
    """

    def __init__(
        self,
        spec: RasterSpec,
        notes: tuple[str, ...],
        request: Request,
        source: Source,
        stretch: Stretch | None = None,
    ) -> None:
        self.spec = spec
        self.notes = notes
        self._request = request
        self._source = source
        self._stretch = stretch
        self._lock = threading.Lock()
        self._local = threading.local()
        self._handles: weakref.WeakSet[_Handle] = weakref.WeakSet()

    def __reduce__(self) -> tuple[Any, ...]:
        return (Raster, (self.spec, self.notes, self._request, self._source, self._stretch))

    def __enter__(self) -> Raster:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the handles of all threads; none of them may be reading. A later read opens a new one."""
        for handle in list(self._handles):
            handle.dataset.close()
        self._local = threading.local()

    @property
    def stretch(self) -> Stretch:
        """The one stretch of the file, measured on first use.

        It depends on the file, the bands and the nodata value only. An AOI or another overview level leaves
        it alone, so that a trial on a part shows what the run on the whole will see.

        Raises:
            RasterError: a sampled window cannot be read.
        """
        with self._lock:
            if self._stretch is None:
                self._stretch = self._measure_stretch()
            return self._stretch

    def _measure_stretch(self) -> Stretch:
        wanted = self._request.stretch
        palette = self._source.palette is not None
        dtype = np.dtype(np.uint8) if palette else self._source.dtype
        bands = 3 if palette else len(self.spec.bands)
        if wanted.percentiles(dtype) is None:
            return fit_stretch(wanted, dtype, np.empty((bands, 0)), bands)
        return fit_stretch(wanted, dtype, self.sample(whole=True).values, bands)

    def sample(self, whole: bool = False) -> Sample:
        """Look at a bounded, deterministic sample of pixels: an overview, or windows spread over the raster.

        Args:
            whole: Look at the whole file rather than at the AOI.

        Raises:
            RasterError: a sampled window cannot be read.
        """
        if not whole and self.spec.window.area <= BUDGET:
            return sample(self.spec.window, self.read_native)
        asked = self._request
        level = sample_level(self._source.levels, *self._source.full)
        area = None if whole else asked.aoi
        with open_raster(
            asked.path, bands=self.spec.bands, nodata=asked.nodata, overview=level, aoi=area
        ) as coarse:
            return sample(coarse.spec.window, coarse.read_native)

    def read(self, window: Window) -> Chip:
        """The window as the model sees it.

        Args:
            window: In pixels of `spec`, inside the raster.

        Raises:
            ValueError: the window reaches outside the raster.
            RasterError: the file cannot be read there; names the file and the window.
        """
        pixels = self.read_native(window)
        planes = self.stretch.apply(pixels.values)
        return Chip(to_rgb(planes, pixels.valid), pixels.valid)

    def read_native(self, window: Window) -> Pixels:
        """The window's values before the stretch, for statistics.

        Args:
            window: In pixels of `spec`, inside the raster.

        Raises:
            ValueError: the window reaches outside the raster.
            RasterError: the file cannot be read there; names the file and the window.
        """
        source = self._source
        if not self.spec.window.contains(window):
            raise ValueError(
                f"{window} reaches outside the raster of {self.spec.height}×{self.spec.width} px"
            )
        in_level = window.shift(source.row, source.col)
        if source.factor == 1 or window.empty:
            values, valid = self._read_level(in_level)
        else:
            values, valid = self._read_shrunk(in_level)
        if source.area is not None:
            valid &= areas.inside(source.area, window)
        return Pixels(values, valid)

    def _read_shrunk(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Blocks of `factor` × `factor` pixels, averaged; some at a time to bound memory."""
        source, factor = self._source, self._source.factor
        side = max(math.isqrt(_READ_PIXELS) // factor, 1)
        values, valid = self._empty(window)
        for row in range(0, window.height, side):
            for col in range(0, window.width, side):
                part = Window(row, col, side, side).clip(*window.shape)
                blocks = part.shift(window.row, window.col)
                pixels = Window.from_bounds(
                    blocks.row * factor,
                    blocks.col * factor,
                    min(blocks.row_stop * factor, source.height),
                    min(blocks.col_stop * factor, source.width),
                )
                shrunk = shrink(*self._read_level(pixels), factor)
                values[:, *part.slices], valid[part.slices] = shrunk
        return values, valid

    def _empty(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        source = self._source
        if source.palette is not None:
            return np.zeros((3, *window.shape), np.uint8), np.zeros(window.shape, bool)
        return np.zeros((len(self.spec.bands), *window.shape), source.dtype), np.zeros(window.shape, bool)

    def _read_level(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Values and validity of a window of the opened level, without the AOI."""
        source = self._source
        if window.empty:
            return self._empty(window)
        values, mask = self._read_raw(window)
        valid = data_pixels(values, source.nodata)
        if mask is not None:
            valid &= mask
        if source.palette is not None:
            values, opaque = expand_palette(values[0], source.palette)
            valid &= opaque
        return values, valid

    def _read_raw(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Bands and mask as stored; a remote file gets more than one chance."""
        tries = _REMOTE_TRIES if is_remote(gdal_name(self.spec.path)) else 1
        for attempt in range(tries):
            if attempt:
                time.sleep(_REMOTE_PAUSE * 2 ** (attempt - 1))
            try:
                return self._read_once(window)
            except (RasterioError, OSError) as error:
                failure = error
                self._drop_handle()
        raise RasterError(
            f"{self.spec.path}: rows {window.row}–{window.row_stop - 1}, columns {window.col}–"
            f"{window.col_stop - 1} cannot be read ({one_line(failure)}); the file is damaged or out of reach"
        ) from failure

    def _read_once(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        source = self._source
        span = ((window.row, window.row_stop), (window.col, window.col_stop))
        with gdal_env(self.spec.path):
            dataset = self._dataset()
            if source.uniform:
                values = dataset.read(list(self.spec.bands), window=span)
            else:
                bands = [dataset.read(band, window=span) for band in self.spec.bands]
                values = np.stack([band.astype(source.dtype) for band in bands])
            mask = None
            if source.alpha is not None:
                mask = dataset.read(source.alpha, window=span) > 0
            elif source.masked:
                mask = (dataset.read_masks(list(self.spec.bands), window=span) > 0).any(axis=0)
        return values, mask

    def _dataset(self) -> DatasetReader:
        handle: _Handle | None = getattr(self._local, "handle", None)
        if handle is None:
            handle = _Handle(open_dataset(self.spec.path, self._source.level))
            self._handles.add(handle)
            self._local.handle = handle
        return handle.dataset

    def _drop_handle(self) -> None:
        handle: _Handle | None = getattr(self._local, "handle", None)
        if handle is not None:
            handle.dataset.close()
            self._local.handle = None


def open_raster(
    path: str | os.PathLike[str],
    *,
    bands: Sequence[int] | None = None,
    nodata: float | None = None,
    overview: int | None = None,
    aoi: str | os.PathLike[str] | tuple[float, float, float, float] | None = None,
    stretch: str | StretchSpec = "auto",
) -> Raster:
    """Open a raster; reads its header, no pixels.

    Args:
        path: A local file, an http(s)/s3/gs/az address, or any name that GDAL understands (`/vsizip/…`,
            `GTIFF_DIR:2:…`, a VRT).
        bands: 1-based: three as red, green, blue, or one as grey. Default: the bands tagged red, green and
            blue; else a palette in colour; else the first three, of fewer than three the first, alpha not
            counted.
        nodata: Value that means no data, in place of the file's own; NaN is allowed. A pixel is empty when
            *all* chosen bands have it. Mask bands and alpha count besides.
        overview: Read this overview of the file (0 = the first, usually half size). Where the file has no
            such overview, blocks of 2^(overview + 1) pixels are averaged.
        aoi: A vector file, or west, south, east, north ("W,S,E,N") in the raster's coordinates. The grid
            shrinks to the area's window and pixels with their centre outside are not valid.
        stretch: See `remotesam.raster.stretch.parse_stretch`.

    Raises:
        RasterError: the file is missing, unreadable, or no raster.
        InputError: the raster has nothing to show, or the AOI holds none of it.
        ConfigError: bands, overview or stretch that this raster does not have.
    """
    text = os.fspath(path)
    request = Request(
        # A local path must survive a change of folder, and mean the same in a worker.
        path=str(Path(text).resolve()) if Path(text).exists() else text,
        bands=None if bands is None else tuple(bands),
        nodata=nodata,
        overview=overview,
        aoi=os.fspath(aoi) if isinstance(aoi, os.PathLike) else aoi,
        stretch=parse_stretch(stretch) if isinstance(stretch, str) else stretch,
    )
    with gdal_env(request.path), open_dataset(request.path) as dataset:
        spec, notes, source = plan_raster(request, dataset)
    return Raster(spec, notes, request, source)
