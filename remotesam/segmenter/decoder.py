"""SAM 2's mask decoder for many single points on one image: the same function, a fraction of the work.

The stock decoder (Ravi et al. 2024, arXiv 2408.00714, appendix D; Kirillov et al. 2023, arXiv 2304.02643)
repeats the N image tokens for every point, and updates all of them twice by attention to the point's T
tokens. But such an update has low rank. With H heads, the attention output that image token n receives is

    sum over r = (head, token) of A[r, n] * U[r],      R = H T = 64 rows,

where A are the attention weights and U the token values through the out-projection. So after layer 0 the
image tokens of a point are

    keys1[n] = s0[n] * (Kc[n] + sum_r A0[r, n] * U0[r]) * gamma + beta

with Kc common to all points (centred over channels) and s0 the reciprocal deviation of the layer norm.
Whatever follows is linear in keys1: projections of Kc are computed once per image, projections of the few
rows U0 once per point, and the N x D tokens of a point never exist. The layer norm's variance is a quadratic
form in A0. The second update adds 64 more rows. Biases that shift all logits of a softmax drop out.

Two more savings: the predicted IoU needs one of eight tokens in the final attention, so it comes first, and
only points with a promising mask pay for mask tokens and upscaling; transposed convolutions with stride =
kernel size are matrix products.

Exact up to float rounding. `docs/performance.md` has the measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from remotesam.segmenter.decoder_weights import AttentionWeights, DecoderWeights, centred, refactor

if TYPE_CHECKING:
    from sam2.modeling.sam.transformer import TwoWayAttentionBlock
    from sam2.modeling.sam2_base import SAM2Base


@dataclass(frozen=True, slots=True)
class TilePlan:
    """Everything of one image that all its points share; B = 1, or of several images, one after another."""

    first_k: Tensor
    """(B, H, N, k) keys of layer 0."""
    first_v: Tensor
    """(B, H, N, k) values of layer 0."""
    q0: Tensor
    """(B, H, k, N) image queries of layer 0."""
    k1: Tensor
    """(B, H, k, N) keys of layer 1 from Kc; v1, q1: values and image queries."""
    v1: Tensor
    """See `k1`."""
    q1: Tensor
    """See `k1`."""
    cross0: Tensor
    """(B, H, k, N) products of Kc with the out-projection, for the variance of layer 0."""
    cross0_g: Tensor
    """(B, H, k, N) products of KG, the scaled and centred Kc, for the variance of layer 1."""
    cross1: Tensor
    """(B, H, k, N) the same with layer 1's out-projection."""
    kf: Tensor
    """(B, H, k, N) final keys from KG; vf: values."""
    vf: Tensor
    """See `kf`."""
    norm_c: Tensor
    """(B, N) squared length of Kc."""
    norm_g: Tensor
    """(B, N) squared length of KG."""
    dot_g: Tensor
    """(B, N) twice the product of KG with the constant part."""
    up: Tensor
    """(B, N, D) first upscaling of KG."""
    fine1: Tensor
    """(B, N, D) stride-8 features and constants, columns (row, col, channel)."""
    fine0: Tensor
    """(B, 4 N, 4 D/8) stride-4 features and constants, rows (token, row, col)."""
    grid: int
    """Side of the image token grid, N = grid²."""

    @classmethod
    def joined(cls, plans: Sequence[TilePlan]) -> TilePlan:
        """Put images side by side for `score`, which takes as many points of each; not for `logits`."""
        for_logits = ("up", "fine1", "fine0")  # the largest parts: left out
        parts: dict[str, Any] = {"grid": plans[0].grid}
        for name in (f.name for f in fields(cls) if f.name != "grid"):
            each = [getattr(plan, name) for plan in plans]
            parts[name] = each[0][:0] if name in for_logits else torch.cat(each)
        return cls(**parts)


