"""Train nano: `python -m training.train --minutes M --out DIR [--start nano.pt | --resume]`.

Writes DIR/state.pt (everything needed to go on; also when asked to end by SIGTERM) and DIR/log.jsonl (one
JSON object per line). Deterministic by seed apart from the clock: `--minutes` decides when to stop and,
through the share of time used, the learning rate.

On CPUs that others use too, several processes with one thread each (`--workers 2`) are far faster than one
process with several threads, which waits for its slowest thread hundreds of times per step.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import multiprocessing
import signal
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.distributed as dist

from training.data import STRIDE, Batch, Pool, draw
from training.losses import affinity, growth, mask_terms, recall, sketch
from training.network import FRAME, Network
from training.prompts import boxes, corrective

PEAK = 5e-4
WARM_STEPS = 60
HEAD_STEPS = 150
"""After `--start`: steps in which only the helper heads learn, which no released file has: through new heads
the losses would push what is learnt in no sensible direction."""
START_WARM_STEPS = 400
"""After `--start` and `HEAD_STEPS`: steps in which the rate of everything else grows to its peak."""
SAVE_SECONDS = 300
SEEDS_PER_RANK = 10_000_000


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line, or these arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, required=True, help="training time, resumed runs included")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--resume", action="store_true", help="go on from DIR/state.pt")
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--encoder", type=Path, help="start with the encoder of this checkpoint")
    begin.add_argument("--start", type=Path, help="start with all of this checkpoint; take a lower --rate")
    parser.add_argument("--image-size", type=int, default=256, help="side of the crops, at most 512")
    parser.add_argument("--images", type=int, default=6, help="images per step")
    parser.add_argument("--clicks", type=int, default=24, help="clicked regions per image")
    parser.add_argument("--plain", type=int, default=200, help="how many scenes of the pool are plain ones")
    parser.add_argument(
        "--decode-every", type=int, default=1, help="train the mask decoder in every n-th step only"
    )
    parser.add_argument("--rate", type=float, default=PEAK, help="peak learning rate")
    parser.add_argument(
        "--average", type=float, default=0.995, help="decay of the running average of the weights, the export"
    )
    parser.add_argument("--hard", type=float, default=0.6, help="share of scenes of the harder kinds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="threads per process")
    parser.add_argument("--workers", type=int, default=2, help="processes that share the images of a step")
    return parser.parse_args(arguments)


def main() -> None:
    """Parse, train, save."""
    options = parsed()
    options.out.mkdir(parents=True, exist_ok=True)
    meeting = options.out / "meeting"
    meeting.unlink(missing_ok=True)
    context = multiprocessing.get_context("spawn")
    for rank in range(1, options.workers):
        context.Process(target=work, args=(rank, options, meeting), daemon=True).start()
    work(0, options, meeting)


def work(rank: int, options: argparse.Namespace, meeting: Path) -> None:
    """Train as one of `options.workers` processes that meet at a file; rank 0 keeps clock, log and state."""
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{meeting.resolve()}", rank=rank, world_size=options.workers
    )
    Trainer(options, rank).run()
    dist.destroy_process_group()


class Trainer:
    """One process of a training run: network, optimiser, running average, clock."""

    def __init__(self, options: argparse.Namespace, rank: int) -> None:
        """Build everything, and load DIR/state.pt when resuming."""
        self.options, self.rank = options, rank
        self.stopped = False
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.size: int = options.image_size
        self.network = Network(options.seed)
        if options.encoder is not None:
            released = torch.load(options.encoder, map_location="cpu", weights_only=True)
            self.network.take_encoder(released["model"])
        if options.start is not None:
            self.network.take(torch.load(options.start, map_location="cpu", weights_only=True))
        self.started = options.start is not None
        self.step, self.seconds = 0, 0.0
        saved: dict[str, Any] | None = None
        if options.resume:
            saved = torch.load(options.out / "state.pt", map_location="cpu", weights_only=True)
            self._load(saved)
        self.network.to(self.device)
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        if saved is not None:
            self.average = {k: v.to(self.device) for k, v in saved["average"].items()}
        self.parameters = [p for n, p in self.network.named_parameters() if not is_memory(n)]
        heads = [*self.network.recall_click.parameters(), *self.network.sketch.parameters()]
        rest = [p for p in self.parameters if all(p is not head for head in heads)]
        self.optimiser = torch.optim.AdamW(
            [{"params": rest}, {"params": heads}], lr=options.rate, weight_decay=0.01
        )
        if saved is not None:
            self.optimiser.load_state_dict(saved["optimiser"])
        first = options.seed + rank * SEEDS_PER_RANK
        self.pool = Pool(
            self.size,
            first,
            plain=options.plain // options.workers,
            hard=options.hard,
            start=120,
            capacity=120,
        )

    def run(self) -> None:
        """Train until the minutes are used up."""
        asked: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
        last, since_log, mark = time.time(), [], time.time()
        with (self.options.out / "log.jsonl").open("a") as log:
            while not self.stopped:
                since_log.append(self.take_step(stop=bool(asked) or self.progress() >= 1))
                now = time.time()
                self.seconds += now - last
                last = now
                if self.rank:
                    continue
                if self.step % 50 == 0:
                    names = {name for stats in since_log for name in stats}
                    mean = {k: round(mean_of(since_log, k), 4) for k in sorted(names)}
                    print(
                        json.dumps({"step": self.step, "seconds": int(self.seconds), **mean}),
                        file=log,
                        flush=True,
                    )
                    since_log = []
                if now - mark > SAVE_SECONDS:
                    self.save()
                    mark = now
        if self.rank == 0:
            self.save()

    def progress(self) -> float:
        """Share of the training time that is used up."""
        return self.seconds / (60 * self.options.minutes)

    def rate(self) -> float:
        """Learning rate after the warm-up: constant for 60 % of the time, then a cosine to a twentieth."""
        late = max(0.0, (self.progress() - 0.6) / 0.4)
        return float(self.options.rate * (0.525 + 0.475 * math.cos(math.pi * late)))

    def warmth(self) -> tuple[float, float]:
        """Shares of `rate` that the network and its helper heads take in this step."""
        if not self.started:
            share = min(1.0, (self.step + 1) / WARM_STEPS)
            return share, share
        return min(1.0, max(0.0, (self.step - HEAD_STEPS) / START_WARM_STEPS)), 1.0

    def take_step(self, *, stop: bool) -> dict[str, float]:
        """Draw a batch, take one optimiser step with all processes' gradients, update the running average."""
        options = self.options
        rng = np.random.default_rng((options.seed, self.rank, self.step))
        images = options.images // options.workers
        full = self.step % options.decode_every == 0
        clicks = options.clicks if full else 1
        batch = draw(self.pool.at(self.step), rng, self.size, images, clicks).to(self.device)
        with self._autocast():
            total, stats = self.losses(batch, decode=full, second_round=full and self.step % 4 == 0)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        rate, self.stopped = self._share(self.rate(), stop=stop)
        for group, share in zip(self.optimiser.param_groups, self.warmth(), strict=True):
            group["lr"] = rate * share
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.step += 1
        if self.rank:
            return {}
        keep = min(options.average, 1 - 10 / (self.step + 10))
        for name, value in self.network.state_dict().items():
            self.average[name].lerp_(value.detach(), 1 - keep)
        return {**stats, "norm": float(norm), "lr": self.optimiser.param_groups[0]["lr"]}

    def losses(
        self, batch: Batch, *, decode: bool, second_round: bool
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Give the total loss of a batch and what to log; without `decode` that of the encoder alone."""
        network = self.network
        pyramid = network.encode(batch.images)
        pairs, shape, embedding = affinity(network, pyramid[0], batch.labels)
        sketched = sketch(network, pyramid[2], embedding)
        total = pairs + 0.1 * shape + 0.5 * growth(pyramid[2]) + 0.5 * sketched
        stats = {"pairs": pairs.item(), "shape": shape.item(), "sketch": sketched.item()}
        if not decode:
            return total, stats
        labels = torch.ones((*batch.clicks.shape[:2], 1), dtype=torch.int32, device=self.device)
        corner = self._corner()
        decoded = network.decode(pyramid, batch.clicks[:, :, None], labels, corner=corner)
        first = mask_terms(decoded, batch.targets, multimask=True)
        remember = recall(network, decoded, embedding, batch.clicks)
        present = torch.nn.functional.softplus(-decoded.present).mean()
        total = total + first.mask + first.score + 0.5 * remember + 0.05 * present
        three = first.real[..., 1:]
        stats |= {
            "mask": first.mask.item(),
            "score": first.score.item(),
            "recall": remember.item(),
            "std16": pyramid[2].detach().float().std().item(),
            "best": three.max(-1).values.mean().item(),
            "chosen": three.gather(2, decoded.iou[..., 1:].argmax(-1, keepdim=True)).mean().item(),
            "iou_error": (decoded.iou[..., 1:] - three).abs().mean().item(),
        }
        if second_round:
            total = total + self._second_round(batch, pyramid, first.real, decoded.logits.detach(), corner)
        return total, stats

    def _corner(self) -> tuple[int, int]:
        """Give the place of this step's crops in the frame: (row, column) in stride-16 cells."""
        room = (FRAME - self.size) // 16
        row, column = np.random.default_rng((self.options.seed, self.step)).integers(0, room + 1, 2)
        return int(row), int(column)

    def _second_round(
        self,
        batch: Batch,
        pyramid: list[torch.Tensor],
        real: torch.Tensor,
        logits: torch.Tensor,
        corner: tuple[int, int],
    ) -> torch.Tensor:
        """Prompt a third of the regions again: boxes or corrective clicks, sometimes with the first mask."""
        generator = torch.Generator().manual_seed(self.options.seed * 1_000_003 + self.step)
        count = max(1, self.options.clicks // 3)
        targets = batch.targets[:, :count]
        best = real[:, :count, 1:].argmax(-1)[..., None, None, None].expand(-1, -1, 1, *logits.shape[-2:])
        previous = logits[:, :count, 1:].gather(2, best)[:, :, 0]
        kind = float(torch.rand((), generator=generator))
        if kind < 0.35:
            points, labels = boxes(targets, STRIDE, generator)
            points, labels = points[:, :, :2], labels[:, :, :2]
        else:
            points, labels = corrective(batch.clicks[:, :count], targets, previous, STRIDE, generator)
        masks = previous.clamp(-32, 32) if kind > 0.65 else None
        again = self.network.decode(pyramid, points, labels, masks, corner)
        terms = mask_terms(again, targets, multimask=False)
        return 0.5 * (terms.mask + terms.score)

    def _share(self, rate: float, *, stop: bool) -> tuple[float, bool]:
        """Average the gradients over all processes; all take rank 0's learning rate and its wish to stop."""
        used = [p for p in self.parameters if p.grad is not None]
        mine = torch.tensor([rate, float(stop)], device=self.device) * (
            self.options.workers if self.rank == 0 else 0
        )
        flat = torch.cat([p.grad.flatten() for p in used if p.grad is not None] + [mine])
        dist.all_reduce(flat)
        flat /= self.options.workers
        for parameter, part in zip(used, flat[:-2].split([p.numel() for p in used]), strict=True):
            parameter.grad = part.view_as(parameter)
        return float(flat[-2]), bool(flat[-1] > 0.5)

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Half precision where the processor has it: on CPUs without AVX-512 it is nine times slower."""
        fast = self.device.type != "cpu" or torch.backends.cpu.get_cpu_capability() == "AVX512"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=fast)

    def _load(self, saved: dict[str, Any]) -> None:
        self.step, self.seconds, self.started = saved["step"], saved["seconds"], saved["started"]
        self.network.load_state_dict(saved["network"])

    def save(self) -> None:
        """Write DIR/state.pt, whole or not at all."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "image_size": self.size,
            "started": self.started,
        }
        part = self.options.out / "state.pt.part"
        torch.save(state, part)
        part.replace(self.options.out / "state.pt")


def mean_of(rows: list[dict[str, float]], name: str) -> float:
    """Give the mean of one number over the rows that have it."""
    return float(np.mean([row[name] for row in rows if name in row]))


def is_memory(name: str) -> bool:
    """Whether a parameter belongs to the video memory, which is trained on its own."""
    return name.removeprefix("sam.").startswith(
        ("memory_", "maskmem_", "obj_ptr", "no_obj", "no_mem_pos", "mask_downsample")
    )


if __name__ == "__main__":
    main()
