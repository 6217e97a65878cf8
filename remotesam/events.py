"""Protocol 1: how another program (the QGIS plugin, a script) follows and stops a run.

JSON lines, UTF-8, one object per line, flushed one by one. Standard output carries the protocol and nothing
else; whatever a library prints goes to standard error. The events are the records of this module, each under
its `event` name with its fields; events of `segment --progress json` and `panorama --progress json` are the
same. A reader ignores what it does not know.
Exit codes: 0 done, 1 error, 2 bad arguments, 3 cancelled with every finished unit kept.

The controlling side writes `cancel` and a newline to standard input to stop the run. The end of standard
input means the same, so an engine never outlives the program that started it.

Standard library only: the plugin's side of the protocol is separate code, in another Python.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, BinaryIO, ClassVar, Protocol

from remotesam._version import __version__

PROTOCOL = 1
"""Major version; raised only when an old plugin would misread a new engine."""

MAX_LINE_BYTES = 1 << 20
"""Longest line accepted from the controlling side; a click request takes a few hundred bytes."""


class EventWriter:
    """Writes events, one JSON line each; safe to share between threads."""

    def __init__(self, stream: BinaryIO, on_reader_gone: Callable[[], None] | None = None) -> None:
        """Bind the writer to a stream.

        Args:
            stream: Binary stream of the reader.
            on_reader_gone: Called once when the reader has closed its end; later events are dropped. Without
                it the `BrokenPipeError` is raised to the caller.
        """
        self._stream = stream
        self._on_reader_gone = on_reader_gone
        self._gone = False
        self._lock = threading.Lock()

    def write(self, event: str, /, **fields: Any) -> None:
        """Write one event; numpy scalars and arrays are accepted, NaN and infinities become null.

        Args:
            event: Name of the event, the value of its first key.
            fields: The other keys.

        Raises:
            TypeError: A field has no JSON form.
            BrokenPipeError: The reader is gone and nobody was named to be told.
        """
        line = encode({"event": event, **fields})
        with self._lock:
            if self._gone:
                return
            try:
                self._stream.write(line)
                self._stream.flush()
            except BrokenPipeError:
                if self._on_reader_gone is None:
                    raise
                self._gone = True
        if self._gone and self._on_reader_gone is not None:
            self._on_reader_gone()


def encode(message: dict[str, Any]) -> bytes:
    """One message as a UTF-8 JSON line with its newline; text never contains a raw newline.

    Raises:
        TypeError: A value has no JSON form.
    """
    return json.dumps(_finite(message), ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _finite(value: Any) -> Any:
    # JSON has no NaN, and Python's own spelling of it breaks every strict reader.
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if hasattr(value, "tolist"):
        return _finite(value.tolist())
    return os.fspath(value) if isinstance(value, os.PathLike) else value


@contextmanager
def protocol_stdout() -> Iterator[BinaryIO]:
    """Keep standard output for the protocol: yield it, and let fd 1 point at standard error meanwhile.

    Done on the file descriptor, not on `sys.stdout`, so C libraries that print cannot break a line either.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(kept), "wb") as stream:
            yield stream
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def read_lines(fd: int) -> Iterator[bytes]:
    """Lines of a file descriptor, without their newline, until its end; a last unfinished line is dropped.

    Reads the descriptor itself: a thread waiting inside `sys.stdin` would hold its lock and abort the
    interpreter's shutdown. A line longer than `MAX_LINE_BYTES` is dropped whole.
    """
    pending = b""
    oversized = False
    while True:
        try:
            block = os.read(fd, 1 << 16)
        except OSError:  # a descriptor closed by the parent reads like its end
            return
        if not block:
            return
        *complete, pending = (pending + block).split(b"\n")
        for line in complete:
            if not oversized and len(line) <= MAX_LINE_BYTES:
                yield line.rstrip(b"\r")
            oversized = False
        if len(pending) > MAX_LINE_BYTES:
            pending, oversized = b"", True


