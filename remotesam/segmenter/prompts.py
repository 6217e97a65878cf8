"""SAM 2 answering clicks and boxes: encode a chip once, decode every prompt on it in milliseconds.

The steps are those of sam2's `SAM2ImagePredictor` (Ravi et al. 2024, arXiv 2408.00714, section 4, image
mode), without its transforms module, which needs torchvision.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from remotesam.segmenter.loading import load_video
from remotesam.segmenter.preprocess import prepared

_TOP_LEFT, _BOTTOM_RIGHT = 2, 3
"""Labels by which the prompt encoder knows the corners of a box."""


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """One answer to a set of prompts."""

    mask: NDArray[np.bool_]
    """(H, W) bool of the chip, True = object."""
    score: float
    """Predicted IoU, nominally 0..1."""
    logits: NDArray[np.float32]
    """(S, S) float32 at a quarter of the network's input size; a `previous` for the next decode."""


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """What the network keeps of a chip."""

    shape: tuple[int, int]
    """(H, W) of the chip in px."""
    embedding: Tensor
    """(1, C, S/4, S/4) image embedding."""
    high_resolution: list[Tensor]
    """Stride-4 and stride-8 features."""


class PromptSegmenter:
    """A SAM 2 network that answers prompts; make one with `load_prompts`."""

    def __init__(self, name: str, model: torch.nn.Module) -> None:
        self.name = name
        self.image_size: int = model.image_size  # type: ignore[assignment]
        self._model = model
        self._device = next(model.parameters()).device

    @torch.inference_mode()
    def encode(self, image: NDArray[np.uint8]) -> Encoded:
        """Run the image encoder: the slow part, once per chip.

        Args:
            image: (H, W, 3) uint8 RGB of any size; resized to the network's square.
        """
        values = prepared(image, self.image_size, self._device)[None]
        with self._autocast():
            pyramid = self._model.forward_image(values)["backbone_fpn"]  # type: ignore[operator]
        embedding = pyramid[-1]
        if self._model.directly_add_no_mem_embed:
            embedding = embedding + self._model.no_mem_embed.view(1, -1, 1, 1)  # type: ignore[operator]
        return Encoded(image.shape[:2], embedding, list(pyramid[:-1]))

    @torch.inference_mode()
    def decode(
        self,
        encoded: Encoded,
        points: NDArray[np.float64],
        labels: NDArray[np.bool_],
        box: Sequence[float] | None = None,
        previous: NDArray[np.float32] | None = None,
    ) -> list[Prediction]:
        """Answer prompts on an encoded chip.

        Args:
            encoded: From `encode`.
            points: (N, 2) float64 (x, y) in chip pixels, edges at integers; N may be 0 with a box.
            labels: (N,) bool, True = part of the object.
            box: (x0, y0, x1, y1) in chip pixels.
            previous: `logits` of an earlier answer on the same chip, to be refined.

        Returns:
            Best predicted IoU first: three masks of different size for a single click, which is ambiguous,
            else one.

        Raises:
            ValueError: There is neither a point nor a box.
        """
        if len(points) == 0 and box is None:
            raise ValueError("no prompt: give a point or a box")
        sparse, dense = self._embed(encoded, points, labels, box, previous)
        ambiguous = len(points) == 1 and box is None and previous is None
        with self._autocast():
            logits, scores, _, _ = self._model.sam_mask_decoder(  # type: ignore[operator]
                image_embeddings=encoded.embedding,
                image_pe=self._model.sam_prompt_encoder.get_dense_pe(),  # type: ignore[union-attr, operator]
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=ambiguous,
                repeat_image=False,
                high_res_features=encoded.high_resolution,
            )
        full = F.interpolate(logits.float(), encoded.shape, mode="bilinear", align_corners=False)[0]
        masks, small = (full > 0).cpu().numpy(), logits[0].float().clamp(-32, 32).cpu().numpy()
        order = torch.argsort(scores[0].float(), descending=True).tolist()
        values = scores[0].float().tolist()
        return [Prediction(masks[i], values[i], small[i]) for i in order]

    def _embed(
        self,
        encoded: Encoded,
        points: NDArray[np.float64],
        labels: NDArray[np.bool_],
        box: Sequence[float] | None,
        previous: NDArray[np.float32] | None,
    ) -> tuple[Tensor, Tensor]:
        corners = [] if box is None else [box[:2], box[2:]]
        places = np.array([*corners, *points], dtype=np.float64).reshape(-1, 2)
        kinds = [_TOP_LEFT, _BOTTOM_RIGHT][: len(corners)] + [int(label) for label in labels]
        height, width = encoded.shape
        # The prompt encoder counts from pixel centres and adds the half pixel itself.
        scaled = places * self.image_size / np.array([width, height]) - 0.5
        coordinates = torch.as_tensor(scaled, dtype=torch.float32, device=self._device)[None]
        numbers = torch.as_tensor(kinds, dtype=torch.int32, device=self._device)[None]
        mask = None
        if previous is not None:
            mask = torch.as_tensor(previous, device=self._device)[None, None]
        sparse, dense = self._model.sam_prompt_encoder(  # type: ignore[operator]
            points=(coordinates, numbers), boxes=None, masks=mask
        )
        return sparse, dense

    def _autocast(self) -> AbstractContextManager[object]:
        if self._device.type == "cuda":
            return torch.autocast("cuda", torch.bfloat16)
        return nullcontext()


def load_prompts(name_or_path: str, *, device: str = "auto") -> PromptSegmenter:
    """Load a model for clicks; arguments and errors as `loading.load`.

    Raises:
        ModelUnavailableError: The model is neither here nor to be fetched.
        CheckpointError: The file is corrupt or no SAM 2 checkpoint.
        DeviceError: The device is not to be had on this machine.
    """
    return PromptSegmenter(name_or_path, load_video(name_or_path, device=device, memory=False))
