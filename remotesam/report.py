"""What a run looks like: a preview picture, and one HTML file that needs no network."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError

from remotesam.errors import OutputError, RasterError
from remotesam.overlay import beside, overlay, stacks
from remotesam.raster import Raster
from remotesam.windows import Window

ReadWindow = Callable[[Window, tuple[int, int]], NDArray]
"""Reads a window of full-resolution pixels, resampled to the given (height, width): an image (H, W, 3) uint8
RGB or a label map (H, W) of ids."""

MAX_SIDE = 2000
"""Longest side of a preview, px."""

_BAND_PIXELS = 2**24
"""Full-resolution pixels asked of a reader at once: 16 M, 48 MB of RGB."""


def preview(
    image: ReadWindow,
    labels: ReadWindow,
    height: int,
    width: int,
    path: str | os.PathLike[str],
    *,
    max_side: int = MAX_SIDE,
) -> None:
    """Write a PNG or JPEG: the image beside its segments in random colours with white outlines.

    Args:
        image: reads the raster as RGB.
        labels: reads the label map; 0 = none, shown dark.
        height: rows of the raster, px.
        width: columns of the raster, px.
        path: the picture to write; its suffix chooses the format.
        max_side: longest side of the whole picture, px.

    Raises:
        OutputError: the picture cannot be written.
    """
    shape = _panel_shape(height, width, max_side)
    small_image, small_labels = shrunk(image, labels, height, width, shape)
    write_picture(beside(small_image, overlay(small_image, small_labels)), path)


def shrunk(
    image: ReadWindow, labels: ReadWindow, height: int, width: int, shape: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The whole raster and its label map at `shape`, read in bands of bounded size.

    Returns:
        (h, w, 3) uint8 RGB and (h, w) int64 ids.
    """
    rows, cols = shape
    small_image = np.zeros((rows, cols, 3), np.uint8)
    small_labels = np.zeros((rows, cols), np.int64)
    step = max(1, int(rows * _BAND_PIXELS / (height * width)))
    for top in range(0, rows, step):
        stop = min(top + step, rows)
        window = Window.from_bounds(top * height // rows, 0, max(stop * height // rows, 1), width)
        small_image[top:stop] = image(window, (stop - top, cols))
        small_labels[top:stop] = labels(window, (stop - top, cols))
    return small_image, small_labels


def _panel_shape(height: int, width: int, max_side: int) -> tuple[int, int]:
    """Shape of one of the two panels so that the picture of both fits `max_side`."""
    long_side = max(2 * height, width) if stacks(height, width) else max(height, 2 * width)
    scale = min(1.0, (max_side - 8) / long_side)
    return max(1, int(height * scale)), max(1, int(width * scale))


def image_reader(raster: Raster, height: int, width: int) -> ReadWindow:
    """A reader of `raster` for `preview`.

    Args:
        raster: covers the same ground as the run; opened at an overview it is read much faster.
        height: rows of the run's grid, px.
        width: columns of the run's grid, px.
    """
    down, right = raster.spec.height / height, raster.spec.width / width

    def read(window: Window, shape: tuple[int, int]) -> NDArray[np.uint8]:
        own = Window.from_bounds(
            int(window.row * down),
            int(window.col * right),
            max(int(window.row_stop * down), int(window.row * down) + 1),
            max(int(window.col_stop * right), int(window.col * right) + 1),
        ).clip(raster.spec.height, raster.spec.width)
        image = raster.read(own).image
        return np.asarray(cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA), np.uint8)

    return read


def labels_reader(path: str | os.PathLike[str]) -> ReadWindow:
    """A reader of a label raster for `preview`; uses its overviews.

    Raises:
        RasterError: from the reader, when the file cannot be read.
    """

    def read(window: Window, shape: tuple[int, int]) -> NDArray[np.int64]:
        span = ((window.row, window.row_stop), (window.col, window.col_stop))
        try:
            with rasterio.open(path) as dataset:
                labels = dataset.read(1, window=span, out_shape=shape, resampling=Resampling.nearest)
        except RasterioError as error:
            raise RasterError(
                f"{os.fspath(path)}: labels cannot be read ({error}); make them again"
            ) from error
        return labels.astype(np.int64)

    return read


def write_picture(image: NDArray[np.uint8], path: str | os.PathLike[str]) -> None:
    """Write an RGB image (H, W, 3) uint8 as PNG or JPEG, whole or not at all.

    Raises:
        OutputError: the suffix is none of these or the file cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise OutputError(f"{target}: pictures are written as .png or .jpg; change the suffix")
    _, coded = cv2.imencode(target.suffix.lower(), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    write_whole(coded.tobytes(), target)


def write_whole(content: bytes, target: Path) -> None:
    """Write a file under another name and rename it, so that a file that exists is complete.

    Raises:
        OutputError: the folder is missing, read-only or full.
    """
    part = target.with_name(target.name + ".part")
    try:
        part.write_bytes(content)
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"{target}: cannot be written ({error.strerror}); choose another place") from error
