"""One object through a sequence of pictures with SAM 2's video memory, without a video file.

The packaged predictor reads frames from a folder of JPEGs or an MP4 only; its state is made here instead,
with frames that are computed when the network asks for them, so a long sequence is never held in memory.
"""

from __future__ import annotations

import contextlib
import io
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sam2.sam2_video_predictor import SAM2VideoPredictor

from remotesam.segmenter.preprocess import prepared

VideoPredictor = SAM2VideoPredictor
"""The packaged predictor, under a name that modules without sam2 can write in a signature."""

OBJECT = 1
"""Id of the one object that is followed."""

Points = tuple[NDArray[np.float64], NDArray[np.bool_]]
"""Clicks on one frame: (N, 2) (x, y) in frame pixels, and (N,) True = part of the object."""


class _Frames:
    """Frames as the predictor indexes them: normalised tensors of the network's size."""

    def __init__(
        self, frame: Callable[[int], NDArray[np.uint8]], count: int, size: int, device: torch.device
    ) -> None:
        self._frame = frame
        self._count = count
        self._size = size
        self._device = device

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> torch.Tensor:
        return prepared(self._frame(index), self._size, self._device)


def track(
    predictor: SAM2VideoPredictor,
    frame: Callable[[int], NDArray[np.uint8]],
    count: int,
    shape: tuple[int, int],
    prompts: Mapping[int, Points],
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Follow one object from the first prompted frame to the last frame.

    Args:
        predictor: from `remotesam.segmenter.loading.load_video`.
        frame: gives frame i as (H, W, 3) uint8 RGB; called once or twice per frame.
        count: number of frames.
        shape: (H, W) of every frame.
        prompts: clicks by frame index; at least one frame.

    Yields:
        (frame index, (H, W) float32 logits), above 0 = object.
    """
    device = next(predictor.parameters()).device
    state = _state(_Frames(frame, count, predictor.image_size, device), shape, device)
    with _arithmetic(device):
        for index, (points, positive) in sorted(prompts.items()):
            predictor.add_new_points_or_box(
                state,
                index,
                OBJECT,
                points=np.asarray(points, np.float32),
                labels=np.asarray(positive, np.int32),
            )
        steps = predictor.propagate_in_video(state, start_frame_idx=min(prompts))
        while True:
            # The packaged loop draws a bar of its own on standard error.
            with contextlib.redirect_stderr(io.StringIO()):
                step = next(steps, None)
            if step is None:
                return
            index, _, logits = step
            yield index, logits[0, 0].float().cpu().numpy()


def _arithmetic(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Half precision where the predictor's memory is meant to run in it."""
    if device.type == "cuda":
        return torch.autocast("cuda", torch.bfloat16)
    return contextlib.nullcontext()


def _state(frames: _Frames, shape: tuple[int, int], device: torch.device) -> dict[str, Any]:
    """What `SAM2VideoPredictor.init_state` (sam2 1.1.0) makes, around our frames."""
    return {
        "images": frames,
        "num_frames": len(frames),
        "offload_video_to_cpu": False,
        "offload_state_to_cpu": False,
        "video_height": shape[0],
        "video_width": shape[1],
        "device": device,
        "storage_device": device,
        "point_inputs_per_obj": {},
        "mask_inputs_per_obj": {},
        "cached_features": {},
        "constants": {},
        "obj_id_to_idx": OrderedDict(),
        "obj_idx_to_id": OrderedDict(),
        "obj_ids": [],
        "output_dict_per_obj": {},
        "temp_output_dict_per_obj": {},
        "frames_tracked_per_obj": {},
    }
