"""All settings of a run: one frozen, validated object for each kind of run.

The command line and QGIS make their forms from it.
Defaults are those of Remote SAMsing (arXiv 2605.00256, Table 2) unless a field says otherwise.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import yaml
from msgspec import Meta

from remotesam.choices import OUTLINES, STRATEGIES, Choice
from remotesam.errors import ConfigError

Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[int, Meta(ge=1)]
NonNegative = Annotated[int, Meta(ge=0)]


def about(text: str, stage: str | None = None, hint: str | None = None) -> Meta:
    """Help text of a setting, the first stage whose result it changes, and how its value is written."""
    extra = {"x-stage": stage, "x-hint": hint}
    return Meta(description=text, extra_json_schema={name: value for name, value in extra.items() if value})


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every run can be told, whatever its units are.

    `make_config` and `make_panorama_config` make the settings of a kind of run and validate them; the bare
    constructors do not.
    """

    # What the model sees
    bands: Annotated[
        tuple[Positive, ...] | None,
        about(
            "1-based bands used as red, green, blue; one band is shown as grey. "
            "Default: the raster's colour bands.",
            "tiles",
            "R,G,B",
        ),
    ] = None
    stretch: Annotated[
        str,
        about(
            "How values become 0–255, once for the whole raster: auto (8-bit as it is, else percentiles "
            "2–98), none, LOW,HIGH or pLOW,pHIGH.",
            "tiles",
            "auto|none|LOW,HIGH|pLOW,pHIGH",
        ),
    ] = "auto"
    nodata: Annotated[
        float | None, about("Value that means no data, if the raster does not say.", "tiles")
    ] = None
    overview: Annotated[
        NonNegative | None,
        about("Work on this overview level (0 = half size) instead of full resolution.", "tiles"),
    ] = None

    # Model and device
    model: Annotated[
        str, about("Name of a model (see `remotesam models list`) or path of a checkpoint.", "tiles")
    ] = "nano-affinity"
    device: Annotated[str, about("Where the model runs.", None, "auto|cpu|cuda[:n]|mps")] = "auto"
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"],
        about("Arithmetic of the model; auto is bf16 on CUDA and fp32 elsewhere.", "tiles"),
    ] = "auto"
    generator: Annotated[
        Literal["exact", "fast"],
        about(
            "exact gives the stock generator's masks; fast decides at the model's low resolution.", "tiles"
        ),
    ] = "exact"
    compile: Annotated[
        bool, about("Compile the model with torch.compile (CUDA; the first tile takes minutes).")
    ] = False
    point_batch: Annotated[Positive, about("Prompt points decoded at once; halved when memory runs out.")] = (
        64
    )

    # Passes
    points_per_side: Annotated[Positive, about("Prompt points along one side of a chip.", "tiles")] = 64
    point_strategy: Annotated[
        Literal["grid", "kmeans"],
        about(
            "Where later passes prompt: the grid's unlabelled points, or 64 cluster centres of what is left.",
            "tiles",
        ),
    ] = "grid"
    target_coverage: Annotated[
        Share, about("Stop a tile when this share of its valid pixels is labelled.", "tiles")
    ] = 0.99
    iou_start: Annotated[Share, about("Predicted IoU that a mask needs in the first pass.", "tiles")] = 0.93
    iou_end: Annotated[Share, about("Lowest predicted IoU ever accepted.", "tiles")] = 0.6
    stability_start: Annotated[
        Share, about("Stability score that a mask needs in the first pass.", "tiles")
    ] = 0.93
    stability_end: Annotated[Share, about("Lowest stability score ever accepted.", "tiles")] = 0.6
    step: Annotated[
        Annotated[float, Meta(gt=0, le=1)],
        about("How far both thresholds fall when coverage stagnates.", "tiles"),
    ] = 0.01
    stagnation: Annotated[
        Share, about("A pass that adds less coverage than this relaxes the thresholds.", "tiles")
    ] = 0.001
    max_passes: Annotated[Positive | None, about("At most this many passes per tile.", "tiles")] = None
    look_again: Annotated[
        Share,
        about(
            "Ask the network again only after this much new coverage; 0 asks after every change, "
            "more is faster and changes the result.",
            "tiles",
        ),
    ] = 0.0
    coarse_to_fine: Annotated[
        bool,
        about(
            "Prompt a pass's points in rounds from coarse to fine and skip those that a new segment covers; "
            "faster, and changes the result.",
            "tiles",
        ),
    ] = False
    zoom_area: Annotated[
        NonNegative,
        about(
            "After the last pass, segment unlabelled areas of at least this many pixels again, enlarged; "
            "0 = never. Slower, and finds small things.",
            "tiles",
        ),
    ] = 0
    black_paint: Annotated[bool, about("Paint what is labelled black before the next pass.", "tiles")] = True
    decay: Annotated[bool, about("Relax the thresholds when coverage stagnates.", "tiles")] = True
    crop_layers: Annotated[
        Annotated[int, Meta(ge=0, le=3)], about("Also run on 2ⁿ×2ⁿ overlapping crops of each chip.", "tiles")
    ] = 0
    nms_iou: Annotated[Share, about("Box IoU above which the lower-scored mask is dropped.", "tiles")] = 0.7
    max_overlap: Annotated[
        Share, about("Drop a mask's component when this share of it is labelled already.", "tiles")
    ] = 0.5
    min_area: Annotated[NonNegative, about("Smallest segment, in pixels.", "tiles")] = 100

    # Across tiles
    absorb_area: Annotated[
        NonNegative,
        about("A segment up to this size whose only neighbour is one other joins it, in pixels.", "match"),
    ] = 500

    # Vectors
    simplify: Annotated[
        Annotated[float, Meta(ge=0)],
        about("Tolerance of the shared-edge simplification, in pixels; 0 is exact.", "polygons"),
    ] = 1.0

    # Running
    workers: Annotated[
        str, about("auto, a number of workers, or gpu for one worker per GPU.", None, "auto|N|gpu")
    ] = "auto"
    scheduler: Annotated[
        str | None, about("Address or file of a running Dask scheduler.", None, "tcp://…|FILE")
    ] = None

    @classmethod
    def choices(cls) -> dict[str, Mapping[str, Choice]]:
        """The settings whose values are the names in a table, with that table."""
        return {}

    def __post_init__(self) -> None:
        for name, table in self.choices().items():
            if getattr(self, name) not in table:
                raise ValueError(f"setting '{name}': '{getattr(self, name)}' is none of {', '.join(table)}")
        if self.iou_end > self.iou_start:
            raise ValueError(f"iou_end {self.iou_end} lies above iou_start {self.iou_start}")
        if self.stability_end > self.stability_start:
            raise ValueError(
                f"stability_end {self.stability_end} lies above stability_start {self.stability_start}"
            )
        if self.bands is not None and len(self.bands) not in (1, 3):
            raise ValueError(f"bands needs one or three numbers, not {len(self.bands)}")


