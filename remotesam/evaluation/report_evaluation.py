"""Scores of an evaluation as one HTML file."""

from __future__ import annotations

from pathlib import Path

from remotesam import __version__
from remotesam.evaluation.evaluate import Judgement
from remotesam.evaluation.report import class_rows, score_rows
from remotesam.report import html as html


def evaluation_report(judgement: Judgement) -> str:
    """The page as text."""
    classes = class_rows(judgement.scores)
    parts = [
        *(html.alert(note) for note in judgement.notes),
        html.heading("Scores"),
        html.table(score_rows(judgement.scores)),
    ]
    if len(classes) > 1:
        parts += [html.heading("By class of the reference"), html.table(classes)]
    if judgement.picture is not None:
        text = "Reference outlines on the image, beside the segments in random colours"
        parts += [html.heading("Reference and segments"), html.picture(judgement.picture, text)]
    name = f"{Path(judgement.segments).name} judged by {Path(judgement.reference).name}"
    lead = f"compared on {judgement.width} × {judgement.height} px"
    if judgement.background:
        lead += " · what is in no reference object is a class of its own"
    return html.page(name, lead, parts, f"remotesam {__version__} · formulas: docs/evaluation.md")
