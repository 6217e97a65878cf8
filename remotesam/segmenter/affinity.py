"""`nano-affinity`: segments from the nano encoder's dense embedding alone, without the mask decoder.

The encoder was trained so that its stride-4 embedding is alike within an object and different across its
border. Cells merge into a tree of regions; of all ways to cut the tree into regions that cover the chip, the
one with the best predicted quality is proposed. One encode and one tree answer a whole chip, so prompts only
ask for it: every region is proposed, whether a prompt fell into it or not, because regions never overlap.
Formulas are in `docs/algorithms.md#region-tree`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from skimage.segmentation import watershed

from remotesam.errors import CheckpointError
from remotesam.segmenter.architectures import build
from remotesam.segmenter.checkpoints import file_digest
from remotesam.segmenter.crops import crop_points, crop_windows
from remotesam.segmenter.preprocess import prepared
from remotesam.segmenter.protocol import Candidate, NetworkCalls, Query
from remotesam.segmenter.regions import RegionTree, absorb_small, best_cut, merge_tree
from remotesam.windows import Window

LEAST_CELLS = 8
"""Smaller regions go to a neighbour; at 1024 px and a chip of 1100 px this is 150 px of the chip."""
UNEVEN = 2.0
"""A region is no object when the mean affinity logit of its cells lies below -UNEVEN times the level."""
LARGE = 0.25
"""Share of the chip above which a region is no object when that mean lies below 0, so that its cells rather
differ: the network has seen few such regions whole, and calls a chip full of rocks or trees one thing as soon
as nothing else on it gives it a border. Sky, water, sand and fields stay well above 0."""
FLOOR = 0.62
"""Scores are FLOOR + (1 - FLOOR) x predicted IoU: regions of one cut do not compete for pixels, so even the
worst is better than a gap, and the default thresholds, which end at 0.6, reach all of them."""
STEEPNESS = 4.0
"""Factor on the affinity logits: masks of a tree are surer of their border than single pairs of cells."""
MARKER = 0.7
"""Depth in cells at which a pixel is sure of its region; nearer to a border the image decides."""
BLUR = 1.0
"""Standard deviation, px of the chip, of the image whose gradient borders follow."""
_RECENT = 4


@dataclass(frozen=True, slots=True)
class Scorer:
    """Predicts the IoU of a region with the object it stands for, from what the tree knows of it."""

    weights: Mapping[str, NDArray[np.float32]]
    """Two linear layers with a tanh between, by name; "centre" and "scale" normalise the features."""
    level: float
    """Affinity logit of two cells with equal embeddings."""
    slope: float
    """Fall of the logit per unit of squared distance."""

    def __call__(self, tree: RegionTree, nodes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Give predicted IoU, 0..1, of nodes; 0 where a region is too uneven to be an object."""
        w = self.weights
        x = (features(tree, nodes) - w["centre"]) / w["scale"]
        hidden = np.tanh(x @ w["in.weight"].T + w["in.bias"])
        logit = hidden @ w["out.weight"].T + w["out.bias"]
        allowed = np.where(tree.area[nodes] > LARGE * tree.area.max(), 0, UNEVEN)
        even = 2 * self.slope * tree.spread[nodes] <= (1 + allowed) * self.level
        return np.where(even, 1 / (1 + np.exp(-logit[:, 0])), 0).astype(np.float32)


def features(tree: RegionTree, nodes: NDArray[np.int64]) -> NDArray[np.float32]:
    """Describe nodes by merge costs, size, shape, unevenness and contrast; (N, 10) float32."""
    above = tree.parent[nodes]
    small = 1e-3
    height, next_height = tree.height[nodes] + small, tree.height[above] + small
    area, next_area = tree.area[nodes], tree.area[above]
    gap = np.sqrt(((tree.mean[nodes] - tree.mean[above]) ** 2).sum(1))
    columns = (
        np.log(height),
        np.log(next_height),
        np.log(next_height / height),
        np.log(area) / 4,
        np.log(next_area / area),
        np.sqrt(tree.spread[nodes]),
        gap,
        np.log(tree.perimeter[nodes] + 1) - 0.5 * np.log(area),
        np.log(tree.border[nodes] + small),
        np.log((tree.border[nodes] + small) / (tree.spread[nodes] + small)),
    )
    return np.stack(columns, 1).astype(np.float32)


