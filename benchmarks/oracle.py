"""Mask logits as a trained SAM 2 would give them, for networks with random weights.

A random network answers every point with nearly the same mask, so suppression leaves one of a thousand and
the work after the decoder is not exercised. Here the real network runs and is timed, and its answer is
replaced: three nested objects under each point, smooth logits, scores that fall towards the object's rim.
The same function stands in on both sides of a comparison.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from remotesam.segmenter.decoder import PointState, TilePlan
from remotesam.segmenter.sam2_backend import Job, Sam2Backend

OBJECTS = (400, 60, 12)
"""Objects per level of nesting: parts, wholes, groups."""

CPU = torch.device("cpu")


def clock(device: torch.device) -> float:
    """Seconds: CPU time of the process, or on a GPU the wall clock when the work given to it is done."""
    if device.type == "cpu":
        return time.process_time()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


class Oracle:
    """Answers points with logits and scores from random round objects.

    Args:
        side: Side of the network's input in pixels; logits have a quarter of it.
        device: Where points come from.
        seed: Of the objects.

    Attributes:
        seconds: Time it has taken so far by `clock`, to be subtracted from a measurement.
    """

    def __init__(self, side: int, device: torch.device = CPU, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.seconds = 0.0
        self._device = device

        def there(values: NDArray[np.generic]) -> Tensor:
            return torch.from_numpy(values).float().to(device)

        self._centres = [there(rng.uniform(0, side, (n, 2))) for n in OBJECTS]
        self._radii = [there(rng.uniform(0.3, 0.9, n) * side / n**0.5) for n in OBJECTS]
        self._quality = [there(rng.uniform(0.72, 1.0, n)) for n in OBJECTS]
        self._steepness = [there(rng.uniform(4, 60, n)) for n in OBJECTS]
        self._lobes = [there(rng.integers(2, 7, n)) for n in OBJECTS]
        axis = (torch.arange(side // 4, device=device) + 0.5) * 4
        self._y, self._x = torch.meshgrid(axis, axis, indexing="ij")

    def __call__(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Give (P, 3, g, g) logits and (P, 3) scores for (P, 2) points in pixels of the network's input."""
        return self.logits(points), self.scores(points)

    def scores(self, points: Tensor) -> Tensor:
        """Give (P, 3) predicted IoU."""
        start = clock(self._device)
        levels = []
        for level in range(3):
            distance, owner = torch.cdist(points, self._centres[level]).min(1)
            levels.append(self._quality[level][owner] - 0.1 * distance / self._radii[level][owner])
        self.seconds += clock(self._device) - start
        return torch.stack(levels, 1)

    def logits(self, points: Tensor) -> Tensor:
        """Give (P, 3, g, g) logits."""
        start = clock(self._device)
        made = torch.stack([self._logits(point) for point in points])
        self.seconds += clock(self._device) - start
        return made

    def _logits(self, point: Tensor) -> Tensor:
        masks = []
        for level in range(3):
            owner = torch.cdist(point[None], self._centres[level])[0].argmin()
            dx, dy = self._x - self._centres[level][owner, 0], self._y - self._centres[level][owner, 1]
            rim = self._radii[level][owner] * (
                1 + 0.2 * torch.sin(torch.atan2(dy, dx) * self._lobes[level][owner])
            )
            masks.append((1 - torch.hypot(dx, dy) / rim) * self._steepness[level][owner])
        return torch.stack(masks).clamp(-20, 20)


class OracleBackend(Sam2Backend):
    """A backend whose network works in vain: its scores and logits are replaced by an oracle's."""

    def __init__(
        self,
        model: torch.nn.Module,
        oracle: Oracle,
        dtype: torch.dtype = torch.float32,
        *,
        point_batch: int = 64,
        compiled: bool = False,
    ) -> None:
        super().__init__(model, dtype, point_batch, compiled=compiled)
        self._oracle = oracle
        self._points: dict[int, Tensor] = {}

    def score(self, jobs: Sequence[Job]) -> list[tuple[NDArray[np.float32], PointState]]:
        """Run the network, then answer with the oracle."""
        answers = []
        for (_, points), (_, state) in zip(jobs, super().score(jobs), strict=True):
            self._points[id(state)] = torch.from_numpy(points).to(self.device)
            answers.append((self._oracle.scores(self._points[id(state)]).cpu().numpy(), state))
        return answers

    def logits(
        self, plan: TilePlan, state: PointState, rows: NDArray[np.intp], use: Callable[[slice, Tensor], None]
    ) -> None:
        """Run the network, then answer with the oracle."""
        points = self._points[id(state)][torch.from_numpy(rows).to(self.device)]
        super().logits(plan, state, rows, lambda part, _: use(part, self._oracle.logits(points[part])))
