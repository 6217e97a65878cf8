"""Tasks on a Dask cluster, local or not: the only module that imports Dask.

Futures with a bound on how many are in flight, kept on this side. When a worker dies, Dask blames every task
that was assigned to it, running or only queued: submitted all at once, 200 tiles lost up to 58 of them to one
tile that crashes its worker. Bounded, and with the suspects run again alone at the end, only the culprit is
lost. `resources={"GPU": 1}` is not used, because it turns the scheduler's own queueing off (STYLE §3).
"""

from __future__ import annotations

import os
import queue
import subprocess
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Event, Future, Nanny, Scheduler, SpecCluster, Worker, WorkerPlugin, get_worker
from distributed.scheduler import KilledWorker

from remotesam.errors import Cancelled, ClusterError, ConfigError, DeviceError
from remotesam.executors import Outcome, Task
from remotesam.segmenter.protocol import Segmenter
from remotesam.store import RunStore
from remotesam.workbench import Job, Workbench

THREADS = 3
"""Threads of a worker: one tile on the device, one being read, one being written."""

PATIENCE_S = 60.0
"""Seconds without any worker before a run gives up; a nanny needs about five to replace a dead one."""

POLL_S = 0.5
"""How often a waiting run looks for a cancel, and at most how late it notices new or lost workers."""


class _BenchPlugin(WorkerPlugin):
    """Holds the workbench of one job on every worker, those that join late included.

    The model loads inside the first task, under the workbench's lock: `setup` runs in the worker's event
    loop, which a load of ten seconds would block.
    """

    def __init__(self, name: str, job: Job, segmenter: Segmenter | None) -> None:
        self.name = name
        self.job = job
        self.segmenter = segmenter

    def setup(self, worker: Worker) -> None:
        """Called by Dask when a worker starts."""
        self.bench = Workbench(self.job, self.segmenter, _ClusterFlag(self.name))

    def teardown(self, worker: Worker) -> None:
        """Called by Dask when a worker ends."""


