"""Turn a training state into a checkpoint: `python -m training.export DIR/state.pt OUT.pt`.

The file has the official SAM 2 layout, {"model": state_dict}, in half precision, of the averaged weights. The
two numbers that turn distances of the dense embedding into affinities travel beside it under "affinity"; the
model itself does not need them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from remotesam.segmenter.architectures import build


def main() -> None:
    """Parse, convert, check by a strict load, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("state", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--latest", action="store_true", help="the last weights instead of their average")
    options = parser.parse_args()
    saved = torch.load(options.state, map_location="cpu", weights_only=True)
    weights: dict[str, Tensor] = saved["network" if options.latest else "average"]
    model = {k.removeprefix("sam."): v.half() for k, v in weights.items() if k.startswith("sam.")}
    build("nano", image_size=saved["image_size"]).load_state_dict(model)
    part = options.out.with_suffix(".part")
    torch.save({"model": model, "affinity": weights["affinity_scale"]}, part)
    part.replace(options.out)
    size = options.out.stat().st_size / 1e6
    print(f"{options.out}: {size:.1f} MB, step {saved['step']}, trained at {saved['image_size']} px")


if __name__ == "__main__":
    main()
