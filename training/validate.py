"""Judge a nano checkpoint on scenes it never saw: `python -m training.validate CHECKPOINT`.

Half of the clicks are uniform over pixels, half by the root of the regions' areas; masks are compared at the
full model resolution. The scene numbers start beyond any that training reaches.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from remotesam.scenes.scene import scene
from remotesam.segmenter.architectures import build
from remotesam.segmenter.sam2_backend import Sam2Backend
from training.data import click_regions, normalise

FIRST_SCENE = 50_000_000


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--image-size", type=int, default=512)
    parser.add_argument("--scenes", type=int, default=48)
    parser.add_argument("--clicks", type=int, default=24, help="regions clicked per scene")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model: Any = build("nano", image_size=options.image_size)
    model.load_state_dict(torch.load(options.checkpoint, map_location="cpu", weights_only=True)["model"])
    guesses, truths, stabilities = [], [], []
    for number in range(options.scenes):
        guess, truth, stability = judge(model, FIRST_SCENE + number, options.clicks)
        guesses.append(guess)
        truths.append(truth)
        stabilities.append(stability)
    guess, truth, stability = np.concatenate(guesses), np.concatenate(truths), np.concatenate(stabilities)
    chosen = truth[np.arange(len(truth)), guess.argmax(1)]
    best, error = truth.max(1), np.abs(guess - truth)
    rows = {
        "clicks": f"{len(truth)} on {options.scenes} scenes of {options.image_size} px",
        "best-of-three IoU": f"{best.mean():.3f} (at least 0.5: {(best >= 0.5).mean():.3f})",
        "IoU of the best-scored mask": f"{chosen.mean():.3f} (at least 0.5: {(chosen >= 0.5).mean():.3f})",
        "IoU head, mean absolute error": f"{error.mean():.3f}",
        "IoU head, correlation": f"{np.corrcoef(guess.ravel(), truth.ravel())[0, 1]:.3f}",
        "best score, deciles": " ".join(
            f"{q:.2f}" for q in np.quantile(guess.max(1), np.arange(0.1, 1, 0.1))
        ),
        "stability, median": f"{np.median(stability):.3f}",
        "encode + 64-point decode": "{:.2f} s on one thread, {:.2f} s with sam2's own decoder".format(
            *seconds(model)
        ),
    }
    for name, value in rows.items():
        print(f"{name:30s} {value}")


@torch.inference_mode()
def judge(model: Any, number: int, clicks: int) -> tuple[NDArray[np.float32], ...]:
    """Give predicted IoU, true IoU and stability, each (clicks, 3), on one scene."""
    size: int = model.image_size
    example = scene(number, (size, size))
    picked = click_regions(example.labels, np.random.default_rng(number), clicks)
    if picked is None:
        return tuple(np.empty((0, 3), np.float32) for _ in range(3))
    points, masks = picked
    logits, guess = decode(model, normalise(example.image)[None], torch.from_numpy(points))
    truth = torch.from_numpy(masks)[:, None]
    inside = F.interpolate(logits, size=(size, size), mode="bilinear", align_corners=False) > 0
    iou = (inside & truth).sum((-1, -2)) / (inside | truth).sum((-1, -2)).clamp(min=1)
    stability = (logits > 1).sum((-1, -2)) / (logits > -1).sum((-1, -2)).clamp(min=1)
    return guess.numpy(), iou.numpy(), stability.numpy()


def decode(model: Any, image: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Give (N, 3, S/4, S/4) logits and (N, 3) predicted IoU of N single clicks with sam2's own decoder."""
    pyramid = model.forward_image(image)["backbone_fpn"]
    labels = torch.ones(len(points), 1, dtype=torch.int32)
    sparse, dense = model.sam_prompt_encoder(points=(points[:, None], labels), boxes=None, masks=None)
    logits, guess, _, _ = model.sam_mask_decoder(
        image_embeddings=pyramid[2] + model.no_mem_embed.view(1, -1, 1, 1),
        image_pe=model.sam_prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=True,
        repeat_image=True,
        high_res_features=pyramid[:2],
    )
    return logits, guess


@torch.inference_mode()
def seconds(model: Any) -> tuple[float, float]:
    """Time one encode and the masks of 64 points, best of three: by our backend, by sam2's own modules."""
    size: int = model.image_size
    points = np.random.default_rng(0).uniform(0, size, (64, 2)).astype(np.float32)
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    backend = Sam2Backend(model, torch.float32, 64, compiled=False)

    def ours() -> None:
        (plan,) = backend.plans([image])
        ((_, state),) = backend.score([(plan, points)])
        backend.logits(plan, state, np.arange(64), lambda *_: None)

    def stock() -> None:
        decode(model, normalise(image)[None], torch.from_numpy(points))

    best = []
    for work in (ours, stock):
        taken = []
        for _ in range(3):
            start = time.perf_counter()
            work()
            taken.append(time.perf_counter() - start)
        best.append(min(taken))
    return best[0], best[1]


if __name__ == "__main__":
    main()