class AffinitySegmenter:
    """The `Segmenter` protocol on the dense embedding.

    Args:
        name: Short name of the model.
        digest: SHA-256 of its checkpoint.
        model: SAM 2 network whose encoder and `conv_s0` give the embedding.
        scorer: Predicts the quality of regions.
    """

    def __init__(self, name: str, digest: str, model: Any, scorer: Scorer) -> None:
        self.name, self.digest = name, digest
        self.image_size: int = model.image_size
        self.network_calls = NetworkCalls()
        self._model, self._scorer = model, scorer
        self.device = str(next(model.parameters()).device)
        self._recent: deque[tuple[int, _Cut]] = deque(maxlen=_RECENT)

    def propose(self, queries: Sequence[Query]) -> list[AffinityProposals]:
        """Encode every query's crops and cut them into regions; see the protocol."""
        found = []
        for query in queries:
            height, width, _ = query.image.shape
            crops = []
            for number, window in enumerate(crop_windows(height, width, query.crop_layers)):
                points = crop_points(query, window, whole=number == 0)
                self.network_calls.decoded_points += len(points)
                if len(points):
                    crops.append((window, self._cut(query.image[window.slices], query.min_area)))
            found.append(AffinityProposals(crops, self._scorer))
        return found

    def _cut(self, image: NDArray[np.uint8], min_area: int) -> _Cut:
        """Cut an image into regions, or give the cut of a recent image that this one is, but for black paint.

        Paint tells this segmenter nothing: it groups all pixels at once, and what is painted is accepted.
        """
        height, width, _ = image.shape
        for least_area, cut in self._recent:
            known = cut.image
            same = least_area == min_area and known.shape == image.shape
            if same and bool(((image == known) | (image == 0)).all()):
                return cut
        embedding = self.embed(image)
        tree = merge_tree(embedding)
        cell = height * width / len(embedding.reshape(-1, embedding.shape[-1]))
        least = max(LEAST_CELLS, math.ceil(min_area / cell))
        scores = self._scorer(tree, np.arange(len(tree.area)))
        nodes = best_cut(tree, np.where(tree.area >= least, scores, 0))
        nodes = nodes[np.argsort(-scores[nodes], kind="stable")]
        labels = np.empty(tree.shape, np.int64)
        for number, node in enumerate(nodes.tolist()):
            labels.ravel()[tree.cells(node)] = number
        labels = absorb_small(labels, embedding, least)
        cut = _Cut(image.copy(), labels, embedding, FLOOR + (1 - FLOOR) * scores[nodes])
        self._recent.append((min_area, cut))
        return cut

    @torch.inference_mode()
    def embed(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Give the (S/4, S/4, C) embedding of a (H, W, 3) uint8 RGB image, zero mean over C."""
        values = prepared(image, self.image_size, torch.device(self.device))
        fine = self._model.image_encoder(values[None])["backbone_fpn"][0]
        features = self._model.sam_mask_decoder.conv_s0(fine)[0].float()
        self.network_calls.encodes += 1
        pixels: NDArray[np.float32] = (features - features.mean(0)).permute(1, 2, 0).cpu().numpy().copy()
        return pixels


@dataclass(frozen=True, slots=True)
class _Cut:
    """The regions that cover one crop, best first."""

    image: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB, the crop."""
    labels: NDArray[np.int64]
    """(rows, columns) region of each cell; a number may be missing."""
    embedding: NDArray[np.float32]
    """(rows, columns, C)."""
    scores: NDArray[np.float32]
    """(K,) score by region, descending."""
    drawn: dict[Window, dict[int, Candidate]] = field(default_factory=dict)
    """What `draw_all` gave, by where the crop lies in the chip: drawing costs more than cutting, and every
    pass over a chip asks again."""


class AffinityProposals:
    """The answer to one query; see the `Proposals` protocol."""

    def __init__(self, crops: list[tuple[Window, _Cut]], scorer: Scorer) -> None:
        self._crops, self._scorer = crops, scorer

    def select(
        self,
        *,
        min_iou: float,
        min_stability: float,
        nms_iou: float,  # noqa: ARG002 (the protocol's)
    ) -> list[Candidate]:
        """Give the regions that pass; see the protocol.

        `nms_iou` plays no part: regions never overlap, though their boxes do (a garden round its house).
        """
        chosen: list[Candidate] = []
        for window, cut in self._crops:
            if window not in cut.drawn:
                cut.drawn[window] = draw_all(window, cut, self._scorer)
            chosen = [
                candidate
                for k, candidate in cut.drawn[window].items()
                if cut.scores[k] > min_iou and candidate.stability >= min_stability
            ] + chosen
        return chosen


def draw_all(window: Window, cut: _Cut, scorer: Scorer) -> dict[int, Candidate]:
    """Draw all regions of a crop so that each pixel is in one of them.

    Where two regions claim a pixel the better one has it; one that none claims goes with its cell. Then
    borders move to edges of the image.

    Args:
        window: The crop in chip pixels.
        cut: Its regions.
        scorer: Holder of level and slope.

    Returns:
        Candidates by region, best first; a region that better ones cover wholly is missing.
    """
    drawn = {}
    owner = np.zeros(window.shape, np.int32)
    for k in range(len(cut.scores)):
        candidate = draw(cut.labels == k, cut.embedding, window, float(cut.scores[k]), scorer)
        if candidate is not None:
            drawn[k] = candidate
            under = owner[candidate.box.relative_to(window).slices]
            under[candidate.mask & (under == 0)] = k + 1
    rows, columns = cut.labels.shape
    row = ((np.arange(window.height) + 0.5) * rows / window.height).astype(np.intp)
    column = ((np.arange(window.width) + 0.5) * columns / window.width).astype(np.intp)
    owner = np.where(owner > 0, owner, cut.labels[np.ix_(row, column)] + 1).astype(np.int32)
    owner = follow_edges(owner, cut.image, math.ceil(MARKER * window.height / rows))
    boxes = find_objects(owner, len(cut.scores))
    return {
        k: replace(
            candidate,
            box=Window.from_bounds(down.start, across.start, down.stop, across.stop).shift(
                window.row, window.col
            ),
            mask=owner[down, across] == k + 1,
        )
        for k, candidate in drawn.items()
        if boxes[k] is not None
        for down, across in [boxes[k]]
    }


def follow_edges(labels: NDArray[np.int32], image: NDArray[np.uint8], depth: int) -> NDArray[np.int32]:
    """Move the borders of regions to the image's edges nearby: a watershed from what lies deeper in them.

    A cell is about 4 px of a chip, and its neighbours blur it further: the network knows which regions there
    are, the image where exactly they end (marker-controlled watershed, Meyer & Beucher 1990).

    Args:
        labels: (H, W) regions, > 0 everywhere.
        image: (H, W, 3) uint8 RGB.
        depth: px that a border may move.

    Returns:
        (H, W) regions; none is lost.
    """
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * depth + 1, 2 * depth + 1))
    exact = labels.astype(np.float32)  # below 2^24
    sure = np.asarray(cv2.dilate(exact, disc) == cv2.erode(exact, disc))
    thin = np.ones(int(labels.max()) + 1, np.bool_)
    thin[labels[sure]] = False
    markers = np.where(sure | thin[labels], labels, 0)
    lab = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), np.float32)
    smooth = cv2.GaussianBlur(lab, (0, 0), BLUR)
    down, across = cv2.Sobel(smooth, cv2.CV_32F, 0, 1), cv2.Sobel(smooth, cv2.CV_32F, 1, 0)
    return np.asarray(watershed((down**2 + across**2).sum(-1), markers), np.int32)


