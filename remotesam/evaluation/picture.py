"""A picture of segments and reference, side by side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from remotesam.evaluation.label_sources import LabelSource
from remotesam.report.overlay import beside, outlines, overlay
from remotesam.report.run_report import MAX_SIDE, ReadWindow, panel_shape, shrunk
from remotesam.windows import Window

_OUTLINE = (255, 225, 0)
"""Colour of reference outlines: rare on the ground."""


def comparison(
    image: ReadWindow, segments: LabelSource, references: LabelSource, height: int, width: int
) -> NDArray[np.uint8]:
    """The image with outlined reference objects beside its coloured segments, (H, W, 3) uint8 RGB."""
    shape = panel_shape(height, width, MAX_SIDE)
    small = shrunk(image, height, width, shape)
    marked = small.copy()
    for layer in range(len(references.read(Window(0, 0, 1, 1)))):
        marked[outlines(shrunk(_nearest(references, layer), height, width, shape))] = _OUTLINE
    return beside(marked, overlay(small, shrunk(_nearest(segments, 0), height, width, shape)))


def _nearest(source: LabelSource, layer: int) -> ReadWindow:
    """A reader that takes the label nearest to the middle of each pixel wanted."""

    def read(window: Window, shape: tuple[int, int]) -> NDArray[np.int64]:
        labels = source.read(window)[layer]
        rows, cols = (
            ((np.arange(wanted) + 0.5) * have / wanted).astype(np.intp)
            for wanted, have in zip(shape, labels.shape, strict=True)
        )
        chosen: NDArray[np.int64] = labels[np.ix_(rows, cols)].astype(np.int64)
        return chosen

    return read
