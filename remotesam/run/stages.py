"""One stage of a run: which tiles are left, how they are followed, and what became of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from remotesam.errors import Cancelled, RemotesamError
from remotesam.progress import Listener, eta
from remotesam.run.executors import Executor, Outcome, Task
from remotesam.tiles.task import HOPELESS


@dataclass(frozen=True, slots=True)
class Crew:
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
    crew: Crew,
    *,
    on_outcome: Callable[[Outcome, int, float | None], None] | None = None,
) -> list[Outcome]:
    """Run a task over the tiles that are left and tell the listener.

    Args:
        name: of the stage.
        task: what to do with each tile.
        todo: tiles left.
        total: tiles of the stage, finished ones included.
        crew: who works and who is told.
        on_outcome: called with each outcome, the number of finished tiles and the seconds left, instead of
            the plain "step" event.

    Returns:
        The failures.

    Raises:
        Cancelled: the user stopped the stage; what is finished is on disk.
        RemotesamError: one of `HOPELESS`, at once: the other tiles would meet it too.
    """
    left = list(todo)
    crew.listener("stage", name=name, total=total)
    started, before = time.perf_counter(), total - len(left)
    failures = []
    done = before
    for outcome in crew.executor.run(task, left, crew.cancel):
        if isinstance(outcome.error, HOPELESS):
            raise outcome.error
        if outcome.error is not None:
            failures.append(outcome)
        done += 1
        seconds = eta(done - before, len(left), time.perf_counter() - started)
        if on_outcome is not None:
            on_outcome(outcome, done, seconds)
        else:
            crew.listener("step", done=done, total=total, eta_s=seconds)
    if done < total and crew.cancel.is_set():
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
