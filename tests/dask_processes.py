"""A Dask scheduler and workers as processes of their own, to be killed, slowed and cut off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from distributed import Client

ROOT = Path(__file__).resolve().parents[1]
COLOURS = str(ROOT / "tests" / "preload_colours.py")
"""Makes a worker segment by colours instead of loading a model: runs of the command line need no torch."""


def dask(
    *arguments: object, before: Sequence[str] = (), log: Path, **environment: str
) -> subprocess.Popen[bytes]:
    """Start a `dask …` command in a process group of its own."""
    command = [*before, sys.executable, "-m", "dask", *map(str, arguments)]
    known = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    with log.open("ab") as out:
        return subprocess.Popen(
            command, env={**os.environ, **known}, stdout=out, stderr=out, start_new_session=True
        )


class DaskProcesses:
    """One scheduler and any number of workers."""

    def __init__(self, folder: Path, host: str, **environment: str) -> None:
        self.folder, self.environment = folder, environment
        self.file = folder / "scheduler.json"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.scheduler = self._start(
            *("scheduler", "--host", host, "--port", 0, "--dashboard-address", "127.0.0.1:0"),
            *("--scheduler-file", self.file),
        )
        wait_until(self.file.exists)

    def worker(
        self, name: str, *options: object, before: Sequence[str] = (), **environment: str
    ) -> subprocess.Popen[bytes]:
        """Start a worker; returns its nanny's process, or its own after `--no-nanny`."""
        return self._start(
            *("worker", "--scheduler-file", self.file, "--name", name, "--nthreads", 2, "--no-dashboard"),
            *("--local-directory", self.folder / "scratch", *options),
            before=before,
            **environment,
        )

    def _start(
        self, *arguments: object, before: Sequence[str] = (), **environment: str
    ) -> subprocess.Popen[bytes]:
        process = dask(
            *arguments, before=before, log=self.folder / "dask.log", **self.environment, **environment
        )
        self.processes.append(process)
        return process

    def client(self) -> Client:
        """A client of the scheduler."""
        return Client(scheduler_file=str(self.file), timeout=30)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """SIGKILL to a process and all its children."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def dask_processes(
    folder: Path, *workers: str, host: str = "127.0.0.1", **environment: str
) -> Iterator[DaskProcesses]:
    """A scheduler with workers of these names; all are killed in the end."""
    folder.mkdir()
    cluster = DaskProcesses(folder, host, **environment)
    try:
        for name in workers:
            cluster.worker(name)
        yield cluster
    finally:
        for process in cluster.processes:
            cluster.kill(process)


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Poll until a callable is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
