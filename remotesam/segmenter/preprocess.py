"""How pixels become what the networks were trained on; all models here see images through it."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

MEAN = (0.485, 0.456, 0.406)
"""Channel means the networks were trained with (ImageNet, RGB, 0..1)."""

DEVIATION = (0.229, 0.224, 0.225)
"""Channel deviations the networks were trained with."""


def prepared(image: NDArray[np.uint8], side: int, device: torch.device) -> Tensor:
    """Resize and normalise an image as sam2's `SAM2Transforms`: antialiased bilinear, ImageNet statistics.

    Args:
        image: (H, W, 3) uint8 RGB of any size.
        side: of the network's square input, px.
        device: where the network is.

    Returns:
        (3, side, side) float32 on the device.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(image)).to(device, non_blocking=True)
    values = pixels.permute(2, 0, 1).float().div_(255)
    if values.shape[1:] != (side, side):
        values = F.interpolate(values[None], (side, side), mode="bilinear", antialias=True)[0]
    mean, deviation = _statistics(device)
    return values.sub_(mean).div_(deviation)


@cache
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """(3, 1, 1) means and deviations on a device."""
    with torch.inference_mode(mode=False):  # kept, so of use outside of inference too
        mean, deviation = (torch.tensor(values, device=device).view(3, 1, 1) for values in (MEAN, DEVIATION))
    return mean, deviation
