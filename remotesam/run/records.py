"""What a run writes down and passes on, as typed records; each has a JSON form. Free of files and devices."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from remotesam.errors import StoreError

FORMAT = 2
"""Version of the run directory; a run of another version is not resumed."""

Record = TypeVar("Record", bound=msgspec.Struct)


class PassReport(msgspec.Struct, frozen=True):
    """What one pass over a chip did."""

    index: int
    """Number of the pass, from 0."""
    iou_threshold: float
    """Predicted IoU asked for."""
    stability_threshold: float
    """Stability asked for."""
    points: int
    """Prompt points put to the network; 0 when the last pass's proposals served again."""
    candidates: int
    """Masks above both thresholds after NMS."""
    accepted: int
    """New labels."""
    coverage: float
    """Share 0..1 of the chip's valid pixels that have a label after the pass."""


class UnitSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker says of a finished unit: a few numbers, never pixels."""

    unit: int
    """Number of the tile or view."""
    segments: int
    """Labels 1..segments own pixels of the unit; further ones live in its context."""
    valid: int
    """Owned pixels that hold data."""
    covered: int
    """Owned pixels that have a label."""
    extent: float
    """What the valid owned pixels amount to: px for a tile, sr for a view."""
    passes: list[PassReport]
    """One entry per pass."""
    seconds: float
    """What the unit took."""


class UnitFailure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a unit could not be segmented."""

    unit: int
    """Number of the tile or view."""
    error: str
    """One line for the user."""
    trace: str = ""
    """Where in the program it happened."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a run directory is made from."""

    format: int = FORMAT
    """Version of the layout."""
    remotesam: str
    """Version of the program that wrote it last."""
    kind: str
    """Kind of run: "segment" or "panorama"."""
    source: str
    """Name of the raster or panorama."""
    units: dict[str, int]
    """Number of units in the run directory ("") or in each of its run directories of single scales."""
    outputs: dict[str, Any]
    """Files to write, by the names that the kind of run gives them."""
    config: dict[str, Any]
    """All settings."""
    identity: dict[str, Any]
    """What must be equal to resume; flat."""


class LongComponent(msgspec.Struct, frozen=True, kw_only=True):
    """A segment in very many tiles: a river, or joins gone wrong."""

    tile: int
    """The first tile."""
    tiles: int
    """Tiles it lies in."""
    segments: int
    """Segments of tiles that were joined to it."""


class MatchSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What the match of one scale found."""

    segments: int
    """Final segments."""
    tile_segments: int
    """Segments of tiles that own pixels."""
    joins: int
    """Pairs of them found to be one object."""
    refused_joins: int
    """Joins that would have made two segments of one tile the same."""
    absorbed: int
    """Small segments given to their only neighbour."""
    removed: int
    """Segments below the smallest size."""
    long: list[LongComponent]
    """Components in very many tiles."""


class SeamsSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What the seam task keeps beside the joins of a tile."""

    segments: int
    """Labels of the tile that own pixels; 0 = it failed."""


class PassRow(msgspec.Struct, frozen=True, kw_only=True):
    """One pass over all units of a run."""

    index: int = msgspec.field(name="pass")
    """Number of the pass, from 0."""
    coverage: float
    """Share 0..1 of the valid pixels that have a label after it."""
    accepted: int
    """Segments accepted in it."""
    units: int
    """Units that ran it."""
    encoded: int
    """Units that asked the network in it; the others selected from kept proposals."""
    iou_threshold: float
    """Mean predicted IoU asked for."""
    stability_threshold: float
    """Mean stability asked for."""


class ScaleShare(msgspec.Struct, frozen=True, kw_only=True):
    """What one of several scales contributed."""

    tile_size: int
    """px."""
    offered: int
    """Segments it had to offer."""
    segments: int
    """Segments of it in the result."""
    pixels: int
    """Their pixels."""


class RunStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counts and times of a finished run."""

    units: int
    """Tiles or views, those of all scales together."""
    segments: int
    """Segments in the result."""
    coverage: float
    """Share 0..1 of the valid area that lies in a segment."""
    seconds: float
    """Wall time of the run."""
    stages: dict[str, float]
    """Wall seconds of each stage."""
    joins: int = 0
    """Pairs of segments of neighbouring units found to be one object."""
    refused_joins: int = 0
    """Joins that would have made two segments of one unit the same."""
    absorbed: int = 0
    """Small segments given to their only neighbour."""
    removed: int = 0
    """Segments below the smallest size."""
    area_px: int = 0
    """Pixels in segments; of a raster."""
    valid_px: int = 0
    """Pixels with data; of a raster."""
    passes: list[PassRow] = []
    """Coverage pass by pass."""
    scales: list[ScaleShare] = []
    """What each scale contributed, when there are several."""
    view_size: int | None = None
    """Side of the views, px; of a panorama."""
    fov: float | None = None
    """Their field of view, degrees; of a panorama."""
    clicks: int | None = None
    """Clicks, when one object was asked for."""
    views_doubted: int | None = None
    """Views whose answer contradicted the others, when one object was asked for."""


def encode(record: Any) -> bytes:
    """A record, or a list or mapping of records, as JSON for people: indented UTF-8."""
    return msgspec.json.format(msgspec.json.encode(record), indent=1)


def decode(content: bytes, kind: type[Record], name: str) -> Record:
    """A record from its JSON.

    Args:
        content: the JSON.
        kind: what it should be.
        name: of the file, for the error.

    Raises:
        StoreError: it is something else.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError as error:
        raise StoreError(f"{name}: is damaged ({error}); run again with --fresh") from None
