"""Tasks on a Dask cluster, local or not: the only module that imports Dask.

Futures with a bound on how many are in flight, kept on this side. When a worker dies, Dask blames every task
that was assigned to it, running or only queued: submitted all at once, 200 tiles lost up to 58 of them to one
tile that crashes its worker. Bounded, and with the suspects run again in smaller and smaller company, only
the culprit is lost. `resources={"GPU": 1}` is not used, because it turns the scheduler's own queueing off.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distributed import (
    CancelledError,
    Client,
    Future,
    Nanny,
    Scheduler,
    SchedulerPlugin,
    SpecCluster,
    Worker,
    WorkerPlugin,
    get_worker,
)
from distributed.core import Status
from distributed.scheduler import KilledWorker
from distributed.versions import get_versions

from remotesam.errors import (
    Cancelled,
    ClusterError,
    ConfigError,
    DeviceError,
    RemotesamError,
    StoreError,
    TileError,
)
from remotesam.executors import Outcome, Task
from remotesam.gpus import visible_gpus
from remotesam.segmenter.protocol import Segmenter
from remotesam.store import RunStore, absolute
from remotesam.windows import Window
from remotesam.workbench import Job, Workbench

THREADS = 3
"""Threads of a worker that are used: one tile on the device, one being read, one being written."""

CONNECT_S = 15.0
"""Seconds to wait for a scheduler to answer."""

PATIENCE_S = 60.0
"""Seconds without any worker before a run gives up; a nanny needs about five to replace a dead one."""

POLL_S = 0.5
"""How often a waiting run looks for a cancel, and at most how late it notices new or lost workers."""

RESULT_S = 5.0
"""Seconds to wait for the few bytes of a finished task's answer."""

SETTLE_S = 1.0
"""Age of a worker at its first task: a nanny gives up on a process that dies before it has heard of it."""

TRIES = 3
"""How often a tile is given to a worker whose device or store fails, before that ends the run."""

STRIKES = 2
"""Device failures of one worker, with no finished task between them, after which it is sent away."""

PACKAGES = ("remotesam", "torch", "sam2", "numpy", "rasterio", "shapely", "dask", "distributed")
"""Packages whose version must be this machine's on every worker, or polygons and messages may differ."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a worker must fulfil before it gets a tile."""

    versions: dict[str, str]
    token: str

    @property
    def probe(self) -> str:
        return f"probe/{self.token}"


@dataclass(frozen=True, slots=True)
class _Answer:
    """What comes back from a worker: a summary or an error, and who sends it."""

    summary: Any
    error: RemotesamError | None
    name: str
    address: str
    home: str
    """What stays the same when a nanny replaces the worker's process."""


class _BenchPlugin(WorkerPlugin):
    """Holds the workbench of one run on every worker, those that join late included.

    The model loads inside the first task, under the workbench's lock: `setup` runs in the worker's event
    loop, which a load of ten seconds would block.
    """

    def __init__(self, name: str, job: Job, segmenter: Segmenter | None, terms: _Terms) -> None:
        self.name = name
        self.job = job
        self.segmenter = segmenter
        self.terms = terms

    def setup(self, worker: Worker) -> None:
        """Called by Dask when a worker starts."""
        self.cancel = threading.Event()
        self._bench = Workbench(self.job, self.segmenter, self.cancel)
        self._address = worker.address
        self._lock = threading.Lock()
        self._fit = False
        settled = worker.status == Status.running
        self._ready = time.monotonic() + (0 if settled else SETTLE_S)

    def teardown(self, worker: Worker) -> None:
        """Called by Dask when a worker ends or the run does."""
        self.cancel.set()

    def bench(self) -> Workbench:
        """The workbench, once this worker was found fit for the run.

        Raises:
            ClusterError: it is not.
        """
        with self._lock:
            if not self._fit:
                time.sleep(max(0.0, self._ready - time.monotonic()))
                complaint = _complaint(self.job, self.terms)
                if complaint:
                    raise ClusterError(f"worker {self._address} {complaint}")
                self._fit = True
        return self._bench


class _SuspectAtFirstDeath(SchedulerPlugin):
    """Makes the first death of a worker suspend its tasks of this run, whatever `allowed-failures` says.

    The setting lives on the scheduler, belongs to all its users, and is 3 by default: a tile that kills its
    worker would take four workers before anybody is asked.
    """

    def __init__(self, prefix: str) -> None:
        self.name = prefix
        self._scheduler: Scheduler | None = None

    async def start(self, scheduler: Scheduler) -> None:
        """Called by Dask when the plugin arrives."""
        self._scheduler = scheduler

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Called by Dask whenever a task changes its state."""
        if finish == "processing" and self._scheduler is not None and str(key).startswith(self.name):
            task = self._scheduler.tasks[key]
            task.suspicious = max(task.suspicious, self._scheduler.allowed_failures)


def _on_worker(plugin: str, task: Task, index: int) -> _Answer:
    """Run a task on the workbench of this worker. Errors made for users come back as answers, with a name."""
    worker = get_worker()
    held: Any = worker.plugins[plugin]
    summary, error = None, None
    try:
        summary = task(held.bench(), index)
    except RemotesamError as caught:
        error = caught
    return _Answer(summary, error, str(worker.name), worker.address, str(worker.nanny or worker.address))


async def _stop_tasks(plugin: str, dask_worker: Worker) -> None:
    """Let the tasks of a run on this worker end at their next checkpoint."""
    held: Any = dask_worker.plugins.get(plugin)
    if held is not None:
        held.cancel.set()


async def _exit() -> None:
    """End this worker's process; its nanny starts another."""
    os._exit(1)


