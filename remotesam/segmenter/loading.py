"""From a model name or a checkpoint file to a working segmenter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from sam2.modeling.backbones.hieradet import Hiera

from remotesam.errors import CheckpointError, ConfigError, DeviceError, ModelUnavailableError
from remotesam.segmenter import checkpoints
from remotesam.segmenter.affinity import load_affinity
from remotesam.segmenter.architectures import ARCHITECTURES, Architecture, build
from remotesam.segmenter.devices import choose_device, choose_precision
from remotesam.segmenter.families import LoadRequest
from remotesam.segmenter.generator import Sam2Segmenter
from remotesam.segmenter.protocol import Segmenter
from remotesam.segmenter.sam2_backend import Sam2Backend

REGIONS_SIZE = 1024
"""Side in px that the segmenter of regions resizes chips to: they are made of 4-px cells of that size."""


@dataclass(frozen=True, slots=True)
class CheckedModel:
    """What `check` found."""

    path: Path
    """The file."""
    architecture: str
    """Name in `architectures.ARCHITECTURES`; of a file without a SAM 2 network its family."""
    parameters: int | None
    """Number of values in the SAM 2 network, if it holds one."""
    digest: str
    """SHA-256 of the file."""
    official: str | None
    """Name of the official checkpoint whose digest this is; None = another file."""


def load(
    name_or_path: str,
    *,
    device: str = "auto",
    precision: str = "auto",
    point_batch: int = 64,
    exact: bool = True,
    compiled: bool = False,
) -> Segmenter:
    """Load a model and make it ready to segment.

    Args:
        name_or_path: Name from `checkpoints.CHECKPOINTS`, downloaded when it is not there, or path of a
            checkpoint in the official format, whose architecture is recognised from its contents.
        device: "auto" (CUDA when there is one, else CPU), "cpu", "cuda", "cuda:1", "mps".
        precision: "auto" (bf16 on CUDA devices that have it, fp16 on those that have not, fp32 elsewhere),
            "fp32", "bf16" or "fp16".
        point_batch: Most points decoded at a time; halved by itself when memory runs out.
        exact: Judge masks at full size, as the stock generator; False = at mask resolution, faster.
        compiled: Run the network through `torch.compile`; minutes at first, faster afterwards on CUDA.

    Raises:
        ModelUnavailableError: The model is neither here nor to be fetched.
        CheckpointError: The file is corrupt or no SAM 2 checkpoint.
        DeviceError: The device or the precision is not to be had on this machine.
        ConfigError: A setting has no such value.
    """
    if point_batch < 1:
        raise ConfigError(f"point_batch: {point_batch} is too small; give at least 1")
    choose_precision(precision, choose_device(device))  # before a download, not after it
    name, path = checkpoints.locate(name_or_path)
    return checkpoints.family_of(name).load(
        LoadRequest(
            name=name,
            path=path,
            device=device,
            precision=precision,
            point_batch=point_batch,
            exact=exact,
            compiled=compiled,
        )
    )


def load_sam2(request: LoadRequest) -> Segmenter:
    """The family of SAM 2: masks from points by its own decoder."""
    device = choose_device(request.device)
    model, _ = _load_network(request.path, request.name, video=False)
    backend = Sam2Backend(
        _moved(model, device),
        choose_precision(request.precision, device),
        request.point_batch,
        compiled=request.compiled,
    )
    name = request.name or request.path.stem
    return Sam2Segmenter(name, checkpoints.file_digest(request.path), backend, exact=request.exact)


def load_regions(request: LoadRequest) -> Segmenter:
    """The family of regions: the encoder of a nano file alone."""
    return load_affinity(request.path, image_size=REGIONS_SIZE, device=choose_device(request.device))


def load_video(name_or_path: str, *, device: str = "auto", memory: bool = True) -> torch.nn.Module:
    """Load a model as sam2's `SAM2VideoPredictor`; raises what `load` raises.

    Args:
        name_or_path: As in `load`.
        device: As in `load`.
        memory: False = it only has to answer prompts, its video memory is not needed.
    """
    chosen = choose_device(device)
    name, path = checkpoints.locate(name_or_path)
    family = checkpoints.family_of(name)
    if not family.prompts or (memory and not family.video):
        lacks = "follow no object from view to view" if family.prompts else "answer no clicks"
        able = [known for known in checkpoints.CHECKPOINTS if checkpoints.family_of(known).video]
        raise ConfigError(
            f"model {name_or_path}: models of the family {family.name} {lacks}; "
            f"choose one of {', '.join(able)}"
        )
    model, _ = _load_network(path, name, video=True)
    return _moved(model, chosen)


def check(name_or_path: str) -> CheckedModel:
    """Verify a checkpoint: readable, known architecture, strict load, digest.

    Raises:
        ModelUnavailableError: The file is not there; nothing is downloaded.
        CheckpointError: It is corrupt, no SAM 2 checkpoint, or an official one with another digest.
    """
    name, path = checkpoints.resolve(name_or_path)
    family = checkpoints.family_of(name)
    architecture, count = family.name, None
    if family.prompts:
        model, architecture = _load_network(path, name, video=False)
        count = sum(parameter.numel() for parameter in model.parameters())
    else:
        load(name_or_path, device="cpu")
    digest = checkpoints.file_digest(path)
    expected = checkpoints.CHECKPOINTS[name].sha256 if name else None
    if expected is not None and digest != expected:
        raise CheckpointError(
            f"{path}: SHA-256 {digest} is not that of {name} ({expected}); "
            f"delete the file and run `remotesam models fetch {name}`"
        )
    by_digest = {known.sha256: known.name for known in checkpoints.CHECKPOINTS.values() if known.sha256}
    return CheckedModel(path, architecture, count, digest, by_digest.get(digest))


def recognise(shapes: Mapping[str, tuple[int, ...]], path: Path) -> str:
    """Tell the architecture of a checkpoint from its parameter names and shapes.

    Args:
        shapes: Shape of every parameter by name.
        path: For messages.

    Returns:
        Name in `ARCHITECTURES`.

    Raises:
        CheckpointError: It is none of them.
    """
    stem = shapes.get("image_encoder.trunk.patch_embed.proj.weight")
    if stem is None or "no_mem_embed" not in shapes:
        raise CheckpointError(
            f"{path}: holds no SAM 2 model; give a checkpoint of {', '.join(ARCHITECTURES)}"
        )
    blocks = {key.split(".")[3] for key in shapes if key.startswith("image_encoder.trunk.blocks.")}
    features = (stem[0], len(blocks), shapes["no_mem_embed"][-1], "no_obj_embed_spatial" in shapes)
    for name, architecture in ARCHITECTURES.items():
        if features == _features(architecture):
            return name
    raise CheckpointError(
        f"{path}: a SAM 2 of unknown architecture (width {stem[0]}, {len(blocks)} blocks); "
        f"give a checkpoint of {', '.join(ARCHITECTURES)}"
    )


def _features(architecture: Architecture) -> tuple[int, int, int, bool]:
    """Encoder width, number of blocks, model width, and whether it has SAM 2.1's occlusion embedding."""
    model = OmegaConf.create(files("sam2").joinpath(architecture.config).read_text()).model
    for key, value in architecture.overrides.items():
        OmegaConf.update(model, key, value, merge=False, force_add=True)
    # The yaml names only what differs from the class's own defaults.
    trunk = {
        **{key: value.default for key, value in signature(Hiera).parameters.items()},
        **model.image_encoder.trunk,
    }
    return (
        trunk["embed_dim"],
        sum(trunk["stages"]),
        model.memory_attention.d_model,
        bool(model.get("no_obj_embed_spatial", False)),
    )


def _load_network(path: Path, name: str | None, *, video: bool) -> tuple[torch.nn.Module, str]:
    """Build the architecture a file holds and fill it, strictly."""
    state = _read(path)
    architecture = recognise({key: tuple(value.shape) for key, value in state.items()}, path)
    if name is not None and checkpoints.CHECKPOINTS[name].network != architecture:
        raise CheckpointError(
            f"{path}: holds {architecture}, not {name}; give the file by its path or replace it"
        )
    model = build(architecture, video=video)
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise CheckpointError(f"{path}: does not fit {architecture}: {first[:160]}") from error
    return model, architecture


def _read(path: Path) -> dict[str, torch.Tensor]:
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelUnavailableError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:
        raise CheckpointError(
            f"{path}: cannot be read as a checkpoint; it is damaged or another kind of file, fetch it again"
        ) from error
    state = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise CheckpointError(
            f'{path}: has no "model" entry with parameters; give an official-format .pt file'
        )
    return state


def _moved(model: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    try:
        return model.to(device).eval()
    except RuntimeError as error:
        raise DeviceError(f"device {device}: {str(error).splitlines()[0]}; use --device cpu") from error
