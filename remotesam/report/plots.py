"""Plots of a run, measured out for the SVG of the report's template: places in px of the drawing, y down."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

_WIDTH, _HEIGHT = 332, 196

_FRAME_TOP, _FRAME_RIGHT, _FRAME_BOTTOM = 24.0, 324.0, 162.0

_DIGIT = 6.1
"""Width to keep free for a character of 9.5 px, px: fonts of different systems differ."""

_ACROSS, _UP = 8, 6
"""Most steps between the ticks of the x and the y axis."""

_BINS = 40
"""Bars of a histogram."""

_MARGIN = 0.05
"""Room between the values and the frame, as a share of their range."""

_ONE = 1e-6
"""Values nearer to each other than this, in total and as a share of their size, are drawn as one."""

_STEPS = (1, 2, 5, 10)
"""Ticks stand at multiples of one of these times a power of ten."""

_PLAIN = (1e-3, 1e4)
"""Numbers on a logarithmic axis that are written out; others as powers of ten."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The rectangle of the values inside a drawing, px."""

    left: float
    """Place of the lowest x."""
    top: float
    """Place of the highest y."""
    right: float
    """Place of the highest x."""
    bottom: float
    """Place of the lowest y."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled value of an axis."""

    place: float
    """x or y, px."""
    text: str
    """The value."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A filled rectangle."""

    left: float
    """x of its left side, px."""
    top: float
    """y of its upper side, px."""
    width: float
    """px."""
    height: float
    """px."""
    text: str
    """What it stands for, shown under the pointer."""


@dataclass(frozen=True, slots=True)
class Point:
    """A marked value of a line."""

    x: float
    """px."""
    y: float
    """px."""
    text: str
    """What it stands for, shown under the pointer."""


