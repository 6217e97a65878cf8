"""Clients of clusters: one that runs already, or one of our own on this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
from distributed import Client, Nanny, Scheduler, SpecCluster

from remotesam.errors import ClusterError, ConfigError
from remotesam.run.cluster.executor import THREADS
from remotesam.run.gpus import visible_gpus

NANNY_S = 600
"""Seconds that a nanny of ours may take to replace a worker."""

CONNECT_S = 15.0
"""Seconds to wait for a scheduler to answer."""


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
        # Dask closes the nanny of a worker that is not back after 15 s: too little on a loaded machine.
        dask.config.set({"distributed.deploy.lost-worker-timeout": f"{NANNY_S} s"}),
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
