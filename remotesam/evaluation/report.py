"""Scores as rows of text, for the terminal, Markdown and HTML."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from remotesam._version import __version__
from remotesam.evaluation.evaluate import Evaluation
from remotesam.evaluation.metric_table import BOX_METRICS, OBJECT_METRICS, Metric
from remotesam.evaluation.scoring import BoxScores, LabelScores, ObjectScores
from remotesam.report.templates import jpeg_uri, numeric_columns, render

Rows = list[list[str]]


def score_rows(scores: Sequence[LabelScores | BoxScores]) -> Rows:
    """One row per method below a row of titles; shares in percent, `–` where a figure does not exist."""
    boxes = [scored for scored in scores if isinstance(scored, BoxScores)]
    if boxes:
        columns = columns_of(BOX_METRICS)
        return [
            ["method", "segments", "boxes", "coverage %", *map(_title, columns)],
            *(
                [
                    scored.method,
                    str(scored.segments),
                    str(scored.objects),
                    percent(scored.coverage),
                    *(_cell(metric, scored[metric.name]) for metric in columns),
                ]
                for scored in boxes
            ),
        ]
    rows = [["method", "segments", "objects", "coverage %", *_object_titles(), "seam rate %"]]
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
    rows = [["class", "method", "objects", "coverage %", *_object_titles()]]
    judged = [scored for scored in scores if isinstance(scored, LabelScores)]
    for name in sorted({name for scored in judged for name in scored.classes}):
        for scored in judged:
            of_class = scored.classes[name]
            rows.append(
                [name, scored.method, str(of_class.objects), percent(of_class.coverage), *_cells(of_class)]
            )
    return rows


def columns_of(metrics: Mapping[str, Metric[Any]]) -> list[Metric[Any]]:
    """The metrics that score tables have a column for, in order."""
    return [metric for metric in metrics.values() if metric.column]


def _title(metric: Metric[Any]) -> str:
    return f"{metric.title} %" if metric.unit == "share" else metric.title


def _cell(metric: Metric[Any], value: float) -> str:
    return percent(value) if metric.unit == "share" else plain(value)


def _object_titles() -> list[str]:
    return [_title(metric) for metric in columns_of(OBJECT_METRICS)]


def _cells(scores: ObjectScores) -> list[str]:
    return [_cell(metric, scores[metric.name]) for metric in columns_of(OBJECT_METRICS)]


def _boxes(evaluation: Evaluation) -> bool:
    return any(isinstance(one, BoxScores) for one in evaluation.scores)


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
        metrics=columns_of(BOX_METRICS if _boxes(evaluation) else OBJECT_METRICS),
        picture=None if evaluation.picture is None else jpeg_uri(evaluation.picture),
    )
