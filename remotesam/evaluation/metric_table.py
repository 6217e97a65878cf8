"""The tables of metrics: what each is called, how it is computed, how it is read.

Everything that shows scores reads them. A further metric is one entry, or `OBJECT_METRICS[mine.name] = mine`
before the evaluation; what it is computed from has been counted by then. `docs/evaluation.md#formulas` has
the definitions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from numpy.typing import NDArray

from remotesam.evaluation.metrics import Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JudgedObjects:
    """What is known of a set of m reference objects and the segments on them."""

    accuracy: float
    """Share of their pixels that lie in a segment whose majority class is theirs, 0..1."""
    greedy_iou: Floats
    """(m,) IoU of each object and the greedy union of segments, 0..1."""
    single_iou: Floats
    """(m,) IoU of each object and its best single segment, 0..1."""
    used: Floats
    """(m,) number of segments in the greedy union."""
    greedy_biou: Floats
    """(m,) boundary IoU of each object and the greedy union, 0..1."""
    single_biou: Floats
    """(m,) boundary IoU of each object and its best single segment, 0..1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JudgedBoxes:
    """What is known of m reference boxes and the boxes of segments."""

    iou: Floats
    """(m,) IoU of each with the segment's box that fits best, 0..1."""


Judged = TypeVar("Judged")


@dataclass(frozen=True, kw_only=True)  # slots do not go with Generic before Python 3.12
class Metric(Generic[Judged]):
    """One figure of an evaluation."""

    name: str
    """Its key in JSON."""
    title: str
    """Of its column, without the unit."""
    help: str
    """What it says."""
    measure: Callable[[Judged], float]
    """Computes it; NaN where it does not exist."""
    unit: Literal["share", "number"] = "share"
    """share = 0..1, shown in percent."""
    better: Literal["higher", "lower"] = "higher"
    """Which of two values is the better one."""
    column: bool = True
    """True = the score tables have a column for it; it is in JSON in any case."""


def mean(values: NDArray[Any]) -> float:
    """Mean; NaN of nothing."""
    return float(values.mean()) if len(values) else float("nan")


def measured(metrics: Mapping[str, Metric[Judged]], judged: Judged) -> dict[str, float]:
    """The value of each metric by its name."""
    return {metric.name: metric.measure(judged) for metric in metrics.values()}


OBJECT_METRICS: dict[str, Metric[JudgedObjects]] = {
    metric.name: metric
    for metric in (
        Metric[JudgedObjects](
            name="asa",
            title="ASA",
            help="share of the reference's pixels in a segment whose majority class is theirs",
            measure=lambda judged: judged.accuracy,
        ),
        Metric[JudgedObjects](
            name="det_50",
            title="Det@0.5",
            help="share of objects whose greedy union of segments reaches IoU 0.5",
            measure=lambda judged: mean(judged.greedy_iou >= 0.5),
        ),
        Metric[JudgedObjects](
            name="det_75",
            title="Det@0.75",
            help="share of objects whose greedy union of segments reaches IoU 0.75",
            measure=lambda judged: mean(judged.greedy_iou >= 0.75),
            column=False,
        ),
        Metric[JudgedObjects](
            name="ss_det_50",
            title="SS-Det@0.5",
            help="share of objects for which a single segment reaches IoU 0.5: recall at 0.5",
            measure=lambda judged: mean(judged.single_iou >= 0.5),
        ),
        Metric[JudgedObjects](
            name="ss_det_75",
            title="SS-Det@0.75",
            help="share of objects for which a single segment reaches IoU 0.75",
            measure=lambda judged: mean(judged.single_iou >= 0.75),
        ),
        Metric[JudgedObjects](
            name="miou",
            title="mIoU",
            help="mean IoU of objects and greedy unions",
            measure=lambda judged: mean(judged.greedy_iou),
        ),
        Metric[JudgedObjects](
            name="ss_miou",
            title="SS-mIoU",
            help="mean IoU of objects and their best single segments",
            measure=lambda judged: mean(judged.single_iou),
            column=False,
        ),
        Metric[JudgedObjects](
            name="segments_per_object",
            title="n̄",
            help="mean number of segments in the greedy unions that are not empty",
            measure=lambda judged: mean(judged.used[judged.used > 0]),
            unit="number",
            better="lower",
        ),
        Metric[JudgedObjects](
            name="biou",
            title="BIoU",
            help="mean boundary IoU of objects and greedy unions",
            measure=lambda judged: mean(judged.greedy_biou),
        ),
        Metric[JudgedObjects](
            name="ss_biou",
            title="SS-BIoU",
            help="mean boundary IoU of objects and their best single segments",
            measure=lambda judged: mean(judged.single_biou),
        ),
    )
}
"""Metrics of reference objects in the order of their columns: those of Remote SAMsing (arXiv 2605.00256,
Table 3) and boundary IoU."""


BOX_METRICS: dict[str, Metric[JudgedBoxes]] = {
    metric.name: metric
    for metric in (
        Metric[JudgedBoxes](
            name="recall_50",
            title="recall@0.5",
            help="share of reference boxes whose IoU with the box of some segment reaches 0.5",
            measure=lambda judged: mean(judged.iou >= 0.5),
        ),
        Metric[JudgedBoxes](
            name="recall_75",
            title="recall@0.75",
            help="share of reference boxes whose IoU with the box of some segment reaches 0.75",
            measure=lambda judged: mean(judged.iou >= 0.75),
        ),
        Metric[JudgedBoxes](
            name="mean_iou",
            title="mean IoU",
            help="mean IoU of reference boxes with the segment's box that fits best",
            measure=lambda judged: mean(judged.iou),
        ),
    )
}
"""Metrics of references that only box their objects, in the order of their columns."""
