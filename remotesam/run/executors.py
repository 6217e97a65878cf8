"""Where tasks run: one after another, or on threads of this process. `cluster` adds Dask.

A task is a function of a worker context and a tile index. It reads and writes files itself and returns
a small summary. Executors keep a bounded number in flight, hand summaries back as they come, and report a
failed task beside the others instead of stopping for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from remotesam.errors import Cancelled
from remotesam.run.job import WorkerContext

Task = Callable[[WorkerContext[Any], int], Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one task."""

    index: int
    """The tile."""
    summary: Any = None
    """What the task returned; None when it failed."""
    error: Exception | None = None
    """Why it failed; None when it did not."""
    worker: str = ""
    """Who ran it; empty in this process."""


class Executor(Protocol):
    """Runs a task over tile indices."""

    @property
    def workers(self) -> int:
        """How many tasks can make progress at once."""
        ...

    def run(self, task: Task, indices: Iterable[int], cancel: threading.Event) -> Iterator[Outcome]:
        """Yield an outcome per index, in order of completion.

        When `cancel` is set no new task starts; the ones under way stop at their next checkpoint, and what
        they do not finish yields nothing.
        """
        ...

    def close(self) -> None:
        """Give back threads and processes."""
        ...


class SerialExecutor:
    """One task after another in the calling thread."""

    workers = 1

    def __init__(self, context: WorkerContext[Any]) -> None:
        self._bench = context

    def run(self, task: Task, indices: Iterable[int], cancel: threading.Event) -> Iterator[Outcome]:
        """See `Executor.run`."""
        for index in indices:
            if cancel.is_set():
                return
            outcome = attempt(task, self._bench, index)
            if outcome is not None:
                yield outcome

    def close(self) -> None:
        """Nothing to give back."""


class ThreadExecutor:
    """Several tasks at once on threads that share one worker context, and so one model.

    The device is used by one thread at a time while the others read, paint and write.
    """

    def __init__(self, context: WorkerContext[Any], workers: int) -> None:
        self._bench = context
        self.workers = workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="remotesam")

    def run(self, task: Task, indices: Iterable[int], cancel: threading.Event) -> Iterator[Outcome]:
        """See `Executor.run`."""
        todo = iter(indices)
        live: set[Future[Outcome | None]] = set()
        try:
            while True:
                if not cancel.is_set():
                    # One more than can run, so that no thread waits for the caller to digest a result.
                    for index in islice(todo, self.workers + 1 - len(live)):
                        live.add(self._pool.submit(attempt, task, self._bench, index))
                if not live:
                    return
                done, live = wait(live, return_when=FIRST_COMPLETED)
                for future in done:
                    outcome = future.result()
                    if outcome is not None:
                        yield outcome
        finally:
            for future in live:
                future.cancel()
            wait(live)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=True)


def attempt(task: Task, context: WorkerContext[Any], index: int) -> Outcome | None:
    """Run one task; its failure becomes an outcome, its cancellation nothing."""
    try:
        return Outcome(index, task(context, index))
    except Cancelled:
        return None
    except Exception as error:  # noqa: BLE001 - reported to the user with the tile's number
        return Outcome(index, error=error)