@dataclass(frozen=True, slots=True)
class Line:
    """Values in order."""

    name: str
    """What they are."""
    path: str
    """SVG path through them; it has a gap where a value is missing."""
    points: list[Point]
    """Those that are not missing."""
    legend: float | None
    """x of its entry in the legend, px; None = a plot of one line needs none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """What the template draws."""

    title: str
    """Heading."""
    label: str
    """What the x axis counts."""
    frame: Frame
    """Where the values lie."""
    across: list[Tick]
    """Ticks of the x axis."""
    up: list[Tick]
    """Ticks of the y axis."""
    bars: Sequence[Bar] = ()
    """Drawn first."""
    lines: Sequence[Line] = ()
    """Drawn over the bars."""
    width: int = _WIDTH
    """Of the whole drawing, px."""
    height: int = _HEIGHT
    """Of the whole drawing, px."""


@dataclass(frozen=True, slots=True)
class _Axis:
    """Values low..high, low < high, laid out from one place to another."""

    low: float
    high: float
    logarithmic: bool = False

    def places(self, values: ArrayLike, start: float, stop: float) -> NDArray[np.float64]:
        scale = np.log10 if self.logarithmic else np.asarray
        low, high, at = scale(self.low), scale(self.high), scale(np.asarray(values, np.float64))
        return np.asarray(np.round(start + (at - low) / (high - low) * (stop - start), 2))

    def ticks(self, most: int, *, whole: bool = False) -> list[tuple[float, str]]:
        """Round values in it with their labels, at most `most` + 1 of them; integers if `whole`."""
        if self.logarithmic:
            values = _round_ratios(self.low, self.high, most)
            if len(values) > 1:
                return [(value, _power(value)) for value in values]
        step = _round_step((self.high - self.low) / most)
        step = max(step, 1) if whole else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        return [(k * step, _grouped(k * step, decimals)) for k in range(first, last + 1)]


def line_plot(
    title: str, label: str, x: Sequence[float], lines: Mapping[str, Sequence[float]], top: float | None = None
) -> Plot:
    """Values over the passes, a line for each entry of `lines`.

    Args:
        title: heading.
        label: what `x` counts.
        x: (n,) increasing.
        lines: name → (n,) values, NaN = missing; at most two, as the style sheet has two colours.
        top: the y axis goes from 0 to here; None = as far as the values.
    """
    values = np.array([list(line) for line in lines.values()], np.float64).reshape(len(lines), len(x))
    up = _Axis(0, top) if top is not None else _around(values)
    across = _around(np.asarray(x, np.float64))
    y_ticks = up.ticks(_UP)
    frame = _frame(y_ticks)
    columns = across.places(x, frame.left, frame.right)
    legends = _legends(lines, frame)
    return Plot(
        title=title,
        label=label,
        frame=frame,
        across=_ticks(across, across.ticks(_ACROSS, whole=True), frame.left, frame.right),
        up=_ticks(up, y_ticks, frame.bottom, frame.top),
        lines=[
            _line(name, columns, up.places(line, frame.bottom, frame.top), legend, _tips(label, x, line))
            for (name, legend), line in zip(legends.items(), values, strict=True)
        ],
    )


def bar_plot(title: str, label: str, x: Sequence[float], heights: Sequence[float]) -> Plot:
    """A bar for each whole number in `x`."""
    middles = np.asarray(x, np.float64)
    edges = np.stack([middles - 0.4, middles + 0.4], axis=1)
    return _bars(title, label, edges, np.asarray(heights, np.float64), _tips(label, x, heights), whole=True)


def histogram(title: str, label: str, values: NDArray[np.floating], *, log: bool = False) -> Plot:
    """How many segments have which value.

    Args:
        title: heading.
        label: what the values are.
        values: any number; what is not finite does not count.
        log: bins of equal ratio, over values above 0.
    """
    finite = np.asarray(values[np.isfinite(values)], np.float64)
    if log:
        finite = finite[finite > 0]
    low, high = _range(finite, log=log)
    edges = np.geomspace(low, high, _BINS + 1) if log else np.linspace(low, high, _BINS + 1)
    counts, _ = np.histogram(finite, edges)
    tips = [
        f"{_short(a)} – {_short(b)}: {count}" for (a, b), count in zip(pairwise(edges), counts, strict=True)
    ]
    pairs = np.stack([edges[:-1], edges[1:]], axis=1)
    return _bars(title, label, pairs, counts.astype(np.float64), tips, log=log)


def _bars(
    title: str,
    label: str,
    edges: NDArray[np.float64],
    heights: NDArray[np.float64],
    tips: Sequence[str],
    *,
    whole: bool = False,
    log: bool = False,
) -> Plot:
    """Bars between the (n, 2) x of `edges`, from 0 to `heights`; counts, so the y axis has integers."""
    across = _around(edges, log=log)
    up = _Axis(0, max(float(heights.max(initial=0)), 1) * (1 + _MARGIN))
    y_ticks = up.ticks(_UP, whole=True)
    frame = _frame(y_ticks)
    sides = across.places(edges, frame.left, frame.right).reshape(-1, 2).tolist()
    tops = up.places(heights, frame.bottom, frame.top).tolist()
    return Plot(
        title=title,
        label=label,
        frame=frame,
        across=_ticks(across, across.ticks(_ACROSS, whole=whole), frame.left, frame.right),
        up=_ticks(up, y_ticks, frame.bottom, frame.top),
        bars=[
            Bar(left, top, round(right - left, 2), round(frame.bottom - top, 2), tip)
            for (left, right), top, tip in zip(sides, tops, tips, strict=True)
            if top < frame.bottom
        ],
    )


def _range(values: NDArray[np.float64], *, log: bool = False) -> tuple[float, float]:
    """Least and greatest of the values, moved apart where they are one; 1..2 for none."""
    if values.size == 0:
        return 1.0, 2.0
    low, high = float(values.min()), float(values.max())
    if high - low > _ONE * max(abs(low), abs(high)) and (log or high - low > _ONE):
        return low, high
    half = max(abs(high), 1.0) / 2
    return (low / 2, high * 2) if log else (low - half, high + half)


def _around(values: NDArray[np.float64], *, log: bool = False) -> _Axis:
    """An axis that holds all finite values with a margin."""
    low, high = _range(values[np.isfinite(values)], log=log)
    if log:
        margin = (high / low) ** _MARGIN
        return _Axis(low / margin, high * margin, logarithmic=True)
    margin = _MARGIN * (high - low)
    return _Axis(low - margin, high + margin)


def _frame(y_ticks: Sequence[tuple[float, str]]) -> Frame:
    """The frame that leaves room for the labels on its left."""
    longest = max((len(text) for _, text in y_ticks), default=1)
    return Frame(round(longest * _DIGIT + 10, 2), _FRAME_TOP, _FRAME_RIGHT, _FRAME_BOTTOM)


def _ticks(axis: _Axis, values: Sequence[tuple[float, str]], start: float, stop: float) -> list[Tick]:
    places = axis.places([value for value, _ in values], start, stop).tolist()
    return [Tick(position, text) for position, (_, text) in zip(places, values, strict=True)]


def _line(
    name: str, x: NDArray[np.float64], y: NDArray[np.float64], legend: float | None, tips: Sequence[str]
) -> Line:
    finite = np.isfinite(y)
    starts = finite & ~np.concatenate([[False], finite[:-1]])
    path = "".join(f"{'M' if starts[k] else 'L'}{x[k]:g} {y[k]:g}" for k in np.flatnonzero(finite).tolist())
    points = [Point(float(x[k]), float(y[k]), tips[k]) for k in np.flatnonzero(finite).tolist()]
    return Line(name, path, points, legend)


def _legends(names: Iterable[str], frame: Frame) -> dict[str, float | None]:
    """Places of the names in a row that ends at the frame's right side; none for a single name."""
    names = list(names)
    if len(names) < 2:
        return dict.fromkeys(names)
    widths = [28 + len(name) * _DIGIT for name in names]
    starts = frame.right + 4 - np.cumsum(widths[::-1])[::-1]
    return dict(zip(names, np.round(starts, 2).tolist(), strict=True))


def _tips(label: str, x: Sequence[float], values: Iterable[float]) -> list[str]:
    return [f"{label} {at}: {_short(value)}" for at, value in zip(x, values, strict=True)]


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5 × 10ⁿ that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return float(next(step * power for step in _STEPS if step * power >= least * (1 - 1e-9)))


def _round_ratios(low: float, high: float, most: int) -> list[float]:
    """Powers of ten in low..high, or every n-th; below two decades also their multiples by 2 and 5."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    stride = math.ceil((last - first) / most)
    factors = _STEPS[:3] if math.log10(high / low) < 2 else _STEPS[:1]
    values = [
        factor * 10.0**power
        for power in range(first - first % stride, last + 1, stride)
        for factor in factors
    ]
    return [value for value in values if low <= value <= high]


def _power(value: float) -> str:
    """1000 → `1000`, 200000 → `2·10⁵`."""
    if _PLAIN[0] <= value < _PLAIN[1]:
        return f"{value:g}"
    power = math.floor(math.log10(value) + 1e-9)
    factor = round(value / 10.0**power)
    raised = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{'' if factor == 1 else f'{factor}·'}10{raised}"


def _short(value: float) -> str:
    """A number to three digits, thousands written out."""
    return f"{value:.3g}" if abs(value) < 1000 else _grouped(value, 0)


def _grouped(value: float, decimals: int) -> str:
    """12345.6 → `12 346` with a narrow space that does not break; no minus before a zero."""
    return f"{value + 0.0:,.{decimals}f}".replace(",", "\u202f")
