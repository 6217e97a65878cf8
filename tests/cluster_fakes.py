"""Segmenters for runs on real workers: slow ones, and ones that break their worker."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from distributed import get_worker

from remotesam.errors import DeviceError
from remotesam.segmenter.protocol import Query
from tests.fakes import ColourSegmenter, Fixed

POISON = (255, 0, 255)
"""A colour that no region of `tests.oracle.cells` has."""


def sees_poison(queries: Sequence[Query]) -> bool:
    return any((query.image == POISON).all(-1).any() for query in queries)


class Slow(ColourSegmenter):
    """Takes a while on the device; slower still on the worker of one name."""

    def __init__(self, seconds: float, slow_worker: object = None, slow_seconds: float = 0) -> None:
        super().__init__()
        self.seconds, self.slow_worker, self.slow_seconds = seconds, slow_worker, slow_seconds

    def propose(self, queries: Sequence[Query]) -> list[Fixed]:
        slow = self.slow_worker is not None and get_worker().name == self.slow_worker
        time.sleep(self.slow_seconds if slow else self.seconds)
        return super().propose(queries)


class Poisoned(ColourSegmenter):
    """Ends its process, as a crash in a library would, when it sees the poison colour."""

    def propose(self, queries: Sequence[Query]) -> list[Fixed]:
        if sees_poison(queries):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.05)
        return super().propose(queries)


class Sticky(ColourSegmenter):
    """A device that breaks once, and stays broken in the process that saw it."""

    def __init__(self, marker: Path) -> None:
        super().__init__()
        self.marker, self.broken = marker, False

    def propose(self, queries: Sequence[Query]) -> list[Fixed]:
        if sees_poison(queries) and not self.marker.exists():
            self.marker.touch()
            self.broken = True
        if self.broken:
            raise DeviceError("cuda:0: an illegal memory access was encountered; restart the worker")
        return super().propose(queries)


class BrokenOn(ColourSegmenter):
    """A device that fails in every process of one worker, and is slow enough elsewhere to be met again."""

    def __init__(self, worker: object, log: Path) -> None:
        super().__init__()
        self.worker, self.log = worker, log

    def propose(self, queries: Sequence[Query]) -> list[Fixed]:
        if get_worker().name == self.worker:
            with self.log.open("a") as lines:
                lines.write("failed\n")
            raise DeviceError("cuda:0: the device has fallen off the bus; restart the machine")
        time.sleep(0.3)
        return super().propose(queries)


def with_poison(image: np.ndarray, row: int, col: int) -> np.ndarray:
    """The image with one poisonous pixel."""
    image = image.copy()
    image[:, row, col] = POISON
    return image