class DaskExecutor:
    """Runs tasks on the workers of a Dask cluster.

    Args:
        client: a connected client; stays open after `close`.
        job: what to work on.
        segmenter: a ready model to send to the workers, instead of loading the job's there.

    Raises:
        ClusterError: no worker, other package versions on a worker, or a worker without access to the run.
    """

    def __init__(self, client: Client, job: Job, segmenter: Segmenter | None = None) -> None:
        self._client = client
        self._name = f"remotesam-{uuid.uuid4().hex[:12]}"
        self._store = RunStore(job.run_url)
        self._terms = _Terms(_versions(), uuid.uuid4().hex)
        self._counted = (float("-inf"), 0, 0)
        self._last_loss = ""
        self._strikes: Counter[str] = Counter()
        # Workers have other working directories; and one stretch is measured here, not one by each of them.
        job = replace(job, run_url=absolute(job.run_url))
        _ = job.raster.stretch
        with _scheduler_errors():
            self._check_workers(job)
            client.register_plugin(_SuspectAtFirstDeath(self._name))
            self._install(_BenchPlugin(self._name, job, segmenter, self._terms))

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
            with _scheduler_errors():
                yield from _Flow(self, task, cancel, suspects, alone).over(iter(left))
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

    def submit(self, task: Task, index: int) -> Future:
        """Hand one task to the scheduler."""
        key = f"{self._name}-{index}-{uuid.uuid4().hex[:6]}"
        future: Future = self._client.submit(_on_worker, self._name, task, index, key=key, pure=False)
        return future

    def stop_tasks(self) -> None:
        """Ask all workers to end their tasks early; does not wait for them."""
        if self._client.status == "running":
            self._client.run(_stop_tasks, self._name, wait=False, on_error="ignore")

    def cancel(self, futures: list[Future]) -> None:
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
            raise _lost_scheduler()
        now = time.monotonic()
        if self._count()[0]:
            return now
        if now - last_worker > PATIENCE_S:
            why = f" (the last one left because {self._last_loss})" if self._last_loss else ""
            raise ClusterError(
                f"no worker for {PATIENCE_S:.0f} s{why}; finished tiles are kept, run again to continue"
            )
        return last_worker

    def note_success(self, answer: _Answer) -> None:
        """A worker finished a task."""
        self._strikes.pop(answer.home, None)

    def replace_worker(self, answer: _Answer) -> None:
        """End a worker that cannot go on: for good, or to be started anew by its nanny.

        A CUDA error that sticks to a process goes away with it. A worker whose device fails again at once,
        or that does not reach the run, would eat one tile after the other and is sent away, unless it is
        the only one.

        Raises:
            RemotesamError: the answer's, when the only worker cannot see the run.
        """
        self._last_loss = str(answer.error)
        self._strikes[answer.home] += 1
        only = self._count()[0] <= 1
        unfit = isinstance(answer.error, ClusterError)
        if unfit and only and answer.error is not None:
            raise answer.error
        if not only and (unfit or self._strikes[answer.home] >= STRIKES):
            _log.warning("worker %s is left out: %s", answer.name, answer.error)
            self._client.retire_workers([answer.address], close_workers=True)
        else:
            _log.warning("worker %s is started again: %s", answer.name, answer.error)
            self._client.run(_exit, workers=[answer.address], wait=False, on_error="ignore")

    def _count(self) -> tuple[int, int]:
        """Workers, and those of their threads that count; asked at most every `POLL_S`."""
        when, workers, threads = self._counted
        if time.monotonic() - when > POLL_S:
            found = self._client.nthreads()
            workers, threads = len(found), sum(min(count, THREADS) for count in found.values())
            self._counted = (time.monotonic(), workers, threads)
        return workers, threads

    def _check_workers(self, job: Job) -> None:
        """Compare package versions, and see every worker read the raster and use the run directory."""
        try:
            self._client.wait_for_workers(1, timeout=PATIENCE_S)
        except TimeoutError:
            raise ClusterError("the scheduler has no workers; start some and run again") from None
        self._store.put(self._terms.probe, self._terms.token.encode())
        answers = self._client.run(_complaint, job, self._terms, on_error="return")
        present = self._client.nthreads()
        for address, answer in answers.items():
            # One that has just died is no complaint; its successor is looked at before its first task.
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


