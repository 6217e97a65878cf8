"""An array as a source of pixels: numpy in memory, or anything lazy that is indexed like numpy."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import CRSError

from remotesam.errors import InputError
from remotesam.raster.georeference import from_transform
from remotesam.raster.protocol import Band, Header, PixelSource
from remotesam.raster.sample import rounds
from remotesam.windows import Window

MEMORY = "memory:"
"""How the name of an array begins, where a file has its path."""

PORTABLE_BYTES = 2**29
"""Largest array that is sent to the workers of a cluster, 512 MiB: each of them holds a copy."""

_CHANNELS_LAST = 4
"""An array whose last axis is not longer than this, and whose first is, has its bands last."""

_HASHED_ROWS = 256
"""Rows of a band that are hashed at once."""


class ArraySource(PixelSource):
    """An array with its place on the earth, to be given to `remotesam.segment`.

    Lazy arrays (dask, zarr, h5py, an xarray Variable) are read window by window; of dask, only the chunks
    under the window are computed, on threads of the process that reads; an array that a cluster holds
    (`.persist()`) is refused.

    Pixels hold no data when all chosen bands equal `nodata` or are masked (`numpy.ma.MaskedArray`), or when
    any of them is NaN or infinite.

    Args:
        array: (H, W), or (bands, H, W) as rasterio reads it; integers or floats of at most 64 bits. Rows run
            downwards in the picture, whatever the transform makes of them.
        transform: pixels (x right, y down, edges at integers) → coordinates: an `affine.Affine`, as in
            `dataset.transform`, or its a, b, c, d, e, f. None, as the identity: pixel coordinates.
        crs: whatever rasterio understands: "EPSG:32633", an EPSG number, WKT, a pyproj CRS.
        nodata: value that means no data, NaN allowed; None = there is none.
        name: shown in messages, report and results as `memory:NAME`.

    Raises:
        InputError: no such array, place or CRS, in words that say what to give.
    """

    def __init__(
        self,
        array: Any,
        transform: Iterable[float] | None = None,
        crs: Any = None,
        nodata: float | None = None,
        name: str = "array",
    ) -> None:
        self.name = f"{MEMORY}{name}"
        self._dtype = self._checked(array)
        self._mask = None if np.ma.getmask(array) is np.ma.nomask else np.ma.getmaskarray(array)
        self._array = np.asarray(array) if isinstance(array, np.ndarray) else array
        self._placed = from_transform(self._affine(transform, crs), self._crs(crs))
        self._nodata = nodata

    def _checked(self, array: Any) -> np.dtype[Any]:
        """The type of the samples in native byte order.

        Raises:
            InputError: not an array that can be shown.
        """
        shape, dtype = getattr(array, "shape", None), getattr(array, "dtype", None)
        if shape is None or dtype is None:
            raise InputError(f"{self.name}: is no array but {type(array).__name__}; give a numpy array")
        if len(shape) not in (2, 3) or 0 in shape:
            raise InputError(
                f"{self.name}: has shape {tuple(shape)}; give (rows, columns) or (bands, rows, columns)"
            )
        if len(shape) == 3 and shape[2] <= _CHANNELS_LAST < shape[0]:
            raise InputError(
                f"{self.name}: has shape {tuple(shape)}, bands last; give np.moveaxis(array, -1, 0)"
            )
        if getattr(dtype, "kind", "") not in "iuf" or dtype.itemsize > 8:
            raise InputError(
                f"{self.name}: holds {dtype}; give integers or floats, such as array.astype('uint8')"
            )
        if _on_cluster(array):
            raise InputError(
                f"{self.name}: was persisted on a cluster, out of reach of those who read it; "
                "give it as it was before .persist(), or .compute() it"
            )
        native: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
        return native

    def _affine(self, transform: Iterable[float] | None, crs: Any) -> Affine:
        if transform is None:
            if crs is not None:
                raise InputError(
                    f"{self.name}: has a CRS but no transform; give both, or neither for pixel coordinates"
                )
            return Affine.identity()
        numbers = tuple(transform)[:6]
        if len(numbers) != 6 or not np.isfinite(numbers).all() or Affine(*numbers).is_degenerate:
            raise InputError(f"{self.name}: its transform {numbers} places no pixels; give an affine.Affine")
        return Affine(*numbers)

    def _crs(self, crs: Any) -> CRS | None:
        try:
            return None if crs is None else CRS.from_user_input(crs)
        except CRSError as error:
            raise InputError(f"{self.name}: no such CRS ({error}); give an EPSG code or WKT") from None

    def header(self) -> Header:
        """See `PixelSource.header`."""
        height, width = self._array.shape[-2:]
        count = 1 if len(self._array.shape) == 2 else self._array.shape[0]
        return Header(
            height=height,
            width=width,
            bands=(Band(self._dtype.name, self._nodata),) * count,
            placed=self._placed,
            identity=self._digest(count, height, width),
        )

    def read(
        self,
        bands: Sequence[int],
        window: Window,
        level: int | None = None,  # noqa: ARG002 (the protocol's; an array has one)
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """See `PixelSource.read`."""
        part = self._part(self._array, bands, window)
        if hasattr(part, "compute"):
            # On a worker, Dask would by itself ask the cluster, and wait there for the slot that it occupies.
            part = part.compute(scheduler="threads")
        values = np.asarray(part, self._dtype).reshape(len(bands), *window.shape)
        if self._mask is None:
            return values, None
        hidden = self._part(self._mask, bands, window).reshape(values.shape)
        return values, ~hidden.all(axis=0)

    @staticmethod
    def _part(array: Any, bands: Sequence[int], window: Window) -> Any:
        if len(array.shape) == 2:
            return array[window.slices]
        return array[([band - 1 for band in bands], *window.slices)]

    def _digest(self, count: int, height: int, width: int) -> str:
        """Digest of type, shape, place, nodata and pixels.

        Of a numpy array all pixels and its mask count. A lazy one is too dear for that: of its first three
        bands all pixels up to `sample.BUDGET`, of a larger one those of 64 windows, spread evenly, that hold
        as many together. A change elsewhere in a lazy array is not noticed.
        """
        digest = hashlib.blake2b(digest_size=32)
        placed = (tuple(self._placed.transform), str(self._placed.crs), repr(self._nodata))
        digest.update(repr((self._dtype.name, count, height, width, placed)).encode())
        if isinstance(self._array, np.ndarray):
            bands, windows = range(1, count + 1), _strips(height, width)
        else:
            bands, windows = range(1, min(count, 3) + 1), next(rounds(height, width))
        for window in windows:
            for band in bands:
                values, mask = self.read([band], window)
                digest.update(values.tobytes())
                if mask is not None:
                    digest.update(mask.tobytes())
        return digest.hexdigest()

    def check_portable(self) -> None:
        """See `PixelSource.check_portable`."""
        if isinstance(self._array, np.ndarray):
            size = self._array.nbytes
        else:
            try:
                size = len(pickle.dumps(self._array))
            except Exception as error:
                raise InputError(
                    f"{self.name}: cannot be sent to workers ({error}); write it to a file, "
                    "or use executor='threads'"
                ) from error
        if size > PORTABLE_BYTES:
            raise InputError(
                f"{self.name}: {size / 2**30:.1f} GiB are too much to send to every worker; write it to a "
                "GeoTIFF, or to Zarr and open that with xarray, or use executor='threads'"
            )


def _strips(height: int, width: int) -> list[Window]:
    return [Window(row, 0, _HASHED_ROWS, width).clip(height, width) for row in range(0, height, _HASHED_ROWS)]


def _on_cluster(array: Any) -> bool:
    """True for a Dask array of which chunks are held by the workers of a cluster."""
    graph = array.__dask_graph__() if hasattr(array, "__dask_graph__") else None
    return graph is not None and any(
        type(task).__module__.startswith("distributed.") for task in graph.values()
    )