class SegmentConfig(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a run over the tiles of a raster."""

    # What the model sees
    aoi: Annotated[
        str | None,
        about("Only segment inside: a vector file, or W,S,E,N in the raster's CRS.", "tiles", "FILE|W,S,E,N"),
    ] = None

    # Tiles
    tile_size: Annotated[
        tuple[Positive, ...],
        about(
            "Side of a tile's core in pixels; several sizes are segmented separately and combined.",
            "tiles",
            "PX[,PX]",
        ),
    ] = (1000,)
    padding: Annotated[NonNegative, about("Context around each core, in pixels.", "tiles")] = 50

    # Across tiles
    merge: Annotated[str, about("How segments are joined across tile borders.", "match")] = "overlap"
    min_contact: Annotated[Positive, about("Contact in pixels that `min-contact` asks for.", "match")] = 20

    # Vectors
    outline: Annotated[str, about("What outlines look like.", "write")] = "shared"
    dst_crs: Annotated[
        str | None, about("CRS of the output; default is the raster's.", "write", "EPSG:…")
    ] = None
    band_statistics: Annotated[
        bool, about("Add mean and standard deviation of each band per segment.", "write")
    ] = False
    label_attributes: Annotated[
        bool, about("Add a raster attribute table to the label raster (one row per segment).")
    ] = False

    @classmethod
    def choices(cls) -> dict[str, Mapping[str, Choice]]:
        """See `Settings.choices`."""
        return {"merge": STRATEGIES, "outline": OUTLINES}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.tile_size:
            raise ValueError("tile_size needs at least one size")
        if self.padding >= min(self.tile_size) * 4:
            raise ValueError(f"padding {self.padding} is more than four tiles of {min(self.tile_size)} px")


class PanoramaConfig(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a run over the views of a panorama."""

    # Views
    views: Annotated[
        Literal["rings", "sap", "cube"] | None,
        about("Layout of the views. Default: rings; sap for clicks.", "tiles"),
    ] = None
    view_size: Annotated[Annotated[int, Meta(ge=16)], about("Side of a view, in pixels.", "tiles", "PX")] = (
        1024
    )
    fov: Annotated[
        Annotated[float, Meta(gt=0, lt=180)] | None,
        about("Field of view of a view, in degrees. Default: the picture's own resolution.", "tiles", "DEG"),
    ] = None
    pad: Annotated[
        Annotated[float, Meta(ge=0, lt=0.5)],
        about("Context on each side of a view, as a share of its side.", "tiles"),
    ] = 0.10

    # Across views
    merge: Annotated[str, about("How segments of neighbouring views are joined.", "match")] = "overlap"

    # Vectors
    coords: Annotated[
        Literal["lonlat", "pixel"] | None,
        about("Coordinates of the result. Default: lonlat; pixel for COCO and LabelMe.", "write"),
    ] = None
    heading: Annotated[
        float | None,
        about(
            "Compass direction of the picture's middle column, in degrees. "
            "Default: what its metadata say, else 0.",
            "write",
            "DEG",
        ),
    ] = None
    earth: Annotated[
        bool,
        about("The picture is a map of the earth without georeferencing: the result is in WGS 84.", "write"),
    ] = False

    @classmethod
    def choices(cls) -> dict[str, Mapping[str, Choice]]:
        """See `Settings.choices`."""
        return {"merge": {name: strategy for name, strategy in STRATEGIES.items() if strategy.views}}


Kind = TypeVar("Kind", bound=Settings)

ALIASES: Mapping[str, str] = {
    "pred_iou_thresh": "iou_start",
    "stability_score_thresh": "stability_start",
    "box_nms_thresh": "nms_iou",
    "min_mask_region_area": "min_area",
    "crop_n_layers": "crop_layers",
    "points_per_batch": "point_batch",
    "model_id": "model",
    "simplify_tolerance": "simplify",
}
"""Names that users know from samgeo and SAM 2's own generator, and the setting that plays their part here.

`pred_iou_thresh` and `stability_score_thresh` are where the thresholds *start*; `iou_end` and
`stability_end` say how far they may relax. `simplify` is in pixels, not in map units.
"""


def make_config(settings: Mapping[str, Any] | None = None, **more: Any) -> SegmentConfig:
    """Validated settings of a run over a raster, from names and values.

    Args:
        settings: any fields of `SegmentConfig` or of `ALIASES`; text is accepted for numbers and lists.
        **more: the same, taking precedence.

    Raises:
        ConfigError: a name is unknown (the nearest one is suggested), or a value is not allowed.
    """
    return convert(SegmentConfig, {**(settings or {}), **more})


def make_panorama_config(settings: Mapping[str, Any] | None = None, **more: Any) -> PanoramaConfig:
    """Validated settings of a run over a panorama; as `make_config`."""
    return convert(PanoramaConfig, {**(settings or {}), **more})


def settings_from(
    kind: type[Kind],
    config: str | os.PathLike[str] | Mapping[str, Any] | Settings | None,
    more: Mapping[str, Any],
) -> Kind:
    """Validated settings from what a caller gives.

    Args:
        kind: of run.
        config: a YAML file, a mapping, or ready settings; None = the defaults.
        more: further settings, taking precedence.

    Raises:
        ConfigError: the file cannot be read, or a setting is wrong.
    """
    if isinstance(config, Settings):
        given = as_dict(config)
    elif isinstance(config, str | os.PathLike):
        given = read_config(config)
    else:
        given = dict(config or {})
    return convert(kind, {**given, **more})


def convert(kind: type[Kind], settings: Mapping[str, Any]) -> Kind:
    """Validated settings of a kind of run.

    Raises:
        ConfigError: a name is unknown or belongs to another kind of run, or a value is not allowed.
    """
    merged: dict[str, Any] = {}
    for name, value in settings.items():
        field = ALIASES.get(name, name.replace("-", "_"))
        field = ALIASES.get(field, field)
        if field not in kind.__struct_fields__:
            raise ConfigError(f"unknown setting '{name}'{_hint(field, kind)}")
        merged[field] = _listed(value) if field in ("tile_size", "bands") else value
    try:
        return msgspec.convert(merged, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(_readable(error)) from None


def _hint(field: str, kind: type[Settings]) -> str:
    """What somebody may have meant by a name that is no setting of this kind of run."""
    others = {SegmentConfig: "a raster", PanoramaConfig: "a panorama"}
    for other, what in others.items():
        if other is not kind and field in other.__struct_fields__:
            return f"; it has a meaning for {what} only"
    near = difflib.get_close_matches(field, [*kind.__struct_fields__, *ALIASES], n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else "; see `remotesam schema` for all of them"


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The settings in a YAML or JSON file, not validated yet.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or is not a mapping.
    """
    try:
        loaded = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        raise ConfigError(f"{path}: not valid YAML{line}; write one `setting: value` per line") from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path}: holds a {type(loaded).__name__}; write one `setting: value` per line")
    return {str(name): value for name, value in loaded.items()}


def schema(kind: type[Settings] = SegmentConfig) -> dict[str, Any]:
    """JSON Schema of the settings of a kind of run: types, ranges, defaults and help.

    `x-shared` marks those that every kind of run has.
    """
    whole = msgspec.json.schema(kind)
    definition: dict[str, Any] = whole["$defs"][kind.__name__]
    properties = definition["properties"]
    for name in Settings.__struct_fields__:
        properties[name]["x-shared"] = True
    for name, table in kind.choices().items():
        helps = "; ".join(f"{choice.name} {choice.help}" for choice in table.values())
        properties[name]["enum"] = list(table)
        properties[name]["description"] = f"{properties[name]['description'].removesuffix('.')}: {helps}."
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "remotesam settings",
        **definition,
    }


def as_dict(config: Settings) -> dict[str, Any]:
    """All settings as JSON-ready values."""
    settings: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(config))
    return settings


def stage_settings(config: Settings, stage: str) -> dict[str, Any]:
    """The settings that change the result of one stage (tiles, match, polygons or write)."""
    properties = schema(type(config))["properties"]
    return {
        name: value for name, value in as_dict(config).items() if properties[name].get("x-stage") == stage
    }


def _listed(value: Any) -> Any:
    """`250,1000`, 1000 or (250, 1000) as a tuple; anything else is left to the validation."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    if isinstance(value, int):
        return (value,)
    return value


def _readable(error: msgspec.ValidationError) -> str:
    """`Expected float <= 1.0 - at $.iou_start` as a sentence that starts with the setting's name."""
    text, _, path = str(error).rpartition(" - at `$")
    if not text:
        return str(error)
    return f"setting '{path.strip('.`').split('[')[0]}': {text[0].lower()}{text[1:]}"