def draw(
    inside: NDArray[np.bool_],
    embedding: NDArray[np.float32],
    window: Window,
    score: float,
    scorer: Scorer,
) -> Candidate | None:
    """Draw a region at full size.

    Its logits are the affinities of its cells, and of the cells round it, with its mean: interpolated between
    cells they place the border within a cell. Cells of the region stay inside, others outside.

    Args:
        inside: (rows, columns) bool, True = cell of the region.
        embedding: (rows, columns, C).
        window: The crop in chip pixels.
        score: For the candidate.
        scorer: Holder of level and slope.

    Returns:
        The candidate, its point in the region's cell nearest to its middle; None if no pixel is left.
    """
    rows, columns = inside.shape
    y, x = np.nonzero(inside)
    if len(y) == 0:
        return None
    top, left = max(int(y.min()) - 2, 0), max(int(x.min()) - 2, 0)
    bottom, right = min(int(y.max()) + 3, rows), min(int(x.max()) + 3, columns)
    near = inside[top:bottom, left:right]
    around = embedding[top:bottom, left:right]
    gap = ((around - around[near].mean(0)) ** 2).sum(-1)
    logits = STEEPNESS * (scorer.level - scorer.slope * gap).astype(np.float32)
    logits = np.where(near, np.clip(logits, 6, 16), np.clip(logits, -16, -6))
    scale_y, scale_x = window.height / rows, window.width / columns
    y0, y1 = round(top * scale_y), round(bottom * scale_y)
    x0, x1 = round(left * scale_x), round(right * scale_x)
    if y1 <= y0 or x1 <= x0:
        return None  # on a crop of a few pixels a region can be smaller than one
    full = cv2.resize(logits, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    mask = full > 0
    if not mask.any():
        return None
    in_rows, in_cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = Window.from_bounds(int(in_rows[0]), int(in_cols[0]), int(in_rows[-1]) + 1, int(in_cols[-1]) + 1)
    middle = int(((y - y.mean()) ** 2 + (x - x.mean()) ** 2).argmin())
    return Candidate(
        box=box.shift(y0 + window.row, x0 + window.col),
        mask=mask[box.slices].copy(),
        score=score,
        stability=float((full > 1).sum() / max(int((full > -1).sum()), 1)),
        point=(
            float((x[middle] + 0.5) * scale_x + window.col),
            float((y[middle] + 0.5) * scale_y + window.row),
        ),
    )


def load_affinity(path: Path, *, image_size: int, device: torch.device | None = None) -> AffinitySegmenter:
    """Load the segmenter from a nano checkpoint.

    Args:
        path: The file; beside "model" it must hold "affinity", which `training.export` writes.
        image_size: Side in px that chips are resized to, a multiple of 32.
        device: Where to run; None = the CPU.

    Raises:
        CheckpointError: The file has no affinity part.
    """
    content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict) or "affinity" not in content:
        raise CheckpointError(f"{path}: has no affinity part; give the bundled nano checkpoint")
    model = build("nano", image_size=image_size)
    model.load_state_dict(content["model"])
    weights = {name: value.float().numpy() for name, value in content["affinity"].items()}
    level, slope = weights.pop("level_slope").tolist()
    scorer = Scorer(weights, level, slope)
    return AffinitySegmenter("nano-affinity", file_digest(path), model.to(device or "cpu"), scorer)
