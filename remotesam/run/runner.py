"""Who does the work of a run: this thread, threads, or a Dask cluster, as the settings ask."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from remotesam.config import Config
from remotesam.errors import ConfigError
from remotesam.progress import Listener
from remotesam.run.executors import Executor, SerialExecutor, ThreadExecutor
from remotesam.run.gpus import visible_gpus
from remotesam.run.job import Job, Workbench
from remotesam.run.stages import Crew
from remotesam.run.store import RunStore
from remotesam.segmenter.protocol import Segmenter

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
        wanted: see `workplace`.
        model: False when no tile is going to be segmented.
    """
    with workplace(job.config, wanted) as place:
        executor: Executor
        if isinstance(place, str):
            bench = Workbench(job, segmenter, cancel)
            executor = SerialExecutor(bench) if place == "serial" else ThreadExecutor(bench, THREADS)
            if model and len(RunStore(job.run_url).finished("tiles")) < len(job.grid):
                listener("stage", name="load_model", total=None)
                # Asked for now: a missing model must end the run here, not every tile on its own.
                listener("model", name=bench.segmenter.name, device=bench.segmenter.device)
        else:
            from remotesam.run.cluster import DaskExecutor

            executor = DaskExecutor(place, job, segmenter if model else None)
            if model:
                listener("cluster", dashboard=place.dashboard_link, workers=executor.workers)
        try:
            yield Crew(executor, cancel, listener)
        finally:
            executor.close()


@contextmanager
def workplace(config: Config, wanted: Client | str | None) -> Iterator[Client | str]:
    """Where the crews of one run work: a Dask client, "threads" or "serial".

    A cluster is started, or connected to, once for all stages and scales, and left in the end.

    Args:
        config: settings `workers`, `scheduler` and `device`.
        wanted: a Dask client, which stays open; "dask", "threads" or "serial"; None chooses by the settings:
            this thread alone for one worker, for `auto` threads of this process unless there are several
            GPUs, else processes under Dask.

    Raises:
        ConfigError: Dask is asked for and not installed.
        ClusterError: the scheduler does not answer.
    """
    wanted = wanted or _choice(config)
    if wanted == "dask":
        with _cluster(config) as client:
            yield client
    else:
        yield wanted


def _choice(config: Config) -> str:
    """Where a run works when its caller leaves that to the settings."""
    if config.scheduler is not None or config.workers not in ("auto", "1"):
        return "dask"
    if config.workers == "1":
        return "serial"
    return "dask" if config.device == "auto" and len(visible_gpus()) > 1 else "threads"


def _cluster(config: Config) -> AbstractContextManager[Client]:
    """A client of a running cluster, or of one of our own."""
    try:
        from remotesam.run.cluster import local_cluster, running_cluster
    except ImportError as error:
        raise ConfigError(
            f"workers: Dask cannot be imported ({error}); pip install 'remotesam[dask]' or use --workers 1"
        ) from None
    return running_cluster(config.scheduler) if config.scheduler else local_cluster(config.workers)
