"""Coverage of a whole run, pass by pass, from the reports of its units."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from remotesam.run.records import PassRow, UnitSummary


@dataclass(frozen=True, slots=True)
class PassCoverage:
    """What each pass added, over all units; one that stopped earlier keeps its last coverage."""

    coverage: NDArray[np.float64]
    """(passes,) share 0..1 of the valid pixels that have a label after the pass."""
    accepted: NDArray[np.int64]
    """(passes,) segments accepted in the pass."""
    units: NDArray[np.int64]
    """(passes,) units that ran the pass."""
    encoded: NDArray[np.int64]
    """(passes,) units that asked the network in the pass; the others selected from kept proposals."""
    iou_threshold: NDArray[np.float64]
    """(passes,) mean predicted IoU asked for by the units that ran it."""
    stability_threshold: NDArray[np.float64]
    """(passes,) mean stability asked for, likewise."""

    @classmethod
    def of(cls, summaries: Iterable[UnitSummary]) -> PassCoverage:
        """Gather the `passes` of summaries, weighted by the units' valid pixels."""
        tiles = [(s.valid, s.passes) for s in summaries if s.valid and s.passes]
        length = max((len(passes) for _, passes in tiles), default=0)
        coverage, iou, stability = (np.zeros(length) for _ in range(3))
        accepted, ran, encoded = (np.zeros(length, np.int64) for _ in range(3))
        for valid, passes in tiles:
            reached = [report.coverage for report in passes]
            coverage += valid * np.pad(reached, (0, length - len(reached)), mode="edge")
            for index, report in enumerate(passes):
                accepted[index] += report.accepted
                ran[index] += 1
                encoded[index] += report.points > 0
                iou[index] += report.iou_threshold
                stability[index] += report.stability_threshold
        whole = sum(valid for valid, _ in tiles) or 1
        each = np.maximum(ran, 1)
        return cls(coverage / whole, accepted, ran, encoded, iou / each, stability / each)

    def rows(self) -> list[PassRow]:
        """One record per pass."""
        return [
            PassRow(
                index=index,
                coverage=round(float(self.coverage[index]), 5),
                accepted=int(self.accepted[index]),
                units=int(self.units[index]),
                encoded=int(self.encoded[index]),
                iou_threshold=round(float(self.iou_threshold[index]), 4),
                stability_threshold=round(float(self.stability_threshold[index]), 4),
            )
            for index in range(len(self.coverage))
        ]
