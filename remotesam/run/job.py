"""What a worker needs for the tasks of one run, opened on first use and shared by its threads."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from remotesam.config import SegmentConfig, Settings
from remotesam.errors import Cancelled
from remotesam.grid import TileGrid
from remotesam.raster.protocol import Raster
from remotesam.raster.reader import RasterInput, open_raster
from remotesam.run.layout import scale_url
from remotesam.run.store import RunStore
from remotesam.segmenter.protocol import Segmenter
from remotesam.windows import Window


@dataclass(frozen=True, slots=True, eq=False)
class UnitImage:
    """What the model sees of one unit, and what of it the unit owns."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB; black where not valid."""
    valid: NDArray[np.bool_]
    """(H, W), True = data."""
    owned: NDArray[np.bool_]
    """(H, W), True = data that belongs to this unit and no other."""
    extent: float
    """What the owned pixels amount to: px for a tile, sr for a view."""
    window: Window
    """Place of the label map in raster px; a view's begins at (0, 0)."""


class UnitReader(Protocol):
    """Reads the units of one job in one process; safe to share between threads."""

    def read(self, index: int) -> UnitImage:
        """The pixels of a unit.

        Raises:
            RasterError: the file cannot be read there.
        """
        ...

    def columns(
        self, index: int, labels: NDArray[np.int32], owned: NDArray[np.bool_]
    ) -> Mapping[str, NDArray[Any]]:
        """What this kind of unit says of its labels besides their areas.

        Args:
            index: the unit.
            labels: (H, W) labels 1..n with none missing, 0 = none.
            owned: (H, W) as in `UnitImage`.

        Returns:
            (n,) columns by name: `touches_seam` (True = the object may go on in another unit), and more.
        """
        ...


@dataclass(frozen=True, slots=True)
class Job(ABC):
    """One run over units of one kind, small enough to travel to every worker."""

    kind: ClassVar[str]
    """Kind of run, as in the manifest."""
    unit: ClassVar[str]
    """What people call its units."""

    raster: Raster
    """What is segmented; a file pickles as its name and settings, an array in memory as its pixels."""
    run_url: str
    """The run directory."""
    config: Settings
    """All settings."""

    @property
    @abstractmethod
    def units(self) -> int:
        """Number of units, numbered from 0."""

    @abstractmethod
    def reader(self) -> UnitReader:
        """A reader of the units, to be kept by the process."""

    def bbox(self, index: int) -> list[float] | None:  # noqa: ARG002 (for those that have one)
        """[west, south, east, north] of what a unit owns in the raster's CRS, where that has a meaning."""
        return None


AnyJob = TypeVar("AnyJob", bound=Job)


@dataclass(frozen=True, slots=True)
class TileJob(Job):
    """One run over one raster at one scale, or at several that are combined."""

    kind: ClassVar[str] = "segment"
    unit: ClassVar[str] = "tile"

    config: SegmentConfig
    """All settings."""

    @property
    def grid(self) -> TileGrid:
        """The tiles of the run; with several scales those of the largest, which polygons are made by."""
        spec = self.raster.spec
        return TileGrid(spec.height, spec.width, max(self.config.tile_size), self.config.padding)

    @property
    def units(self) -> int:
        """Number of tiles."""
        return len(self.grid)

    def scales(self) -> list[TileJob]:
        """One job for each tile size, the largest first; this job itself when there is only one."""
        sizes = sorted(set(self.config.tile_size), reverse=True)
        if len(sizes) == 1:
            return [self]
        return [
            TileJob(
                self.raster,
                scale_url(self.run_url, size),
                msgspec.structs.replace(self.config, tile_size=(size,)),
            )
            for size in sizes
        ]

    def reader(self) -> UnitReader:
        """Reads chips."""
        return _TileReader(self.raster, self.grid)

    def bbox(self, index: int) -> list[float] | None:
        """[west, south, east, north] of a tile's core in the raster's CRS."""
        return self.raster.spec.bounds(self.grid[index].core)


@dataclass(frozen=True, slots=True)
class _TileReader:
    raster: Raster
    grid: TileGrid

    def read(self, index: int) -> UnitImage:
        tile = self.grid[index]
        chip = self.raster.read(tile.chip)
        owned = np.zeros(chip.valid.shape, np.bool_)
        core = tile.core_in_chip.slices
        owned[core] = chip.valid[core]
        return UnitImage(chip.image, chip.valid, owned, float(owned.sum()), tile.chip)

    def columns(
        self,
        index: int,
        labels: NDArray[np.int32],
        owned: NDArray[np.bool_],  # noqa: ARG002 (the protocol's)
    ) -> Mapping[str, NDArray[Any]]:
        inside = labels[self.grid[index].core_in_chip.slices]
        edge = np.zeros(int(labels.max(initial=0)) + 1, np.bool_)
        if inside.size:
            for line in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                edge[line] = True
        return {"touches_seam": edge[1:]}


def open_for(raster: RasterInput, config: Settings) -> Raster:
    """Open a raster as the settings ask for.

    Raises:
        RemotesamError: it cannot be opened so.
    """
    return open_raster(
        raster,
        bands=config.bands,
        nodata=config.nodata,
        overview=config.overview,
        aoi=config.aoi if isinstance(config, SegmentConfig) else None,
        stretch=config.stretch,
    )


class WorkerContext(Generic[AnyJob]):
    """Raster, store and model of one job in one process.

    Args:
        job: what to work on.
        segmenter: a ready model; None loads the one of the settings when the first unit asks for it.
        cancel: set by the user to stop between two passes.
    """

    def __init__(
        self, job: AnyJob, segmenter: Segmenter | None = None, cancel: threading.Event | None = None
    ) -> None:
        self.job = job
        self._segmenter = segmenter
        self._reader: UnitReader | None = None
        self._cancel = cancel or threading.Event()
        self._lock = threading.Lock()

    @cached_property
    def store(self) -> RunStore:
        """The run directory."""
        return RunStore(self.job.run_url)

    @property
    def raster(self) -> Raster:
        """The raster; it opens one file handle per thread."""
        return self.job.raster

    @property
    def reader(self) -> UnitReader:
        """The reader of the units; made once, by whichever thread comes first."""
        with self._lock:
            if self._reader is None:
                self._reader = self.job.reader()
            return self._reader

    @property
    def segmenter(self) -> Segmenter:
        """The model; loaded once, by whichever thread comes first."""
        with self._lock:
            if self._segmenter is None:
                from remotesam.segmenter.batching import SharedSegmenter
                from remotesam.segmenter.loading import load

                config = self.job.config
                self._segmenter = SharedSegmenter(
                    load(
                        config.model,
                        device=config.device,
                        precision=config.precision,
                        point_batch=config.point_batch,
                        exact=config.generator == "exact",
                        compiled=config.compile,
                    )
                )
            return self._segmenter

    def stop_if_cancelled(self) -> None:
        """Raise when the user has asked to stop.

        Raises:
            Cancelled: what is finished stays on disk.
        """
        if self._cancel.is_set():
            raise Cancelled("cancelled; finished units are kept")
