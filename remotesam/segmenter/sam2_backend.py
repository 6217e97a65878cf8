"""A SAM 2 network as the generator uses it: images in, plans; points in, scores and logits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from remotesam.errors import DeviceError
from remotesam.segmenter.decoder import PointDecoder, PointState, TilePlan
from remotesam.segmenter.preprocess import prepared
from remotesam.segmenter.protocol import NetworkCalls

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

_CPU_TOKENS = {"score": 16384, "logits": 4096}
"""Image tokens times points of one decoder chunk on a CPU: what keeps the intermediate arrays (1 to 8 MB) in
the cache and below malloc's mmap threshold, beyond which every use of fresh memory is a page fault."""

_BLOCK = 16
"""Points of one image that stay together in a chunk of several images. Late passes have a few points per
tile, and blocks are filled up with copies: larger ones would waste more of the chunk."""

Job = tuple[TilePlan, NDArray[np.float32]]
"""Plan of an image, and (P, 2) float32 (x, y) in pixels of the network's input; P > 0."""

_ENCODER_BATCH = {"cpu": 1, "cuda": 8, "mps": 2}
"""Images per encoder call. On a CPU a batch gains nothing and costs its memory."""


class _Block(NamedTuple):
    """Some points of one job."""

    job: int
    rows: slice


