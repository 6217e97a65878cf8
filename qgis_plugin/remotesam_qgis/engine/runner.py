"""Run the engine, follow it, stop it: blocking, for a worker thread."""

from __future__ import annotations

import queue
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Optional

from .environ import popen_kwargs, stop_group
from .locate import EngineError, refuse_other_protocol
from .protocol import EXIT_CANCELLED, EXIT_DONE, parse_line

POLL_SECONDS = 0.1
DRAIN_SECONDS = 1.0
"""Time left to the pipes after the process has ended; a surviving grandchild may hold them open for ever."""
LINE_LIMIT = 1 << 20
TAIL_LINES = 50


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        status: "done", "cancelled" or "failed".
        returncode: Exit code of the process, negative for a signal.
        message: One sentence for the user; empty when done.
        output: The result; of a run that was not completed the file of provisional polygons, if there is one.
        partial: True when `output` holds a part of the result.
        features: Number of polygons in `output`, as reported.
        seconds: Wall-clock time of the process.
        log_tail: Last lines of its standard error.
    """

    status: str
    returncode: int
    message: str
    output: Optional[str]
    partial: bool
    features: int
    seconds: float
    log_tail: tuple[str, ...]


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    on_event: Callable[[dict[str, Any]], None],
    on_log: Callable[[str], None],
    is_canceled: Callable[[], bool],
    cwd: Optional[str] = None,
    grace: float = 10.0,
) -> Outcome:
    """Run an engine command to its end.

    Cancel goes in three steps, `grace` seconds apart: the word on standard input (finished tiles are saved),
    terminate, kill of the whole process group.

    Args:
        command: The full command line.
        env: Clean environment.
        on_event: Called in this thread with every protocol event, in order.
        on_log: Called in this thread with every other line.
        is_canceled: Asked about ten times per second.
        cwd: Working folder.
        grace: Seconds between two steps of a cancel.

    Returns:
        The outcome; a failing engine is an outcome, not an exception.

    Raises:
        EngineError: The process cannot be started or speaks another protocol.
    """
    started = time.monotonic()
    try:
        process = subprocess.Popen(  # nosec B603 - argument list, no shell
            list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=dict(env), cwd=cwd, **popen_kwargs(),
        )  # fmt: skip
    except OSError as error:
        raise EngineError(
            f"The engine cannot be started ({command[0]}): {error.strerror or error}."
        ) from error
    follower = _Follower(process, on_event, on_log)
    try:
        follower.follow(is_canceled, grace)
    finally:
        stop_group(process, force=True)  # the engine is still there when a callback has raised
        if process.stdin:
            _close_quietly(process.stdin)
        process.wait()
    return follower.outcome(time.monotonic() - started)


class _Follower:
    """Collects what one process says; callbacks run in the thread that calls `follow`."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        on_event: Callable[[dict[str, Any]], None],
        on_log: Callable[[str], None],
    ) -> None:
        self._process = process
        self._on_event = on_event
        self._on_log = on_log
        self._lines: queue.SimpleQueue[tuple[str, Optional[bytes]]] = queue.SimpleQueue()
        self._open_pipes = 2
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._start: dict[str, Any] = {}
        self._last: dict[str, Any] = {}
        self._error: dict[str, Any] = {}
        self._cancel_step = 0
        for name, pipe in (("stdout", process.stdout), ("stderr", process.stderr)):
            threading.Thread(target=self._read, args=(name, pipe), daemon=True).start()

    def _read(self, name: str, pipe: IO[bytes]) -> None:
        with pipe:
            for line in iter(lambda: pipe.readline(LINE_LIMIT), b""):
                self._lines.put((name, line))
        self._lines.put((name, None))

    def follow(self, is_canceled: Callable[[], bool], grace: float) -> None:
        """Pump lines until the process has ended and its pipes are empty."""
        next_step_at = 0.0
        drain_until: Optional[float] = None
        while self._open_pipes:
            self._pump()
            now = time.monotonic()
            if self._process.poll() is not None:
                if drain_until is None:
                    stop_group(
                        self._process, force=True
                    )  # children that outlive it would hold the pipes open
                    drain_until = now + DRAIN_SECONDS
                if now >= drain_until and self._lines.empty():
                    return
            elif is_canceled() and now >= next_step_at:
                self._next_cancel_step()
                next_step_at = now + grace

    def _pump(self) -> None:
        try:
            name, line = self._lines.get(timeout=POLL_SECONDS)
        except queue.Empty:
            return
        if line is None:
            self._open_pipes -= 1
            return
        event = parse_line(line) if name == "stdout" else None
        if event is None:
            text = line.decode("utf-8", "replace").rstrip()[:2000]
            self._tail.append(text)
            self._on_log(text)
            return
        self._take(event)
        self._on_event(event)

    def _take(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "start":
            refuse_other_protocol(event.get("protocol"), str(event.get("version", "?")))
            self._start = event
        elif kind == "error":
            self._error = event
        elif kind in ("done", "cancelled"):
            self._last = event

    def _next_cancel_step(self) -> None:
        self._cancel_step += 1
        if self._cancel_step == 1 and self._process.stdin:
            try:
                self._process.stdin.write(b"cancel\n")
                self._process.stdin.flush()
            except OSError:  # it has just ended, or closed its input: the next step will not need it
                self._on_log("The engine no longer listens; it will be terminated.")
        else:
            stop_group(self._process, force=self._cancel_step > 2)

    def outcome(self, seconds: float) -> Outcome:
        """Sum the run up."""
        code = self._process.returncode
        cancelled = self._cancel_step > 0 or code == EXIT_CANCELLED or self._last.get("event") == "cancelled"
        if code == EXIT_DONE and self._last.get("event") == "done":
            status, message = "done", ""
        elif cancelled:
            status, message = "cancelled", "Cancelled; finished tiles are kept."
        else:
            status, message = "failed", self._explain(code)
        output = self._last.get("output") or self._start.get("output" if status == "done" else "live")
        return Outcome(
            status=status,
            returncode=code,
            message=message,
            output=output,
            partial=status != "done" or bool(self._last.get("partial")),
            features=int(self._last.get("features") or 0),
            seconds=seconds,
            log_tail=tuple(self._tail),
        )

    def _explain(self, code: int) -> str:
        if self._error:
            hint = self._error.get("hint")
            return str(self._error.get("message", "")) + (f" {hint}" if hint else "")
        if code in (-9, 137):
            return (
                "The engine was killed, probably because memory ran out. Try a smaller tile size or model; "
                "finished tiles are kept and the next run continues from them."
            )
        said = next((line for line in reversed(self._tail) if line.strip()), "")
        if code == EXIT_DONE:
            return "The engine ended without a result." + (f" It last said: {said}" if said else "")
        return f"The engine stopped with exit code {code}." + (f" It last said: {said}" if said else "")


def _close_quietly(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except OSError:  # unsent bytes to a process that is gone
        return
