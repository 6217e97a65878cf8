"""Any source of pixels as a raster: window by window, as uint8 RGB and validity.

`open_raster` makes one of whatever a caller has: a path, an opened dataset, an array. What it returns knows
its grid (`spec`) without having read a pixel, may be used by many threads, and travels to another process.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader, DatasetWriter
from rasterio.vrt import WarpedVRT

from remotesam.errors import InputError, RasterError, RemotesamError
from remotesam.raster import aoi as areas
from remotesam.raster.arrays import MEMORY
from remotesam.raster.data_arrays import is_xarray, source_of_data_array
from remotesam.raster.datasets import DatasetSource, source_of_dataset
from remotesam.raster.gdal import one_line
from remotesam.raster.header import ReadPlan, Request, plan_raster
from remotesam.raster.pixels import Chip, Pixels, data_pixels, expand_palette, shrink, to_rgb
from remotesam.raster.protocol import Header, PixelSource
from remotesam.raster.sample import BUDGET, Sample, sample, sample_level
from remotesam.raster.spec import RasterSpec
from remotesam.raster.stretch import Stretch, StretchSpec, fit_stretch, parse_stretch
from remotesam.windows import Window

if TYPE_CHECKING:
    import xarray

RasterInput: TypeAlias = "str | os.PathLike[str] | DatasetReader | PixelSource | xarray.DataArray"
"""What `open_raster` takes; `remotesam.ArraySource` makes a `PixelSource` of a numpy array."""

_READ_PIXELS = 2**24
"""Pixels read at once when a decimated window is made from full resolution: 16 M, 128 MB per float64 band."""


class RasterReader:
    """An opened raster; make one with `open_raster`. Implements `protocol.Raster`.

    Safe to use from many threads. Pickles as its arguments and its findings, and its source as that pickles.

    Attributes:
        spec: the grid, known before any pixel is read.
        notes: what the georeferencing and the format leave to say, one sentence each.
    """

    def __init__(
        self,
        spec: RasterSpec,
        notes: tuple[str, ...],
        request: Request,
        plan: ReadPlan,
        source: PixelSource,
        stretch: Stretch | None = None,
    ) -> None:
        self.spec = spec
        self.notes = notes
        self._request = request
        self._plan = plan
        self._source = source
        self._stretch = stretch
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return (
            RasterReader,
            (self.spec, self.notes, self._request, self._plan, self._source, self._stretch),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the handles of all threads; none of them may be reading. A later read opens a new one."""
        self._source.close()

    def check_portable(self) -> None:
        """See `PixelSource.check_portable`."""
        self._source.check_portable()

    @property
    def stretch(self) -> Stretch:
        """The one stretch of the source, measured on first use.

        It depends on the source, the bands and the nodata value only. An AOI or another overview level leaves
        it alone, so that a trial on a part shows what the run on the whole will see.

        Raises:
            RasterError: a sampled window cannot be read.
        """
        with self._lock:
            if self._stretch is None:
                self._stretch = self._measure_stretch()
            return self._stretch

    def _measure_stretch(self) -> Stretch:
        wanted, (bands, dtype) = self._request.stretch, self._native
        if wanted.percentiles(dtype) is None:
            return fit_stretch(wanted, dtype, np.empty((bands, 0)), bands)
        return fit_stretch(wanted, dtype, self.sample(whole=True).values, bands)

    @property
    def _native(self) -> tuple[int, np.dtype[Any]]:
        """Number and type of the bands of `read_native`."""
        if self._plan.palette is not None:
            return 3, np.dtype(np.uint8)
        return len(self.spec.bands), np.dtype(self.spec.dtype)

    def sample(self, *, whole: bool = False) -> Sample:
        """Look at a bounded, deterministic sample of pixels: an overview, or windows spread over the raster.

        Args:
            whole: Look at all of the source rather than at the AOI.

        Raises:
            RasterError: a sampled window cannot be read.
        """
        if not whole and self.spec.window.area <= BUDGET:
            return sample(self.spec.window, self.read_native)
        header = self._plan.header
        levels = header.bands[self.spec.bands[0] - 1].levels
        request = replace(
            self._request,
            bands=self.spec.bands,
            overview=sample_level(levels, header.height, header.width),
            aoi=None if whole else self._request.aoi,
        )
        spec, notes, plan = plan_raster(request, self._source, header)
        coarse = RasterReader(spec, notes, request, plan, self._source)
        return sample(spec.window, coarse.read_native)

    def read(self, window: Window) -> Chip:
        """The window as the model sees it.

        Args:
            window: In pixels of `spec`, inside the raster.

        Raises:
            ValueError: the window reaches outside the raster.
            RasterError: the source cannot be read there; names the source and the window.
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
            RasterError: the source cannot be read there; names the source and the window.
        """
        plan = self._plan
        if not self.spec.window.contains(window):
            raise ValueError(
                f"{window} reaches outside the raster of {self.spec.height}×{self.spec.width} px"
            )
        in_level = window.shift(plan.row, plan.col)
        if plan.factor == 1 or window.empty:
            values, valid = self._read_level(in_level)
        else:
            values, valid = self._read_shrunk(in_level)
        if plan.area is not None:
            valid &= areas.inside(plan.area, window)
        return Pixels(values, valid)

    def _read_shrunk(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Blocks of `factor` × `factor` pixels, averaged; some at a time to bound memory."""
        plan, factor = self._plan, self._plan.factor
        side = max(math.isqrt(_READ_PIXELS) // factor, 1)
        values, valid = self._empty(window)
        for row in range(0, window.height, side):
            for col in range(0, window.width, side):
                part = Window(row, col, side, side).clip(*window.shape)
                blocks = part.shift(window.row, window.col)
                pixels = Window.from_bounds(
                    blocks.row * factor,
                    blocks.col * factor,
                    min(blocks.row_stop * factor, plan.height),
                    min(blocks.col_stop * factor, plan.width),
                )
                shrunk = shrink(*self._read_level(pixels), factor)
                values[:, *part.slices], valid[part.slices] = shrunk
        return values, valid

    def _empty(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        bands, dtype = self._native
        return np.zeros((bands, *window.shape), dtype), np.zeros(window.shape, bool)

    def _read_level(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Values and validity of a window of the level that is read, without the AOI."""
        plan = self._plan
        if window.empty:
            return self._empty(window)
        values, mask = self._read_raw(window)
        valid = data_pixels(values, plan.nodata)
        if mask is not None:
            valid &= mask
        if plan.palette is not None:
            values, opaque = expand_palette(values[0], plan.palette)
            valid &= opaque
        return values, valid

    def _read_raw(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Bands and mask as stored."""
        try:
            return self._source.read(self.spec.bands, window, self._plan.level)
        except RemotesamError:
            raise
        except Exception as error:  # any library may stand behind a source
            raise RasterError(
                f"{self.spec.path}: rows {window.row}–{window.row_stop - 1}, columns {window.col}–"
                f"{window.col_stop - 1} cannot be read ({one_line(error)}); it is damaged or out of reach"
            ) from error


def open_raster(
    raster: RasterInput,
    *,
    bands: Sequence[int] | None = None,
    nodata: float | None = None,
    overview: int | None = None,
    aoi: str | os.PathLike[str] | tuple[float, float, float, float] | None = None,
    stretch: str | StretchSpec = "auto",
) -> RasterReader:
    """Open a raster; reads its header, no pixels of a file (of an array those that its identity covers).

    Args:
        raster: A local file, an http(s)/s3/gs/az address, or any name that GDAL understands (`/vsizip/…`,
            `GTIFF_DIR:2:…`, a VRT); a dataset opened with rasterio; a `remotesam.ArraySource`; an
            `xarray.DataArray`, see `remotesam.raster.data_arrays`; or a `PixelSource` of your own.
        bands: 1-based: three as red, green, blue, or one as grey. Default: the bands tagged red, green and
            blue; else a palette in colour; else the first three, of fewer than three the first, alpha not
            counted.
        nodata: Value that means no data, in place of the source's own; NaN is allowed. A pixel is empty when
            *all* chosen bands have it. Mask bands and alpha count besides.
        overview: Read this overview of the file (0 = the first, usually half size). Where there is no such
            overview, blocks of 2^(overview + 1) pixels are averaged.
        aoi: A vector file, or west, south, east, north ("W,S,E,N") in the raster's coordinates. The grid
            shrinks to the area's window and pixels with their centre outside are not valid.
        stretch: See `remotesam.raster.stretch.parse_stretch`.

    Raises:
        RasterError: the file is missing, unreadable, or no raster.
        InputError: the raster has nothing to show, the AOI holds none of it, or there is no telling how to
            read what was given.
        ConfigError: bands, overview or stretch that this raster does not have.
    """
    request = Request(
        bands=None if bands is None else tuple(bands),
        nodata=nodata,
        overview=overview,
        aoi=os.fspath(aoi) if isinstance(aoi, os.PathLike) else aoi,
        stretch=parse_stretch(stretch) if isinstance(stretch, str) else stretch,
    )
    source = _source(raster)
    spec, notes, plan = plan_raster(request, source, _header(source))
    return RasterReader(spec, notes, request, plan, source)


def _header(source: PixelSource) -> Header:
    try:
        return source.header()
    except RemotesamError:
        raise
    except Exception as error:  # any library may stand behind a source
        raise RasterError(
            f"{source.name}: cannot be read ({one_line(error)}); it is damaged or out of reach"
        ) from error


def _source(raster: RasterInput) -> PixelSource:
    if isinstance(raster, str | os.PathLike):
        path = os.fspath(raster)
        if path.startswith(MEMORY):
            raise InputError(
                f"{path}: was an array in memory, which no name leads back to; "
                "call remotesam.segment with the array and the same output to go on"
            )
        return DatasetSource(path)
    if isinstance(raster, PixelSource):
        return raster
    if isinstance(raster, DatasetReader | DatasetWriter | WarpedVRT):
        return source_of_dataset(raster)
    if is_xarray(raster):
        return source_of_data_array(raster)
    if hasattr(raster, "shape"):
        raise InputError(
            f"an array ({type(raster).__name__}) does not say where it lies; "
            "give remotesam.ArraySource(array, transform=…, crs=…), without both for pixel coordinates"
        )
    raise InputError(
        f"{type(raster).__name__}: is no raster; give a path, a dataset, or remotesam.ArraySource"
    )
