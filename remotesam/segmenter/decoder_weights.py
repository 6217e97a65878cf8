"""The mask decoder's weights, refactored for many single points on one image.

`decoder.py` explains the algebra; here are its constants: everything that depends on the network alone.

Shapes: D model width, H heads, d = D/2 inner width of an image attention, k = d/H width of a head, N image
tokens. "Channel first" tensors are (channels, N).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from sam2.modeling.sam.transformer import Attention
    from sam2.modeling.sam2_base import SAM2Base


@dataclass(frozen=True, slots=True)
class AttentionWeights:
    """One image attention, projections as matrices that act on channel-first tokens."""

    q: Tensor
    """(d, D); k: (d, D); v: (d, D); out: (D, d)."""
    k: Tensor
    v: Tensor
    out: Tensor
    q_bias: Tensor
    """(d,); k_bias: (d,); v_bias: (d,); out_bias: (D,)."""
    k_bias: Tensor
    v_bias: Tensor
    out_bias: Tensor

    @classmethod
    def of(cls, attention: Attention) -> AttentionWeights:
        """Read them from a sam2 `Attention`; queries are scaled by 1/sqrt(k) once and for all."""
        scale = (attention.internal_dim // attention.num_heads) ** -0.5
        return cls(
            attention.q_proj.weight * scale,
            attention.k_proj.weight,
            attention.v_proj.weight,
            attention.out_proj.weight,
            attention.q_proj.bias * scale,
            attention.k_proj.bias,
            attention.v_proj.bias,
            attention.out_proj.bias,
        )


@dataclass(frozen=True, slots=True)
class DecoderWeights:
    """Constants of one network. "Maps" are matrices for channel-first image tokens."""

    heads: int
    """H."""
    eps: tuple[float, float]
    """Variance floors of the two layer norms of the image tokens."""
    pe: Tensor
    """(D, N) positional code of the image tokens."""
    first: AttentionWeights
    """Layer 0, tokens attend to the image."""
    image0: AttentionWeights
    """Layer 0, the image attends to tokens."""
    token1: AttentionWeights
    """Layer 1, tokens attend to the image."""
    image1: AttentionWeights
    """Layer 1, the image attends to tokens."""
    final: AttentionWeights
    """The last attention of tokens to the image."""
    gamma0: Tensor
    """(D, 1) scale of the first layer norm of the image tokens."""
    bias1: Tensor
    """(D,) constant part of the image tokens before their second layer norm, centred."""
    to_kc: Tensor
    """(4d, D) maps of Kc to layer 1 keys, values and image queries, and to its products with `out0`."""
    to_kg: Tensor
    """(4d + D, D) maps of KG to its products with `out0_g` and `out1`, to final keys and values, and to
    the first upscaling."""
    pe_k1: Tensor
    """(d, N) layer 1 keys of the positional code."""
    pe_q1: Tensor
    """(d, N) layer 1 image queries of the positional code and of all constants."""
    pe_kf: Tensor
    """(d, N) final keys of the positional code."""
    out0: Tensor
    """(H, k, D) layer 0's centred out-projection."""
    out0_g: Tensor
    """(H, k, D) the same scaled by gamma0 and centred again."""
    out1: Tensor
    """(H, k, D) layer 1's centred out-projection."""
    via0: Tensor
    """(H, k, 3d) token values of layer 0, through `out0`, to layer 1 keys, values, image queries."""
    via0_final: Tensor
    """(H, k, 2d) token values of layer 0, through `out0_g`, to final keys and values."""
    via1_final: Tensor
    """(H, k, 2d) token values of layer 1, through `out1`, to final keys and values."""
    via0_up: Tensor
    """(H, k, D) token values of layer 0, through `out0_g`, to the first upscaling."""
    via1_up: Tensor
    """(H, k, D) token values of layer 1, through `out1`, to the first upscaling."""
    bias1_final: Tensor
    """(2d,) one head's share of `bias1` mapped to final keys and values."""
    bias1_up: Tensor
    """(D,) one head's share of `bias1` mapped to the first upscaling."""
    v1_bias: Tensor
    """(d,) constant part of attended values in layer 1."""
    vf_bias: Tensor
    """(d,) constant part of attended values in the final attention."""
    up_bias: Tensor
    """(D,) constant part of the first upscaling."""
    up2: Tensor
    """(D/4, 4 D/8) the second upscaling; columns are (row, col, channel)."""
    up2_bias: Tensor
    """(4 D/8,) its bias."""


