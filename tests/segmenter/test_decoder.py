"""The refactored mask decoder against sam2's own, on networks whose every weight and bias matters."""

from __future__ import annotations

import pytest
import torch

from benchmarks.reference_amg import Encoded, decode_stock
from remotesam.segmenter.architectures import build
from remotesam.segmenter.decoder import PointDecoder, TilePlan


def lively(name: str, image_size: int, seed: int = 0) -> torch.nn.Module:
    """A random network with sharp attention, non-trivial norms and logits of a trained network's size."""
    torch.manual_seed(seed)
    model = build(name, image_size=image_size)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
        for module in model.sam_mask_decoder.transformer.modules():
            if hasattr(module, "q_proj"):
                module.q_proj.weight.mul_(4)
                module.k_proj.weight.mul_(4)
                module.out_proj.weight.mul_(3)
        for head in model.sam_mask_decoder.output_hypernetworks_mlps:
            head.layers[-1].weight.mul_(60)
    return model


def encoded(model: torch.nn.Module, seed: int = 1) -> Encoded:
    """Features of a random image."""
    torch.manual_seed(seed)
    with torch.inference_mode():
        levels = model.forward_image(torch.randn(1, 3, model.image_size, model.image_size))["backbone_fpn"]
        embedding = levels[2] + model.no_mem_embed.view(1, -1, 1, 1)
    return Encoded(embedding, levels[:2])


def plan_of(decoder: PointDecoder, features: Encoded) -> TilePlan:
    return decoder.plan(features.embedding[0], features.fine[1][0], features.fine[0][0])


@pytest.fixture(scope="module", params=[("nano", 256), ("sam2.1-tiny", 256), ("sam2-tiny", 128)])
def network(request: pytest.FixtureRequest) -> torch.nn.Module:
    return lively(*request.param)


def test_scores_and_logits_are_those_of_the_stock_decoder(network: torch.nn.Module) -> None:
    features = encoded(network)
    points = torch.rand(9, 2) * network.image_size
    with torch.inference_mode():
        stock_logits, stock_scores = decode_stock(network, features, points)
    decoder = PointDecoder(network)
    plan = plan_of(decoder, features)
    scores, state = decoder.score(plan, points)
    logits = decoder.logits(plan, state)

    assert stock_logits.std() > 1
    assert stock_scores.std(0).max() > 1e-3, "the points must differ for the comparison to mean anything"
    torch.testing.assert_close(scores, stock_scores, atol=1e-5, rtol=0)
    torch.testing.assert_close(logits, stock_logits, atol=1e-3 * stock_logits.std().item(), rtol=0)
    assert ((logits > 0) != (stock_logits > 0)).float().mean() < 1e-5


def test_points_do_not_influence_each_other(network: torch.nn.Module) -> None:
    decoder = PointDecoder(network)
    plan = plan_of(decoder, encoded(network))
    points = torch.rand(5, 2) * network.image_size
    scores, state = decoder.score(plan, points)
    alone, _ = decoder.score(plan, points[3:4])
    torch.testing.assert_close(scores[3:4], alone, atol=1e-5, rtol=0)
    logits = decoder.logits(plan, state)
    picked = decoder.logits(plan, state[torch.tensor([4, 1])])
    torch.testing.assert_close(picked, logits[[4, 1]], atol=1e-3, rtol=1e-3)


def test_bfloat16_agrees_with_float32_on_almost_every_pixel() -> None:
    network = lively("nano", 256)
    features, points = encoded(network), torch.rand(4, 2) * 256
    exact, half = PointDecoder(network), PointDecoder(network, torch.bfloat16)
    plan = plan_of(exact, features)
    scores, state = exact.score(plan, points)
    logits = exact.logits(plan, state)
    with torch.autocast("cpu", torch.bfloat16):
        half_plan = plan_of(half, features)
        half_scores, half_state = half.score(half_plan, points)
        half_logits = half.logits(half_plan, half_state)
    assert half_plan.up.dtype == torch.bfloat16
    assert (scores - half_scores).abs().max() < 0.02
    assert ((logits > 0) == (half_logits > 0)).float().mean() > 0.97


def test_everything_stays_on_the_device_of_the_network() -> None:
    network = build("nano", image_size=256).to("meta")  # refuses to mix with tensors made on the CPU
    with torch.no_grad():
        levels = network.forward_image(torch.empty(1, 3, 256, 256, device="meta"))["backbone_fpn"]
    decoder = PointDecoder(network)
    plan = plan_of(decoder, Encoded(levels[2], levels[:2]))
    scores, state = decoder.score(plan, torch.empty(5, 2, device="meta"))
    logits = decoder.logits(plan, state[torch.empty(2, dtype=torch.long, device="meta")])
    assert (scores.device.type, scores.shape) == ("meta", (5, 3))
    assert (logits.device.type, logits.shape) == ("meta", (2, 3, 64, 64))
