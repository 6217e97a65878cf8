"""HTML files with everything in them, from templates that escape what they are given and load nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

JPEG_QUALITY = 88
"""Of pictures in reports, 0..100."""


def render(template: str, **values: object) -> str:
    r"""A whole HTML document; every value is escaped where the template puts it.

    Args:
        template: the template's path in the package, such as `report/page.html`.
        values: what the template calls by name.

    Returns:
        Text that has a UTF-8 form: bytes of file names that are no UTF-8 are shown as `\udcXX`.
    """
    text = _TEMPLATES.get_template(template).render(values)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def content_policy(style: str, script: str | None = None) -> str:
    """A Content-Security-Policy under which a page applies one style and runs one script, and loads nothing.

    Both are named by their SHA-256, so that markup which got into the page by mistake can neither run nor
    send anything (W3C, Content Security Policy Level 3, section 6.7.3).

    Args:
        style: path in the package of the page's style sheet.
        script: path of its script; None = no script may run.
    """
    rules = ["default-src 'none'", "img-src data:", f"style-src {_digest(style)}"]
    if script is not None:
        rules.append(f"script-src {_digest(script)}")
    return "; ".join([*rules, "base-uri 'none'", "form-action 'none'"])


def _digest(name: str) -> str:
    digest = hashlib.sha256(source(name).encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def source(name: str) -> Markup:
    """A style sheet or script of the package as it stands, for its element in the page.

    Lines end as a browser reads them, whatever the checkout made of them: the digest is over what it reads.
    """
    text, _, _ = _LOADER.get_source(_TEMPLATES, name)
    return Markup(text.replace("\r\n", "\n"))  # noqa: S704 - a file of this package


def jpeg_uri(image: NDArray[np.uint8], quality: int = JPEG_QUALITY) -> str:
    """An RGB image (H, W, 3) uint8 as a `data:` address of a JPEG of quality 0..100."""
    _, coded = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    return "data:image/jpeg;base64," + base64.b64encode(coded.tobytes()).decode()


def numeric_columns(rows: Sequence[Sequence[str]]) -> list[bool]:
    """Which columns of a table, whose first row is its titles, hold only figures: they are set right."""
    return [all(_is_figure(row[column]) for row in rows[1:]) for column in range(len(rows[0]))]


def _is_figure(cell: str) -> bool:
    """True for a cell that is a number or stands for a missing one."""
    return cell in ("–", "") or cell.lstrip("-−")[:1].isdigit()


_LOADER = PackageLoader("remotesam", "")
_TEMPLATES = Environment(
    loader=_LOADER,
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_TEMPLATES.globals |= {
    "content_policy": content_policy,
    "source": source,
    "numeric_columns": numeric_columns,
}
# `tojson` writes <, >, & and ' as \u003c and so on: its text cannot end or open an element.
_TEMPLATES.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
