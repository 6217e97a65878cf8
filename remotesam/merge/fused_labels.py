"""Final ids of a run, whether it had one scale or several."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from remotesam.merge.final_labels import FinalLabels
from remotesam.merge.scales import Choice, Contribution
from remotesam.run.job import Job
from remotesam.run.store import RunStore
from remotesam.windows import Window

_ARRAYS = ("from_fine", "from_coarse", "filling", "origin", "pixels", "old")
_COUNTS = ("fragments", "straddling")


class LabelReader(Protocol):
    """Reads final ids."""

    def read(self, window: Window) -> NDArray[np.int64]:
        """Final ids of a window in raster pixels, which may reach outside; 0 = none."""
        ...


class FusedLabels:
    """The labels of several scales, combined by the choices made between them.

    Args:
        scales: labels of each scale, the coarsest first.
        choices: the k-th says how scale k + 1 is combined with what came before.
    """

    def __init__(self, scales: Sequence[LabelReader], choices: Sequence[Choice]) -> None:
        self._scales = scales
        self._choices = choices

    def read(self, window: Window) -> NDArray[np.int64]:
        """See `LabelReader.read`."""
        labels = self._scales[0].read(window)
        for finer, choice in zip(self._scales[1:], self._choices, strict=True):
            labels, _ = choice.apply(labels, finer.read(window))
        return labels


def labels_of(job: Job) -> LabelReader:
    """The final labels of a run whose match, and whose choices between scales, are done."""
    scales = [FinalLabels(RunStore(one.run_url), one.grid) for one in job.scales()]
    if len(scales) == 1:
        return scales[0]
    store = RunStore(job.run_url)
    return FusedLabels(scales, [read_choice(store, step) for step in range(1, len(scales))])


def choice_name(step: int) -> str:
    """Where the choice between scale `step` and the coarser ones lies in the run."""
    return f"fused/choice-{step}.arrow"


def write_choice(store: RunStore, step: int, choice: Choice) -> None:
    """Keep a choice in the run."""
    counts = {name: getattr(choice, name) for name in _COUNTS}
    contributions = {"coarse": asdict(choice.coarse), "fine": asdict(choice.fine)}
    arrays = {name: getattr(choice, name) for name in _ARRAYS}
    store.put_arrays(choice_name(step), arrays, json.dumps({**counts, **contributions}))


def read_choice(store: RunStore, step: int) -> Choice:
    """What `write_choice` wrote."""
    arrays, text = store.get_arrays(choice_name(step))
    facts: dict[str, Any] = json.loads(text)
    values: dict[str, Any] = dict(arrays)
    return Choice(
        **values,
        coarse=Contribution(**facts.pop("coarse")),
        fine=Contribution(**facts.pop("fine")),
        **facts,
    )
