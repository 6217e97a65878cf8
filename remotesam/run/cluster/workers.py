"""What Dask's processes hold for a run: a worker context on each worker, a rule on the scheduler."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import Any

from distributed import Scheduler, SchedulerPlugin, Worker, WorkerPlugin, get_worker
from distributed.core import Status

from remotesam.errors import ClusterError, RemotesamError
from remotesam.run.cluster.fitness import Terms, reason_unfit
from remotesam.run.executors import Task
from remotesam.run.job import Job, WorkerContext
from remotesam.segmenter.protocol import Segmenter

SETTLE_S = 1.0
"""Age of a worker at its first task: a nanny gives up on a process that dies before it has heard of it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes back from a worker: a summary or an error, and who sends it."""

    summary: Any
    """What the task returned; None when it failed."""
    error: RemotesamError | None
    """Why it failed."""
    name: str
    """The worker's name."""
    address: str
    """Its address."""
    home: str
    """What stays the same when a nanny replaces the worker's process."""


class BenchPlugin(WorkerPlugin):
    """Holds the worker context of one run on every worker, those that join late included.

    The model loads inside the first task, under the worker context's lock: `setup` runs in the worker's event
    loop, which a load of ten seconds would block.
    """

    def __init__(self, name: str, job: Job, segmenter: Segmenter | None, terms: Terms) -> None:
        self.name = name
        self.job = job
        self.segmenter = segmenter
        self.terms = terms

    def setup(self, worker: Worker) -> None:
        """Called by Dask when a worker starts."""
        self.cancel = threading.Event()
        self._bench = WorkerContext(self.job, self.segmenter, self.cancel)
        self._address = worker.address
        self._lock = threading.Lock()
        self._fit = False
        settled = worker.status == Status.running
        self._ready = time.monotonic() + (0 if settled else SETTLE_S)

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002 (Dask's signature)
        """Called by Dask when a worker ends or the run does."""
        self.cancel.set()

    def context(self) -> WorkerContext[Any]:
        """The worker context, once this worker was found fit for the run.

        Raises:
            ClusterError: it is not.
        """
        with self._lock:
            if not self._fit:
                time.sleep(max(0.0, self._ready - time.monotonic()))
                unfit = reason_unfit(self.job, self.terms)
                if unfit:
                    raise ClusterError(f"worker {self._address} {unfit}")
                self._fit = True
        return self._bench


class SuspectAtFirstDeath(SchedulerPlugin):
    """Brings tasks back to the driver when their worker dies once, whatever `allowed-failures` says.

    The setting lives on the scheduler, belongs to all its users, and is 3 by default: a tile that kills its
    worker would take four workers before anybody is asked.
    """

    def __init__(self, prefix: str) -> None:
        self.name = prefix
        self._scheduler: Scheduler | None = None

    async def start(self, scheduler: Scheduler) -> None:
        """Called by Dask when the plugin arrives."""
        self._scheduler = scheduler

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Called by Dask whenever a task changes its state."""
        if finish == "processing" and self._scheduler is not None and str(key).startswith(self.name):
            task = self._scheduler.tasks[key]
            task.suspicious = max(task.suspicious, self._scheduler.allowed_failures)


def on_worker(plugin: str, task: Task, index: int) -> Answer:
    """Run a task on this worker. Errors made for users come back as answers, with a name."""
    worker = get_worker()
    held: Any = worker.plugins[plugin]
    summary, error = None, None
    try:
        summary = task(held.context(), index)
    except RemotesamError as caught:
        error = caught
    return Answer(summary, error, str(worker.name), worker.address, str(worker.nanny or worker.address))


async def stop_tasks(plugin: str, dask_worker: Worker) -> None:
    """Let the tasks of a run on this worker end at their next checkpoint."""
    held: Any = dask_worker.plugins.get(plugin)
    if held is not None:
        held.cancel.set()


async def end_process() -> None:
    """End this worker's process; its nanny starts another."""
    os._exit(1)
