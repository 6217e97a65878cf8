"""What a worker needs for the tasks of one run, opened on first use and shared by its threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from remotesam.config import Config
from remotesam.errors import Cancelled
from remotesam.grid import TileGrid
from remotesam.run.store import RunStore

if TYPE_CHECKING:
    from remotesam.raster.reader import Raster
    from remotesam.segmenter.protocol import Segmenter


@dataclass(frozen=True, slots=True)
class Job:
    """One run over one raster at one scale, small enough to travel to every worker."""

    raster: Raster
    """What is segmented; pickles as its name and settings, not as pixels."""
    run_url: str
    """The run directory."""
    config: Config
    """All settings."""

    @property
    def grid(self) -> TileGrid:
        """The tiles of the run; with several scales those of the largest, which polygons are made by."""
        spec = self.raster.spec
        return TileGrid(spec.height, spec.width, max(self.config.tile_size), self.config.padding)

    def scales(self) -> list[Job]:
        """One job for each tile size, the largest first; this job itself when there is only one."""
        sizes = sorted(set(self.config.tile_size), reverse=True)
        if len(sizes) == 1:
            return [self]
        return [
            Job(
                self.raster,
                f"{self.run_url}/scales/{size}",
                msgspec.structs.replace(self.config, tile_size=(size,)),
            )
            for size in sizes
        ]


def open_for(path: str, config: Config) -> Raster:
    """Open a raster as the settings ask for.

    Raises:
        RemotesamError: it cannot be opened so.
    """
    from remotesam.raster.reader import open_raster

    return open_raster(
        path,
        bands=config.bands,
        nodata=config.nodata,
        overview=config.overview,
        aoi=config.aoi,
        stretch=config.stretch,
    )


class WorkerContext:
    """Raster, store and model of one job in one process.

    Args:
        job: what to work on.
        segmenter: a ready model; None loads `job.config.model` when the first tile asks for it.
        cancel: set by the user to stop between two passes.
    """

    def __init__(
        self, job: Job, segmenter: Segmenter | None = None, cancel: threading.Event | None = None
    ) -> None:
        self.job = job
        self._segmenter = segmenter
        self._cancel = cancel or threading.Event()
        self._lock = threading.Lock()

    @cached_property
    def grid(self) -> TileGrid:
        """The tiles of the run."""
        return self.job.grid

    @cached_property
    def store(self) -> RunStore:
        """The run directory."""
        return RunStore(self.job.run_url)

    @property
    def raster(self) -> Raster:
        """The raster; it opens one file handle per thread."""
        return self.job.raster

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
            raise Cancelled("cancelled; finished tiles are kept")
