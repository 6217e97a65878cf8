"""Scores as rows of text, for the terminal, Markdown and HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from remotesam._version import __version__
from remotesam.evaluation.evaluate import Evaluation
from remotesam.evaluation.scoring import BoxScores, LabelScores, ObjectScores
from remotesam.report.templates import jpeg_uri, numeric_columns, render

Rows = list[list[str]]


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of the score tables."""

    field: str
    """Its field in `remotesam.evaluation.scoring.ObjectScores`."""
    title: str
    """Of its column."""
    share: bool = True
    """True = a share 0..1, shown in percent; False = a number."""


METRICS = (
    Metric("asa", "ASA %"),
    Metric("det_50", "Det@0.5 %"),
    Metric("ss_det_50", "SS-Det@0.5 %"),
    Metric("ss_det_75", "SS-Det@0.75 %"),
    Metric("miou", "mIoU %"),
    Metric("segments_per_object", "n̄", share=False),
    Metric("biou", "BIoU %"),
    Metric("ss_biou", "SS-BIoU %"),
)
"""The figures of reference objects in the order of their columns (`docs/algorithms.md#metrics`)."""


def score_rows(scores: Sequence[LabelScores | BoxScores]) -> Rows:
    """One row per method below a row of titles; shares in percent, `–` where a figure does not exist."""
    boxes = [scored for scored in scores if isinstance(scored, BoxScores)]
    if boxes:
        titles = ["method", "segments", "boxes", "coverage %", "recall@0.5 %", "recall@0.75 %", "mean IoU %"]
        return [
            titles,
            *(
                [
                    scored.method,
                    str(scored.segments),
                    str(scored.objects),
                    *map(percent, (scored.coverage, scored.recall_50, scored.recall_75, scored.mean_iou)),
                ]
                for scored in boxes
            ),
        ]
    rows = [["method", "segments", "objects", "coverage %", *_titles(), "seam rate %"]]
    for scored in (scored for scored in scores if isinstance(scored, LabelScores)):
        seams = (
            "–"
            if scored.seam_rate is None
            else f"{percent(scored.seam_rate)} ({percent(scored.seam_rate_elsewhere)})"
        )
        rows.append(
            [
                scored.method,
                str(scored.segments),
                str(scored.objects),
                percent(scored.coverage),
                *_cells(scored.all),
                seams,
            ]
        )
    return rows


def class_rows(scores: Sequence[LabelScores | BoxScores]) -> Rows:
    """One row per class and method, with titles; only titles when there are no classes."""
    rows = [["class", "method", "objects", "coverage %", *_titles()]]
    judged = [scored for scored in scores if isinstance(scored, LabelScores)]
    for name in sorted({name for scored in judged for name in scored.classes}):
        for scored in judged:
            of_class = scored.classes[name]
            rows.append(
                [name, scored.method, str(of_class.objects), percent(of_class.coverage), *_cells(of_class)]
            )
    return rows


def _titles() -> list[str]:
    return [metric.title for metric in METRICS]


def _cells(scores: ObjectScores) -> list[str]:
    values = [(metric.share, getattr(scores, metric.field)) for metric in METRICS]
    return [percent(value) if share else plain(value) for share, value in values]


def percent(share: float | None) -> str:
    """0.973 → `97.3`; `–` for nothing."""
    return "–" if share is None or math.isnan(share) else f"{100 * share:.1f}"


def plain(value: float) -> str:
    """1.53 → `1.5`; `–` for NaN."""
    return "–" if math.isnan(value) else f"{value:.1f}"


def markdown(rows: Rows) -> str:
    """A Markdown table whose columns line up in a terminal too: names left, figures right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    named = [not numeric for numeric in numeric_columns(rows)]

    def line(cells: list[str]) -> str:
        aligned = (
            cell.ljust(width) if left else cell.rjust(width)
            for cell, width, left in zip(cells, widths, named, strict=True)
        )
        return "| " + " | ".join(aligned) + " |"

    rule = [
        "-" * (width + 2 - (not left)) + ":" * (not left) for width, left in zip(widths, named, strict=True)
    ]
    return "\n".join([line(rows[0]), f"|{'|'.join(rule)}|", *map(line, rows[1:])])


def evaluation_report(evaluation: Evaluation) -> str:
    """The page as text."""
    classes = class_rows(evaluation.scores)
    lead = f"compared on {evaluation.width} × {evaluation.height} px"
    if evaluation.background:
        lead += " · what is in no reference object is a class of its own"
    return render(
        "evaluation/report.html",
        title=f"{Path(evaluation.segments).name} judged by {Path(evaluation.reference).name}",
        lead=lead,
        foot=f"remotesam {__version__} · formulas: docs/evaluation.md",
        notes=evaluation.notes,
        scores=score_rows(evaluation.scores),
        classes=classes if len(classes) > 1 else None,
        picture=None if evaluation.picture is None else jpeg_uri(evaluation.picture),
    )
