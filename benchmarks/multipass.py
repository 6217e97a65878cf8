"""A whole multi-pass tile: the published loop on the stock generator against remotesam's, on one image.

    python benchmarks/multipass.py IMAGE [--model nano] [--size 500] [--points-per-side 16]

The reference runs the stock generator anew for every threshold, as the published code does. Both loops share
weights, image, settings and the rules of acceptance. Printed: passes, network calls, CPU seconds, whether the
label maps are equal, and the ratio; then the same for the documented approximations, with what they change.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import time
from collections.abc import Sequence

import numpy as np
import psutil
import torch

from benchmarks.reference_amg import reference_masks
from remotesam.config import Config, make_config
from remotesam.multipass import ChipResult, segment_chip
from remotesam.raster import open_raster
from remotesam.segmenter.loading import load
from remotesam.segmenter.protocol import Candidate, NetworkCalls, Query, Segmenter
from remotesam.windows import Window


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


def timed(image: np.ndarray, segmenter: Segmenter, config: Config) -> tuple[ChipResult, float]:
    """Segment the chip; CPU seconds."""
    started = time.process_time()
    result = segment_chip(image, np.ones(image.shape[:2], bool), segmenter, config)
    return result, time.process_time() - started


def line(name: str, result: ChipResult, seconds: float, calls: NetworkCalls) -> str:
    """One row of the table."""
    coverage = result.passes[-1].coverage if result.passes else 0.0
    looks = sum(report.points > 0 for report in result.passes)
    return (
        f"| {name} | {len(result.passes)} | {looks} | {calls.encodes} | {calls.decoded_points} | "
        f"{calls.upscaled_points} | {len(result.segments)} | {coverage:.1%} | {seconds:.1f} |"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--size", type=int, default=500, help="side of the chip, px")
    parser.add_argument("--points-per-side", type=int, default=16)
    parser.add_argument("--iou", type=float, nargs=2, default=(0.93, 0.6), metavar=("START", "END"))
    parser.add_argument("--stability", type=float, nargs=2, default=(0.93, 0.6), metavar=("START", "END"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    raster = open_raster(options.image)
    image = raster.read(raster.spec.window.intersect(Window(0, 0, options.size, options.size))).image
    settings = {
        "points_per_side": options.points_per_side,
        "iou_start": options.iou[0],
        "iou_end": options.iou[1],
        "stability_start": options.stability[0],
        "stability_end": options.stability[1],
    }
    print(
        f"{datetime.date.today()}, {platform.machine()}, {psutil.cpu_count()} cores, one thread; "
        f"{options.model}, chip {image.shape[1]} × {image.shape[0]}, {settings}\n"
    )
    print("| loop | passes | looks | encodes | decoded | upscaled | segments | coverage | CPU s |")
    print("|---|---|---|---|---|---|---|---|---|")
    ours = load(options.model, device="cpu")
    exact, seconds = timed(image, ours, make_config(settings))
    print(line("exact", exact, seconds, ours.network_calls), flush=True)
    quick = load(options.model, device="cpu", exact=False)
    rough, rough_seconds = timed(image, quick, make_config(settings, step=0.03, look_again=0.02))
    print(line("fast, step .03, look again .02", rough, rough_seconds, quick.network_calls), flush=True)
    stock = Stock(ours._backend.model)
    reference, reference_seconds = timed(image, stock, make_config(settings))
    print(line("stock", reference, reference_seconds, stock.network_calls))
    same = exact.labels.shape == reference.labels.shape and bool((exact.labels == reference.labels).all())
    agreement = float((exact.labels == reference.labels).mean())
    print(f"\nlabel maps equal: {same} ({agreement:.4%} of pixels)")
    print(f"exact: ratio {reference_seconds / seconds:.1f}")
    print(f"fast: ratio {reference_seconds / rough_seconds:.1f}")


if __name__ == "__main__":
    main()
