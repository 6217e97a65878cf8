"""What the nano network is trained for; every term answers one failure seen when it is left out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from training.network import LIFT, Decoded, Network

OFFSETS = (1, 2, 4, 8, 16, 32, 64)
"""Distances, in stride-4 cells, of compared pairs of cells; those above half a crop are left out."""
STRIDE = 4
"""Pixels per cell of the dense embedding."""
RADIUS = 2.0
"""Length of the dense embedding's vectors: on a sphere a linear read-out parts any region from the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskTerms:
    """Losses and statistics of one decode.

    Attributes:
        mask: Scalar, best of the three masks (plus a fifth of their mean, so that none starves).
        score: Scalar, cross-entropy of the predicted with the true IoU.
        real: (B, P, 4) true IoU of each mask at stride 4.
    """

    mask: Tensor
    score: Tensor
    real: Tensor


def mask_terms(decoded: Decoded, targets: Tensor, *, multimask: bool) -> MaskTerms:
    """Compare masks with targets: cross-entropy + Dice, best of three (SAM, Kirillov et al. 2023, App. A).

    Cross-entropy instead of squared error for the IoU head: through its sigmoid squared error saturates and
    the head stays at its mean.

    Args:
        decoded: Output of `Network.decode`.
        targets: (B, P, h, w) share of each cell inside the region.
        multimask: Train masks 1..3 (and a little mask 0) instead of mask 0 alone.
    """
    logits = decoded.logits
    goal = targets[:, :, None].expand_as(logits)
    q = logits.sigmoid()
    cross = F.binary_cross_entropy_with_logits(logits, goal, reduction="none").mean((-1, -2))
    dice = 1 - (2 * (q * goal).sum((-1, -2)) + 1) / (q.sum((-1, -2)) + goal.sum((-1, -2)) + 1)
    each = cross + dice
    with torch.no_grad():
        inside, there = logits > 0, goal > 0.5
        real = (inside & there).sum((-1, -2)) / (inside | there).sum((-1, -2)).clamp(min=1)
    guess = decoded.iou.clamp(1e-4, 1 - 1e-4)
    score = F.binary_cross_entropy(guess, real, reduction="none")
    if multimask:
        three = each[..., 1:]
        mask = (0.8 * three.min(-1).values + 0.2 * three.mean(-1) + 0.25 * each[..., 0]).mean()
        return MaskTerms(mask=mask, score=score.mean(), real=real)
    return MaskTerms(mask=each[..., 0].mean(), score=score[..., 0].mean(), real=real)


def affinity(network: Network, fine: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Teach the stride-4 features which cells belong together: they turn sharp within minutes.

    Args:
        network: Holder of the affinity head.
        fine: (B, D, h, w) stride-4 features.
        labels: (B, h, w) region of each cell, 0 = painted or nothing.

    Returns:
        Scalar loss, balanced between same and different pairs; scalar penalty that keeps the embedding on its
        sphere and its lift in place; the (B, C, h, w) embedding.
    """
    embedding, lift = network.embed(fine)
    shape = (embedding.pow(2).sum(1) / RADIUS**2 - 1).pow(2).mean() + (lift - LIFT).pow(2).mean()
    total = embedding.new_zeros(())
    level, slope = network.affinity_scale[0], F.softplus(network.affinity_scale[1])
    height, width = labels.shape[1:]
    offsets = [d for d in OFFSETS if 2 * d <= min(height, width)]
    for d in offsets:
        for dy, dx in ((0, d), (d, 0), (d, d)):
            near = labels[:, : height - dy, : width - dx]
            far = labels[:, dy:, dx:]
            same = (near == far).float()
            valid = ((near > 0) | (far > 0)).float()
            share = ((same * valid).sum() / valid.sum().clamp(min=1)).clamp(0.05, 0.95)
            weight = valid * (same / (2 * share) + (1 - same) / (2 * (1 - share)))
            gap = embedding[:, :, dy:, dx:] - embedding[:, :, : height - dy, : width - dx]
            z = level - slope * gap.pow(2).sum(1)
            total = total + F.binary_cross_entropy_with_logits(z, same, weight=weight)
    return total / (3 * len(offsets)), shape, embedding


def sketch(network: Network, coarse: Tensor, embedding: Tensor) -> Tensor:
    """Make every stride-16 vector hold the 4 x 4 stride-4 embeddings of its cell: all that a click can read.

    The click's token sees stride-16 features only; without this they say too little about small objects.

    Args:
        network: Holder of the linear read-out.
        coarse: (B, D, h, w) stride-16 features.
        embedding: (B, C, 4h, 4w) from `affinity`.
    """
    own = F.pixel_unshuffle(embedding.detach(), 4)
    spread = own.var((0, 2, 3)).mean().clamp(min=1e-3)
    return (network.sketch(coarse).float() - own).pow(2).mean() / spread


def recall(network: Network, decoded: Decoded, embedding: Tensor, clicks: Tensor) -> Tensor:
    """Make the click token and the mask vectors know the embedding under the click: the right region.

    Args:
        network: Holder of the click's linear read-out.
        decoded: A decode whose first prompt point is the click.
        embedding: (B, C, h, w) from `affinity`.
        clicks: (B, P, 2) (x, y) in model pixels.
    """
    at = clicks / (STRIDE * embedding.shape[-1]) * 2 - 1
    own = F.grid_sample(embedding.detach(), at[:, :, None], mode="nearest", align_corners=False)[..., 0].mT
    spread = own.flatten(0, 1).var(0).mean().clamp(min=1e-3)
    click = (network.recall_click(decoded.tokens[:, :, 6]) - own).pow(2).mean() / spread
    hyper = decoded.hyper - decoded.hyper.mean(-1, keepdim=True)
    return click + 1 - F.cosine_similarity(hyper, own[:, :, None], dim=-1).mean()


def growth(coarse: Tensor) -> Tensor:
    """Keep the stride-16 embedding as small as the positional code, or attention sees content, not place."""
    coarse = coarse.float()
    return (coarse.pow(2).mean() - 0.25).clamp(min=0) + coarse.mean((0, 2, 3)).pow(2).mean()