class _Flow:
    """One round over some tasks, with a bounded number of them in flight."""

    def __init__(
        self, owner: DaskExecutor, task: Task, cancel: threading.Event, suspects: list[int], alone: bool
    ) -> None:
        self._owner = owner
        self._task = task
        self._cancel = cancel
        self._suspects = suspects
        self._alone = alone
        self._live: dict[Any, tuple[int, Future]] = {}
        self._finished: queue.SimpleQueue[Future] = queue.SimpleQueue()
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

    def _watch(self, index: int, future: Future) -> None:
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
            raise _lost_scheduler()
        try:
            answer = future.result(timeout=RESULT_S)
        except KilledWorker as error:
            return self._bereaved(index, error)
        except TimeoutError:
            # The worker died with the finished result: Dask has the task done again.
            self._last_worker = self._owner.still_alive(self._last_worker)
            self._watch(index, future)
            return None
        except CancelledError:
            raise _lost_scheduler() from None
        except Exception as error:  # noqa: BLE001 - reported to the user with the tile's number
            return Outcome(index, error=error)
        future.release()
        return self._answered(index, answer)

    def _answered(self, index: int, answer: _Answer) -> Outcome | None:
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

    def _bereaved(self, index: int, error: KilledWorker) -> Outcome | None:
        if not self._alone:
            self._suspects.append(index)
            return None
        message = (
            f"tile {index}: its worker died three times, the last time alone with it; see that worker's log "
            "(memory, a crash in a library), then `remotesam run retry-failed`"
        )
        return Outcome(index, error=TileError(message), worker=str(error.last_worker.name))


@contextmanager
def _scheduler_errors() -> Iterator[None]:
    """Turn what Dask raises when its scheduler is gone into one line."""
    try:
        yield
    except RemotesamError:
        raise
    except (OSError, TimeoutError) as error:
        raise _lost_scheduler() from error


def _lost_scheduler() -> ClusterError:
    return ClusterError("the scheduler went away; finished tiles are kept, run again to continue")


def _versions() -> dict[str, str]:
    """Versions that matter; a build's local part (`+cpu`, `+cu128`) does not, nor the patch of Python."""
    found = get_versions(packages=PACKAGES)["packages"]
    versions = {name: str(found[name]).split("+")[0] for name in PACKAGES}
    return {"python": ".".join(str(found["python"]).split(".")[:2]), **versions}


def _complaint(job: Job, terms: _Terms) -> str:
    """Why this worker cannot work on a run, to be said after its name; empty when it can."""
    for name, found in _versions().items():
        if found != terms.versions[name]:
            return f"has {name} {found}, the run needs {terms.versions[name]}; install the same version there"
    store = RunStore(job.run_url)
    try:
        seen = store.get(terms.probe).decode() == terms.token
        store.put(f"probe/{uuid.uuid4().hex}", b"")
    except StoreError as error:
        return f"cannot use the run directory ({error}); put --run-dir on storage that all workers share"
    if not seen:
        return f"sees another {job.run_url}; put --run-dir on storage that all workers share"
    try:
        job.raster.read(Window(0, 0, 1, 1))
    except RemotesamError as error:
        return f"cannot read the raster ({error}); give an absolute path or URL that all workers reach"
    return ""


def _one_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextmanager
def running_cluster(scheduler: str) -> Iterator[Client]:
    """A client of a running scheduler.

    Args:
        scheduler: its address (tcp://host:8786) or the path of its scheduler file.

    Raises:
        ClusterError: it does not answer.
    """
    try:
        if Path(scheduler).exists():
            client = Client(scheduler_file=scheduler, timeout=CONNECT_S)
        else:
            client = Client(scheduler, timeout=CONNECT_S)
    except (OSError, ValueError, TimeoutError) as error:
        raise ClusterError(
            f"{scheduler}: no Dask scheduler answers ({_one_line(error)}); check address and network"
        ) from None
    try:
        yield client
    finally:
        client.close()


@contextmanager
def local_cluster(workers: str) -> Iterator[Client]:
    """A client of a new cluster on this machine, which ends with the block.

    Args:
        workers: `gpu` for one process per GPU, a number of CPU processes that share the cores, or `auto`:
            `gpu` where there are GPUs, else one process.

    Raises:
        ConfigError: no GPU is there.
    """
    spec = {
        number: {
            "cls": Nanny,
            "options": {
                "host": "127.0.0.1",
                "nthreads": THREADS,
                "env": environment,
                "memory_limit": 0,
                "silence_logs": logging.CRITICAL,
            },
        }
        for number, environment in enumerate(_environments(workers))
    }
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}}
    with (
        SpecCluster(workers=spec, scheduler=scheduler, silence_logs=logging.CRITICAL) as cluster,
        Client(cluster) as client,
    ):
        yield client


def _environments(workers: str) -> list[dict[str, str]]:
    """The variables of each worker process."""
    gpus = visible_gpus() if workers in ("auto", "gpu") else []
    if workers == "gpu" and not gpus:
        raise ConfigError("workers: no NVIDIA GPU answers nvidia-smi; use --workers N for CPU processes")
    devices = gpus or [""] * (1 if workers == "auto" else int(workers))
    threads = str(max(1, (os.cpu_count() or 1) // len(devices)))
    # Dask sets all of these to 1 unless told otherwise.
    shared = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    return [{"CUDA_VISIBLE_DEVICES": device, **shared} for device in devices]
