"""One table of quality over all labelled scenes: `python benchmarks/quality.py --data FOLDER`.

Every scene is segmented by `remotesam segment`, then judged beside SLIC and Felzenszwalb at an equal number
of segments (`docs/evaluation.md`). What follows `--` goes to `remotesam segment`, for example
`-- --points-per-side 32`. `--segments` judges what is already there.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import rasterio

from remotesam.evaluation.baselines import BASELINES
from remotesam.evaluation.evaluate import evaluate
from remotesam.evaluation.report import Rows, markdown, score_rows


@dataclass(frozen=True, slots=True)
class Scene:
    """An image with labelled objects; paths below the data folder."""

    raster: str
    """The image."""
    reference: str
    """Polygons of objects, not of all that there are."""


SCENES = {
    "kampala": Scene("kampala_oam/kampala_z21_7cm.tif", "kampala_oam/kampala_z21_7cm_buildings.gpkg"),
    "kampala_small": Scene(
        "kampala_oam/kampala_small_z21_7cm.tif", "kampala_oam/kampala_small_z21_7cm_buildings.gpkg"
    ),
    "banepa": Scene("banepa_oam/banepa_train_13cm.tif", "banepa_oam/banepa_train_13cm_buildings.gpkg"),
    "plots_b5f29056": Scene("breeding_plots/b5f29056.jpg", "breeding_plots/b5f29056_plots_px.geojson"),
    "plots_d7c179d8": Scene("breeding_plots/d7c179d8.jpg", "breeding_plots/d7c179d8_plots_px.geojson"),
    "dk_fields": Scene("dk_fields_s2/dk_s2_rgb_uint16_10m.tif", "dk_fields_s2/dk_fields_lpis2016.gpkg"),
    **{
        f"naip_{place.split('_')[0]}": Scene(
            f"naip_fields/naip_{place}.png", f"naip_fields/naip_{place}_fields_px.geojson"
        )
        for place in ("40.056_-92.273", "41.805_-89.946", "43.044_-90.364", "43.985_-96.588")
    },
}


def main() -> None:
    """Run what the command line asks for and print the table."""
    arguments, extra = _parse()
    rows: Rows = []
    for name in arguments.scenes:
        scene = SCENES[name]
        with tempfile.TemporaryDirectory() as folder:
            raster = cropped(arguments.data / scene.raster, arguments.crop, Path(folder))
            start = time.perf_counter()
            keep = arguments.keep or Path(folder)
            found = arguments.segments or segment(raster, keep, name, arguments.model, extra)
            took = time.perf_counter() - start
            if found.is_dir():
                found /= f"{name}.gpkg"
            judged = evaluate(
                found, arguments.data / scene.reference, raster=raster, baselines=arguments.baselines
            )
        titles, *scores = score_rows(judged.scores)
        scores[0][0] = arguments.segments.stem if arguments.segments else arguments.model
        rows = rows or [["scene", *titles, "seconds"]]
        timed = "–" if arguments.segments else f"{took:.0f}"
        rows += [[name, *row, timed if index == 0 else "–"] for index, row in enumerate(scores)]
        print(f"{name} done", *judged.notes, file=sys.stderr, flush=True)
    what = f"segments of {arguments.segments.name}" if arguments.segments else f"model {arguments.model}"
    print(f"{dt.date.today()}, {machine()}, {what}{', options: ' * bool(extra)}{' '.join(extra)}")
    if arguments.crop:
        print(f"Images cropped to the {arguments.crop} × {arguments.crop} px at their top left.")
    print()
    print(markdown(rows))


def _parse() -> tuple[argparse.Namespace, list[str]]:
    line = sys.argv[1:]
    cut = line.index("--") if "--" in line else len(line)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the scenes")
    parser.add_argument("--scenes", type=names_of(SCENES), default=list(SCENES), help="names, with commas")
    parser.add_argument("--model", default="nano-affinity")
    parser.add_argument(
        "--baselines", type=names_of(BASELINES), default=list(BASELINES), help="names, or none"
    )
    parser.add_argument("--crop", type=int, metavar="PX", help="only the top left of each image")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write the segments there")
    parser.add_argument(
        "--segments", type=Path, help="judge this file, or SCENE.gpkg in this folder, instead of segmenting"
    )
    return parser.parse_args(line[:cut]), line[cut + 1 :]


def names_of(known: Collection[str]) -> Callable[[str], list[str]]:
    """An argument type: names with commas between, each of them known; `none` for an empty list."""

    def parse(text: str) -> list[str]:
        names = [] if text == "none" else text.split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
        return names

    return parse


def cropped(path: Path, size: int | None, folder: Path) -> Path:
    """The image, or its top left corner as a file of its own: pixel coordinates stay what they are."""
    if size is None:
        return path
    out = folder / f"{path.stem}.tif"
    with rasterio.open(path) as source:
        height, width = min(size, source.height), min(size, source.width)
        pixels = source.read(window=((0, height), (0, width)))
        with rasterio.open(
            out, "w", driver="GTiff", height=height, width=width, count=source.count, dtype=pixels.dtype,
            crs=source.crs, transform=source.transform, nodata=source.nodata,
        ) as target:  # fmt: skip
            target.write(pixels)
    return out


def segment(raster: Path, folder: Path, name: str, model: str, extra: list[str]) -> Path:
    """Run `remotesam segment` in a process of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / f"{name}.gpkg"
    command = [sys.executable, "-m", "remotesam", "segment", str(raster), "-o", str(out), "--model", model]
    run = subprocess.run([*command, "--progress", "none", *extra], check=False)
    if run.returncode:
        sys.exit(f"{name}: remotesam segment ended with {run.returncode}")
    return out


def machine() -> str:
    """Processor, cores, and the GPU if there is one."""
    import torch

    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
    return f"{_processor()}, {os.cpu_count()} cores{gpu}"


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
