"""A real browser without a window: what a page becomes and looks like in it, and what it complains of."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

_PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@dataclass(frozen=True)
class Shown:
    dom: str
    """The document after its scripts have run, as HTML."""
    complaints: list[str]
    """Lines of the console: errors and violations of the page's policy."""
    picture: np.ndarray
    """(H, W, 3) uint8 RGB."""

    @property
    def title(self) -> str:
        found = re.search(r"<title>(.*?)</title>", self.dom, re.DOTALL)
        assert found
        return found.group(1)


def show(page: Path, *, size: tuple[int, int] = (800, 800)) -> Shown:
    """Open a file; the test is skipped where there is no browser.

    Args:
        page: The HTML file.
        size: Width and height of the window.
    """
    if _PROGRAM is None:
        pytest.skip("chromium is not installed")
    picture = page.with_name("shown.png")
    command = [
        _PROGRAM, "--headless=new", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader", f"--window-size={size[0]},{size[1]}", "--hide-scrollbars",
        "--virtual-time-budget=20000", f"--user-data-dir={page.with_name('profile')}",
        "--enable-logging=stderr", "--dump-dom", f"--screenshot={picture}", page.as_uri(),
    ]  # fmt: skip
    ran = subprocess.run(command, check=True, capture_output=True, timeout=250)
    complaints = re.findall(r"CONSOLE[^\]]*\] (.*)", ran.stderr.decode("utf-8", "replace"))
    return Shown(ran.stdout.decode("utf-8"), complaints, cv2.imread(str(picture))[..., ::-1])
