"""A whole multi-pass tile: the published loop on the stock generator against remotesam's, on one image.

    python benchmarks/multipass.py IMAGE [--reference POLYGONS] [--model nano] [--size 500]

The reference runs the stock generator anew for every threshold, as the published code does. Both loops share
weights, image, settings and the rules of acceptance. Printed: passes, network calls, CPU seconds, whether the
label maps are equal, and the ratio; the same for the documented approximations, with what they change.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from affine import Affine

from benchmarks.quality import machine
from benchmarks.reference_amg import reference_masks
from remotesam.config import Config, make_config
from remotesam.evaluation.label_sources import (
    ArrayLabels,
    LabelSource,
    PixelGrid,
    VectorLabels,
    read_polygons,
)
from remotesam.evaluation.scoring import score
from remotesam.raster.protocol import Raster
from remotesam.raster.reader import open_raster
from remotesam.segmenter.loading import load
from remotesam.segmenter.protocol import Candidate, NetworkCalls, Query, Segmenter
from remotesam.tiles.multipass import ChipResult, segment_chip
from remotesam.windows import Window

_FEWER_LOOKS = {"step": 0.03, "look_again": 0.02}
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "exact": {},
    "coarse to fine": {"coarse_to_fine": True},
    "fewer looks": _FEWER_LOOKS,
    "fewer looks, fast, bf16": {**_FEWER_LOOKS, "generator": "fast", "precision": "bf16"},
    "zoom": {"zoom_area": 1000},
    "zoom, fewer looks, fast, bf16": {
        "zoom_area": 1000,
        **_FEWER_LOOKS,
        "generator": "fast",
        "precision": "bf16",
    },
}
"""Settings of each of our loops; the first is the one to compare with."""


class StockProposals:
    """Runs the stock generator again whenever it is asked."""

    def __init__(self, stock: Stock, query: Query) -> None:
        self._stock, self._query = stock, query

    def select(self, *, min_iou: float, min_stability: float, nms_iou: float) -> list[Candidate]:
        """The stock generator's masks at these thresholds."""
        calls = self._stock.network_calls
        calls.encodes += 1
        calls.decoded_points += len(self._query.points)
        calls.upscaled_points += len(self._query.points)
        masks = reference_masks(
            self._stock.network, self._query.image, self._query.points, min_iou, min_stability, nms_iou
        )
        return [_cut(one.mask, one.score, one.stability, one.point) for one in masks]


class Stock:
    """The stock generator behind the segmenter protocol."""

    name, digest = "stock", ""

    def __init__(self, network: torch.nn.Module) -> None:
        self.network = network
        self.image_size = int(network.image_size)
        self.device = str(next(network.parameters()).device)
        self.network_calls = NetworkCalls()

    def propose(self, queries: Sequence[Query]) -> list[StockProposals]:
        """See the protocol."""
        return [StockProposals(self, query) for query in queries]


def _cut(mask: np.ndarray, score: float, stability: float, point: tuple[float, float]) -> Candidate:
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = Window.from_bounds(int(rows[0]), int(cols[0]), int(rows[-1]) + 1, int(cols[-1]) + 1)
    return Candidate(box, mask[box.slices].copy(), score, stability, point)


def timed(name: str, image: np.ndarray, segmenter: Segmenter, config: Config) -> Run:
    """Segment the chip and take the process's CPU seconds."""
    started = time.process_time()
    result = segment_chip(image, np.ones(image.shape[:2], bool), segmenter, config)
    seconds = time.process_time() - started
    print(f"{name}: {seconds:.1f} s", file=sys.stderr, flush=True)
    return Run(name, result, seconds, segmenter.network_calls)


@dataclass(frozen=True, slots=True)
class Run:
    """One loop over the chip."""

    name: str
    result: ChipResult
    seconds: float
    calls: NetworkCalls

    def row(self, exact: Run, stock: Run | None, objects: LabelSource | None) -> str:
        """One row of the table; what is saved is the share of the exact loop's decoded points."""
        passes, labels = self.result.passes, self.result.labels
        looks = sum(report.points > 0 for report in passes)
        coverage = passes[-1].coverage if passes else 0.0
        saved = 1 - self.calls.decoded_points / max(exact.calls.decoded_points, 1)
        cells = [self.name, len(passes), looks, self.calls.encodes, self.calls.decoded_points, f"{saved:.0%}"]
        cells += [self.calls.upscaled_points, len(self.result.segments), f"{coverage:.1%}"]
        if objects:
            found = score(self.name, ArrayLabels(self.name, labels), objects, *labels.shape).all
            cells += [f"{found['det_50']:.1%}", f"{found['ss_det_50']:.1%}", f"{found['miou']:.3f}"]
        cells.append(f"{self.seconds:.1f}")
        if stock:
            cells.append(f"{stock.seconds / self.seconds:.1f}")
        return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Measure and print."""
    options = parse()
    torch.set_num_threads(1)
    raster = open_raster(options.image)
    window = raster.spec.window.intersect(Window(0, 0, options.size, options.size))
    image = raster.read(window).image
    objects = objects_of(options.reference, raster, window) if options.reference else None
    settings = {
        "points_per_side": options.points_per_side,
        "iou_start": options.iou[0],
        "iou_end": options.iou[1],
        "stability_start": options.stability[0],
        "stability_end": options.stability[1],
    }
    print(
        f"{dt.date.today()}, {machine()}, one thread; "
        f"{options.model}, chip {image.shape[1]} × {image.shape[0]}, {settings}\n"
    )
    runs: list[Run] = []
    for name, more in VARIANTS.items():
        config = make_config(settings, **more)
        segmenter = load(
            options.model, device="cpu", precision=config.precision, exact=config.generator == "exact"
        )
        runs.append(timed(name, image, segmenter, config))
    exact, stock = runs[0], None
    if not options.skip_stock:
        network = load(options.model, device="cpu")._backend.model
        stock = timed("stock", image, Stock(network), make_config(settings))
        runs.append(stock)
    titles = ["loop", "passes", "looks", "encodes", "decoded", "saved", "upscaled", "segments", "coverage"]
    titles += ["Det@0.5", "SS-Det@0.5", "mIoU"] if objects else []
    titles += ["CPU s", "ratio"] if stock else ["CPU s"]
    print(f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|")
    for run in runs:
        print(run.row(exact, stock, objects))
    if stock:
        same = exact.result.labels == stock.result.labels
        print(f"\nlabel maps of exact and stock equal: {bool(same.all())} ({same.mean():.4%} of pixels)")
        print(f"ratio {stock.seconds / exact.seconds:.1f}")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image")
    parser.add_argument("--reference", help="polygons of objects, to count detections by")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--size", type=int, default=500, help="side of the chip, px")
    parser.add_argument("--points-per-side", type=int, default=16)
    parser.add_argument("--iou", type=float, nargs=2, default=(0.93, 0.6), metavar=("START", "END"))
    parser.add_argument("--stability", type=float, nargs=2, default=(0.93, 0.6), metavar=("START", "END"))
    parser.add_argument("--skip-stock", action="store_true", help="our loops only")
    return parser.parse_args()


def objects_of(path: str, raster: Raster, window: Window) -> LabelSource:
    """The reference objects on the chip, which lies at the raster's upper left."""
    grid = PixelGrid(window.height, window.width, raster.spec.crs, Affine(*raster.spec.transform))
    return VectorLabels(read_polygons(path), grid, overlapping=True)


if __name__ == "__main__":
    main()
