"""Preview pictures and HTML reports: what they show, that they are whole, that they need no network."""

import re

import cv2
import numpy as np
import pytest

from remotesam.errors import OutputError
from remotesam.raster.reader import open_raster
from remotesam.report.overlay import colours, outlines, overlay
from remotesam.report.run_report import PassFacts, RunFacts, html_report, image_reader, preview, shrunk
from remotesam.windows import Window
from tests.pages import HOSTILE, Page, assert_closed


def facts(**changes):
    count = changes.pop("count", 3)
    columns = {name: np.linspace(0.5, 0.9, count) for name in ("score", "stability")}
    passes = [
        PassFacts(index=i, coverage=0.5 + 0.2 * i, accepted=9, iou_threshold=0.9, stability_threshold=0.8)
        for i in range(3)
    ]
    return RunFacts(
        **{
            "raster": "some/ortho.tif", "height": 60, "width": 90, "crs": "EPSG:32632", "model": "nano",
            "tiles": 4, "coverage": 0.9, "settings": {"merge": "overlap"}, "passes": passes,
            "segment_id": np.arange(1, count + 1), "pass_index": np.zeros(count, int),
            "area": np.arange(count, 0, -1) * 10.0, **columns, **changes,
        }
    )  # fmt: skip


def quarters(window, shape):
    """An image and label map of 60 × 90 px in four quarters, as a reader."""
    rows = window.row + (np.arange(shape[0]) + 0.5) * window.height / shape[0]
    cols = window.col + (np.arange(shape[1]) + 0.5) * window.width / shape[1]
    return (rows[:, None] >= 30) * 2 + (cols[None] >= 45)


def grey(window, shape):
    return np.repeat((quarters(window, shape) * 60 + 40).astype(np.uint8)[..., None], 3, axis=2)


def test_colours_are_stable_and_neighbours_differ():
    ids = np.arange(1, 2000)
    first = colours(ids)
    assert (first == colours(ids)).all()
    assert (colours(np.array([77])) == first[76]).all()
    assert np.abs(first[1:].astype(int) - first[:-1]).max(axis=1).min() > 40
    assert len(np.unique(colours(np.array([2**32 - 1, 2**32 - 2, 5])), axis=0)) == 3


def test_overlay_darkens_what_is_in_no_segment_and_outlines_the_rest():
    image = np.full((6, 9, 3), 200, np.uint8)
    labels = np.zeros((6, 9), int)
    labels[:, 3:6], labels[:, 6:] = 4, 9
    drawn = overlay(image, labels)
    assert (drawn[:, :2] == 70).all()
    assert (drawn[outlines(labels)] == 255).all()
    assert outlines(labels).sum() == 12
    assert (drawn[:, 4] == drawn[0, 4]).all()
    assert not (drawn[:, 4] == drawn[:, 7]).all(axis=1).any()


@pytest.mark.parametrize(("height", "width"), [(60, 90), (3000, 900), (1, 7000), (500, 1)])
def test_preview_fits_and_shows_both(tmp_path, height, width):
    path = tmp_path / "p.png"

    def image(window, shape):
        return np.full((*shape, 3), 90, np.uint8)

    preview(image, lambda window, shape: np.ones(shape, int), height, width, path, max_side=400)
    drawn = cv2.imread(str(path))
    assert max(drawn.shape) <= 400
    assert (drawn[0, 0] == 90).all()
    assert not (drawn[-1, -1] == 90).all()
    assert list(tmp_path.iterdir()) == [path]


def test_bands_join_to_what_one_read_gives(monkeypatch):
    whole = quarters(Window(0, 0, 60, 90), (37, 41))
    monkeypatch.setattr("remotesam.report.run_report._BAND_PIXELS", 700)
    asked = []

    def read(window, shape):
        asked.append(window)
        return quarters(window, shape)

    assert (shrunk(read, 60, 90, (20, 30)) == quarters(Window(0, 0, 60, 90), (20, 30))).all()
    assert len(asked) > 3
    assert max(window.area for window in asked) <= 1000
    assert sum(window.height for window in asked) == 60
    assert shrunk(read, 60, 90, (37, 41)).shape == whole.shape


