"""Our generator against sam2's own `SAM2AutomaticMaskGenerator`, mask for mask and in the same order.

sam2's generator imports torchvision. Where torchvision's binary does not fit torch, its four functions are
replaced by torch equivalents; everything else is sam2's code.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
import torch.nn.functional as F

from benchmarks.oracle import Oracle, OracleBackend
from benchmarks.reference_amg import _nms, reference_masks
from remotesam.segmenter.generator import Sam2Segmenter
from remotesam.segmenter.points import grid
from remotesam.segmenter.protocol import Query
from remotesam.segmenter.sam2_backend import Sam2Backend
from tests.segmenter.test_decoder import lively


class Normalize(torch.nn.Module):
    def __init__(self, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.mean, self.std = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return (image - self.mean) / self.std


class Resize(torch.nn.Module):
    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return F.interpolate(image[None], self.size, mode="bilinear", antialias=True)[0]


class ToTensor:
    def __call__(self, image: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float() / 255


@pytest.fixture
def stock_generator(monkeypatch: pytest.MonkeyPatch) -> Iterator[type]:
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        boxes: Any = ModuleType("torchvision.ops.boxes")
        boxes.batched_nms = lambda b, s, _, iou_threshold: torch.tensor(_nms(b, s, iou_threshold)).long()
        boxes.box_area = lambda b: (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
        transforms: Any = ModuleType("torchvision.transforms")
        transforms.Normalize, transforms.Resize, transforms.ToTensor = Normalize, Resize, ToTensor
        for name, module in {
            "torchvision": ModuleType("torchvision"),
            "torchvision.ops": ModuleType("torchvision.ops"),
            "torchvision.ops.boxes": boxes,
            "torchvision.transforms": transforms,
        }.items():
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(torch.jit, "script", lambda module: module)
    before = set(sys.modules)
    from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator

    yield SAM2AutomaticMaskGenerator
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def image(shared_data: Callable[[str], Path]) -> np.ndarray:
    with rasterio.open(shared_data("banepa_oam/banepa_train_13cm.tif")) as raster:
        pixels = raster.read([1, 2, 3], window=((500, 730), (500, 810)))
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))


@pytest.mark.parametrize("answers", ["network", "oracle"])
@pytest.mark.parametrize("layers", [0, 1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_same_masks_as_sam2(
    stock_generator: Callable[..., Any], image: np.ndarray, layers: int, answers: str
) -> None:
    network, per_side = lively("nano", 256), 5
    min_iou, min_stability = (0.5, 0.3) if answers == "network" else (0.75, 0.8)
    backend = Sam2Backend(network, torch.float32, 64, compiled=False)
    if answers == "oracle":
        oracle = Oracle(256)
        backend = OracleBackend(network, oracle)
        prompted: list[torch.Tensor] = []
        encode_prompt, decode = network.sam_prompt_encoder.forward, network.sam_mask_decoder.forward

        def remember(points: Any, boxes: None, masks: None) -> Any:
            prompted.append(points[0][:, 0])
            return encode_prompt(points, boxes, masks)

        network.sam_prompt_encoder.forward = remember
        network.sam_mask_decoder.forward = lambda **given: (*oracle(prompted[-1]), *decode(**given)[2:])

    generator = stock_generator(
        network,
        points_per_side=per_side,
        pred_iou_thresh=min_iou,
        stability_score_thresh=min_stability,
        crop_n_layers=layers,
    )
    generator.predictor._bb_feat_sizes = [(64, 64), (32, 32), (16, 16)]  # sam2 knows those of 1024 px only
    expected = generator.generate(image)

    points = grid(*image.shape[:2], per_side)
    query = Query(image, points, crop_layers=layers, crop_points_per_side=per_side)
    (proposals,) = Sam2Segmenter("", "", backend).propose([query])
    found = proposals.select(min_iou=min_iou, min_stability=min_stability, nms_iou=0.7)
    assert len(found) == len(expected) >= (1 if answers == "network" else 20)
    for ours, stock in zip(found, expected, strict=True):
        full = np.zeros(image.shape[:2], bool)
        full[ours.box.slices] = ours.mask
        # A random network's logits lie close to 0 in many pixels, so a few may fall to the other side.
        assert (full != stock["segmentation"]).mean() <= (1e-4 if answers == "network" else 0)
        assert ours.score == pytest.approx(stock["predicted_iou"], abs=1e-5)
        assert ours.stability == pytest.approx(stock["stability_score"], abs=1e-3)
        assert ours.point == pytest.approx(stock["point_coords"][0], abs=1e-3)
    if layers == 0:
        reference = reference_masks(network, image, points, min_iou, min_stability, 0.7)
        assert len(reference) == len(expected)
        for plain, stock in zip(reference, expected, strict=True):
            np.testing.assert_array_equal(plain.mask, stock["segmentation"])
