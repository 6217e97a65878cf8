"""The executor that hands tasks to a Dask cluster and keeps watch over its workers."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from distributed import Client, Future, WorkerPlugin

from remotesam.errors import ClusterError
from remotesam.run.cluster.fitness import Terms, reason_unfit, versions
from remotesam.run.cluster.flow import POLL_S, Flow, lost_scheduler, scheduler_errors
from remotesam.run.cluster.workers import (
    Answer,
    BenchPlugin,
    SuspectAtFirstDeath,
    end_process,
    on_worker,
    stop_tasks,
)
from remotesam.run.executors import Outcome, Task
from remotesam.run.job import Job
from remotesam.run.store import RunStore, absolute
from remotesam.segmenter.protocol import Segmenter

THREADS = 3
"""Threads of a worker that are used: one tile on the device, one being read, one being written."""

PATIENCE_S = 60.0
"""Seconds without any worker before a run gives up; a nanny needs about five to replace a dead one."""

STRIKES = 2
"""Device failures of one worker, with no finished task between them, after which it is sent away."""

_log = logging.getLogger(__name__)


class DaskExecutor:
    """Runs tasks on the workers of a Dask cluster.

    Args:
        client: a connected client; stays open after `close`.
        job: what to work on.
        segmenter: a ready model to send to the workers, instead of loading the job's there.

    Raises:
        ClusterError: no worker, other package versions on a worker, or a worker without access to the run.
        InputError: the raster is in the memory of this process and cannot be sent to workers.
    """

    def __init__(self, client: Client, job: Job, segmenter: Segmenter | None = None) -> None:
        self._client = client
        self._name = f"remotesam-{uuid.uuid4().hex[:12]}"
        self._store = RunStore(job.run_url)
        self._terms = Terms(versions(), uuid.uuid4().hex)
        self._counted = (float("-inf"), 0, 0)
        self._last_loss = ""
        self._strikes: Counter[str] = Counter()
        job.raster.check_portable()
        self._left_out: set[str] = set()  # addresses of workers that were sent away
        # Workers have other working directories; and one stretch is measured here, not one by each of them.
        job = replace(job, run_url=absolute(job.run_url))
        _ = job.raster.stretch
        with scheduler_errors():
            self._check_workers(job)
            client.register_plugin(SuspectAtFirstDeath(self._name))
            self._install(BenchPlugin(self._name, job, segmenter, self._terms))

    @property
    def workers(self) -> int:
        """Worker processes."""
        return self._count()[0]

    def run(self, task: Task, indices: Iterable[int], cancel: threading.Event) -> Iterator[Outcome]:
        """See `Executor.run`; tasks whose worker died come last.

        A suspect is run again among the other suspects, which clears most of those that only kept bad
        company (or were on a machine that was taken away), and whoever loses its worker there too, alone.
        """
        left: Iterable[int] = indices
        for alone in (False, False, True):
            suspects: list[int] = []
            with scheduler_errors():
                yield from Flow(self, task, cancel, suspects, alone=alone).over(iter(left))
            if cancel.is_set():
                return
            left = suspects

    def close(self) -> None:
        """Take the workbenches off the workers."""
        if self._client.status != "running":
            return
        self._store.remove([self._terms.probe])
        try:
            self._client.unregister_worker_plugin(self._name)
            self._client.unregister_scheduler_plugin(self._name)
        except (OSError, TimeoutError):
            _log.debug("the scheduler went away before the end of the run", exc_info=True)

    def submit(self, task: Task, index: int) -> Future[Any]:
        """Hand one task to the scheduler."""
        key = f"{self._name}-{index}-{uuid.uuid4().hex[:6]}"
        future: Future[Any] = self._client.submit(on_worker, self._name, task, index, key=key, pure=False)
        return future

    def stop_tasks(self) -> None:
        """Ask all workers to end their tasks early; does not wait for them."""
        if self._client.status == "running":
            self._client.run(stop_tasks, self._name, wait=False, on_error="ignore")

    def cancel(self, futures: list[Future[Any]]) -> None:
        """Give up tasks whose results nobody waits for any more."""
        if futures and self._client.status == "running":
            self.stop_tasks()
            self._client.cancel(futures, force=True)

    def bound(self) -> int:
        """Most tasks in flight: one more per worker than it has of the threads that count."""
        return max(1, sum(self._count()))

    def still_alive(self, last_worker: float) -> float:
        """When a worker was last seen.

        Raises:
            ClusterError: the scheduler is gone, or no worker was there for `PATIENCE_S`.
        """
        if self._client.status != "running":
            raise lost_scheduler()
        now = time.monotonic()
        if self._count()[0]:
            return now
        if now - last_worker > PATIENCE_S:
            why = f" (the last one left because {self._last_loss})" if self._last_loss else ""
            raise ClusterError(
                f"no worker for {PATIENCE_S:.0f} s{why}; finished tiles are kept, run again to continue"
            )
        return last_worker

    def note_success(self, answer: Answer) -> None:
        """A worker finished a task."""
        self._strikes.pop(answer.home, None)

    def replace_worker(self, answer: Answer) -> None:
        """End a worker that cannot go on: for good, or to be started anew by its nanny.

        A CUDA error that sticks to a process goes away with it. A worker whose device fails again at once,
        or that does not reach the run, would eat one tile after the other and is sent away, unless it is
        the only one.

        Raises:
            RemotesamError: the answer's, when the only worker cannot see the run.
        """
        if answer.address in self._left_out:  # another of its tasks, answered while it goes
            return
        self._last_loss = str(answer.error)
        self._strikes[answer.home] += 1
        only = self._count()[0] <= 1
        unfit = isinstance(answer.error, ClusterError)
        if unfit and only and answer.error is not None:
            raise answer.error
        if not only and (unfit or self._strikes[answer.home] >= STRIKES):
            _log.warning("worker %s is left out: %s", answer.name, answer.error)
            self._left_out.add(answer.address)
            self._client.retire_workers([answer.address], close_workers=True)
        else:
            _log.warning("worker %s is started again: %s", answer.name, answer.error)
            self._client.run(end_process, workers=[answer.address], wait=False, on_error="ignore")

    def _count(self) -> tuple[int, int]:
        """Workers, and those of their threads that count; asked at most every `POLL_S`."""
        when, workers, threads = self._counted
        if time.monotonic() - when > POLL_S:
            threads_of = self._client.nthreads()
            workers, threads = len(threads_of), sum(min(count, THREADS) for count in threads_of.values())
            self._counted = (time.monotonic(), workers, threads)
        return workers, threads

    def _check_workers(self, job: Job) -> None:
        """Compare package versions, and see every worker read the raster and use the run directory."""
        try:
            self._client.wait_for_workers(1, timeout=PATIENCE_S)
        except TimeoutError:
            raise ClusterError("the scheduler has no workers; start some and run again") from None
        self._store.put(self._terms.probe, self._terms.token.encode())
        answers = self._client.run(reason_unfit, job, self._terms, on_error="return")
        present = self._client.nthreads()
        for address, answer in answers.items():
            # One that has just died is no reason_unfit; its successor is looked at before its first task.
            if answer and address in present:
                raise ClusterError(f"worker {address} {' '.join(str(answer).split())}")

    def _install(self, plugin: WorkerPlugin) -> None:
        """Give a plugin to all workers, once more when one of them died meanwhile."""
        for last in (False, False, True):
            try:
                self._client.register_plugin(plugin)
            except OSError:
                if last or self._client.status != "running":
                    raise
                time.sleep(POLL_S)
            else:
                return
