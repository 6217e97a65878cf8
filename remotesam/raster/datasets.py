"""Anything that GDAL opens, as a source of pixels."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT

from remotesam.errors import InputError
from remotesam.raster.gdal import gdal_env, gdal_name, identity_of, is_remote, open_dataset
from remotesam.raster.georeference import georeference
from remotesam.raster.protocol import Band, Header
from remotesam.windows import Window

_REMOTE_TRIES = 3
_REMOTE_PAUSE = 0.5
"""Seconds before the second try of a remote read; doubled before the third."""

_LOSSY = ("jpeg", "webp", "jxl")
"""Compressions after which a nodata value is no longer exact along its border."""


class _Handle:
    """A dataset that closes with the thread that owns it."""

    def __init__(self, dataset: DatasetReader) -> None:
        self.dataset = dataset


class DatasetSource:
    """A file, URL or other name that GDAL understands.

    A GDAL handle may be used by one thread at a time, so each thread opens its own on first use, one per
    level. Pickles as its name and header; the receiver opens the file again when it first reads.

    Args:
        path: what the user gave.
        header: what `header` has found before; None reads it when it is needed.
    """

    def __init__(self, path: str, header: Header | None = None) -> None:
        # A local path must survive a change of folder, and mean the same in a worker.
        self.name = str(Path(path).resolve()) if Path(path).exists() else path
        self._header = header
        self._local = threading.local()
        self._handles: weakref.WeakSet[_Handle] = weakref.WeakSet()

    def __reduce__(self) -> tuple[Any, ...]:
        return (DatasetSource, (self.name, self._header))

    def header(self) -> Header:
        """See `PixelSource.header`."""
        if self._header is None:
            with gdal_env(self.name), open_dataset(self.name) as dataset:
                self._header = _read_header(self.name, dataset)
        return self._header

    def level_shape(self, level: int) -> tuple[int, int]:
        """See `PixelSource.level_shape`."""
        with gdal_env(self.name), open_dataset(self.name, level) as dataset:
            return dataset.height, dataset.width

    def read(
        self, bands: Sequence[int], window: Window, level: int | None
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """See `PixelSource.read`; a remote file gets more than one chance."""
        tries = _REMOTE_TRIES if is_remote(gdal_name(self.name)) else 1
        for attempt in range(1, tries + 1):
            try:
                return self._read_once(list(bands), window, level)
            except (RasterioError, OSError):
                self._drop_handles()
                if attempt == tries:
                    raise
                time.sleep(_REMOTE_PAUSE * 2 ** (attempt - 1))
        raise AssertionError("unreachable")

    def check_portable(self) -> None:
        """See `PixelSource.check_portable`."""
        if gdal_name(self.name).startswith("/vsimem/"):
            raise InputError(
                f"{self.name}: is a file in this process's memory, which no worker can open; write it to disk"
            )

    def close(self) -> None:
        """Close the handles of all threads; none of them may be reading."""
        for handle in list(self._handles):
            handle.dataset.close()
        self._local = threading.local()

    def _read_once(
        self, bands: list[int], window: Window, level: int | None
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        described = self.header().bands
        types = {described[band - 1].dtype for band in bands}
        alpha = next((i for i, band in enumerate(described, 1) if band.colour == "alpha"), None)
        span = ((window.row, window.row_stop), (window.col, window.col_stop))
        with gdal_env(self.name):
            dataset = self._dataset(level)
            if len(types) == 1:
                values = dataset.read(bands, window=span)
            else:
                planes = [dataset.read(band, window=span) for band in bands]
                values = np.stack([plane.astype(np.result_type(*types)) for plane in planes])
            mask = None
            if alpha is not None and alpha not in bands:
                mask = dataset.read(alpha, window=span) > 0
            elif alpha is None and described[bands[0] - 1].masked:
                mask = (dataset.read_masks(bands, window=span) > 0).any(axis=0)
        return values, mask

    def _dataset(self, level: int | None) -> DatasetReader:
        handles: dict[int | None, _Handle] = self._local.__dict__.setdefault("handles", {})
        if level not in handles:
            handles[level] = _Handle(open_dataset(self.name, level))
            self._handles.add(handles[level])
        return handles[level].dataset

    def _drop_handles(self) -> None:
        for handle in self._local.__dict__.pop("handles", {}).values():
            handle.dataset.close()


def source_of_dataset(dataset: DatasetReader) -> DatasetSource:
    """The source behind a dataset that the caller has opened, which stays the caller's.

    It is opened again by its name, once for every thread; what its name does not carry would be lost.

    Raises:
        InputError: the dataset is open for writing, or its name leads to something else.
    """
    name = str(dataset.name)
    if dataset.mode != "r":
        raise InputError(f"{name}: is open for writing; close it and give its path")
    if isinstance(dataset, WarpedVRT):
        raise InputError(
            f"{name}: is known to this process only; write it to a file (gdalwarp, also with -of VRT)"
        )
    with gdal_env(name), open_dataset(name) as again:
        if _grid(again) != _grid(dataset):
            raise InputError(
                f"{name}: was opened with options that change its grid; give its path, "
                "and `overview` for a level"
            )
    return DatasetSource(name)


def _grid(dataset: DatasetReader) -> tuple[Any, ...]:
    return (dataset.shape, dataset.dtypes, dataset.transform)


def _read_header(name: str, dataset: DatasetReader) -> Header:
    if dataset.count == 0:
        inner = f"; name one of those inside, such as {dataset.subdatasets[0]}" if dataset.subdatasets else ""
        raise InputError(f"{name}: holds no bands{inner}")
    facts = zip(dataset.dtypes, dataset.nodatavals, dataset.colorinterp, dataset.mask_flag_enums, strict=True)
    bands = tuple(
        Band(
            dtype=dtype,
            nodata=nodata,
            colour=colour.name,
            palette=_palette(dataset, number) if colour == ColorInterp.palette else None,
            masked=not {MaskFlags.all_valid, MaskFlags.nodata} & set(flags),
            levels=tuple(dataset.overviews(number)),
        )
        for number, (dtype, nodata, colour, flags) in enumerate(facts, 1)
    )
    method = dataset.compression.name.lower() if dataset.compression else ""
    return Header(
        height=dataset.height,
        width=dataset.width,
        bands=bands,
        placed=georeference(dataset),
        identity=identity_of(name, dataset),
        lossy=method if method in _LOSSY else "",
    )


def _palette(dataset: DatasetReader, band: int) -> NDArray[np.uint8]:
    entries = dataset.colormap(band)
    palette = np.zeros((max(entries) + 1, 4), np.uint8)
    for index, colour in entries.items():
        palette[index] = colour
    return palette
