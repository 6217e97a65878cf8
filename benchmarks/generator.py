"""Segment everything in one tile: remotesam's generator against the stock algorithm, side by side.

Same weights, points, image and process; CPU seconds of one thread. Usage:

    python benchmarks/generator.py                              # bundled nano, its own masks
    python benchmarks/generator.py --random sam2.1-tiny         # random weights, oracle masks

The stock algorithm allocates blocks of hundreds of MB, which glibc maps and clears anew every time. To
compare without that handicap, give malloc room on both sides:

    MALLOC_MMAP_THRESHOLD_=17179869184 MALLOC_TRIM_THRESHOLD_=17179869184 python benchmarks/generator.py
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.oracle import Oracle, OracleBackend
from benchmarks.reference_amg import Encoded, ReferenceMask, decode_stock, reference_masks
from remotesam.scenes.scene import scene
from remotesam.segmenter.architectures import ARCHITECTURES, build
from remotesam.segmenter.devices import choose_precision
from remotesam.segmenter.generator import Sam2Proposals, Sam2Segmenter
from remotesam.segmenter.loading import load
from remotesam.segmenter.points import grid
from remotesam.segmenter.protocol import Candidate, Query

NMS_IOU = 0.7


def main() -> None:
    """Run both and print times, equality and ratio."""
    options = parse()
    torch.set_num_threads(1)
    image = read_image(options.image, options.size)
    points = grid(*image.shape[:2], options.points_per_side)
    print(f"torch {torch.__version__}, 1 thread, {image.shape[1]}x{image.shape[0]} px, {len(points)} points")

    segmenter, oracle = make_segmenter(options)
    stopwatch = Stopwatch(oracle)
    proposals = segmenter.propose([Query(image, points)])[0]
    proposed = stopwatch.seconds()
    candidates = select(proposals, options.iou, options.stability)
    ours = stopwatch.seconds()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    stopwatch = Stopwatch(oracle)
    lower = select(proposals, options.iou - 0.01, options.stability - 0.01)
    again = stopwatch.seconds()
    print(f"ours: {ours:.2f} s (until scores {proposed:.2f}), {len(candidates)} masks")
    print(f"ours, thresholds 0.01 lower, same pixels: {again:.2f} s, {len(lower)} masks")
    print(f"{segmenter.network_calls}; peak memory {peak:.2f} GiB")

    if options.skip_stock:
        return
    stopwatch = Stopwatch(oracle)
    reference = reference_masks(
        segmenter._backend.model,
        image,
        points,
        options.iou,
        options.stability,
        NMS_IOU,
        stock_decoder(oracle),
    )
    stock = stopwatch.seconds()
    print(f"stock: {stock:.2f} s, {len(reference)} masks")
    print_equality(candidates, reference, image.shape[:2])
    print(f"ratio {stock / ours:.2f}")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nano", help="name or checkpoint, used with its own masks")
    parser.add_argument(
        "--random", choices=list(ARCHITECTURES), help="random weights and oracle masks instead"
    )
    parser.add_argument("--points-per-side", type=int, default=32)
    parser.add_argument("--size", type=int, default=1000, help="side of the tile in px")
    parser.add_argument("--image", type=Path, help="raster whose centre is the tile; default: a made scene")
    parser.add_argument("--iou", type=float, default=0.8)
    parser.add_argument("--stability", type=float, default=0.9)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"], help="of our side")
    parser.add_argument("--fast", action="store_true", help="judge masks at low resolution, on our side")
    parser.add_argument("--skip-stock", action="store_true", help="time and memory of our side only")
    return parser.parse_args()


@dataclass
class Stopwatch:
    """CPU seconds since it was made, without those of the oracle."""

    oracle: Oracle | None

    def __post_init__(self) -> None:
        self._start = self._now()

    def seconds(self) -> float:
        """Give the time so far."""
        return self._now() - self._start

    def _now(self) -> float:
        return time.process_time() - (self.oracle.seconds if self.oracle else 0.0)


def make_segmenter(options: argparse.Namespace) -> tuple[Sam2Segmenter, Oracle | None]:
    """Load the model, or build a random one whose answers an oracle replaces."""
    if not options.random:
        return load(options.model, device="cpu", precision=options.precision, exact=not options.fast), None
    torch.manual_seed(0)
    model = build(options.random)
    oracle = Oracle(model.image_size)
    dtype = choose_precision(options.precision, torch.device("cpu"))
    return Sam2Segmenter(
        options.random, "", OracleBackend(model, oracle, dtype), exact=not options.fast
    ), oracle


def stock_decoder(oracle: Oracle | None) -> Callable:
    """Give the stock decoder, its answers replaced by the oracle's if there is one."""
    if oracle is None:
        return decode_stock

    def decode(
        model: torch.nn.Module, encoded: Encoded, points: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        decode_stock(model, encoded, points)
        return oracle(points)

    return decode


def select(proposals: Sam2Proposals, min_iou: float, min_stability: float) -> list[Candidate]:
    """Select at thresholds."""
    return proposals.select(min_iou=min_iou, min_stability=min_stability, nms_iou=NMS_IOU)


def read_image(path: Path | None, size: int) -> NDArray[np.uint8]:
    """Give a (size, size, 3) uint8 tile: the centre of a raster, or a generated aerial scene."""
    if path is None:
        return scene(7, (size, size)).image
    import rasterio

    with rasterio.open(path) as raster:
        row, col = max(0, (raster.height - size) // 2), max(0, (raster.width - size) // 2)
        window = ((row, row + size), (col, col + size))
        return np.ascontiguousarray(raster.read([1, 2, 3], window=window).transpose(1, 2, 0))


def print_equality(
    candidates: list[Candidate], reference: list[ReferenceMask], size: tuple[int, int]
) -> None:
    """Find for every stock mask the most similar of ours, and compare what both cover."""
    ours = []
    for candidate in candidates:
        full = np.zeros(size, bool)
        full[candidate.box.slices] = candidate.mask
        ours.append(full)
    best = [
        max((np.count_nonzero(a & b.mask) / np.count_nonzero(a | b.mask) for a in ours), default=0.0)
        for b in reference
    ]
    identical, close = sum(iou == 1 for iou in best), sum(iou >= 0.95 for iou in best)
    covered = [np.mean(np.any(masks, axis=0)) for masks in (ours, [b.mask for b in reference]) if masks]
    print(f"equality: {len(candidates)} against {len(reference)} masks, {identical} identical,", end=" ")
    print(
        f"{close} with IoU >= 0.95, least {min(best, default=1.0):.6f}; covered",
        *(f"{share:.4f}" for share in covered),
    )


if __name__ == "__main__":
    main()