class Sam2Backend:
    """Encoder and decoder of one model on one device.

    Args:
        model: The network in eval mode, on its device.
        dtype: float32, or the half precision to compute in.
        point_batch: Most points decoded at a time; fewer on a CPU, where the cache is the limit.
        compiled: Use `torch.compile` for the encoder and both decoder halves; chunks are then padded to one
            size, so that nothing is compiled twice.
    """

    def __init__(self, model: SAM2Base, dtype: torch.dtype, point_batch: int, *, compiled: bool) -> None:
        self.model = model
        self.image_size: int = model.image_size
        self.device: torch.device = next(model.parameters()).device
        self.calls = NetworkCalls()
        self._counting = threading.Lock()
        self._dtype = dtype
        self._decoder = PointDecoder(model, dtype)
        self._chunks = {kind: self._chunk(kind, point_batch) for kind in _CPU_TOKENS}
        self._chunks["encode"] = 1 if compiled else _ENCODER_BATCH[self.device.type]
        self._compiled = compiled
        self._one_shape = compiled or self.device.type != "cpu"
        self._forward: Callable[[Tensor], dict[str, list[Tensor]]] = model.forward_image
        self._score = self._decoder.score
        self._logits = self._decoder.logits
        if compiled:
            self._forward = torch.compile(self._forward, dynamic=False)
            self._score = torch.compile(self._score, dynamic=False)
            self._logits = torch.compile(self._logits, dynamic=False)

    def plans(self, images: Sequence[NDArray[np.uint8]]) -> list[TilePlan]:
        """Encode images and prepare each for its points.

        Args:
            images: (H, W, 3) uint8 RGB each, of any size.
        """
        plans: list[TilePlan] = []

        def run(part: slice) -> None:
            batch = torch.stack([prepared(image, self.image_size, self.device) for image in images[part]])
            with torch.no_grad(), self._autocast():
                features = self._encode(batch)
            made = [self._decoder.plan(*one) for one in zip(*features, strict=True)]
            plans.extend(made)
            with self._counting:
                self.calls.encodes += len(batch)

        self._in_chunks(len(images), "encode", run)
        return plans

    def score(self, jobs: Sequence[Job]) -> list[tuple[NDArray[np.float32], PointState]]:
        """Predict the quality of the three masks of each point.

        Off the CPU one call of the network takes points of several images, always as many. So its shape never
        changes, and an answer does not depend, to the last bit, on the jobs beside it.

        Args:
            jobs: Images and their points.

        Returns:
            For each job (P, 3) predicted IoU, and the state for `logits`.
        """
        points = [torch.from_numpy(xy).to(self.device) for _, xy in jobs]
        iou = [torch.empty(len(xy), 3, device=self.device) for xy in points]
        states: list[PointState] = []
        done = [0] * len(jobs)
        while True:
            size, room = self._score_shape()
            blocks = _next_blocks(points, done, size)[:room]
            if not blocks:
                break

            def run(blocks: list[_Block] = blocks, size: int = size, room: int = room) -> None:
                chosen = [points[job][rows] for job, rows in blocks]
                plans = [jobs[job][0] for job, _ in blocks]
                if self._one_shape:
                    missing = room - len(blocks)
                    chosen = [_filled(xy, size) for xy in chosen + chosen[:1] * missing]
                    plans = [TilePlan.joined(plans + plans[:1] * missing)]
                with torch.no_grad(), self._autocast():
                    scores, state = self._score(plans[0], torch.cat(chosen))
                if not states:
                    # One for all of a job: small ones kept between large temporaries would fragment the heap.
                    states.extend(state.room_for(len(xy)) for xy in points)
                for first, (job, rows) in zip(range(0, len(scores), size), blocks, strict=False):
                    states[job].put(rows, state[first:])
                    iou[job][rows] = scores[first : first + rows.stop - rows.start]

            if self._attempt("score", run):
                for job, rows in blocks:
                    done[job] = rows.stop
        with self._counting:
            self.calls.decoded_points += sum(done)
        return [(one.cpu().numpy(), state) for one, state in zip(iou, states, strict=True)]

    def logits(
        self, plan: TilePlan, state: PointState, rows: NDArray[np.intp], use: Callable[[slice, Tensor], None]
    ) -> None:
        """Make mask logits of some points, chunk by chunk.

        Args:
            plan: Of the image.
            state: From `score`.
            rows: Indices of the points in `state`.
            use: Called with (part of `rows`, its (P, 3, 4g, 4g) logits); the memory is used again after it.
        """
        picked = torch.from_numpy(rows).to(self.device)

        def run(part: slice) -> None:
            chunk = picked[part]
            with torch.no_grad(), self._autocast():
                padded = _filled(chunk, self._chunks["logits"]) if self._compiled else chunk
                logits = self._logits(plan, state[padded])
            use(part, logits[: len(chunk)])

        self._in_chunks(len(rows), "logits", run)
        with self._counting:  # selections of several chips may run in several threads
            self.calls.upscaled_points += len(rows)

    def _chunk(self, kind: str, point_batch: int) -> int:
        if self.device.type != "cpu":
            return point_batch
        return max(1, min(point_batch, _CPU_TOKENS[kind] * 256 // self.image_size**2))

    def _score_shape(self) -> tuple[int, int]:
        """Points of a block and blocks of a chunk; a chunk of one image is one block."""
        chunk = self._chunks["score"]
        size = min(_BLOCK, chunk) if self._one_shape else chunk
        return size, chunk // size

    def _in_chunks(self, count: int, kind: str, run: Callable[[slice], None]) -> None:
        """Call `run` on consecutive slices; it must leave nothing behind when it fails."""
        start = 0
        while start < count:
            part = slice(start, min(start + self._chunks[kind], count))
            if self._attempt(kind, partial(run, part)):
                start = part.stop

    def _attempt(self, kind: str, run: Callable[[], None]) -> bool:
        """Run one chunk; when memory runs out, halve the chunks of this kind for good and give False."""
        try:
            run()
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            if self._chunks[kind] == 1:
                raise DeviceError(
                    f"{self.device}: out of memory at the smallest batch; close other programs, "
                    "choose a smaller model or use --device cpu"
                ) from error
            self._chunks[kind] //= 2
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            return False
        return True

    def _encode(self, batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        stride4, stride8, embedding = self._forward(batch)["backbone_fpn"]
        if self.model.directly_add_no_mem_embed:
            embedding = embedding + self.model.no_mem_embed.view(1, -1, 1, 1)
        return embedding, stride8, stride4

    def _autocast(self) -> AbstractContextManager[object]:
        if self._dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self._dtype)


def _next_blocks(points: Sequence[Tensor], done: Sequence[int], size: int) -> list[_Block]:
    """What is left of the queue of all jobs' points, in blocks of one job each."""
    return [
        _Block(job, slice(first, min(first + size, len(xy))))
        for job, xy in enumerate(points)
        for first in range(done[job], len(xy), size)
    ]


def _filled(chunk: Tensor, size: int) -> Tensor:
    """The chunk, its first row repeated until there are `size` rows."""
    return torch.cat([chunk, chunk[:1].expand(size - len(chunk), *chunk.shape[1:])])


def _out_of_memory(error: RuntimeError) -> bool:
    # The CPU allocator has no exception class of its own.
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