def test_preview_of_a_real_raster_in_bounded_reads(tmp_path, shared_data):
    raster = open_raster(shared_data("kampala_oam/kampala_small_z21_7cm.tif"))

    def labels(window, shape):
        rows, cols = (np.arange(count) * 4 // count for count in shape)
        return rows[:, None] * 4 + cols + 1

    path = tmp_path / "p.jpg"
    preview(image_reader(raster), labels, 1024, 1024, path, max_side=520)
    drawn = cv2.imread(str(path))[:, :, ::-1]
    assert drawn.shape == (256, 520, 3)
    expected = cv2.resize(raster.read(raster.spec.window).image, (256, 256), interpolation=cv2.INTER_AREA)
    assert np.abs(drawn[:, :256].astype(int) - expected).mean() < 6
    white = (drawn[:, 264:] > 200).all(axis=2)
    assert white[63].mean() > 0.9
    assert white[32].mean() < 0.2


@pytest.mark.parametrize("name", ["p.tiff", "missing/p.png"])
def test_pictures_that_cannot_be_written(tmp_path, name):
    with pytest.raises(OutputError, match=re.escape(name)):
        preview(grey, quarters, 60, 90, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_report_says_everything_and_loads_nothing(tmp_path):
    path = tmp_path / "r.html"
    said = facts(
        warnings=["2 % of the raster is pure white."],
        failures=[("7", "damaged <block>")],
        stages={"tiles": 61.0},
        settings={"tile_size": "1000", "evil": "<script>alert(1)</script>"},
    )
    html_report(said, grey, quarters, path)
    page = Page(path.read_text(encoding="utf-8"))
    for part in (
        *(
            "ortho.tif",
            "EPSG:32632",
            "90.0 %",
            "3 of 4",
            "1 min 01 s",
            "2 % of the raster",
            "damaged <block>",
        ),
        *("<script>alert(1)</script>", "Coverage, % of valid pixels", "Segments by score"),
    ):
        assert part in page.text
    names = [name for name, _ in page.elements]
    assert names.count("svg") == 6
    assert "script" not in names
    assert_closed(page)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_comes_from_files_stays_text(tmp_path, text):
    pages = []
    for said in (text, "harmless"):
        path = tmp_path / "r.html"
        told = facts(
            raster=f"folder/{said.replace('/', '∕')}.tif",
            crs=said,
            model=said,
            version=said,
            area_unit=said,
            warnings=[said],
            failures=[(said, said)],
            stages={said: 1.0},
            settings={said: said},
        )
        html_report(told, grey, quarters, path)
        pages.append(Page(path.read_text(encoding="utf-8")))
    hostile, harmless = pages
    assert hostile.elements == harmless.elements
    assert hostile.text.replace("∕", "/").count(text) == harmless.text.count("harmless")
    assert_closed(hostile)


def test_report_of_a_run_that_found_nothing(tmp_path):
    path = tmp_path / "r.html"
    html_report(facts(count=0, passes=[], coverage=0.0), grey, lambda w, s: np.zeros(s, int), path)
    page = path.read_text(encoding="utf-8")
    assert "0.0 %" in page
    assert page.count("<svg") == 2
    assert "Largest segments" not in page


def test_the_largest_segments_come_first(tmp_path):
    path = tmp_path / "r.html"
    html_report(facts(count=40, area=np.arange(1.0, 41)), grey, quarters, path)
    page = path.read_text(encoding="utf-8")
    rows = re.findall(r'<tr><td class="number">(\d+)</td><td class="number">(\d+)</td>', page)
    assert [int(area) for _, area in rows] == list(range(40, 30, -1))
    assert rows[0][0] == "40"


def test_the_same_run_gives_the_same_report(tmp_path):
    for name in "ab":
        html_report(facts(), grey, quarters, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