class _ClusterFlag(threading.Event):
    """The driver's wish to stop, as a worker sees it."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def is_set(self) -> bool:
        return bool(Event(self._name).is_set())


def _on_worker(bench: str, task: Task, index: int) -> tuple[Any, str]:
    """Run a task on the workbench of this worker; its name comes back with the summary."""
    worker = get_worker()
    return task(worker.plugins[bench].bench, index), str(worker.name)


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
        self._flag = Event(self._name, client=client)
        self._counted = (0.0, 0)
        self._check_workers(job)
        client.register_plugin(_BenchPlugin(self._name, job, segmenter))

    @property
    def workers(self) -> int:
        """Threads of all workers."""
        return self._threads()[0]

    def run(self, task: Task, indices: Iterable[int], cancel: threading.Event) -> Iterator[Outcome]:
        """See `Executor.run`; tasks that killed their worker come last, one at a time."""
        todo = iter(indices)
        suspects: deque[int] = deque()
        yield from self._flow(task, todo, cancel, suspects, alone=False)
        while suspects and not cancel.is_set():
            yield from self._flow(task, iter([suspects.popleft()]), cancel, suspects, alone=True)

    def close(self) -> None:
        """Take the workbenches off the workers."""
        if self._client.status == "running":
            self._client.unregister_worker_plugin(self._name)

    def _flow(
        self, task: Task, todo: Iterator[int], cancel: threading.Event, suspects: deque[int], *, alone: bool
    ) -> Iterator[Outcome]:
        live: dict[str, tuple[int, Future]] = {}
        finished: queue.SimpleQueue[Future] = queue.SimpleQueue()
        restarted: set[int] = set()

        def submit(index: int) -> None:
            future = self._client.submit(
                _on_worker,
                self._name,
                task,
                index,
                key=f"{self._name}-{index}-{uuid.uuid4().hex[:6]}",
                pure=False,
            )
            live[future.key] = (index, future)
            future.add_done_callback(finished.put)

        last_worker = time.monotonic()
        try:
            while True:
                if cancel.is_set():
                    self._flag.set()
                elif alone or len(live) < self._bound():
                    index = next(todo, None)
                    if index is not None:
                        submit(index)
                        continue
                if not live:
                    return
                try:
                    future = finished.get(timeout=POLL_S)
                except queue.Empty:
                    last_worker = self._still_alive(last_worker)
                    continue
                index, _ = live.pop(future.key)
                outcome = self._outcome(index, future)
                future.release()
                if isinstance(outcome.error, KilledWorker) and not alone:
                    suspects.append(index)
                elif isinstance(outcome.error, DeviceError) and index not in restarted:
                    restarted.add(index)
                    self._client.restart_workers([outcome.worker], timeout=PATIENCE_S, raise_for_error=False)
                    submit(index)
                elif not isinstance(outcome.error, Cancelled):
                    yield outcome
        finally:
            self._client.cancel([future for _, future in live.values()], force=True) if live else None

    def _outcome(self, index: int, future: Future) -> Outcome:
        if future.status == "finished":
            summary, worker = future.result()
            return Outcome(index, summary, worker=worker)
        if future.status == "error":
            error = future.exception()
            if isinstance(error, KilledWorker):
                return Outcome(index, error=error)
            worker = self._client.who_has([future]).get(future.key, ("",))
            return Outcome(index, error=error, worker=worker[0] if worker else "")
        raise ClusterError(
            f"the scheduler {self._client.scheduler.addr if self._client.scheduler else ''} went away; "
            "finished tiles are kept, run again to continue"
        )

    def _threads(self) -> tuple[int, int]:
        """Threads of all workers, and workers; asked at most every `POLL_S`."""
        when, _ = self._counted
        if time.monotonic() - when > POLL_S:
            threads = self._client.nthreads()
            self._counted = (time.monotonic(), len(threads))
            self._total = sum(threads.values())
        return self._total, self._counted[1]

    def _bound(self) -> int:
        """One task more per worker than it has threads, so that none waits for the network."""
        threads, workers = self._threads()
        return threads + workers

    def _still_alive(self, last_worker: float) -> float:
        if self._client.status not in ("running", "connecting"):
            raise ClusterError("the scheduler went away; finished tiles are kept, run again to continue")
        now = time.monotonic()
        if self._threads()[1]:
            return now
        if now - last_worker > PATIENCE_S:
            raise ClusterError(
                f"no worker for {PATIENCE_S:.0f} s; finished tiles are kept, run again to continue"
            )
        return last_worker

    def _check_workers(self, job: Job) -> None:
        """Compare package versions, and see every worker read and write the run directory."""
        try:
            self._client.wait_for_workers(1, timeout=PATIENCE_S)
            self._client.get_versions(
                check=True, packages=["remotesam", "numpy", "rasterio", "torch", "sam2"]
            )
        except TimeoutError:
            raise ClusterError("the scheduler has no workers; start some and run again") from None
        except ValueError as error:
            detail = " ".join(str(error).split())
            raise ClusterError(f"workers run other versions than this machine: {detail}") from None
        token = uuid.uuid4().hex
        store = RunStore(job.run_url)
        store.put(f"probe/{token}", token.encode())
        answers = self._client.run(_probe_store, job.run_url, token, on_error="return")
        for address, answer in answers.items():
            if answer != token or not store.exists(f"probe/{token}-{_plain(address)}"):
                raise ClusterError(
                    f"worker {address} cannot read and write {job.run_url} ({_one_line(answer)}); "
                    "put --run-dir on storage that all workers share"
                )
        store.remove(["probe"])


def _probe_store(url: str, token: str, dask_worker: Worker) -> str:
    store = RunStore(url)
    seen = store.get(f"probe/{token}").decode()
    store.put(f"probe/{token}-{_plain(dask_worker.address)}", b"")
    return seen


def _plain(address: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in address)


def _one_line(answer: Any) -> str:
    return (
        (str(answer).splitlines() or ["no answer"])[0] if isinstance(answer, Exception) else "other content"
    )


def connect(scheduler: str) -> Client:
    """A client of a running scheduler.

    Args:
        scheduler: its address (tcp://host:8786) or the path of its scheduler file.

    Raises:
        ClusterError: it does not answer.
    """
    try:
        if Path(scheduler).exists():
            return Client(scheduler_file=scheduler, timeout=15)
        return Client(scheduler, timeout=15)
    except (OSError, ValueError, TimeoutError) as error:
        raise ClusterError(
            f"{scheduler}: no Dask scheduler answers ({_one_line(error)}); check address and network"
        ) from None


def start_local(workers: str) -> Client:
    """A client of a new cluster on this machine; closing it ends the cluster.

    Args:
        workers: `gpu` for one process per GPU, or a number of CPU processes that share the cores.

    Raises:
        ConfigError: no GPU is there.
    """
    spec: dict[int, dict[str, Any]] = {}
    for number, environment in enumerate(_environments(workers)):
        spec[number] = {
            "cls": Nanny,
            "options": {
                "host": "127.0.0.1",
                "nthreads": THREADS,
                "env": environment,
                "memory_limit": 0,
                "silence_logs": 50,
            },
        }
    # One death is enough to suspect a task: the suspects run alone afterwards.
    dask.config.set({"distributed.scheduler.allowed-failures": 0})
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}}
    cluster = SpecCluster(workers=spec, scheduler=scheduler, silence_logs=50)
    client = Client(cluster)
    client.remotesam_owns = cluster
    return client


def stop(client: Client) -> None:
    """Close a client, and the cluster that `start_local` made for it."""
    cluster = getattr(client, "remotesam_owns", None)
    client.close()
    if cluster is not None:
        cluster.close()


def _environments(workers: str) -> list[dict[str, str]]:
    if workers == "gpu":
        gpus = _gpus()
        if not gpus:
            raise ConfigError("workers: no NVIDIA GPU answers nvidia-smi; use --workers N for CPU processes")
        return [{"CUDA_VISIBLE_DEVICES": str(gpu)} for gpu in gpus]
    count = int(workers)
    threads = max(1, (os.cpu_count() or 1) // count)
    return [{"OMP_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": ""} for _ in range(count)]


def _gpus() -> list[int]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [int(part) for part in visible.split(",") if part.strip().isdigit()]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return []
    return list(range(len(listed.stdout.strip().splitlines())))
