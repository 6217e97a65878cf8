"""Tiles per second on a GPU: the stock algorithm against ours, in several number formats and chunk sizes.

    python benchmarks/device.py                          # everything that docs/performance.md wants of a GPU
    python benchmarks/device.py --device cpu --models nano --size 300 --points-per-side 8      # a try without

Random weights; an oracle stands in for the answers on both sides and its time is subtracted
(`benchmarks/oracle.py`). Times are the least of `--repeats` after one run to warm up. "Signs" is the share of
mask pixels on the other side of 0 than in fp32, by the network's own logits. The second table is a late pass:
a few points on each of eight tiles, decoded one tile after another and together.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.generator import NMS_IOU, read_image, select, stock_decoder
from benchmarks.oracle import Oracle, OracleBackend, clock
from benchmarks.quality import machine
from benchmarks.reference_amg import reference_masks
from remotesam.segmenter.architectures import ARCHITECTURES, build
from remotesam.segmenter.devices import choose_device, choose_precision
from remotesam.segmenter.generator import Sam2Segmenter
from remotesam.segmenter.points import grid
from remotesam.segmenter.protocol import Query
from remotesam.segmenter.sam2_backend import Sam2Backend

IOU, STABILITY = 0.8, 0.9
LATE_TILES, LATE_POINTS = 8, 5


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--models", nargs="+", choices=list(ARCHITECTURES), default=["sam2.1-tiny", "sam2.1-large"]
    )
    parser.add_argument("--size", type=int, default=1000, help="side of the tile, px")
    parser.add_argument("--points-per-side", type=int, default=32)
    parser.add_argument("--point-batches", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    options = parser.parse_args()
    device = choose_device(options.device)
    half = "bf16" if device.type == "cpu" else _name(choose_precision("auto", device))
    image = read_image(None, options.size)
    points = grid(*image.shape[:2], options.points_per_side)
    print(
        f"{dt.date.today()}, {machine()}, torch {torch.__version__}; "
        f"tile {options.size} × {options.size}, {len(points)} points\n"
    )
    late = []
    print("| model | generator | ms per tile | tiles/s | ratio | peak GiB | signs |")
    print("|---|---|---|---|---|---|---|")
    for name in options.models:
        torch.manual_seed(0)
        model = build(name).to(device)
        context = Bench(model, device, image, points, options.repeats)
        stock = context.stock("fp32")
        context.print_row(name, "stock fp32", stock, stock)
        context.print_row(name, f"stock {half}", context.stock(half), stock)
        variants = [("fp32", options.point_batches[0], False)]
        variants += [(half, batch, False) for batch in options.point_batches]
        variants += [] if options.no_compile else [(half, options.point_batches[0], True)]
        for precision, batch, compiled in variants:
            title = f"ours {precision}, point batch {batch}{', compiled' * compiled}"
            found = context.ours(precision, batch, compiled=compiled)
            context.print_row(name, title, found, stock, context.signs(precision))
        late.append((name, *context.late(half)))
    print(f"\n{LATE_TILES} tiles, {LATE_POINTS} points each, {half}:\n")
    print("| model | one after another, ms | together, ms | ratio |\n|---|---|---|---|")
    for name, alone, together in late:
        print(f"| {name} | {1e3 * alone:.1f} | {1e3 * together:.1f} | {alone / together:.2f} |")


class Bench:
    """One network on one device, and the tile."""

    def __init__(
        self,
        model: torch.nn.Module,
        device: torch.device,
        image: NDArray[np.uint8],
        points: NDArray[np.float64],
        repeats: int,
    ) -> None:
        self._model, self._device, self._image, self._points = model, device, image, points
        self._repeats = repeats
        self._oracle = Oracle(model.image_size, device)
        self._some = np.random.default_rng(0).uniform(0, model.image_size, (64, 2)).astype(np.float32)
        self._signs = self._inside("fp32")

    def stock(self, precision: str) -> tuple[float, float]:
        """Seconds per tile and peak memory in GiB of the stock algorithm."""
        dtype = choose_precision(precision, self._device)
        half = dtype != torch.float32

        def run() -> None:
            with torch.autocast(self._device.type, dtype) if half else nullcontext():
                decode = stock_decoder(self._oracle)
                reference_masks(self._model, self._image, self._points, IOU, STABILITY, NMS_IOU, decode)

        return self._least(run)

    def ours(self, precision: str, point_batch: int, *, compiled: bool) -> tuple[float, float]:
        """The same of ours."""
        dtype = choose_precision(precision, self._device)
        backend = OracleBackend(self._model, self._oracle, dtype, point_batch=point_batch, compiled=compiled)
        segmenter = Sam2Segmenter("", "", backend)

        def run() -> None:
            select(segmenter.propose([Query(self._image, self._points)])[0], IOU, STABILITY)

        return self._least(run)

    def signs(self, precision: str) -> float:
        """Share of mask pixels that fall on the other side than in fp32."""
        return float((self._inside(precision) != self._signs).float().mean())

    def late(self, precision: str) -> tuple[float, float]:
        """Seconds to score a few points on each of several tiles, one after another and together."""
        backend = Sam2Backend(self._model, choose_precision(precision, self._device), 64, compiled=False)
        plans = backend.plans([self._image] * LATE_TILES)
        jobs = [(plan, self._some[LATE_POINTS * i :][:LATE_POINTS]) for i, plan in enumerate(plans)]
        alone, _ = self._least(lambda: [backend.score([job]) for job in jobs])
        together, _ = self._least(lambda: backend.score(jobs))
        return alone, together

    def print_row(
        self,
        name: str,
        title: str,
        found: tuple[float, float],
        stock: tuple[float, float],
        signs: float | None = None,
    ) -> None:
        """One row of the first table."""
        seconds, peak = found
        print(
            f"| {name} | {title} | {1e3 * seconds:.1f} | {1 / seconds:.2f} | {stock[0] / seconds:.2f} | "
            f"{f'{peak:.2f}' if peak else '–'} | {'–' if signs is None else f'{signs:.1e}'} |",
            flush=True,
        )

    def _inside(self, precision: str) -> torch.Tensor:
        backend = Sam2Backend(self._model, choose_precision(precision, self._device), 64, compiled=False)
        (plan,) = backend.plans([self._image])
        ((_, state),) = backend.score([(plan, self._some)])
        made: list[torch.Tensor] = []
        backend.logits(plan, state, np.arange(len(self._some)), lambda _, logits: made.append(logits > 0))
        return torch.cat(made)

    def _least(self, run: Callable[[], object]) -> tuple[float, float]:
        cuda = self._device.type == "cuda"
        run()
        if cuda:
            torch.cuda.reset_peak_memory_stats(self._device)
        times = []
        for _ in range(self._repeats):
            start = clock(self._device) - self._oracle.seconds
            run()
            times.append(clock(self._device) - self._oracle.seconds - start)
        return min(times), torch.cuda.max_memory_allocated(self._device) / 2**30 if cuda else 0.0


def _name(dtype: torch.dtype) -> str:
    return {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(dtype, "fp32")


if __name__ == "__main__":
    main()
