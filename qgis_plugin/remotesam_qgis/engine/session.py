"""A resident `remotesam serve` process that answers clicks."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from .environ import popen_kwargs, stop_group
from .locate import EngineError
from .protocol import parse_line

CLOSE_SECONDS = 3.0


class Session:
    """One resident engine; requests go out at once, replies come back in order on a reader thread."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        on_reply: Callable[[dict[str, Any]], None],
        on_log: Callable[[str], None],
        on_end: Callable[[int], None],
    ) -> None:
        """Start the process.

        Args:
            command: Full command line of `remotesam serve`.
            env: Clean environment.
            on_reply: Called in the reader thread with every protocol message.
            on_log: Called in a reader thread with every other line.
            on_end: Called in the reader thread with the exit code when the process has ended.

        Raises:
            EngineError: The process cannot be started.
        """
        try:
            self._process = subprocess.Popen(  # nosec B603 - argument list, no shell
                list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env=dict(env), **popen_kwargs(),
            )  # fmt: skip
        except OSError as error:
            raise EngineError(
                f"The engine cannot be started ({command[0]}): {error.strerror or error}."
            ) from error
        self._ids = itertools.count(1)
        self._write_lock = threading.Lock()
        self._tell_lock = threading.Lock()
        self._closed = False
        self._on_reply, self._on_log, self._on_end = on_reply, on_log, on_end
        self._threads = [
            threading.Thread(target=self._read_replies, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._read_log, args=(self._process.stderr,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        """True while the process runs."""
        return self._process.poll() is None

    def request(self, cmd: str, **fields: Any) -> int:
        """Send a request; its reply carries the returned id.

        Raises:
            EngineError: The engine has ended.
        """
        number = next(self._ids)
        line = json.dumps({"id": number, "cmd": cmd, **fields}).encode() + b"\n"
        stdin = self._process.stdin
        try:
            with self._write_lock:
                if stdin is None or stdin.closed:
                    raise EngineError("The click engine has been closed.")
                stdin.write(line)
                stdin.flush()
        except OSError as error:
            raise EngineError("The click engine has stopped; click again to start it anew.") from error
        return number

    def close(self, *, wait: bool = True) -> None:
        """End the process: end of input first, force after `CLOSE_SECONDS`; safe to call twice.

        No callback runs after this, so what they belong to may be destroyed.

        Args:
            wait: False = return at once and let a thread do the waiting; the end of its input stops the
                engine even when this program ends first.
        """
        with self._tell_lock:
            self._closed = True
        with self._write_lock:
            if self._process.stdin and not self._process.stdin.closed:
                with contextlib.suppress(OSError):  # unsent bytes to a process that is gone
                    self._process.stdin.close()
        if wait:
            self._finish()
        else:
            threading.Thread(target=self._finish, daemon=True).start()

    def _finish(self) -> None:
        try:
            self._process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            stop_group(self._process, force=True)
            self._process.wait()

    def _read_replies(self, pipe: IO[bytes]) -> None:
        with pipe:
            for line in pipe:
                message = parse_line(line)
                if message is None:
                    self._tell(self._on_log, line.decode("utf-8", "replace").rstrip())
                else:
                    self._tell(self._on_reply, message)
        self._tell(self._on_end, self._process.wait())

    def _read_log(self, pipe: IO[bytes]) -> None:
        with pipe:
            for line in pipe:
                self._tell(self._on_log, line.decode("utf-8", "replace").rstrip())

    def _tell(self, callback: Callable[[Any], None], what: Any) -> None:
        with self._tell_lock:
            if not self._closed:
                callback(what)
