"""The merge strategies on labelled scenes: `python benchmarks/strategies.py --data FOLDER --tile-size 250`.

Every scene is segmented once; then only what follows the tiles is done again with each strategy. Printed
are the segments, the largest one's share of the scene (a chain of wrong joins shows there first), detection
and the seam rate, with that of lines half a tile away in brackets. Only `overlap` has seamlines along borders
of segments; the published strategies keep straight seams. What follows `--` goes to `remotesam segment`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import tempfile
from pathlib import Path

import geopandas
import rasterio

from benchmarks.quality import SCENES, cropped, machine, names_of, segment
from remotesam.choices import STRATEGIES
from remotesam.evaluation.evaluate import evaluate
from remotesam.evaluation.report import markdown, percent

SHOWN = ("overlap", "best-match", "mutual-best", "naive", "none")
TITLES = ("scene", "strategy", "segments", "largest %", "Det@0.5 %", "SS-Det@0.5 %", "mIoU %", "seam rate %")


def main() -> None:
    """Print one table over scenes and strategies."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the scenes")
    parser.add_argument("--scenes", type=names_of(SCENES), default=list(SCENES), help="names, with commas")
    parser.add_argument("--strategies", type=names_of(STRATEGIES), default=list(SHOWN))
    parser.add_argument("--model", default="nano-affinity")
    parser.add_argument("--tile-size", type=int, default=250, help="px")
    parser.add_argument("--crop", type=int, metavar="PX", help="only the top left of each image")
    line, extra = sys.argv[1:], []
    if "--" in line:
        line, extra = line[: line.index("--")], line[line.index("--") + 1 :]
    options = parser.parse_args(line)
    rows = [list(TITLES)]
    for name in options.scenes:
        rows += compare(name, options, extra)
        print(f"{name} done", file=sys.stderr, flush=True)
    given = f", options: {' '.join(extra)}" if extra else ""
    print(f"{dt.date.today()}, {machine()}, model {options.model}, tiles of {options.tile_size} px{given}")
    if options.crop:
        print(f"Images cropped to the {options.crop} × {options.crop} px at their top left.")
    print()
    print(markdown(rows))


def compare(name: str, options: argparse.Namespace, extra: list[str]) -> list[list[str]]:
    """One row per strategy."""
    scene, rows = SCENES[name], []
    with tempfile.TemporaryDirectory() as folder:
        raster = cropped(options.data / scene.raster, options.crop, Path(folder))
        with rasterio.open(raster) as dataset:
            pixels = dataset.height * dataset.width
        for strategy in options.strategies:
            settings = ["--tile-size", str(options.tile_size), "--merge", strategy, *extra]
            found = segment(raster, Path(folder), name, options.model, settings)
            judged = evaluate(found, options.data / scene.reference, raster=raster).scores[0]
            largest = geopandas.read_file(found, layer="segments", ignore_geometry=True)["area_px"].max()
            shares = (largest / pixels, judged.all["det_50"], judged.all["ss_det_50"], judged.all["miou"])
            seams = f"{percent(judged.seam_rate)} ({percent(judged.seam_rate_elsewhere)})"
            rows.append([name, strategy, str(judged.segments), *map(percent, shares), seams])
    return rows


if __name__ == "__main__":
    main()
