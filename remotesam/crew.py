"""Who does the work of a run: this thread, threads, or a Dask cluster, as the settings ask."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from remotesam.executors import Executor, SerialExecutor, ThreadExecutor
from remotesam.progress import Listener
from remotesam.segmenter.protocol import Segmenter
from remotesam.stages import Crew
from remotesam.store import RunStore
from remotesam.workbench import Job, Workbench

if TYPE_CHECKING:
    from distributed import Client

THREADS = 3
"""Threads of a run in one process: one tile on the device while others are read, painted and written."""


@contextmanager
def crew_of(
    job: Job,
    segmenter: Segmenter | None,
    cancel: threading.Event,
    listener: Listener,
    wanted: Client | str | None,
) -> Iterator[Crew]:
    """The executor that was asked for, closed in the end.

    Args:
        job: what to work on.
        segmenter: a model of the caller's own, or None for the job's.
        cancel: set by the user to stop.
        listener: is told what happens.
        wanted: a Dask client, "dask", "threads" or "serial"; None chooses by the job's settings: threads of
            this process for `auto`, this thread alone for 1, else processes under Dask.
    """
    config = job.config
    if wanted is None:
        in_process = config.scheduler is None and config.workers in ("auto", "1")
        wanted = ("serial" if config.workers == "1" else "threads") if in_process else "dask"
    if wanted in ("serial", "threads"):
        listener("stage", name="load_model", total=None)
        bench = Workbench(job, segmenter, cancel)
        executor: Executor = SerialExecutor(bench) if wanted == "serial" else ThreadExecutor(bench, THREADS)
        if job.grid and len(RunStore(job.run_url).finished("tiles")) < len(job.grid):
            _ = bench.segmenter  # a missing model must end the run here, not every tile on its own
        try:
            yield Crew(executor, cancel, listener)
        finally:
            executor.close()
        return
    from remotesam.cluster import DaskExecutor, connect, start_local, stop

    own = isinstance(wanted, str)
    client: Any = wanted
    if own:
        client = connect(config.scheduler) if config.scheduler else start_local(config.workers)
    try:
        executor = DaskExecutor(client, job, segmenter)
        listener("cluster", dashboard=client.dashboard_link, workers=executor.workers)
        try:
            yield Crew(executor, cancel, listener)
        finally:
            executor.close()
    finally:
        if own:
            stop(client)
