"""Who does the work of a run: this thread, threads, or a Dask cluster, as the settings ask."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from remotesam.config import Config
from remotesam.errors import FATAL, Cancelled, ConfigError, RemotesamError
from remotesam.events import Listener, eta
from remotesam.run.executors import Executor, Outcome, SerialExecutor, Task, ThreadExecutor
from remotesam.run.gpus import visible_gpus
from remotesam.run.job import Job, WorkerContext
from remotesam.run.store import RunStore
from remotesam.segmenter.protocol import Segmenter

if TYPE_CHECKING:
    from distributed import Client

THREADS = 3
"""Threads of a run in one process: one tile on the device while others are read, painted and written."""


@contextmanager
def runner_for(
    job: Job,
    segmenter: Segmenter | None,
    cancel: threading.Event,
    listener: Listener,
    wanted: Client | str | None,
    *,
    model: bool = True,
) -> Iterator[Runner]:
    """The executor that was asked for, closed in the end.

    Args:
        job: what to work on.
        segmenter: a model of the caller's own, or None for the job's.
        cancel: set by the user to stop.
        listener: is told what happens.
        wanted: see `connect`.
        model: False when no tile is going to be segmented.
    """
    with connect(job.config, wanted) as place:
        executor: Executor
        if isinstance(place, str):
            context = WorkerContext(job, segmenter, cancel)
            executor = SerialExecutor(context) if place == "serial" else ThreadExecutor(context, THREADS)
            if model and len(RunStore(job.run_url).finished("tiles")) < len(job.grid):
                listener("stage", name="load_model", total=None)
                # Asked for now: a missing model must end the run here, not every tile on its own.
                listener("model", name=context.segmenter.name, device=context.segmenter.device)
        else:
            from remotesam.run.cluster import DaskExecutor

            executor = DaskExecutor(place, job, segmenter if model else None)
            if model:
                listener("cluster", dashboard=place.dashboard_link, workers=executor.workers)
        try:
            yield Runner(executor, cancel, listener)
        finally:
            executor.close()


@contextmanager
def connect(config: Config, wanted: Client | str | None) -> Iterator[Client | str]:
    """Where the runners of one run work: a Dask client, "threads" or "serial".

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


def each_tile(job: Job, runner: Runner, stage: str, task: Task) -> None:
    """Run a task over the tiles of a stage that are not finished; its files are named after the stage.

    Raises:
        RemotesamError: a tile failed; stages after the first have no use for partial results.
    """
    total = len(job.grid)
    finished = RunStore(job.run_url).finished(stage, ".i64" if stage == "contacts" else ".arrow")
    todo = [index for index in range(total) if index not in finished]
    must_succeed(run_stage(stage, task, todo, total, runner), stage)


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the block's wall time to the stage's seconds."""
    started = time.perf_counter()
    yield
    seconds[stage] = round(seconds.get(stage, 0.0) + time.perf_counter() - started, 3)


def discard_if_changed(store: RunStore, stage: str, inputs: dict[str, Any], content: list[str]) -> None:
    """Throw away what a stage wrote from other settings or other tiles.

    Args:
        store: the run.
        stage: whose inputs are compared.
        inputs: JSON-ready; what the stage is about to work from.
        content: the stage's files, and those of the stages after it.
    """
    known = store.get_json("stages.json") if store.exists("stages.json") else {}
    if known.get(stage) != inputs:
        store.remove(content)
        store.put_json("stages.json", {**known, stage: inputs})


@dataclass(frozen=True, slots=True)
class Runner:
    """Who works on a run and who is told."""

    executor: Executor
    """Runs the tasks."""
    cancel: threading.Event
    """Set by the user."""
    listener: Listener
    """Is told what happens."""


def run_stage(
    name: str,
    task: Task,
    todo: Iterable[int],
    total: int,
    runner: Runner,
    *,
    on_outcome: Callable[[Outcome, int, float | None], None] | None = None,
) -> list[Outcome]:
    """Run a task over the tiles that are left and tell the listener.

    Args:
        name: of the stage.
        task: what to do with each tile.
        todo: tiles left.
        total: tiles of the stage, finished ones included.
        runner: who works and who is told.
        on_outcome: called with each outcome, the number of finished tiles and the seconds left, instead of
            the plain "step" event.

    Returns:
        The failures.

    Raises:
        Cancelled: the user stopped the stage; what is finished is on disk.
        RemotesamError: one of `FATAL`, at once: the other tiles would meet it too.
    """
    left = list(todo)
    runner.listener("stage", name=name, total=total)
    started, before = time.perf_counter(), total - len(left)
    failures = []
    done = before
    for outcome in runner.executor.run(task, left, runner.cancel):
        if isinstance(outcome.error, FATAL):
            raise outcome.error
        if outcome.error is not None:
            failures.append(outcome)
        done += 1
        seconds = eta(done - before, len(left), time.perf_counter() - started)
        if on_outcome is not None:
            on_outcome(outcome, done, seconds)
        else:
            runner.listener("step", done=done, total=total, eta_s=seconds)
    if done < total and runner.cancel.is_set():
        raise Cancelled(f"cancelled after {done} of {total} tiles; run again to continue")
    return failures


def must_succeed(failures: list[Outcome], stage: str) -> None:
    """Turn the first failure of a stage that has no use for partial results into the run's error.

    Raises:
        RemotesamError: a task failed.
    """
    for failure in failures:
        if isinstance(failure.error, RemotesamError):
            raise failure.error
        raise RemotesamError(
            f"{stage} of tile {failure.index} failed ({type(failure.error).__name__}: {failure.error}); "
            "run again to continue from here"
        ) from failure.error
