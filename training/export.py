"""Turn a training state into a checkpoint: `python -m training.export DIR/state.pt OUT.pt`.

The file has the official SAM 2 layout, {"model": state_dict}, in half precision, of the averaged weights.
What `nano-affinity` needs travels beside it under "affinity": the two numbers that turn squared distances of
the dense embedding into affinities, and a scorer of regions that is fitted here.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from remotesam.segmenter.affinity import AffinitySegmenter, Scorer
from remotesam.segmenter.architectures import build
from training.score import fit


def main() -> None:
    """Parse, convert, check by a strict load, fit the scorer, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("state", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--latest", action="store_true", help="the last weights instead of their average")
    parser.add_argument("--scenes", type=int, default=60, help="scenes of 512 px that the scorer learns from")
    options = parser.parse_args()
    torch.set_num_threads(1)
    saved = torch.load(options.state, map_location="cpu", weights_only=True)
    weights: dict[str, Tensor] = saved["network" if options.latest else "average"]
    model = {k.removeprefix("sam."): v.half() for k, v in weights.items() if k.startswith("sam.")}
    network: Any = build("nano")
    network.load_state_dict(model)
    level, slope = weights["affinity_scale"]
    affinity = {"level_slope": torch.stack([level, F.softplus(slope)])}
    untrained = Scorer({}, float(level), float(F.softplus(slope)))
    affinity |= fit(AffinitySegmenter("nano-affinity", "", network, untrained), scenes=options.scenes)
    part = options.out.with_suffix(".part")
    torch.save({"model": model, "affinity": affinity}, part)
    part.replace(options.out)
    size = options.out.stat().st_size / 1e6
    print(f"{options.out}: {size:.1f} MB, step {saved['step']}, trained at {saved['image_size']} px")


if __name__ == "__main__":
    main()
