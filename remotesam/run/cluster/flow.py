"""One round of tasks over a Dask cluster: a bound on how many are in flight, and a verdict on each end."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from distributed import CancelledError, Future
from distributed.scheduler import KilledWorker

from remotesam.errors import Cancelled, ClusterError, DeviceError, RemotesamError, StoreError, TileError
from remotesam.run.cluster.workers import Answer
from remotesam.run.executors import Outcome, Task

POLL_S = 0.5
"""How often a waiting run looks for a cancel, and at most how late it notices new or lost workers."""

RESULT_S = 5.0
"""Seconds to wait for the few bytes of a finished task's answer."""

TRIES = 3
"""How often a tile is given to a worker whose device or store fails, before that ends the run."""


class Workers(Protocol):
    """The workers of a cluster, as a round of tasks needs them."""

    def submit(self, task: Task, index: int) -> Future[Any]:
        """Hand one task to the scheduler."""
        ...

    def bound(self) -> int:
        """Most tasks in flight."""
        ...

    def stop_tasks(self) -> None:
        """Ask all workers to end their tasks early."""
        ...

    def cancel(self, futures: list[Future[Any]]) -> None:
        """Give up tasks whose results nobody waits for any more."""
        ...

    def still_alive(self, last_worker: float) -> float:
        """When a worker was last seen.

        Raises:
            ClusterError: the scheduler is gone, or no worker came back.
        """
        ...

    def note_success(self, answer: Answer) -> None:
        """A worker finished a task."""
        ...

    def replace_worker(self, answer: Answer) -> None:
        """End a worker that cannot go on."""
        ...


class Flow:
    """One round over some tasks, with a bounded number of them in flight."""

    def __init__(
        self, owner: Workers, task: Task, cancel: threading.Event, suspects: list[int], *, alone: bool
    ) -> None:
        self._owner = owner
        self._task = task
        self._cancel = cancel
        self._suspects = suspects
        self._alone = alone
        self._live: dict[Any, tuple[int, Future[Any]]] = {}
        self._finished: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self._tries: Counter[int] = Counter()
        self._last_worker = time.monotonic()

    def over(self, todo: Iterator[int]) -> Iterator[Outcome]:
        """Outcomes in order of completion; whoever lost its worker is put on the list of suspects."""
        left: Iterator[int] | None = todo
        try:
            while True:
                if self._cancel.is_set() and left is not None:
                    left = None
                    self._owner.stop_tasks()
                while left is not None and len(self._live) < (1 if self._alone else self._owner.bound()):
                    index = next(left, None)
                    if index is None:
                        left = None
                    else:
                        self._submit(index)
                if not self._live:
                    return
                outcome = self._next()
                if outcome is not None:
                    yield outcome
        finally:
            self._owner.cancel([future for _, future in self._live.values()])

    def _submit(self, index: int) -> None:
        self._watch(index, self._owner.submit(self._task, index))

    def _watch(self, index: int, future: Future[Any]) -> None:
        self._live[future.key] = (index, future)
        future.add_done_callback(self._finished.put)

    def _next(self) -> Outcome | None:
        """Wait a little for a task to end; None when none did, or none whose end is worth telling."""
        try:
            future = self._finished.get(timeout=POLL_S)
        except queue.Empty:
            self._last_worker = self._owner.still_alive(self._last_worker)
            return None
        index, _ = self._live.pop(future.key)
        if future.status == "cancelled":
            raise lost_scheduler()
        try:
            answer = future.result(timeout=RESULT_S)
        except KilledWorker as error:
            return self._worker_died(index, error)
        except TimeoutError:
            # The worker died with the finished result: Dask has the task done again.
            self._last_worker = self._owner.still_alive(self._last_worker)
            self._watch(index, future)
            return None
        except CancelledError:
            raise lost_scheduler() from None
        except Exception as error:  # noqa: BLE001 - reported to the user with the tile's number
            return Outcome(index, error=error)
        future.release()
        return self._answered(index, answer)

    def _answered(self, index: int, answer: Answer) -> Outcome | None:
        error = answer.error
        if error is None:
            self._owner.note_success(answer)
            return Outcome(index, answer.summary, worker=answer.name)
        if isinstance(error, Cancelled):
            return None
        if isinstance(error, DeviceError | StoreError | ClusterError) and not self._cancel.is_set():
            self._tries[index] += 1
            if self._tries[index] < TRIES:
                if not isinstance(error, StoreError):
                    self._owner.replace_worker(answer)
                self._submit(index)
                return None
        return Outcome(index, error=error, worker=answer.name)

    def _worker_died(self, index: int, error: KilledWorker) -> Outcome | None:
        if not self._alone:
            self._suspects.append(index)
            return None
        message = (
            f"tile {index}: its worker died three times, the last time alone with it; see that worker's log "
            "(memory, a crash in a library), then `remotesam run retry-failed`"
        )
        return Outcome(index, error=TileError(message), worker=str(error.last_worker.name))


@contextmanager
def scheduler_errors() -> Iterator[None]:
    """Turn what Dask raises when its scheduler is gone into one line."""
    try:
        yield
    except RemotesamError:
        raise
    except (OSError, TimeoutError) as error:
        raise lost_scheduler() from error


def lost_scheduler() -> ClusterError:
    """The error of a run whose scheduler is gone."""
    return ClusterError("the scheduler went away; finished tiles are kept, run again to continue")
