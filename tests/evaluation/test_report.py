"""The page of an evaluation: every score, every class, and nothing but text from files."""

import numpy as np
import pytest

from remotesam.evaluation.evaluate import Evaluation
from remotesam.evaluation.metric_table import OBJECT_METRICS
from remotesam.evaluation.report import class_rows, evaluation_report, score_rows
from remotesam.evaluation.scoring import LabelScores, ObjectScores
from tests.pages import HOSTILE, Page, assert_closed


def objects(asa):
    figures = dict.fromkeys(OBJECT_METRICS, 0.5) | {"asa": asa, "segments_per_object": 1.5}
    return ObjectScores(objects=7, coverage=0.5, figures=figures)


def evaluation(said="harmless", **changes):
    scores = LabelScores(
        method=said,
        segments=12,
        coverage=0.25,
        asa=0.875,
        all=objects(0.875),
        classes={said: objects(0.625), "other": objects(float("nan"))},
    )
    values = {
        "segments": f"{said}.gpkg",
        "reference": f"{said}.tif",
        "height": 30,
        "width": 40,
        "background": False,
        "tile_size": None,
        "scores": [scores],
        "notes": [said],
    }
    return Evaluation(**{**values, **changes})


def test_the_page_says_every_score():
    told = evaluation(picture=np.zeros((3, 4, 3), np.uint8), background=True)
    page = Page(evaluation_report(told))
    rows = [*score_rows(told.scores), *class_rows(told.scores)]
    assert len(rows) == 5
    for cell in (cell for row in rows for cell in row):
        assert cell in page.words
    assert [tag for tag, _ in page.elements].count("tr") == len(rows)
    for metric in OBJECT_METRICS.values():
        assert (f"{metric.help}; the {metric.better} the better" in page.text) == metric.column
    assert "40 × 30 px" in page.text
    assert "class of its own" in page.text
    assert [value for tag, name, value in page.attributes if tag == "img" and name == "src"]
    assert_closed(page)


def test_without_classes_and_picture_there_is_neither():
    plain = LabelScores(method="m", segments=1, coverage=1.0, asa=1.0, all=objects(1.0), classes={})
    page = Page(evaluation_report(evaluation(scores=[plain])))
    tags = [tag for tag, _ in page.elements]
    assert tags.count("table") == 1
    assert "img" not in tags
    assert "By class" not in page.text


@pytest.mark.parametrize("text", HOSTILE)
def test_what_comes_from_files_stays_text(text):
    names = {"segments": text.replace("/", "∕"), "reference": text.replace("/", "∕")}
    hostile = Page(evaluation_report(evaluation(text, **names)))
    harmless = Page(evaluation_report(evaluation(segments="harmless", reference="harmless")))
    assert hostile.elements == harmless.elements
    assert hostile.text.replace("∕", "/").count(text) == harmless.text.count("harmless")
    assert_closed(hostile)
