"""The whole generator against the stock algorithm written out plainly."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from sam2.utils.amg import generate_crop_boxes, is_box_near_crop_edge

from benchmarks.oracle import Oracle, OracleBackend
from benchmarks.reference_amg import ReferenceMask, reference_masks
from remotesam.errors import DeviceError
from remotesam.segmenter import generator
from remotesam.segmenter.batching import SharedSegmenter
from remotesam.segmenter.crops import crop_points, crop_windows, cut_off
from remotesam.segmenter.generator import Sam2Segmenter
from remotesam.segmenter.points import grid
from remotesam.segmenter.protocol import Candidate, ExtendableProposals, Query
from remotesam.segmenter.sam2_backend import Sam2Backend
from remotesam.windows import Window
from tests.segmenter.test_decoder import lively

SIZE = (230, 310)


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return lively("nano", 256)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def oracle_segmenter(network: torch.nn.Module, *, exact: bool = True) -> Sam2Segmenter:
    backend = OracleBackend(network, Oracle(network.image_size))
    return Sam2Segmenter("oracle", "", backend, exact=exact)


def oracle_reference(network: torch.nn.Module, image: np.ndarray, points: np.ndarray, *thresholds: float):
    oracle = Oracle(network.image_size)
    return reference_masks(network, image, points, *thresholds, decode=lambda _m, _e, xy: oracle(xy))


def assert_same(candidates: Sequence[Candidate], reference: Sequence[ReferenceMask]) -> None:
    assert len(candidates) == len(reference)
    for ours, stock in zip(candidates, reference, strict=True):
        full = np.zeros_like(stock.mask)
        full[ours.box.slices] = ours.mask
        np.testing.assert_array_equal(full, stock.mask)
        assert ours.score == pytest.approx(stock.score, abs=1e-5)
        assert ours.stability == pytest.approx(stock.stability, abs=1e-6)
        assert ours.point == pytest.approx(stock.point, abs=1e-3)
        for edge in (ours.mask[0], ours.mask[-1], ours.mask[:, 0], ours.mask[:, -1]):
            assert edge.any(), "the box is not tight"


def test_many_masks_equal_the_reference(network: torch.nn.Module, image: np.ndarray) -> None:
    points = grid(*SIZE, 12)
    proposals = oracle_segmenter(network).propose([Query(image, points)])[0]
    candidates = proposals.select(min_iou=0.75, min_stability=0.85, nms_iou=0.7)
    assert len(candidates) > 15
    assert [c.score for c in candidates] == sorted((c.score for c in candidates), reverse=True)
    assert_same(candidates, oracle_reference(network, image, points, 0.75, 0.85, 0.7))


def test_lower_thresholds_equal_fresh_runs_and_cost_no_encode(
    network: torch.nn.Module, image: np.ndarray
) -> None:
    points = grid(*SIZE, 8)
    segmenter = oracle_segmenter(network)
    proposals = segmenter.propose([Query(image, points)])[0]
    sizes = []
    for threshold in (0.93, 0.88, 0.8, 0.6):
        candidates = proposals.select(min_iou=threshold, min_stability=threshold, nms_iou=0.7)
        assert_same(candidates, oracle_reference(network, image, points, threshold, threshold, 0.7))
        sizes.append(len(candidates))
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]
    assert segmenter.network_calls.encodes == 1
    assert segmenter.network_calls.decoded_points == len(points)
    before = segmenter.network_calls.upscaled_points
    proposals.select(min_iou=0.6, min_stability=0.6, nms_iou=0.7)
    assert segmenter.network_calls.upscaled_points == before, "a repeated selection decodes nothing"


def test_a_real_network_on_a_real_image(network: torch.nn.Module, shared_data: Callable[[str], Path]) -> None:
    with rasterio.open(shared_data("kampala_oam/kampala_small_z21_7cm.tif")) as raster:
        pixels = raster.read([1, 2, 3], window=((20, 220), (30, 330)))
    image = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    points = grid(200, 300, 7)
    proposals = Sam2Segmenter("nano", "", backend(network)).propose([Query(image, points)])[0]
    middle = float(np.quantile(np.concatenate([crop.iou for crop in proposals._crops]), 0.6))
    candidates = proposals.select(min_iou=middle, min_stability=0.3, nms_iou=0.9)
    reference = reference_masks(network, image, points, middle, 0.3, 0.9)
    assert len(candidates) == len(reference) > 0
    for ours, stock in zip(candidates, reference, strict=True):
        full = np.zeros_like(stock.mask)
        full[ours.box.slices] = ours.mask
        assert (full != stock.mask).mean() < 1e-4, "pixels at exactly 0 may fall either way"
        assert ours.stability == pytest.approx(stock.stability, abs=1e-3)


def backend(network: torch.nn.Module, point_batch: int = 64) -> Sam2Backend:
    return Sam2Backend(network, torch.float32, point_batch, compiled=False)


def test_queries_do_not_influence_each_other(network: torch.nn.Module, image: np.ndarray) -> None:
    small = np.ascontiguousarray(image[:90, :70])
    queries = [Query(image, grid(*SIZE, 4)), Query(small, grid(90, 70, 3)), Query(image, np.empty((0, 2)))]
    segmenter = oracle_segmenter(network)
    together = segmenter.propose(queries)
    assert segmenter.network_calls.encodes == 2, "a query without points needs no encoder"
    thresholds = {"min_iou": 0.6, "min_stability": 0.5, "nms_iou": 0.7}
    for query, proposals in zip(queries, together, strict=True):
        (alone,) = oracle_segmenter(network).propose([query])
        found, expected = proposals.select(**thresholds), alone.select(**thresholds)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert one.box == other.box
            np.testing.assert_array_equal(one.mask, other.mask)
    assert together[2].select(**thresholds) == []


def test_points_added_later_give_what_they_give_at_once(network: torch.nn.Module, image: np.ndarray) -> None:
    points = grid(*SIZE, 6)
    at_once, in_turn = (Sam2Segmenter("nano", "", backend(network)) for _ in range(2))
    (expected,) = at_once.propose([Query(image, points)])
    (found,) = in_turn.propose([Query(image, points[:20])])
    assert isinstance(found, ExtendableProposals)
    thresholds = {
        "min_iou": float(np.quantile(expected._crops[0].iou, 0.5)),
        "min_stability": 0.3,
        "nms_iou": 1.0,  # a random network's masks are nearly one
    }
    found.select(**thresholds)
    upscaled = in_turn.network_calls.upscaled_points
    found.extend(points[20:])
    together, alone = (
        sorted(one.select(**thresholds), key=lambda c: (c.point, c.score)) for one in (found, expected)
    )
    assert len(together) == len(alone) > 20
    for one, other in zip(together, alone, strict=True):
        assert one.point == other.point
        assert one.score == pytest.approx(other.score, abs=1e-5)
        drawn = np.zeros((2, *SIZE), bool)
        drawn[0][one.box.slices], drawn[1][other.box.slices] = one.mask, other.mask
        assert (drawn[0] != drawn[1]).mean() < 1e-3
    assert in_turn.network_calls.encodes == 1
    assert in_turn.network_calls.decoded_points == 36
    assert upscaled > 0
    assert in_turn.network_calls.upscaled_points == at_once.network_calls.upscaled_points


def test_masks_that_were_not_kept_are_made_again(
    network: torch.nn.Module, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = grid(*SIZE, 6)
    monkeypatch.setattr(generator, "KEPT_MASK_BYTES", 600)
    segmenter = oracle_segmenter(network)
    proposals = segmenter.propose([Query(image, points)])[0]
    candidates = proposals.select(min_iou=0.7, min_stability=0.7, nms_iou=0.7)
    assert sum(kept.bits.nbytes for crop in proposals._crops for kept in crop.kept.values()) <= 600
    assert_same(candidates, oracle_reference(network, image, points, 0.7, 0.7, 0.7))


def test_low_resolution_mode_differs_little(network: torch.nn.Module, image: np.ndarray) -> None:
    query = Query(image, grid(*SIZE, 10))
    thresholds = {"min_iou": 0.75, "min_stability": 0.8, "nms_iou": 0.7}
    exact = oracle_segmenter(network).propose([query])[0].select(**thresholds)
    fast = oracle_segmenter(network, exact=False).propose([query])[0].select(**thresholds)
    assert abs(len(exact) - len(fast)) <= 0.2 * len(exact)
    shared = {(c.point, c.score) for c in exact} & {(c.point, c.score) for c in fast}
    assert len(shared) >= 0.8 * len(exact)
    by_key = {(c.point, c.score): c for c in exact}
    for candidate in fast:
        if (candidate.point, candidate.score) in shared:
            same = by_key[candidate.point, candidate.score]
            assert candidate.box == same.box
            np.testing.assert_array_equal(candidate.mask, same.mask)


def test_out_of_memory_halves_the_chunk_and_goes_on(network: torch.nn.Module, image: np.ndarray) -> None:
    points = grid(*SIZE, 5)
    worker = backend(network)
    plan = worker.plans([image])[0]
    xy = points.astype(np.float32)
    ((expected, _),) = worker.score([(plan, xy)])
    sizes: list[int] = []
    real = worker._score

    def greedy(plan, chunk):
        sizes.append(len(chunk))
        if len(chunk) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(plan, chunk)

    worker._score = greedy
    ((found, state),) = worker.score([(plan, xy)])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert len(state.tokens) == len(points)
    assert max(sizes[sizes.index(min(sizes)) :]) <= 3, "once halved, a chunk stays small"

    worker._chunks["encode"] = 4
    forward = worker._forward

    def small_batches(batch):
        if len(batch) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(batch)

    worker._forward = small_batches
    plans = worker.plans([image[:100, :100], image, image[50:200]])
    torch.testing.assert_close(plans[1].k1, plan.k1)
    assert worker.calls.encodes == 4

    def hopeless(plan, chunk):
        raise torch.OutOfMemoryError("CUDA out of memory")

    worker._score = hopeless
    with pytest.raises(DeviceError, match="out of memory at the smallest batch"):
        worker.score([(plan, xy)])


@pytest.mark.parametrize("chunk", [64, 32, 8])
def test_chunks_of_several_tiles_give_the_bits_of_one_tile_at_a_time(
    network: torch.nn.Module, image: np.ndarray, chunk: int
) -> None:
    """Whichever tiles share a chunk, in whatever order; and much the same as chunks of one tile."""
    rng = np.random.default_rng(2)
    counts = (5, 40, 1, 17, 64)
    plain, worker = backend(network), backend(network)
    worker._one_shape, worker._chunks["score"] = True, chunk
    plans = plain.plans([image[10 * i :, 7 * i :] for i in range(len(counts))])
    points = [rng.uniform(0, 256, (count, 2)).astype(np.float32) for count in counts]
    jobs = list(zip(plans, points, strict=True))
    calls: list[int] = []
    real = worker._score

    def counted(plan, points):
        calls.append(len(points))
        return real(plan, points)

    worker._score = counted
    alone = [worker.score([job])[0] for job in jobs]
    one_by_one = len(calls)
    for order in ([0, 1, 2, 3, 4], [4, 2, 0, 3, 1]):
        calls.clear()
        for index, (iou, state) in zip(order, worker.score([jobs[i] for i in order]), strict=True):
            np.testing.assert_array_equal(iou, alone[index][0])
            for field in fields(state):
                assert torch.equal(getattr(state, field.name), getattr(alone[index][1], field.name))
        assert chunk == 8 or len(calls) < one_by_one, "late passes of several tiles share a call"
        assert set(calls) == {chunk}, "one shape"
    for job, (iou, _) in zip(jobs, alone, strict=True):
        np.testing.assert_allclose(iou, plain.score([job])[0][0], atol=1e-5)


def test_out_of_memory_with_several_tiles_in_a_chunk(network: torch.nn.Module, image: np.ndarray) -> None:
    worker = backend(network)
    plans = worker.plans([image, image[50:]])
    jobs = [(plan, np.full((n, 2), 100, np.float32)) for plan, n in zip(plans, (30, 3), strict=True)]
    expected = [iou for iou, _ in worker.score(jobs)]
    worker._one_shape, real = True, worker._score

    def greedy(plan, points):
        if len(points) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(plan, points)

    worker._score = greedy
    for (iou, state), same in zip(worker.score(jobs), expected, strict=True):
        np.testing.assert_allclose(iou, same, atol=1e-5)
        assert len(state.tokens) == len(same)
    assert worker._chunks["score"] == 4


@pytest.mark.parametrize("size", [(1000, 1000), (517, 1203), (64, 40)])
@pytest.mark.parametrize("layers", [0, 1, 2])
def test_crops_lie_where_sam2_puts_them(size: tuple[int, int], layers: int) -> None:
    boxes, _ = generate_crop_boxes(size, layers, 512 / 1500)
    ours = [[w.col, w.row, w.col_stop, w.row_stop] for w in crop_windows(*size, layers)]
    assert ours == boxes


def test_masks_cut_by_a_crop_are_told_as_sam2_tells_them() -> None:
    rng = np.random.default_rng(5)
    chip = Window(0, 0, 300, 400)
    told = []
    for crop in crop_windows(300, 400, 1)[1:]:
        for _ in range(200):
            row, col = crop.row + rng.integers(0, 60), crop.col + rng.integers(0, 60)
            box = Window(int(row), int(col), int(rng.integers(1, 190)), int(rng.integers(1, 190))).intersect(
                crop
            )
            stock_box = torch.tensor(
                [
                    [
                        box.col - crop.col,
                        box.row - crop.row,
                        box.col_stop - 1 - crop.col,
                        box.row_stop - 1 - crop.row,
                    ]
                ]
            )
            corners = [crop.col, crop.row, crop.col_stop, crop.row_stop]
            expected = bool(is_box_near_crop_edge(stock_box, corners, [0, 0, 400, 300])[0])
            assert cut_off(box, crop, chip) == expected
            told.append(expected)
    assert 0.1 < np.mean(told) < 0.9


def test_crops_add_masks_and_obey_the_allowed_pixels(network: torch.nn.Module, image: np.ndarray) -> None:
    allowed = np.zeros(SIZE, bool)
    allowed[:, :150] = True
    query = Query(image, grid(*SIZE, 4), crop_layers=1, crop_points_per_side=6, allowed=allowed)
    for crop in crop_windows(*SIZE, 1)[1:]:
        points = crop_points(query, crop, whole=False)
        x, y = points[:, 0] + crop.col, points[:, 1] + crop.row
        assert len(points) == 0 or allowed[y.astype(int), x.astype(int)].all()
    segmenter = oracle_segmenter(network)
    (proposals,) = segmenter.propose([query])
    candidates = proposals.select(min_iou=0.7, min_stability=0.7, nms_iou=0.7)
    assert segmenter.network_calls.encodes == 5
    (plain,) = oracle_segmenter(network).propose([Query(image, grid(*SIZE, 4))])
    assert len(candidates) > len(plain.select(min_iou=0.7, min_stability=0.7, nms_iou=0.7))
    boxes = [c.box for c in candidates]
    for index, box in enumerate(boxes):
        for other in boxes[:index]:
            inclusive = [Window(w.row, w.col, w.height - 1, w.width - 1) for w in (box, other)]
            shared = inclusive[0].intersect(inclusive[1]).area
            assert shared <= 0.7 * (inclusive[0].area + inclusive[1].area - shared) + 1e-9


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_compiled_networks_answer_the_same(network: torch.nn.Module, image: np.ndarray) -> None:
    points = np.random.default_rng(1).uniform(0, 256, (70, 2)).astype(np.float32)  # not a multiple of a chunk
    plain, compiled = (Sam2Backend(network, torch.float32, 64, compiled=flag) for flag in (False, True))
    answers = []
    for worker in (plain, compiled):
        plan = worker.plans([image])[0]
        ((scores, state),) = worker.score([(plan, points)])
        logits: list[torch.Tensor] = []
        worker.logits(plan, state, np.array([69, 3]), lambda _, made, kept=logits: kept.append(made))
        answers.append((scores, torch.cat(logits)))
    np.testing.assert_allclose(answers[0][0], answers[1][0], atol=1e-4)
    torch.testing.assert_close(answers[0][1], answers[1][1], atol=1e-2, rtol=1e-3)


def test_threads_that_share_a_device_get_the_bits_of_one_tile_at_a_time(
    network: torch.nn.Module, image: np.ndarray
) -> None:
    worker = backend(network)
    worker._one_shape, worker._chunks["score"] = True, 16
    segmenter = Sam2Segmenter("nano", "", worker)
    shared = SharedSegmenter(segmenter)
    queries = [Query(image[15 * i :], grid(*SIZE, i + 1)[:, ::-1] * 0.5) for i in range(3)]
    alone = [shared.propose([query])[0] for query in queries]

    batches: list[int] = []
    propose = segmenter.propose
    segmenter.propose = lambda batch: batches.append(len(batch)) or propose(batch)
    with ThreadPoolExecutor(3) as pool:
        with shared._device:  # as if another tile had it
            waiting = [pool.submit(shared.propose, [query]) for query in queries]
            while len(shared._waiting) < 3:
                time.sleep(0.01)
        together = [one.result()[0] for one in waiting]
    assert batches == [3], "what waits goes to the device as one batch"
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one._crops[0].points, other._crops[0].points)
        np.testing.assert_array_equal(one._crops[0].iou, other._crops[0].iou)
        assert torch.equal(one._crops[0].state.tokens, other._crops[0].state.tokens)
