"""Segment everything in a chip with SAM 2: the stock generator's masks without its repeated work.

Order of work (stock: Kirillov et al. 2023, arXiv 2304.02643, §7.1 and appendix B; sam2's
`SAM2AutomaticMaskGenerator`): one encode per chip; predicted IoU of all points; mask logits only of points
with a mask above the IoU threshold; stability and box at full size; suppression; pixels of the survivors.
Scores, stabilities and boxes are kept, so selecting again at lower thresholds computes only what is new.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from remotesam.segmenter.candidates import Measured, measure, suppress
from remotesam.segmenter.crops import crop_points, crop_windows, cut_off
from remotesam.segmenter.decoder import PointState, TilePlan
from remotesam.segmenter.protocol import Candidate, NetworkCalls, Query
from remotesam.segmenter.sam2_backend import Sam2Backend
from remotesam.windows import Window

CROP_NMS_IOU = 0.7
"""Box IoU above which masks of different crops count as one (sam2's `crop_nms_thresh`)."""

KEPT_MASK_BYTES = 64 << 20
"""Packed masks a query keeps for later selections; what does not fit is decoded again when it is selected."""


class Sam2Segmenter:
    """The `Segmenter` protocol on a SAM 2 network.

    Args:
        name: Short name of the model.
        digest: SHA-256 of its checkpoint.
        backend: The network.
        exact: Judge stability and boxes at full size, as the stock generator does; False = at the network's
            mask resolution, a quarter of `image_size`.
    """

    def __init__(self, name: str, digest: str, backend: Sam2Backend, *, exact: bool = True) -> None:
        self.name = name
        self.digest = digest
        self.exact = exact
        self._backend = backend

    @property
    def image_size(self) -> int:
        """Side in px of the square every chip is resized to."""
        return self._backend.image_size

    @property
    def device(self) -> str:
        """Where it computes."""
        return str(self._backend.device)

    @property
    def network_calls(self) -> NetworkCalls:
        """Running totals of the work done."""
        return self._backend.calls

    def propose(self, queries: Sequence[Query]) -> list[Sam2Proposals]:
        """Run the network on every query; see the protocol."""
        jobs = [
            (index, window, crop_points(query, window, whole=number == 0))
            for index, query in enumerate(queries)
            for number, window in enumerate(_crops_of(query))
        ]
        jobs = [job for job in jobs if len(job[2])]
        plans = self._backend.plans([queries[index].image[window.slices] for index, window, _ in jobs])
        crops: list[list[_Crop]] = [[] for _ in queries]
        prompts = [_model_points(points, window, self.image_size) for _, window, points in jobs]
        answers = self._backend.score(list(zip(plans, prompts, strict=True)))
        for (index, window, points), plan, (iou, state) in zip(jobs, plans, answers, strict=True):
            crops[index].append(_Crop.start(window, points, plan, state, iou))
        return [
            Sam2Proposals(self._backend, _crops_of(query)[0], measured, exact=self.exact)
            for query, measured in zip(queries, crops, strict=True)
        ]


def _model_points(points: NDArray[np.float64], window: Window, image_size: int) -> NDArray[np.float32]:
    """Points of a crop in pixels of the network's input."""
    scale = np.array([window.width, window.height], np.float32)
    return points.astype(np.float32) / scale * np.float32(image_size)


def _crops_of(query: Query) -> list[Window]:
    height, width, _ = query.image.shape
    return crop_windows(height, width, query.crop_layers)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A mask at full size."""

    box: Window
    """Tight window in chip pixels."""
    bits: NDArray[np.uint8]
    """Its pixels, row by row, eight to a byte."""

    @classmethod
    def of(cls, measured: Measured, crop: Window) -> _Kept:
        """Pack a measured mask of a crop."""
        if measured.mask is None:
            raise ValueError("measured without its mask")
        return cls(measured.box.shift(crop.row, crop.col), np.packbits(measured.mask))

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(box.height, box.width), True = inside."""
        return np.unpackbits(self.bits, count=self.box.area).astype(bool).reshape(self.box.shape)


@dataclass(frozen=True, slots=True)
class _Crop:
    """One encoded crop and what is known of its 3 P masks, by flat index point * 3 + mask."""

    window: Window
    """The crop in chip pixels."""
    points: NDArray[np.float64]
    """(P, 2) prompts in crop pixels."""
    plan: TilePlan
    """Shared decoder inputs."""
    state: PointState
    """Decoded points."""
    iou: NDArray[np.float32]
    """(3 P,) float32 predicted IoU."""
    known: NDArray[np.bool_]
    """(3 P,) bool, True = stability and box were measured."""
    stability: NDArray[np.float32]
    """(3 P,) float32."""
    boxes: NDArray[np.int64]
    """(3 P, 4) int64 inclusive x0, y0, x1, y1 in chip pixels, or in pixels of the mask resolution when the
    segmenter is not exact; x1 < x0 = empty mask."""
    kept: dict[int, _Kept]
    """Masks at full size by flat index, as many as there is room for."""

    @classmethod
    def start(
        cls,
        window: Window,
        points: NDArray[np.float64],
        plan: TilePlan,
        state: PointState,
        iou: NDArray[np.float32],
    ) -> _Crop:
        count = iou.size
        return cls(
            window,
            points,
            plan,
            state,
            iou.ravel(),
            np.zeros(count, bool),
            np.full(count, np.nan, np.float32),
            np.zeros((count, 4), np.int64),
            {},
        )

    def with_points(self, points: NDArray[np.float64], state: PointState, iou: NDArray[np.float32]) -> _Crop:
        """The crop with further decoded points after those it has; what is known of these stays known."""
        extension = _Crop.start(self.window, points, self.plan, state, iou)
        return replace(
            self,
            points=np.concatenate([self.points, extension.points]),
            state=self.state.followed_by(extension.state),
            iou=np.concatenate([self.iou, extension.iou]),
            known=np.concatenate([self.known, extension.known]),
            stability=np.concatenate([self.stability, extension.stability]),
            boxes=np.concatenate([self.boxes, extension.boxes]),
        )


class Sam2Proposals:
    """The answer to one query; see the `Proposals` protocol.

    It keeps about 55 kB per point and 40 MB per image of an official model (19 kB and 5 MB of nano), and
    at most `KEPT_MASK_BYTES` of masks.
    """

    def __init__(self, backend: Sam2Backend, chip: Window, crops: list[_Crop], *, exact: bool) -> None:
        self._backend = backend
        self._chip = chip
        self._crops = crops
        self._exact = exact
        self._free = KEPT_MASK_BYTES

    def select(self, *, min_iou: float, min_stability: float, nms_iou: float) -> list[Candidate]:
        """Give the candidates that pass; see the protocol."""
        chosen: list[tuple[_Crop, int]] = []
        for crop in self._crops:
            chosen += [(crop, index) for index in self._select_in(crop, min_iou, min_stability, nms_iou)]
        if len(self._crops) > 1 and chosen:
            boxes = np.stack([crop.boxes[index] for crop, index in chosen])
            smallness = np.array([1 / crop.window.area for crop, _ in chosen], np.float32)
            chosen = [chosen[index] for index in suppress(boxes, smallness, CROP_NMS_IOU)]
        made = self._make([(crop, index) for crop, index in chosen if index not in crop.kept])
        masks = ((crop, index, crop.kept.get(index) or made.get((id(crop), index))) for crop, index in chosen)
        return [_candidate(crop, index, mask) for crop, index, mask in masks if mask is not None]

    def extend(self, points: NDArray[np.float64]) -> None:
        """Put further points to the network on the whole chip; see the protocol."""
        whole = self._crops[0]
        model_points = _model_points(points, whole.window, self._backend.image_size)
        ((iou, state),) = self._backend.score([(whole.plan, model_points)])
        self._crops[0] = whole.with_points(points, state, iou)

    def _select_in(self, crop: _Crop, min_iou: float, min_stability: float, nms_iou: float) -> Iterable[int]:
        promising = crop.iou > np.float32(min_iou)
        self._measure(crop, np.flatnonzero(promising & ~crop.known))
        not_empty = crop.boxes[:, 2] >= crop.boxes[:, 0]
        stable = crop.stability >= np.float32(min_stability)
        passing = np.flatnonzero(promising & stable & not_empty).tolist()
        whole = [index for index in passing if not self._cut_off(crop, index)]
        kept = suppress(crop.boxes[whole], crop.iou[whole], nms_iou)
        return (whole[index] for index in kept)

    def _measure(self, crop: _Crop, indices: NDArray[np.intp]) -> None:
        """Learn stability and box of masks, and keep their bits while there is room."""
        size = self._judged_size(crop)
        masks = self._exact and self._backend.device.type == "cpu"
        for index, measured in self._decode(crop, indices, size, masks=masks):
            crop.known[index] = True
            crop.stability[index] = measured.stability
            box = measured.box.shift(crop.window.row, crop.window.col) if self._exact else measured.box
            crop.boxes[index] = (box.col, box.row, box.col_stop - 1, box.row_stop - 1)
            if measured.mask is not None:
                self._keep(crop, index, _Kept.of(measured, crop.window))

    def _make(self, wanted: list[tuple[_Crop, int]]) -> dict[tuple[int, int], _Kept]:
        """Decode selected masks whose pixels were not kept, at full size; keys are (id of crop, index).

        A mask that is a speck at the network's resolution may be empty at that of a smaller chip; it is left
        out.
        """
        made = {}
        for crop in self._crops:
            indices = np.array([index for owner, index in wanted if owner is crop], np.intp)
            for index, measured in self._decode(crop, indices, crop.window.shape, masks=True):
                if measured.mask is not None:
                    made[id(crop), index] = _Kept.of(measured, crop.window)
                    self._keep(crop, index, made[id(crop), index])
        return made

    def _keep(self, crop: _Crop, index: int, kept: _Kept) -> None:
        if kept.bits.nbytes <= self._free:
            self._free -= kept.bits.nbytes
            crop.kept[index] = kept

    def _decode(
        self, crop: _Crop, indices: NDArray[np.intp], size: tuple[int, int], *, masks: bool
    ) -> list[tuple[int, Measured]]:
        """Make logits of the points of some masks and measure those masks; gives (index, measured)."""
        rows, owner = np.unique(indices // 3, return_inverse=True)
        answers: list[tuple[int, Measured]] = []

        def use(part: slice, logits: torch.Tensor) -> None:
            inside = np.flatnonzero((owner >= part.start) & (owner < part.stop))
            picked = torch.from_numpy((owner[inside] - part.start) * 3 + indices[inside] % 3)
            chosen = logits.flatten(0, 1)[picked.to(logits.device)]
            measured = measure(chosen, *size, masks=masks)
            answers.extend(zip(indices[inside].tolist(), measured, strict=True))

        if len(rows):
            self._backend.logits(crop.plan, crop.state, rows, use)
        return answers

    def _judged_size(self, crop: _Crop) -> tuple[int, int]:
        side = self._backend.image_size // 4
        return crop.window.shape if self._exact else (side, side)

    def _cut_off(self, crop: _Crop, index: int) -> bool:
        if crop.window == self._chip:
            return False
        x0, y0, x1, y1 = crop.boxes[index].tolist()
        return cut_off(Window.from_bounds(y0, x0, y1 + 1, x1 + 1), crop.window, self._chip)


def _candidate(crop: _Crop, index: int, kept: _Kept) -> Candidate:
    x, y = crop.points[index // 3].tolist()
    return Candidate(
        box=kept.box,
        mask=kept.mask,
        score=float(crop.iou[index]),
        stability=float(crop.stability[index]),
        point=(x + crop.window.col, y + crop.window.row),
    )
