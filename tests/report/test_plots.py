"""Plots: what is drawn stands where it belongs, whatever the values are."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remotesam.report.plots import bar_plot, histogram, line_plot

VALUES = st.lists(
    st.floats(-1e6, 1e6, width=32) | st.sampled_from([math.nan, math.inf, -math.inf]), max_size=60
)


def counted(plot):
    """The sum of the counts that a histogram's bars tell."""
    return sum(int(re.sub(r"\s", "", bar.text.rpartition(": ")[2])) for bar in plot.bars)


def assert_inside(plot):
    frame = plot.frame
    for bar in plot.bars:
        assert frame.left <= bar.left <= bar.left + bar.width <= frame.right + 0.02
        assert frame.top <= bar.top
        assert bar.top + bar.height == pytest.approx(frame.bottom, abs=0.02)
        assert bar.height > 0
    for point in (point for line in plot.lines for point in line.points):
        assert frame.left <= point.x <= frame.right
        assert frame.top <= point.y <= frame.bottom
    assert 1 <= len(plot.across) <= 9
    assert 1 <= len(plot.up) <= 7
    for ticks, low, high in ((plot.across, frame.left, frame.right), (plot.up, frame.top, frame.bottom)):
        assert all(low <= tick.place <= high for tick in ticks)
        assert len({tick.text for tick in ticks}) == len(ticks)


@settings(deadline=None)
@given(VALUES)
def test_a_histogram_counts_every_finite_value_once(values):
    values = np.array(values, np.float32)
    plot = histogram("t", "x", values)
    assert counted(plot) == np.isfinite(values).sum()
    assert_inside(plot)


@settings(deadline=None)
@given(VALUES)
def test_a_logarithmic_histogram_counts_every_value_above_zero_once(values):
    values = np.array(values, np.float32)
    plot = histogram("t", "x", values, log=True)
    assert counted(plot) == (np.isfinite(values) & (values > 0)).sum()
    assert_inside(plot)


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=40))
def test_a_line_has_every_value_and_a_gap_where_one_is_missing(values):
    plot = line_plot("t", "pass", range(len(values)), {"a": values, "b": values[::-1]})
    known = np.isfinite(values)
    assert_inside(plot)
    assert [len(line.points) for line in plot.lines] == [known.sum()] * 2
    pieces = re.findall(r"M[^M]*", plot.lines[0].path)
    assert [piece.count("L") + 1 for piece in pieces] == [
        len(run) for run in re.findall("1+", "".join("01"[flag] for flag in known.astype(int)))
    ]
    order = np.argsort([point.y for point in plot.lines[0].points], kind="stable")
    assert (
        np.diff(np.asarray(values)[known][order]) <= 1e-3 * (np.abs(np.asarray(values)[known]).max(initial=1))
    ).all()


@settings(deadline=None)
@given(st.lists(st.floats(width=32), max_size=9), st.booleans())
def test_no_values_are_too_wild(values, log):
    values = np.array(values, np.float32)
    known = values[np.isfinite(values) & ((values > 0) | (not log))]
    assert counted(histogram("t", "x", values, log=log)) == known.size
    assert len(line_plot("t", "pass", range(len(values)), {"a": values}).lines) == 1


def test_lines_are_drawn_to_scale():
    plot = line_plot("t", "pass", [0, 1, 2], {"coverage": [0, 50, 100]}, top=100)
    frame = plot.frame
    assert [point.y for point in plot.lines[0].points] == [
        frame.bottom,
        (frame.top + frame.bottom) / 2,
        frame.top,
    ]
    assert [tick.text for tick in plot.up] == ["0", "20", "40", "60", "80", "100"]
    assert [tick.text for tick in plot.across] == ["0", "1", "2"]
    assert plot.lines[0].points[1].text == "pass 1: 50"
    assert plot.lines[0].legend is None


def test_bars_are_as_high_as_their_counts_and_stand_over_their_ticks():
    plot = bar_plot("t", "pass", [0, 1, 2, 3], [1200, 600, 0, 300])
    heights = [bar.height for bar in plot.bars]
    assert heights == pytest.approx([heights[0], heights[0] / 2, heights[0] / 4], abs=0.02)
    middles = [bar.left + bar.width / 2 for bar in plot.bars]
    ticks = {tick.text: tick.place for tick in plot.across}
    assert middles == pytest.approx([ticks[name] for name in "013"], abs=0.02)
    assert plot.bars[0].text == "pass 0: 1\u202f200"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.1, 20_000, ["0.1", "1", "10", "100", "1000", "10⁴"]),
        (3, 80, ["5", "10", "20", "50"]),
        (1e-9, 1e9, ["10⁻⁹", "10⁻⁶", "0.001", "1", "1000", "10⁶", "10⁹"]),
        (2e5, 9e5, ["2·10⁵", "5·10⁵"]),
        (30, 40, ["30", "32", "34", "36", "38", "40"]),
    ],
)
def test_ticks_of_ratios(low, high, expected):
    assert [tick.text for tick in histogram("t", "m²", np.array([low, high]), log=True).across] == expected


def test_equal_ratios_are_equally_far_apart():
    ticks = histogram("t", "m²", np.array([1.0, 1000.0]), log=True).across
    gaps = np.diff([tick.place for tick in ticks])
    assert gaps == pytest.approx([gaps[0]] * 3, abs=0.02)


def test_labels_have_room_left_of_the_frame():
    small, large = (bar_plot("t", "pass", [0], [count]) for count in (3, 4_000_000))
    assert large.up[-1].text == "4\u202f000\u202f000"
    assert large.frame.left > small.frame.left + 40
