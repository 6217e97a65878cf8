"""Who does the work of a run: this thread, threads, or a Dask cluster, as the settings ask."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from remotesam.config import Config
from remotesam.errors import ConfigError
from remotesam.executors import Executor, SerialExecutor, ThreadExecutor
from remotesam.gpus import visible_gpus
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
    *,
    model: bool = True,
) -> Iterator[Crew]:
    """The executor that was asked for, closed in the end.

    Args:
        job: what to work on.
        segmenter: a model of the caller's own, or None for the job's.
        cancel: set by the user to stop.
        listener: is told what happens.
        wanted: a Dask client, "dask", "threads" or "serial"; None chooses by the job's settings: threads of
            this process for `auto`, this thread alone for 1, else processes under Dask.
        model: False when no tile is going to be segmented.
    """
    wanted = wanted or _choice(job.config)
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
    with _client(wanted, job.config) as client:
        from remotesam.cluster import DaskExecutor

        on_cluster = DaskExecutor(client, job, segmenter)
        listener("cluster", dashboard=client.dashboard_link, workers=on_cluster.workers)
        try:
            yield Crew(on_cluster, cancel, listener)
        finally:
            on_cluster.close()


def _choice(config: Config) -> str:
    """Where a run works when its caller leaves that to the settings."""
    if config.scheduler is not None or config.workers not in ("auto", "1"):
        return "dask"
    if config.workers == "1":
        return "serial"
    return "dask" if config.device == "auto" and len(visible_gpus()) > 1 else "threads"


def _client(wanted: Client | str, config: Config) -> AbstractContextManager[Client]:
    """The caller's client, or one of our own that is closed in the end."""
    if not isinstance(wanted, str):
        return nullcontext(wanted)
    try:
        from remotesam.cluster import local_cluster, running_cluster
    except ImportError as error:
        raise ConfigError(
            f"workers: Dask cannot be imported ({error}); pip install 'remotesam[dask]' or use --workers 1"
        ) from None
    return running_cluster(config.scheduler) if config.scheduler else local_cluster(config.workers)
