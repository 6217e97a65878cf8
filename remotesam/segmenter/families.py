"""The table of model families: how a checkpoint file becomes a segmenter, and what it can do. Free of torch.

A checkpoint (`remotesam.segmenter.checkpoints`) names its family. A further family is one entry here and the
module that it names, or `FAMILIES[mine.name] = mine` and `CHECKPOINTS[file.name] = file` before the run.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from remotesam.segmenter.protocol import Segmenter


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """What a family is given to make a segmenter of."""

    name: str | None
    """Name of the checkpoint; None = a file given by its path."""
    path: Path
    """Its file, which is there."""
    device: str
    """As the user wrote it, see `remotesam.segmenter.devices.choose_device`."""
    precision: str
    """"auto", "fp32", "bf16" or "fp16"."""
    point_batch: int
    """Most points decoded at a time."""
    exact: bool
    """True = masks are judged at full size, False = at the network's mask resolution."""
    compiled: bool
    """True = through `torch.compile`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One kind of model."""

    name: str
    """What checkpoints call it."""
    help: str
    """How it segments, in words."""
    function: str
    """Where it is done, as `module:function`: a `LoadRequest` → a `Segmenter`."""
    prompts: bool
    """True = its files hold a SAM 2 network that answers clicks and boxes, too."""
    video: bool
    """True = that network carries an object from view to view by its video memory."""

    @property
    def abilities(self) -> list[str]:
        """What it does, in words."""
        return [self.help, *["clicks"] * self.prompts, *["video memory"] * self.video]

    def load(self, request: LoadRequest) -> Segmenter:
        """Make a segmenter.

        Raises:
            RemotesamError: the file is no such model, or the device is not to be had.
        """
        function: Callable[[LoadRequest], Segmenter] = pkgutil.resolve_name(self.function)
        return function(request)


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            name="sam2",
            help="masks from points",
            function="remotesam.segmenter.loading:load_sam2",
            prompts=True,
            video=True,
        ),
        Family(
            name="regions",
            help="regions of alike pixels",
            function="remotesam.segmenter.loading:load_regions",
            prompts=True,
            video=True,
        ),
    )
}
"""All model families by name; a file given by its path is of the first."""
