"""The nano network as the trainer sees it: a start that can learn, helper heads, a decode that shares work.

Why a special start: from scratch, SAM 2's plain objective stalls because the stride-16 embedding outgrows the
positional code, and the click's attention then sees content but not place. So the neck starts with outputs as
small as the code, and the image attentions start by comparing places.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from remotesam.segmenter.architectures import build

NECK_STD = 0.3
"""Standard deviation of the neck's outputs at the start; that of the positional code is 0.7."""
PLACE_GAIN = 3.0
"""Gain of the q and k projections that start as a selection of the positional code."""
FREQUENCIES = (0.5, 8.0)
"""Range of the positional code's frequencies, in periods per half frame, even in their logarithm. SAM 2 draws
them from a normal distribution of deviation 1: too slow to tell the quarters of a stride-16 cell apart."""
FRAME = 512
"""Side of the released model's input in pixels. Smaller training crops lie somewhere in such a frame, so that
the positional code means the same as it will later."""
LIFT = 2.0
"""Mean over channels of the stride-4 mask features: high enough for GELU to let them through unchanged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """What the mask decoder says about B images with P prompts each.

    Attributes:
        logits: (B, P, 4, h, w); mask 0 is the single-mask output, 1..3 are the three of `multimask_output`.
        iou: (B, P, 4) predicted IoU, 0..1.
        present: (B, P) object-presence logit.
        tokens: (B, P, T, D) tokens after the transformer, prompts included, in the decoder's order.
        hyper: (B, P, 4, C) the vectors whose product with the pixels' features gives the logits.
    """

    logits: Tensor
    iou: Tensor
    present: Tensor
    tokens: Tensor
    hyper: Tensor


class Network(nn.Module):
    """A SAM 2 model plus the heads that only training needs."""

    sam: Any

    def __init__(self, seed: int) -> None:
        """Build and initialise.

        Args:
            seed: Seed of all initial weights.
        """
        super().__init__()
        torch.manual_seed(seed)
        self.sam = build("nano", image_size=FRAME)
        width = self.sam.image_encoder.neck.d_model
        channels = self.sam.sam_mask_decoder.conv_s0.out_channels
        self.affinity_scale = nn.Parameter(torch.tensor([3.0, 1.0]))
        self.recall_click = nn.Linear(width, channels)
        self.sketch = nn.Conv2d(width, 16 * channels, 1)
        _spread_frequencies(self.sam.sam_prompt_encoder.pe_layer)
        with torch.no_grad():
            self.sam.sam_mask_decoder.conv_s0.bias.fill_(LIFT)
        _shrink_neck(self.sam)
        _attend_to_place(self.sam)

    def take_encoder(self, checkpoint: dict[str, Tensor]) -> None:
        """Start from a finished model's encoder and dense embedding; the rest of the decoder stays new."""
        kept = ("image_encoder.", "sam_mask_decoder.conv_s")
        found = {name: value.float() for name, value in checkpoint.items() if name.startswith(kept)}
        self.sam.load_state_dict(found, strict=False)

    def take(self, checkpoint: dict[str, dict[str, Tensor]]) -> None:
        """Start from a released file: all of SAM 2 and the scale of affinities; helper heads stay new.

        Args:
            checkpoint: What `training.export` wrote: "model" and "affinity" with its "level_slope".
        """
        self.sam.load_state_dict({name: value.float() for name, value in checkpoint["model"].items()})
        level, slope = checkpoint["affinity"]["level_slope"]
        with torch.no_grad():
            self.affinity_scale.copy_(torch.stack([level, torch.log(torch.expm1(slope))]))

    def encode(self, images: Tensor) -> list[Tensor]:
        """Give the pyramid at strides 4, 8 and 16 of (B, 3, S, S) normalised images."""
        features: list[Tensor] = self.sam.image_encoder(images)["backbone_fpn"]
        return features

    def embed(self, fine: Tensor) -> tuple[Tensor, Tensor]:
        """Give the dense embedding of (B, D, h, w) stride-4 features, and its lift.

        It is the decoder's own high-resolution input, less its mean over channels: what the affinity loss
        makes alike within a region is then what the mask logits are products of.

        Returns:
            (B, C, h, w) embedding, zero mean over C, and (B, h, w) the mean that was taken away.
        """
        features = self.sam.sam_mask_decoder.conv_s0(fine).float()
        lift = features.mean(1)
        return features - lift[:, None], lift

    def decode(
        self,
        pyramid: list[Tensor],
        points: Tensor,
        labels: Tensor,
        masks: Tensor | None = None,
        corner: tuple[int, int] = (0, 0),
    ) -> Decoded:
        """Decode P prompts on each of B images.

        As long as no prompt mask differs between prompts, the first layer's image keys, values and queries
        are computed once per image: exact, and a quarter of the decoder's work.

        Args:
            pyramid: Output of `encode`.
            points: (B, P, K, 2) (x, y) in model pixels, edges at integers.
            labels: (B, P, K) 1 foreground, 0 background, 2 and 3 box corners, -1 padding.
            masks: (B, P, h, w) previous logits at stride 4, or None.
            corner: (row, column), in stride-16 cells, of the crop's first cell in the frame.
        """
        sam, decoder = self.sam, self.sam.sam_mask_decoder
        b, p = points.shape[:2]
        row, column = corner
        placed = points + 16 * points.new_tensor([column, row])
        sparse, dense = sam.sam_prompt_encoder(
            points=(placed.flatten(0, 1), labels.flatten(0, 1)),
            boxes=None,
            masks=None if masks is None else masks.flatten(0, 1)[:, None],
        )
        output = torch.cat(
            [decoder.obj_score_token.weight, decoder.iou_token.weight, decoder.mask_tokens.weight]
        )
        tokens = torch.cat([output.expand(b * p, -1, -1), sparse], 1)
        image = pyramid[2] + sam.no_mem_embed.view(1, -1, 1, 1)
        _, d, h, w = image.shape
        code = sam.sam_prompt_encoder.get_dense_pe()[:, :, row : row + h, column : column + w]
        place = code.flatten(2).transpose(1, 2)
        if masks is None:
            keys = (image + dense[:1, :, :1, :1]).flatten(2).transpose(1, 2)
        else:
            keys = (image[:, None] + dense.unflatten(0, (b, p))).flatten(0, 1).flatten(2).transpose(1, 2)
        hs, keys = _two_way(decoder.transformer, keys, place, tokens)
        grid = keys.transpose(1, 2).reshape(b * p, d, h, w)
        first, norm, act1, second, act2 = decoder.output_upscaling
        fine = decoder.conv_s0(pyramid[0]).repeat_interleave(p, 0)
        middle = decoder.conv_s1(pyramid[1]).repeat_interleave(p, 0)
        pixels = act2(second(act1(norm(first(grid) + middle))) + fine)
        hyper = torch.stack([m(hs[:, 2 + i]) for i, m in enumerate(decoder.output_hypernetworks_mlps)], 1)
        logits = (hyper @ pixels.flatten(2)).unflatten(2, pixels.shape[-2:])
        return Decoded(
            logits=logits.float().unflatten(0, (b, p)),
            iou=decoder.iou_prediction_head(hs[:, 1]).float().unflatten(0, (b, p)),
            present=decoder.pred_obj_score_head(hs[:, 0]).float().view(b, p),
            tokens=hs.float().unflatten(0, (b, p)),
            hyper=hyper.float().unflatten(0, (b, p)),
        )


