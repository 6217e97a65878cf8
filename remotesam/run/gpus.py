"""Which NVIDIA GPUs a program may use, found without loading any GPU library."""

from __future__ import annotations

import os
import subprocess


def visible_gpus() -> list[str]:
    """What `CUDA_VISIBLE_DEVICES` may be set to, one entry per GPU: numbers, or the names it holds already.

    The list ends at a negative number, as CUDA's own reading of the variable does (CUDA C++ Programming
    Guide, "CUDA Environment Variables").
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [str(number) for number in range(_count())]
    gpus: list[str] = []
    for part in visible.split(","):
        if not part.strip() or part.strip().startswith("-"):
            break
        gpus.append(part.strip())
    return gpus


def _count() -> int:
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"],  # noqa: S607 (each system has it elsewhere)
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return 0  # no driver, no GPU
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
