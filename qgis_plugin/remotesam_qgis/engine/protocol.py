"""The plugin's side of protocol 1: lines in, command lines out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

PROTOCOL = 1
EXIT_DONE, EXIT_ERROR, EXIT_USAGE, EXIT_CANCELLED = 0, 1, 2, 3


def parse_line(line: bytes) -> Optional[dict[str, Any]]:
    """Read one line of the engine's standard output.

    Returns:
        The event, or None when the line is anything else (something a library printed).
    """
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        message = json.loads(line.decode("utf-8"))
    except ValueError:
        return None
    return message if isinstance(message, dict) and isinstance(message.get("event"), str) else None


@dataclass(frozen=True)
class Job:
    """One engine run, as the panel or an algorithm asks for it.

    Attributes:
        command: Engine command: "segment" or "panorama".
        source: Path, URL or GDAL name of the raster.
        output: Path of the GeoPackage to write.
        model: Model name or checkpoint path; empty = the engine's default.
        device: "auto", "cpu", "cuda", "mps", ...
        extent: (west, south, east, north) in the raster's CRS (pixels when it has none); None = everything.
        settings: Further settings by their name in the engine's schema; only those that differ from it.
    """

    command: str
    source: str
    output: str
    model: str = ""
    device: str = "auto"
    extent: Optional[tuple[float, float, float, float]] = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def arguments(self) -> list[str]:
        """Words after the engine's own command; the run is followed and stopped through protocol 1."""
        words = [self.command, self.source, "--output", self.output]
        if self.model:
            words += ["--model", self.model]
        words += ["--device", self.device, "--progress", "json", "--control", "stdin"]
        if self.extent is not None:
            words += ["--aoi", ",".join(repr(float(value)) for value in self.extent)]
        return words + setting_options(self.settings)


def setting_options(settings: Mapping[str, Any]) -> list[str]:
    """Settings as command line options: `min_area` becomes `--min-area`, True/False a `--x/--no-x` switch."""
    words: list[str] = []
    for name, value in settings.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        elif isinstance(value, (list, tuple)):
            words += [f"--{option}", ",".join(map(str, value))]
        elif value is not None:
            words += [f"--{option}", str(value)]
    return words


def stage_title(event: Mapping[str, Any]) -> str:
    """What people read while a stage works; engines before protocol titles give its name only."""
    return str(event.get("title") or event.get("name", ""))