def centred(values: Tensor) -> Tensor:
    """Subtract the mean over dimension 0, the channels: the first half of a layer norm, done early."""
    return values - values.mean(0, keepdim=True)


@torch.no_grad()
def refactor(model: SAM2Base) -> DecoderWeights:
    """Compute the constants of a SAM 2 model.

    Args:
        model: The network in eval mode.

    Returns:
        Constants in float32 on the model's device.
    """
    decoder, prompt = model.sam_mask_decoder, model.sam_prompt_encoder
    layer0, layer1 = decoder.transformer.layers
    heads = decoder.transformer.num_heads
    first = AttentionWeights.of(layer0.cross_attn_token_to_image)
    image0 = AttentionWeights.of(layer0.cross_attn_image_to_token)
    token1 = AttentionWeights.of(layer1.cross_attn_token_to_image)
    image1 = AttentionWeights.of(layer1.cross_attn_image_to_token)
    final = AttentionWeights.of(decoder.transformer.final_attn_token_to_image)
    gamma0, beta0 = layer0.norm4.weight[:, None], layer0.norm4.bias
    gamma1, beta1 = layer1.norm4.weight, layer1.norm4.bias
    pe = prompt.get_dense_pe()[0].flatten(1)
    up1, up2 = decoder.output_upscaling[0], decoder.output_upscaling[3]
    up1_matrix = up1.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (row, col, channel) x D

    out0, out1 = centred(image0.out), centred(image1.out)
    out0_g = centred(gamma0 * out0)
    bias1 = centred((beta0 + image1.out_bias)[:, None])[:, 0]
    layer1_maps = torch.cat([token1.k, token1.v, image1.q]) * gamma0[:, 0]
    final_maps = torch.cat([final.k, final.v]) * gamma1
    up_map = up1_matrix * gamma1

    def by_head(out: Tensor) -> Tensor:
        split: Tensor = out.T.unflatten(0, (heads, -1))
        return split

    return DecoderWeights(
        heads=heads,
        eps=(layer0.norm4.eps, layer1.norm4.eps),
        pe=pe,
        first=first,
        image0=image0,
        token1=token1,
        image1=image1,
        final=final,
        gamma0=gamma0,
        bias1=bias1,
        to_kc=torch.cat([layer1_maps, 2 * out0.T]),
        to_kg=torch.cat([2 * out0_g.T, 2 * out1.T, final_maps, up_map]),
        pe_k1=token1.k @ pe,
        pe_q1=image1.q @ (pe + beta0[:, None]) + image1.q_bias[:, None],
        pe_kf=final.k @ pe,
        out0=by_head(out0),
        out0_g=by_head(out0_g),
        out1=by_head(out1),
        via0=by_head(out0) @ layer1_maps.T,
        via0_final=by_head(out0_g) @ final_maps.T,
        via1_final=by_head(out1) @ final_maps.T,
        via0_up=by_head(out0_g) @ up_map.T,
        via1_up=by_head(out1) @ up_map.T,
        bias1_final=final_maps @ bias1 / heads,
        bias1_up=up_map @ bias1 / heads,
        v1_bias=token1.v @ beta0 + token1.v_bias,
        vf_bias=final.v @ beta1 + final.v_bias,
        up_bias=up1_matrix @ beta1 + up1.bias.repeat(4),
        up2=up2.weight.permute(0, 2, 3, 1).flatten(1),
        up2_bias=up2.bias.repeat(4),
    )