@dataclass(frozen=True, slots=True)
class PointState:
    """What is kept of decoded points, so that mask logits can follow later."""

    k0: Tensor
    """(P, T, H, k) keys of the tokens for the image, layer 0; v0: values; k1, v1: layer 1."""
    v0: Tensor
    """See `k0`."""
    k1: Tensor
    """See `k0`."""
    v1: Tensor
    """See `k0`."""
    s0: Tensor
    """(P, N) reciprocal deviations of the image tokens, layer 0."""
    s1: Tensor
    """(P, N) the same, layer 1."""
    tokens: Tensor
    """(P, 3, D) the three mask tokens before the final attention."""
    queries: Tensor
    """(P, 3, H, k) their final queries."""

    def __getitem__(self, rows: slice | Tensor) -> PointState:
        """Give the state of some of the points."""
        return PointState(*(getattr(self, field.name)[rows] for field in fields(self)))

    def room_for(self, count: int) -> PointState:
        """Give an unfilled state of `count` points, of the same shapes otherwise."""
        parts = (getattr(self, field.name) for field in fields(self))
        return PointState(*(part.new_empty(count, *part.shape[1:]) for part in parts))

    def followed_by(self, other: PointState) -> PointState:
        """Give the state of these points and then of others of the same image."""
        return PointState(*(torch.cat([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))

    def put(self, rows: slice, state: PointState) -> None:
        """Overwrite some of the points with the first ones of another state."""
        for field in fields(self):
            target = getattr(self, field.name)[rows]
            target.copy_(getattr(state, field.name)[: len(target)])


class PointDecoder:
    """The refactored mask decoder of one model.

    Args:
        model: The network in eval mode; its modules do the per-token work.
        dtype: Number format of the large products; layer norms and softmax sums stay in float32.
    """

    def __init__(self, model: SAM2Base, dtype: torch.dtype = torch.float32) -> None:
        self._decoder = model.sam_mask_decoder
        self._prompt = model.sam_prompt_encoder
        self._dtype = dtype
        self._exact = refactor(model)
        self._w = _cast(self._exact, dtype)

    @torch.no_grad()
    def plan(self, embedding: Tensor, stride8: Tensor, stride4: Tensor) -> TilePlan:
        """Compute what the points of one image share.

        Args:
            embedding: (D, g, g) image embedding.
            stride8: (D/4, 2g, 2g) high-resolution features, after `conv_s1`.
            stride4: (D/8, 4g, 4g) the same, after `conv_s0`.
        """
        w, heads, grid = self._exact, self._exact.heads, embedding.shape[-1]
        keys = embedding.float().flatten(1) + self._prompt.no_mask_embed.weight.T
        with_pe = keys + w.pe
        kc = centred(keys + w.image0.out_bias[:, None])
        kg = centred(w.gamma0 * kc)
        width, inner = kc.shape[0], w.pe_k1.shape[0]
        k1, v1, q1, cross0 = (w.to_kc @ kc).split(inner)
        cross0_g, cross1, kf, vf, up = (w.to_kg @ kg).split([inner] * 4 + [width])

        def by_head(channels: Tensor) -> Tensor:
            split: Tensor = channels.unflatten(0, (heads, -1)).to(self._dtype)[None]
            return split

        return TilePlan(
            first_k=by_head(w.first.k @ with_pe + w.first.k_bias[:, None]).mT.contiguous(),
            first_v=by_head(w.first.v @ keys + w.first.v_bias[:, None]).mT.contiguous(),
            q0=by_head(w.image0.q @ with_pe + w.image0.q_bias[:, None]),
            k1=by_head(k1),
            v1=by_head(v1),
            q1=by_head(q1),
            cross0=by_head(cross0),
            cross0_g=by_head(cross0_g),
            cross1=by_head(cross1),
            kf=by_head(kf),
            vf=by_head(vf),
            norm_c=kc.square().sum(0)[None],
            norm_g=kg.square().sum(0)[None],
            dot_g=(2 * w.bias1 @ kg)[None],
            up=up.T.contiguous().to(self._dtype)[None],
            fine1=(_subpixels(stride8.float(), grid).flatten(1) + w.up_bias).to(self._dtype)[None],
            fine0=_nested_subpixels(stride4.float(), grid).add_(w.up2_bias).to(self._dtype)[None],
            grid=grid,
        )

    @torch.no_grad()
    def score(self, plan: TilePlan, points: Tensor) -> tuple[Tensor, PointState]:
        """Run the transformer for points and predict the quality of their masks.

        Args:
            plan: Of the image, or of B images.
            points: (P, 2) float32 (x, y) in pixels of the network's input; of each image P / B in turn.

        Returns:
            (P, 3) predicted IoU in float32, and the state that `logits` needs.
        """
        w, layers = self._w, self._decoder.transformer.layers
        pe = self._prompt_tokens(points)
        tokens = layers[0].norm1(layers[0].self_attn(q=pe, k=pe, v=pe))
        attended = self._attend_first(plan, tokens + pe)
        tokens = _after_attention(layers[0], tokens, attended)
        k0, v0 = self._token_keys(layers[0], tokens, pe)
        a0 = self._a0(plan, k0)
        s0 = self._deviation0(plan, a0, v0)
        b0 = a0.mul_(s0[:, None])

        with_pe = tokens + pe
        tokens = layers[1].norm1(tokens + layers[1].self_attn(q=with_pe, k=with_pe, v=tokens))
        attended = self._attend_second(plan, tokens + pe, v0, b0, s0)
        tokens = _after_attention(layers[1], tokens, attended)
        k1, v1 = self._token_keys(layers[1], tokens, pe)
        b = torch.cat([b0, self._a1(plan, k1, v0, b0, s0)], 1)
        s1 = self._deviation1(plan, b, v0, v1, s0)

        queries = self._heads(_linear(tokens + pe, w.final.q, w.final.q_bias))
        iou_index = 1 if self._decoder.pred_obj_scores else 0
        iou_token = slice(iou_index, iou_index + 1)
        masks = slice(iou_index + 2, iou_index + 5)
        state = PointState(k0, v0, k1, v1, s0, s1, tokens[:, masks], queries[:, masks])
        answer = self._attend_final(plan, b, state, tokens[:, iou_token], queries[:, iou_token])
        iou = self._decoder.iou_prediction_head(answer[:, 0])[:, 1:]
        return iou.float(), state

    @torch.no_grad()
    def logits(self, plan: TilePlan, state: PointState) -> Tensor:
        """Make the three mask logits of points.

        Args:
            plan: Of the image.
            state: From `score`, or rows of it.

        Returns:
            (P, 3, 4g, 4g) float32; above 0 = inside.
        """
        w = self._w
        b0 = self._a0(plan, state.k0).mul_(state.s0[:, None])
        b = torch.cat([b0, self._a1(plan, state.k1, state.v0, b0, state.s0)], 1)
        answer = self._attend_final(plan, b, state, state.tokens, state.queries)
        mlps = self._decoder.output_hypernetworks_mlps
        hyper = torch.stack([mlps[i + 1](answer[:, i]) for i in range(3)], 1).to(self._dtype)

        rows = torch.cat([_rows(state.v0, w.via0_up), _rows(state.v1, w.via1_up) + w.bias1_up], 1)
        fine = torch.addcmul(plan.fine1, plan.up, (state.s0 * state.s1)[..., None])
        fine = fine.baddbmm_(b.mul_(state.s1[:, None]).mT, rows)
        count, tokens, width = fine.shape
        norm = self._decoder.output_upscaling[1]
        fine = F.layer_norm(
            fine.view(count, 4 * tokens, width // 4), (width // 4,), norm.weight, norm.bias, norm.eps
        )
        fine = torch.ops.aten.gelu_(fine).to(self._dtype)
        finest = torch.baddbmm(plan.fine0.expand(count, -1, -1), fine, w.up2.expand(count, -1, -1))
        finest = torch.ops.aten.gelu_(finest).view(count, 16 * tokens, width // 8)
        masks: Tensor = (hyper @ finest.mT).float().view(count, 3, plan.grid, plan.grid, 2, 2, 2, 2)
        return masks.permute(0, 1, 2, 4, 6, 3, 5, 7).reshape(count, 3, 4 * plan.grid, 4 * plan.grid)

    def _prompt_tokens(self, points: Tensor) -> Tensor:
        """Give (P, T, D): object, IoU and mask tokens, the point, and the padding point."""
        ones = torch.ones(len(points), 1, dtype=torch.int32, device=points.device)
        sparse, _ = self._prompt(points=(points[:, None], ones), boxes=None, masks=None)
        decoder = self._decoder
        own = [decoder.iou_token.weight, decoder.mask_tokens.weight]
        if decoder.pred_obj_scores:
            own.insert(0, decoder.obj_score_token.weight)
        return torch.cat([torch.cat(own).expand(len(points), -1, -1), sparse], 1)

    def _heads(self, tokens: Tensor) -> Tensor:
        split: Tensor = tokens.unflatten(-1, (self._w.heads, -1)).to(self._dtype)
        return split

    def _token_keys(self, layer: TwoWayAttentionBlock, tokens: Tensor, pe: Tensor) -> tuple[Tensor, Tensor]:
        attention = layer.cross_attn_image_to_token
        return self._heads(attention.k_proj(tokens + pe)), self._heads(attention.v_proj(tokens))

    def _attend_first(self, plan: TilePlan, queries: Tensor) -> Tensor:
        """Layer 0, tokens to image: all points' queries against one set of keys and values."""
        w = self._w.first
        q = self._heads(_linear(queries, w.q, w.q_bias)).unflatten(0, (len(plan.first_k), -1))
        q = q.flatten(1, 2).transpose(1, 2)
        out = F.scaled_dot_product_attention(q, plan.first_k, plan.first_v, scale=1.0)
        return _linear(out.transpose(1, 2).reshape(*queries.shape[:2], -1), w.out, w.out_bias)

    def _a0(self, plan: TilePlan, k0: Tensor) -> Tensor:
        """Layer 0, image to tokens: attention weights (P, R, N)."""
        return _over_tokens(_products(k0, plan.q0), self._w.heads)

    def _deviation0(self, plan: TilePlan, a0: Tensor, v0: Tensor) -> Tensor:
        u0 = _rows(v0, self._w.out0)
        z = _products(v0, plan.cross0).baddbmm_(u0 @ u0.mT, a0)
        return self._deviation(_each(plan.norm_c, len(v0)) + _dot(a0, z), 0)

    def _deviation1(self, plan: TilePlan, b: Tensor, v0: Tensor, v1: Tensor, s0: Tensor) -> Tensor:
        w, half = self._w, b.shape[1] // 2
        bias = (self._exact.bias1 / w.heads).to(self._dtype)
        u0, u1 = _rows(v0, w.out0_g), _rows(v1, w.out1) + bias
        # (b0, b1) G (b0, b1)' with G symmetric: the off-diagonal block counts twice.
        gram = torch.cat([u0 @ u0.mT, 2 * (u0 @ u1.mT)], 2)
        z0 = _products(v0, plan.cross0_g).mul_(s0[:, None]).baddbmm_(gram, b)
        z1 = _products(v1, plan.cross1).mul_(s0[:, None]).baddbmm_(u1 @ u1.mT, b[:, half:])
        norm_g, dot_g = _each(plan.norm_g, len(v0)), _each(plan.dot_g, len(v0))
        squares = (norm_g * s0 + dot_g) * s0 + _dot(b[:, :half], z0) + _dot(b[:, half:], z1)
        return self._deviation(squares, 1)

    def _deviation(self, squares: Tensor, layer: int) -> Tensor:
        width = self._w.gamma0.shape[0]
        return (squares / width + self._w.eps[layer]).rsqrt_().to(self._dtype)

    def _attend_second(self, plan: TilePlan, queries: Tensor, v0: Tensor, b0: Tensor, s0: Tensor) -> Tensor:
        """Layer 1, tokens to image."""
        w = self._w
        q = self._heads(_linear(queries, w.token1.q, w.token1.q_bias))
        keys, values, _ = self._via0(v0)
        scores = torch.addcmul(_products(q, w.pe_k1), _products(q, plan.k1), s0[:, None])
        weights = scores.baddbmm_(_pair(q, keys), b0).softmax(-1)
        low_rank = _unpair(weights @ b0.mT, values)
        out = _weighted(weights.mul_(s0[:, None]), plan.v1) + low_rank
        return _linear(out.flatten(2) + w.v1_bias, w.token1.out, w.token1.out_bias)

    def _a1(self, plan: TilePlan, k1: Tensor, v0: Tensor, b0: Tensor, s0: Tensor) -> Tensor:
        """Layer 1, image to tokens: attention weights (P, R, N)."""
        w = self._w
        queries = self._via0(v0)[2]
        scores = torch.addcmul(_products(k1, w.pe_q1), _products(k1, plan.q1), s0[:, None])
        return _over_tokens(scores.baddbmm_(_pair(k1, queries), b0), w.heads)

    def _via0(self, v0: Tensor) -> tuple[Tensor, ...]:
        """Layer 0's rows as layer 1 keys, values and image queries, each (P, R, H, k)."""
        return self._heads_of(_rows(v0, self._w.via0), 3)

    def _heads_of(self, rows: Tensor, parts: int) -> tuple[Tensor, ...]:
        split: tuple[Tensor, ...] = rows.unflatten(-1, (parts, self._w.heads, -1)).unbind(2)
        return split

    def _attend_final(
        self, plan: TilePlan, b: Tensor, state: PointState, tokens: Tensor, queries: Tensor
    ) -> Tensor:
        """The last attention, for some of the tokens (P, t, D)."""
        w, s0, s1 = self._w, state.s0[:, None], state.s1[:, None]
        rows = torch.cat([_rows(state.v0, w.via0_final), _rows(state.v1, w.via1_final) + w.bias1_final], 1)
        keys, values = self._heads_of(rows, 2)
        scores = _products(queries, plan.kf).mul_(s0).baddbmm_(_pair(queries, keys), b)
        weights = torch.addcmul(_products(queries, w.pe_kf), scores, s1).softmax(-1).mul_(s1)
        low_rank = _unpair(weights @ b.mT, values)
        out = (_weighted(weights.mul_(s0), plan.vf) + low_rank).flatten(2) + w.vf_bias
        attended: Tensor = tokens + _linear(out, w.final.out, w.final.out_bias)
        normed: Tensor = self._decoder.transformer.norm_final_attn(attended)
        return normed


def _after_attention(layer: TwoWayAttentionBlock, tokens: Tensor, attended: Tensor) -> Tensor:
    tokens = layer.norm2(tokens + attended)
    normed: Tensor = layer.norm3(tokens + layer.mlp(tokens))
    return normed


def _linear(tokens: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
    return F.linear(tokens.to(matrix.dtype), matrix, bias)


def _products(tokens: Tensor, image: Tensor) -> Tensor:
    """(P, T, H, k) x (B, H, k, N) -> (P, H T, N), head by head; always fresh memory.

    Points of each of B images in turn, as many of each; (H, k, N) is the same for all images.
    """
    count, per_point, heads, _ = tokens.shape
    images = image.shape[0] if image.ndim == 4 else 1
    by_head = tokens.unflatten(0, (images, -1)).permute(0, 3, 1, 2, 4)
    product: Tensor = by_head.reshape(images, heads, count // images * per_point, -1) @ image
    split: Tensor = product.unflatten(2, (-1, per_point))
    return split.transpose(1, 2).reshape(count, heads * per_point, -1)


def _weighted(weights: Tensor, image: Tensor) -> Tensor:
    """(P, H T, N) x (B, H, k, N) -> (P, T, H, k), head by head; images as in `_products`."""
    images, heads = image.shape[:2]
    by_head = weights.unflatten(1, (heads, -1)).unflatten(0, (images, -1)).transpose(1, 2)
    _, _, each, per_point, _ = by_head.shape
    out = by_head.reshape(images, heads, each * per_point, -1) @ image.mT
    split: Tensor = out.unflatten(2, (each, per_point))
    return split.permute(0, 2, 3, 1, 4).flatten(0, 1)


def _each(values: Tensor, count: int) -> Tensor:
    """(B, N) -> (P, N): an image's values for each of its points."""
    return values[:, None].expand(-1, count // len(values), -1).flatten(0, 1)


def _rows(values: Tensor, out: Tensor) -> Tensor:
    """(P, T, H, k) x (H, k, C) -> (P, H T, C): each head's values through its share of a projection."""
    return _products(values, out)


def _pair(tokens: Tensor, rows: Tensor) -> Tensor:
    """(P, T, H, k) x (P, R, H, k) -> (P, H T, R)."""
    return (tokens.permute(0, 2, 1, 3) @ rows.permute(0, 2, 3, 1)).flatten(1, 2)


def _unpair(weights: Tensor, rows: Tensor) -> Tensor:
    """(P, H T, R) x (P, R, H, k) -> (P, T, H, k)."""
    heads = rows.shape[2]
    split: Tensor = weights.unflatten(1, (heads, -1))
    return (split @ rows.permute(0, 2, 1, 3)).transpose(1, 2)


def _over_tokens(scores: Tensor, heads: int) -> Tensor:
    split: Tensor = scores.unflatten(1, (heads, -1))
    return split.softmax(2).flatten(1, 2)


def _dot(left: Tensor, right: Tensor) -> Tensor:
    """Sum of products over the rows, in float32; overwrites `right`."""
    return right.mul_(left).sum(1, dtype=torch.float32)


def _subpixels(features: Tensor, grid: int) -> Tensor:
    """(C, 2g, 2g) -> (N, 4, C): the four pixels under each token, row by row."""
    channels = features.shape[0]
    pixels = features.view(channels, grid, 2, grid, 2).permute(1, 3, 2, 4, 0)
    return pixels.reshape(grid * grid, 4, channels)


def _nested_subpixels(features: Tensor, grid: int) -> Tensor:
    """(C, 4g, 4g) -> (4 N, 4 C): rows (token, row, col), columns (row, col, channel)."""
    channels = features.shape[0]
    pixels = features.view(channels, grid, 2, 2, grid, 2, 2).permute(1, 4, 2, 5, 3, 6, 0)
    return pixels.reshape(4 * grid * grid, 4 * channels)


def _cast(weights: DecoderWeights, dtype: torch.dtype) -> DecoderWeights:
    """Give the constants in another number format."""

    def cast(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(dtype)
        if isinstance(value, AttentionWeights):
            return AttentionWeights(*(getattr(value, f.name).to(dtype) for f in fields(value)))
        return value

    cast_fields = {f.name: cast(getattr(weights, f.name)) for f in fields(weights)}
    by_head = {
        name: cast_fields[name].unflatten(0, (weights.heads, -1)) for name in ("pe_k1", "pe_q1", "pe_kf")
    }
    return DecoderWeights(**{**cast_fields, **by_head})
