"""Stability, boxes and masks at full size, against plain upsampling and sam2's own formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sam2.utils.amg import batched_mask_to_box, calculate_stability_score

from remotesam.segmenter.candidates import _measure_on_device, measure, suppress
from remotesam.windows import Window


def smooth_logits(seed: int, side: int, count: int = 4) -> torch.Tensor:
    """Blobs of both signs, some of them near the border, some masks empty."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 1, 5, 5, generator=generator) * 4 - 3
    coarse[0] = -9
    return F.interpolate(coarse, (side, side), mode="bicubic")[:, 0].contiguous()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    side=st.sampled_from([8, 64, 128]),
    height=st.integers(1, 300),
    width=st.integers(1, 300),
)
def test_measuring_inside_the_box_is_measuring_the_whole(
    seed: int, side: int, height: int, width: int
) -> None:
    logits = smooth_logits(seed, side)
    full = F.interpolate(logits[:, None], (height, width), mode="bilinear", align_corners=False)[:, 0]
    stability = calculate_stability_score(full, 0.0, 1.0)
    boxes = batched_mask_to_box(full > 0)
    for index, found in enumerate(measure(logits, height, width, masks=True)):
        if any(((full[index] - level).abs() < 5e-6).any() for level in (-1, 0, 1)):
            continue  # within rounding of a threshold either side is right
        np.testing.assert_equal(float(found.stability), float(stability[index]))
        mask = np.zeros((height, width), bool)
        if found.mask is not None:
            mask[found.box.slices] = found.mask
            x0, y0, x1, y1 = boxes[index].tolist()
            assert found.box == Window.from_bounds(y0, x0, y1 + 1, x1 + 1)
        np.testing.assert_array_equal(mask, (full[index] > 0).numpy())


def test_the_gpu_way_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remotesam.segmenter.candidates._DEVICE_CHUNK", 2)
    logits = smooth_logits(3, 64, 6)
    for one, other in zip(
        measure(logits, 137, 211, masks=True), _measure_on_device(logits, 137, 211, masks=True), strict=True
    ):
        np.testing.assert_equal(float(one.stability), float(other.stability))
        assert one.box == other.box
        np.testing.assert_array_equal(one.mask, other.mask)


def test_an_empty_mask_has_no_box_and_no_stability() -> None:
    (found,) = measure(torch.full((1, 16, 16), -5.0), 40, 40, masks=True)
    assert found.box.empty
    assert found.mask is None
    assert np.isnan(found.stability)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_suppression_keeps_exactly_what_no_better_kept_box_covers(data: st.DataObject) -> None:
    count = data.draw(st.integers(0, 12))
    corner = st.integers(0, 6)
    boxes, scores = [], []
    for _ in range(count):
        x0, y0 = data.draw(corner), data.draw(corner)
        boxes.append([x0, y0, x0 + data.draw(corner), y0 + data.draw(corner)])
        scores.append(data.draw(st.sampled_from([0.5, 0.75, 0.9])))
    boxes_array = np.array(boxes, np.int64).reshape(-1, 4)
    kept = suppress(boxes_array, np.array(scores, np.float32), 0.5).tolist()

    def iou(a: list[int], b: list[int]) -> float:
        shared = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
        areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
        return shared / (sum(areas) - shared) if shared else 0.0

    expected: list[int] = []
    for index in sorted(range(count), key=lambda i: -scores[i]):
        if all(iou(boxes[index], boxes[better]) <= 0.5 for better in expected):
            expected.append(index)
    assert kept == expected


def test_a_speck_between_the_pixels_of_a_small_chip_is_empty() -> None:
    logits = torch.full((2, 128, 128), -9.0)
    logits[0, 64, 70] = 12
    logits[1, 40:80, 30:100] = 5
    speck, whole = measure(logits, 9, 9, masks=True)
    assert speck.box.empty
    assert np.isnan(speck.stability)
    assert whole.mask is not None
