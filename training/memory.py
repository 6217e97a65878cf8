"""Train the video memory of a finished nano: `python -m training.memory STATE.pt OUT.pt --minutes M`.

Short clips are made of one scene seen through two or three moving crops. Everything that a single image needs
is frozen, so this can only add: on the first frame the true mask is given, on the next ones the memory alone
must find the object (SAM 2, Ravi et al. 2024, §4 and App. D, with one object per row of the batch).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from remotesam.scenes.scene import Scene, scene
from remotesam.segmenter.architectures import build
from training.data import STRIDE, click_regions, normalise
from training.network import FRAME, Network
from training.train import is_memory

FIRST_SCENE = 60_000_000
OBJECTS = 8
"""Tracked objects per clip."""


def main() -> None:
    """Parse, train, write a state that `training.export` takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("state", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--image-size", type=int, default=256, help="side of the frames, at most 512")
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--latest", action="store_true", help="the last weights instead of their average")
    options = parser.parse_args()
    torch.set_num_threads(1)
    saved = torch.load(options.state, map_location="cpu", weights_only=True)
    network = Network(0)
    network.load_state_dict(saved["network" if options.latest else "average"])
    model = smaller(network.sam, options.image_size)
    steps = train(model, options)
    learnt = {name: value for name, value in model.state_dict().items() if is_learnt(name)}
    network.sam.load_state_dict(learnt, strict=False)
    state = network.state_dict()
    torch.save(
        {
            "network": state,
            "average": state,
            "step": saved["step"],
            "seconds": saved["seconds"] + 60 * options.minutes,
            "image_size": saved["image_size"],
        },
        options.out,
    )
    print(f"{options.out}: {steps} memory steps")


def smaller(model: Any, image_size: int) -> Any:
    """Give a copy for smaller images; its positional code is that of the middle of the model's own frame."""
    copy: Any = build("nano", image_size=image_size)
    weights = model.state_dict()
    code = "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
    copy.load_state_dict(weights | {code: weights[code] * image_size / FRAME})
    return copy


def is_learnt(name: str) -> bool:
    """Whether a parameter is trained here: the memory's, and those that say if there is an object."""
    return is_memory(name) or "pred_obj_score_head" in name


def train(model: Any, options: argparse.Namespace) -> int:
    """Train the memory parameters for `options.minutes`; returns the number of steps."""
    trained = []
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_learnt(name))
        if parameter.requires_grad:
            trained.append(parameter)
    optimiser = torch.optim.AdamW(trained, lr=options.rate, weight_decay=0.01)
    start, step, recent = time.time(), 0, []
    while (done := (time.time() - start) / (60 * options.minutes)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = options.rate * min(1.0, 1.1 - done) * min(1.0, (step + 1) / 20)
        found = clip_loss(model, np.random.default_rng((FIRST_SCENE, step)), step, options.frames)
        step += 1
        if found is None:
            continue
        loss, overlap = found
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        recent.append(overlap)
        if step % 25 == 0:
            print(f"step {step}: IoU on frames without a prompt {np.mean(recent[-25:]):.3f}", flush=True)
    return step


def clip_loss(model: Any, rng: np.random.Generator, number: int, frames: int) -> tuple[Tensor, float] | None:
    """Track the objects of one clip; gives the loss and the mean IoU, None if there is nothing to track."""
    size: int = model.image_size
    source = scene(FIRST_SCENE + number, (int(size * 1.4), int(size * 1.4)))
    views = _views(source, rng, size, frames)
    picked = click_regions(views[0][1], rng, OBJECTS)
    if picked is None:
        return None
    columns = picked[0][:, 0].astype(int)
    rows = picked[0][:, 1].astype(int)
    wanted = views[0][1][rows, columns]
    with torch.no_grad():
        encoded = model.forward_image(torch.stack([normalise(image) for image, _ in views]))
    outputs: dict[str, dict[int, Any]] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}
    losses, overlaps = [], []
    for frame, (_, labels) in enumerate(views):
        masks = torch.from_numpy(labels[None] == wanted[:, None, None]).float()[:, None]
        features, places, sizes = _features(model, encoded, frame, len(wanted))
        output = model.track_step(
            frame_idx=frame,
            is_init_cond_frame=frame == 0,
            current_vision_feats=features,
            current_vision_pos_embeds=places,
            feat_sizes=sizes,
            point_inputs=None,
            mask_inputs=masks if frame == 0 else None,
            output_dict=outputs,
            num_frames=frames,
        )
        outputs["cond_frame_outputs" if frame == 0 else "non_cond_frame_outputs"][frame] = output
        if frame:
            loss, overlap = _judge(output, masks)
            losses.append(loss)
            overlaps.append(overlap)
    return torch.stack(losses).mean(), float(np.mean(overlaps))


def _features(
    model: Any, encoded: dict[str, Any], frame: int, objects: int
) -> tuple[list[Tensor], list[Tensor], list[tuple[int, int]]]:
    """Give one frame's features as sam2's tracking takes them, one copy per object."""
    one = {
        key: [level[frame : frame + 1].expand(objects, -1, -1, -1) for level in encoded[key]]
        for key in ("backbone_fpn", "vision_pos_enc")
    }
    _, features, places, sizes = model._prepare_backbone_features(one)
    return features, places, sizes


def _judge(output: dict[str, Any], masks: Tensor) -> tuple[Tensor, float]:
    """Cross-entropy and Dice where the object is in view; object score everywhere."""
    goal = F.avg_pool2d(masks, STRIDE)[:, 0]
    there = goal.flatten(1).sum(1) > 2
    present = F.binary_cross_entropy_with_logits(output["object_score_logits"][:, 0], there.float())
    if not there.any():
        return present, 1.0
    logits, goal = output["pred_masks"][there, 0].clamp(-32, 32), goal[there]
    q = logits.sigmoid()
    cross = F.binary_cross_entropy_with_logits(logits, goal)
    dice = 1 - (2 * (q * goal).sum((1, 2)) + 1) / (q.sum((1, 2)) + goal.sum((1, 2)) + 1)
    inside, truth = logits > 0, goal > 0.5
    overlap = (inside & truth).sum((1, 2)) / (inside | truth).sum((1, 2)).clamp(min=1)
    return cross + dice.mean() + 0.2 * present, float(overlap.mean())


def _views(
    source: Scene, rng: np.random.Generator, size: int, frames: int
) -> list[tuple[NDArray[np.uint8], NDArray[np.int32]]]:
    """See a scene through crops that move, turn and zoom a little from frame to frame."""
    middle, turn, zoom = np.array(source.labels.shape[::-1]) / 2, rng.uniform(0, 360), rng.uniform(0.9, 1.2)
    views = []
    for _ in range(frames):
        centre = (float(middle[0]), float(middle[1]))
        matrix = np.asarray(cv2.getRotationMatrix2D(centre, float(turn), float(zoom)), np.float64)
        matrix[:, 2] = matrix[:, 2] + size / 2 - middle
        image = cv2.warpAffine(source.image, matrix, (size, size), flags=cv2.INTER_LINEAR)
        labels = cv2.warpAffine(
            source.labels.astype(np.float32), matrix, (size, size), flags=cv2.INTER_NEAREST
        )
        views.append((np.asarray(image, np.uint8), np.asarray(labels).astype(np.int32)))
        middle = middle + rng.normal(0, 0.12, 2) * size
        turn, zoom = turn + rng.normal(0, 12), zoom * np.exp(rng.normal(0, 0.08))
    return views


if __name__ == "__main__":
    main()
