"""Second-round prompts: corrective clicks where the first mask was wrong, boxes, and previous masks."""

from __future__ import annotations

import torch
from torch import Tensor

SLOTS = 8
"""Points per second-round prompt; unused ones are padding (label -1)."""


def corrective(
    clicks: Tensor, targets: Tensor, logits: Tensor, stride: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Add 1..7 clicks to each first click, drawn from the cells where the mask is wrong.

    Args:
        clicks: (B, P, 2) first clicks, model pixels.
        targets: (B, P, h, w) share of each cell inside the region.
        logits: (B, P, h, w) logits of the first-round mask.
        stride: Model pixels per cell.
        generator: Source of randomness (CPU).

    Returns:
        (B, P, 8, 2) points and (B, P, 8) int32 labels: 1 missed, 0 wrongly marked, -1 unused.
    """
    b, p, _, w = targets.shape
    inside = targets > 0.5
    wrong = (inside != (logits > 0)).flatten(2).float().cpu()
    wrong[wrong.sum(-1) == 0] = 1  # nothing wrong: confirm anywhere
    cells = torch.multinomial(wrong.flatten(0, 1), SLOTS - 1, replacement=True, generator=generator)
    cells = cells.view(b, p, SLOTS - 1)
    xy = torch.stack([cells % w, cells // w], -1) * stride + stride / 2
    label = inside.flatten(2).cpu().gather(2, cells).int()
    used = torch.randint(1, SLOTS, (b, p, 1), generator=generator)
    label = torch.where(torch.arange(SLOTS - 1) < used, label, -1)
    points = torch.cat([clicks.cpu()[:, :, None], xy.float()], 2)
    labels = torch.cat([torch.ones(b, p, 1, dtype=torch.int32), label], 2)
    return points.to(clicks.device), labels.to(clicks.device)


def boxes(targets: Tensor, stride: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Give the bounding box of each target with its sides moved by about a tenth.

    Args:
        targets: (B, P, h, w) share of each cell inside the region.
        stride: Model pixels per cell.
        generator: Source of randomness (CPU).

    Returns:
        (B, P, 8, 2) points, the corners first, and (B, P, 8) int32 labels 2, 3, then padding.
    """
    inside = (targets > 0).cpu()
    b, p, h, w = inside.shape
    columns, rows = inside.any(2).float(), inside.any(3).float()
    left, right = columns.argmax(-1), w - columns.flip(-1).argmax(-1)
    top, bottom = rows.argmax(-1), h - rows.flip(-1).argmax(-1)
    corners = torch.stack([left, top, right, bottom], -1).float() * stride
    size = (corners[..., 2:] - corners[..., :2]).repeat(1, 1, 2)
    corners = corners + 0.08 * size * torch.randn(corners.shape, generator=generator)
    corners = corners.clamp(0, w * stride)
    points = torch.zeros(b, p, SLOTS, 2)
    points[:, :, :2] = corners.view(b, p, 2, 2)
    labels = torch.full((b, p, SLOTS), -1, dtype=torch.int32)
    labels[:, :, 0], labels[:, :, 1] = 2, 3
    return points.to(targets.device), labels.to(targets.device)
