"""How a run is carried out, apart from what it does: what travels together from the caller to the stages."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from remotesam.events import Listener, silent
from remotesam.segmenter.protocol import Segmenter

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a run is carried out."""

    run_dir: str | None = None
    """Where finished units are kept, a path or an fsspec URL; None = beside the output."""
    resume: bool = True
    """Continue the run that is there, if it is the same; False discards it."""
    listener: Listener = silent
    """Is told what happens, see `remotesam.events`."""
    cancel: threading.Event = field(default_factory=threading.Event)
    """Set it from another thread to stop at the next pass."""
    segmenter: Segmenter | None = None
    """A model of the caller's own; None = the setting `model`."""
    executor: Client | str | None = None
    """A Dask client, which stays open, or "dask", "threads" or "serial"; None = by the setting `workers`."""
    live: bool = False
    """Also grow a GeoPackage of provisional polygons, tile by tile, in the run directory."""

    def directory(self, output: str) -> str:
        """The run directory of a run that writes `output`."""
        return self.run_dir or str(Path(output).with_suffix(".remotesam"))

    def within(self, directory: str) -> RunOptions:
        """The same for a run that is continued in its directory."""
        return replace(self, run_dir=directory, resume=True)
