"""What torch finds on this machine, for `remotesam doctor`."""

from __future__ import annotations

from typing import Any

import psutil
import torch


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
