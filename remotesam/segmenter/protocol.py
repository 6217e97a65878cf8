"""What a segmenter promises to the rest of the project; numpy only, so anything may import it.

A segmenter turns *queries* (a chip and prompt points on it) into *proposals*, and proposals into
*candidates* (scored masks) at any thresholds. The split is what makes falling thresholds cheap: the network
runs once per query, and every later :meth:`Proposals.select` re-filters what it left behind.

Coordinates: points are (x, y) in chip pixels with pixel edges at integers, arrays are [row, col].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from remotesam.windows import Window


@dataclass(frozen=True, slots=True)
class Candidate:
    """One proposed mask of one chip."""

    box: Window
    """Window of the chip, tight round the mask: its first and last row and column hold a True."""
    mask: NDArray[np.bool_]
    """(box.height, box.width) bool; True = inside the proposed object."""
    score: float
    """Predicted IoU of the mask with the object, nominally 0..1 (a network may overshoot slightly)."""
    stability: float
    """Share 0..1 of the mask that survives moving the logit threshold from -1 to +1."""
    point: tuple[float, float]
    """(x, y) of the prompt in chip pixels."""


@dataclass(frozen=True, slots=True)
class Query:
    """One chip and the points to prompt on it."""

    image: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB."""
    points: NDArray[np.float64]
    """(N, 2) float64 (x, y) in chip pixels, 0 <= x <= W, 0 <= y <= H; N may be 0."""
    crop_layers: int = 0
    """Number of extra crop layers; layer i cuts the chip into (2^i)^2 overlapping crops, each segmented at
    full network resolution with a grid of its own. 0 = the chip only."""
    crop_points_per_side: int = 32
    """Side of the point grid of each crop; used only when crop_layers > 0."""
    allowed: NDArray[np.bool_] | None = None
    """(H, W) bool, True = a crop's grid point may lie in this pixel; None = anywhere. Keeps crops from
    prompting pixels that have a label already; ``points`` are taken as they are."""
    min_area: int = 0
    """Smaller masks, in px, will not be used; a segmenter may give such regions to a neighbour."""


@dataclass(slots=True)
class NetworkCalls:
    """How much network work a segmenter has done since it was loaded; read it before and after."""

    encodes: int = 0
    """Images run through the image encoder (crops count one each)."""
    decoded_points: int = 0
    """Prompt points run through the mask decoder's transformer."""
    upscaled_points: int = 0
    """Points for which the decoder made mask logits: those whose predicted IoU passed."""


class Proposals(Protocol):
    """The answer to one query: everything needed to select candidates without running the encoder again.

    Memory is given back when the object is garbage collected.
    """

    def select(self, *, min_iou: float, min_stability: float, nms_iou: float) -> Sequence[Candidate]:
        """Return the candidates that pass, best predicted IoU first.

        Args:
            min_iou: Keep masks whose predicted IoU is greater than this.
            min_stability: Keep masks whose stability is at least this.
            nms_iou: Of two masks whose boxes overlap by more than this IoU, the lower score goes.

        Returns:
            Candidates after non-maximum suppression, in descending order of score; ties in prompt order. With
            ``crop_layers`` the candidates of smaller crops come first, each crop's in descending order.
        """
        ...


@runtime_checkable
class ExtendableProposals(Proposals, Protocol):
    """Proposals to which prompts can be added. Where prompts do not change the answer there is no need."""

    def extend(self, points: NDArray[np.float64]) -> None:
        """Put further points to the network on the image as it was encoded; later selections include them.

        Args:
            points: (N, 2) float64 (x, y) in chip pixels. The query must have had points of its own.
        """
        ...


class Segmenter(Protocol):
    """A promptable model behind one door."""

    @property
    def name(self) -> str:
        """Short name for messages and the run manifest, e.g. "nano"."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the checkpoint file; part of a run's identity."""
        ...

    @property
    def image_size(self) -> int:
        """Side in px of the square every chip is resized to before the network sees it."""
        ...

    @property
    def device(self) -> str:
        """Where it computes, as torch names it: "cpu", "cuda:0", "mps"."""
        ...

    @property
    def network_calls(self) -> NetworkCalls:
        """Running totals of the work done."""
        ...

    def propose(self, queries: Sequence[Query]) -> Sequence[Proposals]:
        """Run the network on every query and return its proposals in the same order.

        Queries may differ in size and number of points; the segmenter batches them as it sees fit, and the
        answer to a query does not depend on the queries beside it (up to float rounding).
        """
        ...
