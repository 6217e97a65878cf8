"""The stock "segment everything" of SAM 2, written out plainly: what `benchmarks/generator.py` compares with.

It follows sam2 1.1.0's `SAM2AutomaticMaskGenerator` step by step on sam2's own modules (encoder, prompt
encoder, mask decoder): batches of 64 points, all masks of all points upsampled to full size, filter by
predicted IoU, filter by stability, boxes, run-length encoding of every survivor, non-maximum suppression,
decoding of the runs. Left out are only torchvision's resize and NMS, written here with torch, because
torchvision's operators need a matching binary. A pass at other thresholds is a new run, as in the published
multi-pass method (Remote SAMsing, arXiv 2605.00256).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from remotesam.segmenter.preprocess import DEVIATION, MEAN

POINTS_PER_BATCH = 64

Decode = Callable[[torch.nn.Module, "Encoded", Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class ReferenceMask:
    """One mask of the stock generator.

    Attributes:
        mask: (H, W) bool, True = inside.
        score: Predicted IoU.
        stability: Stability score.
        point: (x, y) of the prompt in image pixels.
    """

    mask: NDArray[np.bool_]
    score: float
    stability: float
    point: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Encoded:
    """Features of one image: embedding (1, D, g, g) and the two high-resolution levels, finest first."""

    embedding: Tensor
    fine: list[Tensor]


def reference_masks(
    model: torch.nn.Module,
    image: NDArray[np.uint8],
    points: NDArray[np.float64],
    min_iou: float,
    min_stability: float,
    nms_iou: float,
    decode: Decode | None = None,
) -> list[ReferenceMask]:
    """Run the stock generator once.

    Args:
        model: A `SAM2Base` in eval mode.
        image: (H, W, 3) uint8 RGB.
        points: (N, 2) prompts (x, y) in image pixels.
        min_iou: Keep masks with a greater predicted IoU.
        min_stability: Keep masks with at least this stability.
        nms_iou: Box IoU above which the mask of lower score goes.
        decode: Stands in for the mask decoder, giving (P, 3, g, g) logits and (P, 3) scores.

    Returns:
        Masks, best score first.
    """
    with torch.inference_mode():
        encoded = encode(model, image)
        device = encoded.embedding.device
        batches = torch.as_tensor(points, dtype=torch.float32, device=device).split(POINTS_PER_BATCH)
        found = [
            _process_batch(
                model, encoded, batch, image.shape[:2], min_iou, min_stability, decode or decode_stock
            )
            for batch in batches
        ]
    if not found:
        return []
    scores, stabilities, boxes, prompts = (
        torch.cat([getattr(part, name) for part in found])
        for name in ("scores", "stabilities", "boxes", "points")
    )
    runs = [run for part in found for run in part.runs]
    return [
        ReferenceMask(
            _decode_runs(runs[index], image.shape[:2]),
            float(scores[index]),
            float(stabilities[index]),
            (float(prompts[index, 0]), float(prompts[index, 1])),
        )
        for index in _nms(boxes.float().cpu(), scores.float().cpu(), nms_iou)
    ]


def encode(model: torch.nn.Module, image: NDArray[np.uint8]) -> Encoded:
    """Resize, normalise and encode one image, as `SAM2ImagePredictor.set_image`."""
    size = model.image_size
    device = next(model.parameters()).device
    values = torch.from_numpy(image).to(device).permute(2, 0, 1).contiguous().float() / 255
    if values.shape[1:] != (size, size):
        values = F.interpolate(values[None], (size, size), mode="bilinear", antialias=True)[0]
    mean, deviation = (torch.tensor(channels, device=device).view(3, 1, 1) for channels in (MEAN, DEVIATION))
    levels = model.forward_image(((values - mean) / deviation)[None])["backbone_fpn"]
    embedding = levels[2]
    if model.directly_add_no_mem_embed:
        embedding = embedding + model.no_mem_embed.view(1, -1, 1, 1)
    return Encoded(embedding, [levels[0], levels[1]])


def decode_stock(model: torch.nn.Module, encoded: Encoded, points: Tensor) -> tuple[Tensor, Tensor]:
    """Run prompt encoder and mask decoder on single points, three masks each.

    Args:
        model: The network.
        encoded: Features of the image.
        points: (P, 2) in pixels of the network's input.

    Returns:
        (P, 3, g, g) logits and (P, 3) predicted IoU.
    """
    labels = torch.ones(len(points), 1, dtype=torch.int, device=points.device)
    sparse, dense = model.sam_prompt_encoder(points=(points[:, None], labels), boxes=None, masks=None)
    logits, scores, _, _ = model.sam_mask_decoder(
        image_embeddings=encoded.embedding,
        image_pe=model.sam_prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=True,
        repeat_image=len(points) > 1,
        high_res_features=encoded.fine,
    )
    return logits, scores


@dataclass(frozen=True, slots=True)
class _Batch:
    scores: Tensor
    stabilities: Tensor
    boxes: Tensor
    points: Tensor
    runs: list[list[int]]


def _process_batch(
    model: torch.nn.Module,
    encoded: Encoded,
    points: Tensor,
    size: tuple[int, int],
    min_iou: float,
    min_stability: float,
    decode: Decode,
) -> _Batch:
    height, width = size
    scaled = points / points.new_tensor([width, height]) * model.image_size
    low, iou = decode(model, encoded, scaled)
    masks = F.interpolate(low.float(), (height, width), mode="bilinear", align_corners=False).flatten(0, 1)
    scores, prompts = iou.flatten(), points.repeat_interleave(3, dim=0)

    keep = scores > min_iou
    masks, scores, prompts = masks[keep], scores[keep], prompts[keep]

    inner = (masks > 1.0).sum(-1, dtype=torch.int16).sum(-1, dtype=torch.int32)
    outer = (masks > -1.0).sum(-1, dtype=torch.int16).sum(-1, dtype=torch.int32)
    stabilities = inner / outer
    keep = stabilities >= min_stability
    masks, scores, prompts, stabilities = masks[keep], scores[keep], prompts[keep], stabilities[keep]

    inside = masks > 0
    return _Batch(scores, stabilities, _boxes(inside), prompts, _encode_runs(inside))


def _boxes(masks: Tensor) -> Tensor:
    """(M, H, W) bool -> (M, 4) inclusive x0, y0, x1, y1; zeros for an empty mask."""
    down, across = masks.any(2).int(), masks.any(1).int()
    first = [line.argmax(1) for line in (across, down)]
    last = [line.shape[1] - 1 - line.flip(1).argmax(1) for line in (across, down)]
    return torch.stack([*first, *last], 1) * down.any(1)[:, None]


def _nms(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    """Greedy suppression as torchvision's `nms`; gives kept indices, best first."""
    order = scores.sort(descending=True, stable=True).indices
    boxes = boxes[order]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    gone = torch.zeros(len(boxes), dtype=torch.bool)
    kept = []
    for best in range(len(boxes)):
        if gone[best]:
            continue
        kept.append(int(order[best]))
        rest = boxes[best + 1 :]
        across = (
            torch.minimum(boxes[best, 2], rest[:, 2]) - torch.maximum(boxes[best, 0], rest[:, 0])
        ).clamp(0)
        down = (torch.minimum(boxes[best, 3], rest[:, 3]) - torch.maximum(boxes[best, 1], rest[:, 1])).clamp(
            0
        )
        shared = across * down
        gone[best + 1 :] |= (shared / (area[best] + area[best + 1 :] - shared)).double() > threshold
    return kept


def _encode_runs(masks: Tensor) -> list[list[int]]:
    """Column-wise run lengths of each mask, beginning with a run of False."""
    count, height, width = masks.shape
    flat = masks.permute(0, 2, 1).flatten(1)
    changes = (flat[:, 1:] ^ flat[:, :-1]).nonzero()
    runs = []
    for index in range(count):
        ends = changes[changes[:, 0] == index, 1] + 1
        edges = torch.cat([ends.new_tensor([0]), ends, ends.new_tensor([height * width])])
        lengths = (edges[1:] - edges[:-1]).tolist()
        runs.append(([0] if flat[index, 0] else []) + lengths)
    return runs


def _decode_runs(runs: list[int], size: tuple[int, int]) -> NDArray[np.bool_]:
    height, width = size
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return values.reshape(width, height).T
