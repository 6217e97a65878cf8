"""Plots of a run as SVG text; matplotlib is imported when the first one is drawn."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from remotesam.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ("#0b6e99", "#c2571a")
_RC: Any = {
    "font.size": 9.5,
    "font.family": "sans-serif",
    "svg.fonttype": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#aab4be",
    "axes.labelcolor": "#5c6b7a",
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8edf1",
    "xtick.color": "#5c6b7a",
    "ytick.color": "#5c6b7a",
}


def line_plot(
    title: str, label: str, x: Sequence[float], lines: Mapping[str, Sequence[float]], top: float | None = None
) -> str:
    """Values over the passes, one line per entry of `lines`; y from 0 to `top` when that is given."""

    def draw(axes: Axes) -> None:
        for (name, values), colour, dash in zip(lines.items(), _COLOURS, ("-", "--"), strict=False):
            axes.plot(x, values, dash, color=colour, label=name, linewidth=1.8, marker="o", markersize=3)
        if top is not None:
            axes.set_ylim(0, top)
        if len(lines) > 1:
            axes.legend(frameon=False)
        axes.locator_params(axis="x", integer=True)

    return _svg(title, label, draw)


def bar_plot(title: str, label: str, x: Sequence[float], heights: Sequence[float]) -> str:
    """A bar per pass."""

    def draw(axes: Axes) -> None:
        axes.bar(x, heights, color=_COLOURS[0], width=0.8)
        axes.locator_params(axis="x", integer=True)

    return _svg(title, label, draw)


def histogram(title: str, label: str, values: NDArray[np.floating], *, log: bool = False) -> str:
    """How many segments have which value; with `log` in bins of equal ratio, over values above 0."""

    def draw(axes: Axes) -> None:
        known = values[np.isfinite(values) & ((values > 0) | (not log))]
        bins: int | list[float] = 40
        if log and known.size:
            bins = np.geomspace(known.min(), max(known.max(), known.min() * 1.01), 40).tolist()
            axes.set_xscale("log")
        axes.hist(known, bins=bins, color=_COLOURS[0])

    return _svg(title, label, draw)


def _svg(title: str, label: str, draw: Callable[[Axes], None]) -> str:
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("the HTML report needs matplotlib; pip install 'remotesam[eval]'") from error
    # The hash salt makes the same plot the same text in every run.
    with mpl.rc_context({**_RC, "svg.hashsalt": title}):
        figure = Figure(figsize=(4.6, 2.7), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.set_title(title)
        axes.set_xlabel(label)
        text = io.StringIO()
        figure.savefig(
            text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    drawn = text.getvalue()
    return drawn[drawn.index("<svg") :]
