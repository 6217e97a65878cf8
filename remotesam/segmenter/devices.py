"""What torch finds on this machine, for `remotesam doctor`."""

from __future__ import annotations

from typing import Any

import psutil
import torch

from remotesam.errors import ConfigError, DeviceError


def describe() -> list[dict[str, Any]]:
    """Devices that a model can run on, best first.

    Returns:
        For each: `name` as `--device` takes it, `model`, `memory_gib` in all and `free_gib` now.
    """
    found = []
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(number)
            found.append(_device(f"cuda:{number}", torch.cuda.get_device_name(number), total, free))
    memory = psutil.virtual_memory()
    if torch.backends.mps.is_available():
        found.append(_device("mps", "Apple GPU", memory.total, memory.available))
    found.append(_device("cpu", f"{torch.get_num_threads()} threads", memory.total, memory.available))
    return found


def _device(name: str, model: str, total: int, free: int) -> dict[str, Any]:
    return {
        "name": name,
        "model": model,
        "memory_gib": round(total / 2**30, 1),
        "free_gib": round(free / 2**30, 1),
    }


_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(device: str) -> torch.device:
    """Turn a device argument into a torch device that exists.

    Raises:
        DeviceError: It does not exist on this machine.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not number.isdigit()):
        raise DeviceError(f"device {device!r} is unknown; use auto, cpu, cuda, cuda:0 or mps")
    if kind == "cuda":
        if not torch.cuda.is_available():
            raise DeviceError(f"device {device}: no CUDA device is usable here; use --device cpu")
        if int(number or 0) >= torch.cuda.device_count():
            raise DeviceError(f"device {device}: there are only {torch.cuda.device_count()} CUDA devices")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("device mps: no Apple GPU is usable here; use --device cpu")
    return torch.device(device)


def choose_precision(precision: str, device: torch.device) -> torch.dtype:
    """Turn a precision argument into the number format to compute in.

    Raises:
        ConfigError: No such precision.
        DeviceError: The device cannot compute in it.
    """
    if precision == "auto":
        if device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if precision not in _DTYPES:
        raise ConfigError(f"precision {precision!r} is unknown; use auto, {', '.join(_DTYPES)}")
    if precision == "fp16" and device.type == "cpu":
        raise DeviceError("precision fp16: a CPU cannot compute in it; use fp32 or bf16")
    return _DTYPES[precision]
