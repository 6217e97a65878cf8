"""The SAM 2 architectures remotesam can build: the official ones and our own `nano`.

Every architecture is a packaged sam2 yaml plus overrides, instantiated without hydra's global state and
without torchvision. So a nano checkpoint and an official one travel through the same code: same classes,
same parameter names, same strict load.

Sources: SAM 2 (Ravi et al. 2024, arXiv 2408.00714), Hiera (Ryali et al. 2023, arXiv 2306.00989).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from remotesam.errors import ConfigError

_VIDEO_CLASS = "sam2.sam2_video_predictor.SAM2VideoPredictor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """How to build one SAM 2 network."""

    config: str
    """Path of the yaml inside the `sam2` package, with forward slashes."""
    image_size: int = 1024
    """Side of the square model input in pixels; masks come out at a quarter of it."""
    overrides: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Dotted yaml keys below `model` and the values that replace theirs."""


def _nano() -> Architecture:
    """Give `nano`: Hiera of width 48, model width 128, 512 px.

    Against the tiny model: fewer and narrower blocks; attention windows that divide 256 and 512 px
    without padding; top-down features on all pyramid levels, so that the stride-4 features know the
    context; one memory-attention layer. Hidden sizes of the mask decoder's MLPs are fixed inside sam2.
    """
    width, model_width = 48, 128
    trunk = "image_encoder.trunk."
    neck = "image_encoder.neck."
    layer = "memory_attention.layer."
    return Architecture(
        config="configs/sam2.1/sam2.1_hiera_t.yaml",
        image_size=512,
        overrides=MappingProxyType(
            {
                trunk + "embed_dim": width,
                trunk + "stages": [1, 2, 3, 1],
                trunk + "global_att_blocks": [4, 5],
                trunk + "window_spec": [8, 8, 8, 8],
                neck + "backbone_channel_list": [8 * width, 4 * width, 2 * width, width],
                neck + "d_model": model_width,
                neck + "position_encoding.num_pos_feats": model_width,
                neck + "fpn_top_down_levels": [0, 1, 2, 3],
                neck + "fpn_interp_model": "bilinear",
                "memory_attention.d_model": model_width,
                "memory_attention.num_layers": 1,
                layer + "d_model": model_width,
                layer + "dim_feedforward": 512,
                layer + "self_attention.embedding_dim": model_width,
                layer + "cross_attention.embedding_dim": model_width,
                "memory_encoder.in_dim": model_width,
                "memory_encoder.mask_downsampler.embed_dim": model_width,
                "memory_encoder.fuser.layer.dim": model_width,
            }
        ),
    )


def _official() -> dict[str, Architecture]:
    sizes = {"tiny": "t", "small": "s", "base-plus": "b+", "large": "l"}
    return {
        f"{family}-{size}": Architecture(config=f"configs/{family}/{family}_hiera_{letter}.yaml")
        for family in ("sam2.1", "sam2")
        for size, letter in sizes.items()
    }


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType({"nano": _nano(), **_official()})
"""All architectures by the name users type, smallest first within each family."""


def build(name: str, *, video: bool = False, image_size: int | None = None) -> torch.nn.Module:
    """Build an untrained SAM 2 network in eval mode on the CPU.

    Args:
        name: Key of `ARCHITECTURES`.
        video: Build the video predictor (memory, `propagate_in_video`) instead of the image model. Both
            have the same parameter names, so one checkpoint serves both.
        image_size: Side of the model input in pixels, a multiple of 32, instead of the architecture's own.

    Returns:
        A `SAM2Base`, or a `SAM2VideoPredictor` when `video`; `.image_size` is its input side in pixels.

    Raises:
        ConfigError: No architecture has this name.
    """
    if name not in ARCHITECTURES:
        raise ConfigError(
            f"model architecture {name!r} does not exist; choose one of {', '.join(ARCHITECTURES)}"
        )
    model: torch.nn.Module = instantiate(_config(ARCHITECTURES[name], video=video, image_size=image_size))
    return model.eval()


def _config(architecture: Architecture, *, video: bool, image_size: int | None) -> DictConfig:
    """Give the yaml's model section with size, overrides and the official post-processing settings."""
    packaged = files("sam2").joinpath(architecture.config).read_text()
    model: DictConfig = OmegaConf.create(packaged).model
    size = image_size or architecture.image_size
    settings: dict[str, Any] = {
        "image_size": size,
        "memory_attention.layer.self_attention.feat_sizes": [size // 16, size // 16],
        "memory_attention.layer.cross_attention.feat_sizes": [size // 16, size // 16],
        # as sam2.build_sam.build_sam2 does: an unstable single mask gives way to the best of three
        "sam_mask_decoder_extra_args": {
            "dynamic_multimask_via_stability": True,
            "dynamic_multimask_stability_delta": 0.05,
            "dynamic_multimask_stability_thresh": 0.98,
        },
        "compile_image_encoder": False,
        **architecture.overrides,
    }
    if video:
        settings["_target_"] = _VIDEO_CLASS
        settings["binarize_mask_from_pts_for_mem_enc"] = True
        settings["fill_hole_area"] = 0  # holes are filled by a CUDA extension that the PyPI wheel lacks
    for key, value in settings.items():
        OmegaConf.update(model, key, value, merge=False, force_add=True)
    return model
