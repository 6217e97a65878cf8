"""An image beside its segments: `python benchmarks/pictures.py IMAGE SEGMENTS OUT.jpg --at ROW,COL`."""

from __future__ import annotations

import argparse
from pathlib import Path

from affine import Affine

from remotesam.evaluation.label_sources import PixelGrid, VectorLabels, read_polygons
from remotesam.raster.reader import open_raster
from remotesam.report.overlay import beside, overlay
from remotesam.report.run_report import write_picture
from remotesam.windows import Window


def main() -> None:
    """Draw a square of an image at full resolution and what was made of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path)
    parser.add_argument("segments", type=Path, help="polygons")
    parser.add_argument("out", type=Path, help=".jpg or .png")
    parser.add_argument("--at", default="0,0", help="row and column of its upper left pixel")
    parser.add_argument("--side", type=int, default=600, help="px")
    options = parser.parse_args()
    raster = open_raster(options.image)
    spec = raster.spec
    row, col = (int(part) for part in options.at.split(","))
    window = Window(row, col, options.side, options.side).clip(spec.height, spec.width)
    grid = PixelGrid(spec.height, spec.width, spec.crs, Affine(*spec.transform))
    labels = VectorLabels(read_polygons(str(options.segments)), grid, overlapping=False).read(window)[0]
    image = raster.read(window).image
    write_picture(beside(image, overlay(image, labels)), options.out)


if __name__ == "__main__":
    main()
