"""Crops of a chip, as the stock SAM 2 mask generator lays them out (`crop_n_layers`)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from remotesam.segmenter.points import grid, keep_allowed
from remotesam.segmenter.protocol import Query
from remotesam.windows import Window

OVERLAP_RATIO = 512 / 1500
"""Share of the chip's short side by which crops of the first layer overlap (sam2 default)."""

EDGE_PX = 20
"""A mask whose box ends this near a crop edge inside the chip counts as cut off and is dropped (sam2)."""


def crop_windows(height: int, width: int, layers: int) -> list[Window]:
    """Lay out all crops of a chip: layer 0 is the chip itself, layer i has (2^i)^2 crops, row by row in x.

    The order is that of sam2's `generate_crop_boxes`: outer loop over columns, inner loop over rows.
    """
    windows = [Window(0, 0, height, width)]
    for layer in range(1, layers + 1):
        per_side = 2**layer
        overlap = int(OVERLAP_RATIO * min(height, width) * (2 / per_side))
        crop_height, crop_width = (
            math.ceil((overlap * (per_side - 1) + length) / per_side) for length in (height, width)
        )
        windows += [
            Window.from_bounds(
                row,
                col,
                min(row + crop_height, height),
                min(col + crop_width, width),
            )
            for col in (int((crop_width - overlap) * i) for i in range(per_side))
            for row in (int((crop_height - overlap) * i) for i in range(per_side))
        ]
    return windows


def crop_points(query: Query, window: Window, *, whole: bool) -> NDArray[np.float64]:
    """Give the prompt points of one crop.

    Args:
        query: The query; its points serve the whole chip, its `allowed` restricts the crops' own grids.
        window: The crop, in chip pixels.
        whole: True for the chip itself (layer 0).

    Returns:
        (N, 2) float64 (x, y) in pixels of the crop.
    """
    if whole:
        return query.points
    points = grid(window.height, window.width, query.crop_points_per_side)
    if query.allowed is None:
        return points
    return keep_allowed(points, query.allowed[window.slices])


def cut_off(box: Window, crop: Window, chip: Window) -> bool:
    """Tell whether a mask's box ends at a crop edge that is not an edge of the chip (sam2, within 20 px).

    Args:
        box: Tight window of the mask, in chip pixels.
        crop: The crop the mask was found in.
        chip: The whole chip, `Window(0, 0, H, W)`.
    """
    # Stock boxes are inclusive on the right and below (x1 = last column), the crop's are not. Kept as is.
    ends = (box.col, box.row, box.col_stop - 1, box.row_stop - 1)
    crop_ends = (crop.col, crop.row, crop.col_stop, crop.row_stop)
    chip_ends = (chip.col, chip.row, chip.col_stop, chip.row_stop)
    return any(
        abs(end - crop_end) <= EDGE_PX and abs(end - chip_end) > EDGE_PX
        for end, crop_end, chip_end in zip(ends, crop_ends, chip_ends, strict=True)
    )
