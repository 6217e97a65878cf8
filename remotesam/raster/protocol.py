"""What a raster offers to the stages of a run, and what a source of pixels must offer to become one.

`Raster` is what everything outside this room works with. Its one implementation, `reader.RasterReader`, does
what all rasters have in common (choice of bands, extent, averaging, nodata, palette, stretch, sample) over a
`PixelSource`, which only knows its header and reads windows. So another kind of input is one file: a class
with the methods of `PixelSource`, which `remotesam.segment` takes as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from remotesam.raster.georeference import Georeference
from remotesam.raster.pixels import Chip, Pixels
from remotesam.raster.sample import Sample
from remotesam.raster.spec import RasterSpec
from remotesam.raster.stretch import Stretch
from remotesam.windows import Window


class Raster(Protocol):
    """An opened raster: its grid, its pixels window by window, and a look at the whole.

    Safe to use from many threads. Pickles as far as its source does; see `check_portable`.
    """

    @property
    def spec(self) -> RasterSpec:
        """The grid, known before any pixel is read."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What the georeferencing and the format leave to say, one sentence each."""
        ...

    @property
    def stretch(self) -> Stretch:
        """The one map from values to 0–255 for all windows, measured on first use.

        Raises:
            RasterError: a sampled window cannot be read.
        """
        ...

    def read(self, window: Window) -> Chip:
        """The window as the model sees it.

        Args:
            window: In pixels of `spec`, inside the raster.

        Raises:
            ValueError: the window reaches outside the raster.
            RasterError: the source cannot be read there; names the source and the window.
        """
        ...

    def read_native(self, window: Window) -> Pixels:
        """The window's values before the stretch; arguments and errors as for `read`."""
        ...

    def sample(self, *, whole: bool = False) -> Sample:
        """Look at a bounded, deterministic sample of pixels.

        Args:
            whole: Look at all of the source rather than at the AOI.

        Raises:
            RasterError: a sampled window cannot be read.
        """
        ...

    def check_portable(self) -> None:
        """See `PixelSource.check_portable`."""
        ...

    def close(self) -> None:
        """Give back the files of all threads; none of them may be reading. A later read opens them anew."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """One band of a source."""

    dtype: str
    """numpy name of the samples' type; integers and floats can be shown, complex samples are refused."""
    nodata: float | None = None
    """Value that means no data, NaN allowed; None = there is none."""
    colour: str = "undefined"
    """What it shows, as GDAL says it: "red", "green", "blue", "alpha", "palette"; any other says nothing."""
    palette: NDArray[np.uint8] | None = None
    """(n, 4) RGBA by sample value where `colour` is "palette"."""
    masked: bool = False
    """True when the source has a mask for it that is neither an alpha band nor a nodata value."""
    levels: tuple[int, ...] = ()
    """Decimation factors of its overviews, in the source's order."""


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """What is known of a source before any pixel is read."""

    height: int
    """Rows at full resolution, px, ≥ 1."""
    width: int
    """Columns at full resolution, px, ≥ 1."""
    bands: tuple[Band, ...]
    """At least one; numbered from 1 everywhere else."""
    placed: Georeference
    """Where the pixels of full resolution lie."""
    identity: str
    """Digest by which a resumed run knows that its pixels are still the same."""
    lossy: str = ""
    """Name of a compression that changes nodata values beside data, such as "jpeg"; else empty."""


@runtime_checkable
class PixelSource(Protocol):
    """Where pixels come from. Used by many threads at once; pickled to travel to other processes.

    A class that inherits from it must give `name`, `header` and `read`; the other methods have defaults.
    """

    name: str
    """What messages, reports and result files call it; if possible a name that `open_raster` opens again."""

    def header(self) -> Header:
        """Bands, place and identity; asked for once when the raster is opened.

        Raises:
            RasterError: it cannot be read.
            InputError: it holds no bands.
        """
        ...

    def read(
        self, bands: Sequence[int], window: Window, level: int | None
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """One window, as stored.

        Args:
            bands: 1-based.
            window: In pixels of the level, inside it, not empty.
            level: Index into the `levels` of the first of the bands; None = full resolution.

        Returns:
            (bands, H, W) in a common type, native byte order, which the caller does not change; and (H, W)
            bool, True = data, from the mask or the alpha band that the source has for them (an alpha band
            among `bands` counts as data), None = it has none. Nodata values and palettes are the caller's
            business.

        Raises:
            Exception: of any kind when the window cannot be read; the reader names source and window.
        """
        ...

    def level_shape(self, level: int) -> tuple[int, int]:
        """(rows, columns) of one of the `levels` that the bands name."""
        raise LookupError(f"{self.name} has no overview {level}")

    def check_portable(self) -> None:
        """Called before the source is sent to the processes of a cluster; does nothing unless overridden.

        Raises:
            InputError: it cannot be sent, or should not for its size; says what to do.
        """
        return

    def close(self) -> None:
        """Give back what was opened; a later read opens it anew. Does nothing unless overridden."""
        return
