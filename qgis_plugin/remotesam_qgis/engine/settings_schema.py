"""The engine's settings as a form needs them, read from the JSON Schema that `remotesam schema` prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

GROUPS: Mapping[str, tuple[str, ...]] = {
    "Image": ("bands", "stretch", "nodata", "overview"),
    "Tiles": ("tile_size", "padding"),
    "Passes": (
        "points_per_side",
        "point_strategy",
        "target_coverage",
        "max_passes",
        "min_area",
        "iou_start",
        "iou_end",
        "stability_start",
        "stability_end",
        "step",
        "stagnation",
        "decay",
        "black_paint",
        "crop_layers",
        "nms_iou",
        "max_overlap",
        "look_again",
        "coarse_to_fine",
        "zoom_area",
    ),
    "Joining tiles": ("merge", "min_contact", "absorb_area"),
    "Polygons": ("simplify", "outline", "dst_crs", "band_statistics", "label_attributes"),
    "Running": ("device", "precision", "generator", "compile", "point_batch", "workers", "scheduler"),
}
"""Order and headings of the settings known today; one unknown to this list comes last, under `Other`."""

OTHER = "Other"

SPELLED: Mapping[str, str] = {"iou": "IoU", "nms": "NMS", "crs": "CRS", "dst": "output"}
"""Words of settings' names as people read them."""


@dataclass(frozen=True)
class Setting:
    """One setting of the engine.

    Attributes:
        name: Name in the schema, `tile_size`; its option is `--tile-size`.
        kind: "bool", "choice", "integer", "number", "area" (a whole number of pixels that can be typed in
            map units) or "text". Text is passed on as typed.
        default: Default value; None = the engine decides.
        minimum: Smallest value, None = no limit.
        maximum: Largest value, None = no limit.
        choices: Allowed words of a choice; of a text, words worth suggesting.
        help: One sentence for the user.
        hint: How a text is written, "R,G,B"; empty = anything.
        group: Heading it belongs under.
        shared: True = every kind of run has it, a panorama's too.
    """

    name: str
    kind: str
    default: Any
    minimum: Optional[float] = None
    maximum: Optional[float] = None
    choices: tuple[str, ...] = ()
    help: str = ""
    hint: str = ""
    group: str = OTHER
    shared: bool = False

    @property
    def title(self) -> str:
        """The name for people: `tile_size` is "Tile size"."""
        words = " ".join(SPELLED.get(word, word) for word in self.name.split("_"))
        return words[:1].upper() + words[1:]

    @property
    def default_text(self) -> str:
        """The default as it would be typed; empty when the engine decides."""
        if self.default is None:
            return ""
        return ",".join(map(str, self.default)) if isinstance(self.default, list) else str(self.default)


def read_settings(schema: Mapping[str, Any], without: tuple[str, ...] = ()) -> list[Setting]:
    """Settings of a schema in the order of `GROUPS`, unknown ones at the end.

    Args:
        schema: What `remotesam schema` prints.
        without: Names to leave out, because the form has its own widget for them.
    """
    places = {name: (number, group) for group, names in GROUPS.items() for number, name in enumerate(names)}
    order = list(GROUPS)
    found = [
        _setting(name, about, places.get(name, (0, OTHER))[1])
        for name, about in schema.get("properties", {}).items()
        if name not in without
    ]
    return sorted(
        found,
        key=lambda setting: (
            order.index(setting.group) if setting.group in order else len(order),
            places.get(setting.name, (0, ""))[0],
        ),
    )


def overview_level(text: Optional[str]) -> Optional[int]:
    """The level that the setting `overview` names; None = full resolution."""
    return int(text) if text and text.isdecimal() else None


def _setting(name: str, about: Mapping[str, Any], group: str) -> Setting:
    variants = about.get("anyOf", [about])
    typed = [variant for variant in variants if variant.get("type") != "null"]
    nullable = len(typed) < len(variants)
    main = typed[0] if typed else about
    hint = str(about.get("x-hint") or "")
    choices = tuple(map(str, main.get("enum", ())))
    kind = {"boolean": "bool", "integer": "integer", "number": "number"}.get(main.get("type", ""), "text")
    if choices:
        kind = "choice"
    elif nullable or len(typed) > 1:  # an empty text says "the engine decides"; a spin box cannot
        kind = "text"
    elif kind == "integer" and name.endswith("_area"):
        kind = "area"
    if kind == "text" and not choices:
        choices = tuple(word for word in hint.split("|") if word.isalpha() and word.islower())
    return Setting(
        name=name,
        kind=kind,
        default=about.get("default"),
        minimum=main.get("minimum", main.get("exclusiveMinimum")),
        maximum=main.get("maximum", main.get("exclusiveMaximum")),
        choices=choices,
        help=str(about.get("description") or ""),
        hint=hint,
        group=group,
        shared=bool(about.get("x-shared")),
    )