def _two_way(transformer: Any, keys: Tensor, place: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Run the two-way transformer; `keys` has one row per image (shared) or one per prompt."""
    first, rest = transformer.layers[0], list(transformer.layers)[1:]
    queries, keys = _first_layer(first, keys, place, tokens)
    for layer in rest:
        queries, keys = layer(queries=queries, keys=keys, query_pe=tokens, key_pe=place)
    final = transformer.final_attn_token_to_image
    queries = queries + final(q=queries + tokens, k=keys + place, v=keys)
    return transformer.norm_final_attn(queries), keys


def _first_layer(layer: Any, keys: Tensor, place: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Run the first two-way block, image-side projections once per row of `keys`."""
    b, shared = keys.shape[0], tokens.shape[0] // keys.shape[0]
    queries = layer.norm1(layer.self_attn(q=tokens, k=tokens, v=tokens))
    attend = layer.cross_attn_token_to_image
    merged = (queries + tokens).reshape(b, -1, tokens.shape[-1])  # all prompts of one image ask at once
    queries = layer.norm2(queries + attend(q=merged, k=keys + place, v=keys).reshape(tokens.shape))
    queries = layer.norm3(queries + layer.mlp(queries))
    back = layer.cross_attn_image_to_token
    heads = back.num_heads
    q = back._separate_heads(back.q_proj(keys + place), heads).repeat_interleave(shared, 0)
    k = back._separate_heads(back.k_proj(queries + tokens), heads)
    v = back._separate_heads(back.v_proj(queries), heads)
    read = back.out_proj(back._recombine_heads(nn.functional.scaled_dot_product_attention(q, k, v)))
    return queries, layer.norm4(keys.repeat_interleave(shared, 0) + read)


@torch.no_grad()
def _spread_frequencies(code: Any) -> None:
    """Draw the positional code's frequencies anew: even in their logarithm, in any direction."""
    matrix = code.positional_encoding_gaussian_matrix
    count = matrix.shape[1]
    low, high = (math.log(value) for value in FREQUENCIES)
    size = torch.linspace(low, high, count).exp()[torch.randperm(count)]
    turn = torch.rand(count) * 2 * math.pi
    matrix.copy_(torch.stack([size * turn.cos(), size * turn.sin()]))


@torch.no_grad()
def _shrink_neck(sam: Any) -> None:
    """Scale the neck's convolutions, coarsest first, until every level starts with std `NECK_STD`."""
    neck = sam.image_encoder.neck
    noise = torch.randn(2, 3, 256, 256)
    trunk = sam.image_encoder.trunk(noise)
    for _ in range(3):
        outputs = neck(trunk)[0]
        for conv, output in zip(neck.convs, reversed(outputs), strict=True):
            scale = NECK_STD / float(output.std())
            conv.conv.weight.mul_(scale)
            conv.conv.bias.mul_(scale)


@torch.no_grad()
def _attend_to_place(sam: Any) -> None:
    """Start q and k of the image attentions as one selection of the positional code.

    The sine and the cosine of one frequency go to one head, so that q·k falls with distance.
    """
    for name, module in sam.sam_mask_decoder.transformer.named_modules():
        if not name.endswith(
            ("cross_attn_token_to_image", "cross_attn_image_to_token", "final_attn_token_to_image")
        ):
            continue
        inner, width = module.q_proj.weight.shape
        per_head = inner // module.num_heads
        frequency = torch.randperm(width // 2)
        select = torch.zeros(inner, width)
        for pair in range(inner // 2):
            head, slot = divmod(pair, per_head // 2)
            f = int(frequency[pair % (width // 2)])
            row = head * per_head + 2 * slot
            select[row, f] = select[row + 1, f + width // 2] = PLACE_GAIN
        for projection in (module.q_proj, module.k_proj):
            projection.weight.copy_(select + 0.01 * torch.randn_like(select))
            projection.bias.zero_()
