"""Pages escape whatever they are given and let nothing in that is not theirs."""

import pytest
from jinja2 import UndefinedError

from remotesam.report import templates
from remotesam.report.templates import numeric_columns, render, source
from tests.pages import HOSTILE, Page


def page(**changes):
    values = {"title": "t", "lead": "l", "foot": "f", "notes": ["n"], "scores": [["a", "b"], ["c", "1"]]}
    return render(
        "evaluation/report.html", **{**values, "classes": None, "metrics": [], "picture": None, **changes}
    )


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("place", ["title", "lead", "foot", "notes", "scores", "picture"])
def test_text_stays_text(place, text):
    shapes = {"notes": [text], "scores": [["a", text], [text, "1"]]}
    harmless = {"notes": ["n"], "scores": [["a", "b"], ["c", "1"]]}
    hostile = Page(page(**{place: shapes.get(place, text)}))
    assert hostile.elements == Page(page(**{place: harmless.get(place, "x")})).elements
    found = [*hostile.words, *(value for _, _, value in hostile.attributes)]
    assert text in found


def test_a_name_that_is_no_utf8_is_shown():
    name = b"\xe9t\xe9.tif".decode("utf-8", "surrogateescape")
    assert "\\udce9t\\udce9.tif" in page(title=name).encode().decode()


def test_a_value_that_a_template_lacks_is_no_empty_string():
    with pytest.raises(UndefinedError, match="scores"):
        render("evaluation/report.html", title="t", lead="l", foot="f", notes=[])


def test_the_digest_is_over_what_a_browser_reads(monkeypatch):
    sheet = source("report/page.css")
    policy = templates.content_policy("report/page.css")
    read = templates._LOADER.get_source

    def checked_out_on_windows(*arguments):
        text, *rest = read(*arguments)
        return text.replace("\n", "\r\n"), *rest

    monkeypatch.setattr(templates._LOADER, "get_source", checked_out_on_windows)
    assert source("report/page.css") == sheet
    assert templates.content_policy("report/page.css") == policy


def test_columns_of_figures():
    rows = [
        ["name", "count", "share", "difference", "mixed"],
        ["a", "3", "–", "−0.5", "4"],
        ["b", "", "1.5", "-2", "x"],
    ]
    assert numeric_columns(rows) == [False, True, True, True, False]
