"""One HTML file with everything in it: text, tables, pictures and plots; no script, no network."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

_STYLE = """
:root { color-scheme: light; --ink: #1d2733; --soft: #5c6b7a; --line: #dfe5ea; --mark: #0b6e99; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 32px 24px 64px; color: var(--ink); background: #fff;
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 40px 0 12px; }
.lead { color: var(--soft); margin: 0 0 24px; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 12px; }
.tiles div { border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; }
.tiles b { display: block; font-size: 22px; font-weight: 600; }
.tiles span { color: var(--soft); font-size: 13px; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(340px, 1fr)); gap: 20px; }
.plots svg, img { width: 100%; height: auto; display: block; }
img { border-radius: 6px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 12px 5px 0; text-align: left; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { color: var(--soft); font-weight: 500; white-space: nowrap; }
td.number, th.number { text-align: right; }
.alert { border-left: 3px solid #c2571a; background: #fdf4ee; padding: 8px 14px; margin: 8px 0; }
footer { color: var(--soft); font-size: 13px; margin-top: 48px; }
"""


def page(title: str, lead: str, parts: Sequence[str], foot: str) -> str:
    """The whole document.

    Args:
        title: heading, plain text.
        lead: line under it, plain text.
        parts: HTML from the functions below, in order.
        foot: last line, plain text.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>"
        f'<h1>{html.escape(title)}</h1><p class="lead">{html.escape(lead)}</p>'
        f"{''.join(part + chr(10) for part in parts)}<footer>{html.escape(foot)}</footer></body></html>\n"
    )


def heading(text: str) -> str:
    """A section's heading."""
    return f"<h2>{html.escape(text)}</h2>"


def alert(text: str) -> str:
    """A line that must not be overlooked."""
    return f'<p class="alert">{html.escape(text)}</p>'


def figures(values: Sequence[tuple[str, str]]) -> str:
    """Key figures in large type: pairs of value and what it is."""
    cells = (
        f"<div><b>{html.escape(value)}</b><span>{html.escape(name)}</span></div>" for value, name in values
    )
    return f'<div class="tiles">{"".join(cells)}</div>'


def table(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is its titles; columns of numbers are set to the right."""
    numeric = [all(is_figure(row[column]) for row in rows[1:]) for column in range(len(rows[0]))]

    def line(cells: Sequence[str], tag: str) -> str:
        marks = (' class="number"' if number else "" for number in numeric)
        return "".join(
            f"<{tag}{mark}>{html.escape(cell)}</{tag}>" for cell, mark in zip(cells, marks, strict=True)
        )

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows[1:])
    return f'<div class="wide"><table><tr>{line(rows[0], "th")}</tr>{body}</table></div>'


def is_figure(cell: str) -> bool:
    """True for a table cell that is a number or stands for a missing one."""
    return cell in ("–", "") or cell.lstrip("-−")[:1].isdigit()


def picture(image: NDArray[np.uint8], text: str) -> str:
    """An RGB image (H, W, 3) uint8 as JPEG inside the page.

    Args:
        image: the picture.
        text: what it shows, for those who cannot see it.
    """
    _, coded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])
    data = base64.b64encode(coded.tobytes()).decode()
    return f'<img alt="{html.escape(text)}" src="data:image/jpeg;base64,{data}">'


def plots(drawings: Sequence[str]) -> str:
    """SVG drawings side by side."""
    return f'<div class="plots">{"".join(f"<div>{drawing}</div>" for drawing in drawings)}</div>'
