"""Train nano: `python -m training.train --minutes M --out DIR [--resume]`.

Writes DIR/state.pt (everything needed to go on), DIR/log.jsonl (one JSON object per line). Deterministic by
seed apart from the clock: `--minutes` decides when to stop and, through the share of time used, the learning rate.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.data import STRIDE, Batch, Pool, draw
from training.losses import affinity, growth, mask_terms, recall
from training.network import Network, grow
from training.prompts import boxes, corrective

PEAK = 5e-4
WARM_STEPS = 60
AVERAGE = 0.998
"""Decay of the running average of the weights, which is what gets exported."""


def main() -> None:
    """Parse, train, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, required=True, help="training time, resumed runs included")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--resume", action="store_true", help="go on from DIR/state.pt")
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--images", type=int, default=6, help="images per step")
    parser.add_argument("--clicks", type=int, default=24, help="clicked regions per image")
    parser.add_argument("--plain", type=int, default=200, help="how many scenes of the pool are plain ones")
    parser.add_argument("--rate", type=float, default=PEAK, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    Trainer(options).run()


class Trainer:
    """One training run: network, optimiser, running average, clock."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Build everything, and load DIR/state.pt when resuming."""
        self.options = options
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.size: int = options.image_size
        self.network = Network(self.size, options.seed)
        self.step, self.seconds = 0, 0.0
        saved: dict[str, Any] | None = None
        if options.resume:
            saved = torch.load(options.out / "state.pt", map_location="cpu", weights_only=True)
            self._load(saved)
        self.network.to(self.device)
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        if saved is not None and saved["image_size"] == self.size:
            self.average = {k: v.to(self.device) for k, v in saved["average"].items()}
        self.parameters = [p for n, p in self.network.named_parameters() if not _is_memory(n)]
        self.optimiser = torch.optim.AdamW(self.parameters, lr=options.rate, weight_decay=0.01)
        if saved is not None:
            self.optimiser.load_state_dict(saved["optimiser"])
        self.pool = Pool(self.size, options.seed, plain_until=options.plain, first=240, capacity=1200)

    def run(self) -> None:
        """Train until the minutes are used up."""
        last, since_log, mark = time.time(), [], time.time()
        with (self.options.out / "log.jsonl").open("a") as log:
            while self.progress() < 1:
                since_log.append(self.take_step())
                now = time.time()
                self.seconds += now - last
                last = now
                if self.step % 50 == 0:
                    mean = {k: round(float(np.mean([s[k] for s in since_log])), 4) for k in since_log[0]}
                    print(json.dumps({"step": self.step, "seconds": int(self.seconds), **mean}), file=log, flush=True)
                    since_log = []
                if now - mark > 120:
                    self.save()
                    mark = now
        self.save()

    def progress(self) -> float:
        """Share of the training time that is used up."""
        return self.seconds / (60 * self.options.minutes)

    def rate(self) -> float:
        """Learning rate now: warm-up, constant for 60 % of the time, then a cosine to a twentieth."""
        late = max(0.0, (self.progress() - 0.6) / 0.4)
        return float(self.options.rate * min(1, (self.step + 1) / WARM_STEPS) * (0.525 + 0.475 * math.cos(math.pi * late)))

    def take_step(self) -> dict[str, float]:
        """Draw a batch, take one optimiser step, update the running average."""
        rng = np.random.default_rng((self.options.seed, self.step))
        options = self.options
        batch = draw(self.pool.at(self.step), rng, self.size, options.images, options.clicks).to(self.device)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        with self._autocast():
            total, stats = self.losses(batch, second_round=self.step > 400 and self.step % 3 == 0)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.step += 1
        keep = min(AVERAGE, 1 - 10 / (self.step + 10))
        for name, value in self.network.state_dict().items():
            self.average[name].lerp_(value.detach(), 1 - keep)
        return {**stats, "norm": float(norm), "lr": self.rate()}

    def losses(self, batch: Batch, *, second_round: bool) -> tuple[torch.Tensor, dict[str, float]]:
        """Give the total loss of a batch and what to log."""
        network = self.network
        pyramid = network.encode(batch.images)
        pairs, embedding = affinity(network, pyramid[0], batch.labels)
        labels = torch.ones(batch.clicks.shape[:2] + (1,), dtype=torch.int32, device=self.device)
        decoded = network.decode(pyramid, batch.clicks[:, :, None], labels)
        first = mask_terms(decoded, batch.targets, multimask=True)
        remember = recall(network, decoded, embedding, batch.clicks)
        total = first.mask + first.score + pairs + 0.5 * remember + 0.5 * growth(pyramid[2])
        best = first.real[..., 1:].max(-1).values.mean()
        chosen = first.real[..., 1:].gather(2, decoded.iou[..., 1:].argmax(-1, keepdim=True)).mean()
        stats = {
            "mask": float(first.mask),
            "score": float(first.score),
            "pairs": float(pairs),
            "recall": float(remember),
            "std16": float(pyramid[2].detach().float().std()),
            "best": float(best),
            "chosen": float(chosen),
            "iou_error": float((decoded.iou[..., 1:] - first.real[..., 1:]).abs().mean()),
        }
        present = torch.nn.functional.softplus(-decoded.present).mean()
        total = total + 0.05 * present
        if second_round:
            total = total + self._second_round(batch, pyramid, first.real, decoded.logits.detach())
        return total, stats

    def _second_round(
        self, batch: Batch, pyramid: list[torch.Tensor], real: torch.Tensor, logits: torch.Tensor
    ) -> torch.Tensor:
        """Prompt a third of the regions again with boxes or corrective clicks, half of the time with a mask."""
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
        terms = mask_terms(self.network.decode(pyramid, points, labels, masks), targets, multimask=False)
        return 0.5 * (terms.mask + terms.score)

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def _load(self, saved: dict[str, Any]) -> None:
        self.step, self.seconds = saved["step"], saved["seconds"]
        if saved["image_size"] == self.size:
            self.network.load_state_dict(saved["network"])
        else:
            grow(self.network, saved["network"], saved["image_size"])

    def save(self) -> None:
        """Write DIR/state.pt, whole or not at all."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "image_size": self.size,
        }
        part = self.options.out / "state.pt.part"
        torch.save(state, part)
        part.replace(self.options.out / "state.pt")


def _is_memory(name: str) -> bool:
    """Whether a parameter belongs to the video memory, which is trained on its own."""
    return name.removeprefix("sam.").startswith(("memory_", "maskmem_", "obj_ptr", "no_obj", "no_mem_pos", "mask_downsample"))


if __name__ == "__main__":
    main()