def watch_control(cancel: threading.Event, fd: int = 0) -> threading.Thread:
    """Set `cancel` when the controlling side writes `cancel` or goes away; returns at once.

    Args:
        cancel: Set at most once, from the watching thread.
        fd: File descriptor to read, standard input by default.

    Returns:
        The daemon thread that watches; it ends with the input.
    """

    def watch() -> None:
        for line in read_lines(fd):
            if line.strip() == b"cancel":
                break
        cancel.set()

    thread = threading.Thread(target=watch, name="remotesam-control", daemon=True)
    thread.start()
    return thread


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A run begins."""

    event: ClassVar[str] = "start"
    kind: str
    """Kind of run: "segment" or "panorama"."""
    unit: str
    """What is finished one by one: "tile" or "view"."""
    tiles: int
    """How many of them, those of all scales together."""
    model: str
    """Name of the model."""
    output: str
    """The file that will be written."""
    live: str | None = None
    """A growing GeoPackage of provisional polygons."""
    crs: str | None = None
    """CRS of the raster."""
    run_dir: str | None = None
    """Where finished units are kept."""
    layer: str = "segments"
    """Layer of the output."""
    protocol: int = PROTOCOL
    """Version of these events."""
    version: str = __version__
    """Version of remotesam."""
    pid: int = field(default_factory=os.getpid)
    """Process of the engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageBegan:
    """A stage begins."""

    event: ClassVar[str] = "stage"
    name: str
    """Its name in `remotesam.run.layout.STAGES`."""
    title: str
    """What people read while it works."""
    total: int | None = None
    """Its units, finished ones included; None = it has no parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLoaded:
    """This process has loaded a model; there is none when no unit is left, or when workers load their own."""

    event: ClassVar[str] = "model"
    name: str
    """Name of the model."""
    device: str
    """The device it really is on: "cpu", "cuda:0", "mps"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterReady:
    """Workers of a Dask cluster are at work."""

    event: ClassVar[str] = "cluster"
    dashboard: str
    """Address of Dask's dashboard."""
    workers: int
    """Worker processes at this moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitDone:
    """A tile or view is finished, or has failed."""

    event: ClassVar[str] = "tile"
    done: int
    """Units finished, those of earlier sessions included."""
    total: int
    """Units of the stage."""
    index: int
    """Number of the unit."""
    segments: int
    """Segments it owns; 0 when it failed."""
    committed: int
    """Segments of all finished units."""
    coverage: float | None
    """Share 0..1 of their valid pixels that have a label; None while there are none."""
    eta_s: float | None
    """Seconds left."""
    bbox: list[float] | None = None
    """[west, south, east, north] in the raster's CRS; None for a view."""
    worker: str = ""
    """Who made it, on a cluster."""
    worker_rate: float | None = None
    """Units per second of that worker; None at first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDone:
    """A part of another stage is finished."""

    event: ClassVar[str] = "step"
    done: int
    """Parts finished."""
    total: int
    """Parts of the stage."""
    eta_s: float | None = None
    """Seconds left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """Something the user should know; the run goes on."""

    event: ClassVar[str] = "warning"
    code: str
    """What kind of thing, for programs."""
    message: str
    """One sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The run is done."""

    event: ClassVar[str] = "done"
    partial: bool
    """True = units failed and are missing."""
    features: int
    """Polygons written."""
    output: str
    """Where."""
    seconds: float
    """What the run took."""
    coverage: float
    """Share 0..1 of the valid area in a segment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The user has stopped the run; finished units are kept."""

    event: ClassVar[str] = "cancelled"
    partial: bool = False
    """True = `output` holds provisional polygons."""
    output: str | None = None
    """A file to look at, if there is one."""


Event = Started | StageBegan | ModelLoaded | ClusterReady | UnitDone | StepDone | Warned | Finished | Stopped
"""Everything a run can say; an error is written by the command line itself: `{"event": "error", "code",
"message"}`."""


PACE_TILES = 20
"""Tiles over which a worker's pace is measured."""


class Listener(Protocol):
    """Is told what happens in a run."""

    def __call__(self, event: str, /, **fields: Any) -> None:
        """Take one event."""
        ...


def silent(event: str, /, **fields: Any) -> None:
    """Ignore every event."""


def tell(listener: Listener, event: Event) -> None:
    """Pass an event to a listener, as its name and fields."""
    listener(event.event, **{entry.name: getattr(event, entry.name) for entry in fields(event)})


def eta(done: int, total: int, seconds: float) -> float | None:
    """Seconds left at the pace so far; None before the first item is done."""
    return None if done == 0 else seconds / done * (total - done)


def duration(seconds: float) -> str:
    """`3 s`, `4 min 10 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Pace:
    """How fast each worker is, from when its last tiles came in: right for late joiners too."""

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {}

    def count(self, worker: str) -> float | None:
        """Note a tile of a worker; its tiles per second over the last few, None for its first."""
        times = self._times.setdefault(worker, deque(maxlen=PACE_TILES))
        times.append(time.monotonic())
        if len(times) == 1:
            return None
        return (len(times) - 1) / max(times[-1] - times[0], 1e-3)
