"""Pages with hostile names in a real browser: whole, quiet, and no script that is not theirs runs."""

from pathlib import Path

import numpy as np
import pytest

import remotesam
from tests.browser import show
from tests.fakes import ColourSegmenter
from tests.oracle import EXACT, cells

pytestmark = pytest.mark.gate

NAME = "<img src=x onerror=\"document.title='ran'\">.tif"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The report of a run over a raster that is called like an attack."""
    from tests.conftest import write_raster

    folder = tmp_path_factory.mktemp("run")
    raster = write_raster(folder / NAME, cells(8, 150, 180, 30))
    settings = {**EXACT, "tile_size": 64, "padding": 24}
    result = remotesam.segment(
        raster, folder / "out.gpkg", segmenter=ColourSegmenter(), report=folder / "report.html", **settings
    )
    return Path(result.report)


def test_the_report_is_whole_and_runs_nothing(report):
    shown = show(report, size=(900, 1400))
    assert shown.title == f"Segments of {NAME}".replace("<", "&lt;").replace(">", "&gt;")
    assert shown.complaints == []
    # Pictures, key figures and plots are there, so the style sheet applies: bars have its colour.
    assert (shown.picture == (0x0B, 0x6E, 0x99)).all(axis=2).sum() > 1000
    assert len(np.unique(shown.picture.reshape(-1, 3), axis=0)) > 100


def test_each_of_escaping_and_policy_is_enough(report, tmp_path):
    """What the one would let through the other stops; without both, this test's attack works."""
    page = report.read_text(encoding="utf-8")
    escaped = NAME.replace("<", "&lt;").replace(">", "&gt;").replace('"', "&#34;").replace("'", "&#39;")
    assert f"<h1>Segments of {escaped}</h1>" in page
    unescaped = page.replace(f"<h1>Segments of {escaped}</h1>", f"<h1>Segments of {NAME}</h1>")
    without = ('http-equiv="Content-Security-Policy"', 'name="no-policy"')
    pages = {"escaping": page.replace(*without), "policy": unescaped, "neither": unescaped.replace(*without)}
    titles = {}
    for kind, text in pages.items():
        path = tmp_path / kind / "page.html"
        path.parent.mkdir()
        path.write_text(text, encoding="utf-8")
        shown = show(path)
        titles[kind] = shown.title
        if kind == "policy":
            assert any("Content Security Policy" in line for line in shown.complaints)
    assert titles.pop("neither") == "ran"
    assert all(title.startswith("Segments of") for title in titles.values())
