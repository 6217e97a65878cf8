"""What lies where in a run directory: the one table of stages, and the names of their files.

```
RUN/
  manifest.json             what the run is made from; refuses to resume anything else
  tiles/<unit>.tif          label map of the unit, int32, ids 1..n, its context included
  tiles/<unit>.arrow        a row per id, with the unit's summary; written last: the unit is done
  tiles/<unit>.failed       why the unit failed; a retry removes it
  seams/<unit>.arrow        joins with its neighbours
  seamlines/<unit>.arrow    where its labels end and its neighbours' begin
  contacts/<unit>.i64       what its small segments touch
  match/lut.i64             final ids, one int64 per owned id of each tile, tile after tile
  match/summary.json        written last: the match is done
  scales/<size>/            with several tile sizes: tiles, seams and match of each
  fused/                    how the scales are combined
  polygons/<unit>.arrow     parts in raster pixels
  bands/<unit>.arrow        sums of the bands' values, on request
  stages.json               the settings that seams, match and polygons were made with
  written.json              what the output was written from
```
"""

from __future__ import annotations

from dataclasses import dataclass

MANIFEST_NAME = "manifest.json"

INPUTS_NAME = "stages.json"
"""What each stage was made from, see `remotesam.run.runner.discard_if_changed`."""

WRITTEN_NAME = "written.json"
"""Statistics of the run; exists when the output is written."""

LIVE_NAME = "live.gpkg"
"""Provisional polygons of finished tiles."""

PROBE_FOLDER = "probe"
"""What driver and workers of a cluster show each other to know that they see one directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of a run."""

    name: str
    """What programs call it: in events, in `stages.json`, in the statistics."""
    title: str
    """What people read while it works."""
    content: tuple[str, ...] = ()
    """Folders and files that it writes in the run directory; the first is where its units' files lie."""
    by_unit: bool = False
    """True = it works unit by unit, and a file in its folder says that a unit is finished."""
    suffix: str = ".arrow"
    """Ending of that file."""
    made_from: tuple[str, ...] = ()
    """Names of the stages whose results it reads."""


STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage(name="load_model", title="Loading the model"),
        Stage(name="tiles", title="Segmenting", content=("tiles", LIVE_NAME), by_unit=True),
        Stage(
            name="seams",
            title="Comparing neighbours",
            content=("seams", "seamlines"),
            by_unit=True,
            made_from=("tiles",),
        ),
        Stage(
            name="contacts",
            title="Looking at small segments",
            content=("contacts",),
            by_unit=True,
            suffix=".i64",
            made_from=("seams",),
        ),
        Stage(name="match", title="Joining segments", content=("match",), made_from=("seams", "contacts")),
        Stage(name="colours", title="Comparing scales", content=("fused",), made_from=("match",)),
        Stage(name="scales", title="Choosing between scales", content=("fused",), made_from=("colours",)),
        Stage(
            name="polygons",
            title="Tracing polygons",
            content=("polygons",),
            by_unit=True,
            made_from=("match", "scales"),
        ),
        Stage(
            name="bands",
            title="Measuring bands",
            content=("bands",),
            by_unit=True,
            made_from=("match", "scales"),
        ),
        Stage(name="write", title="Writing", content=(WRITTEN_NAME,), made_from=("polygons", "bands")),
    )
}
"""All stages in the order in which a run goes through them: for `clean`, resuming, progress, events."""

SCALES_FOLDER = "scales"
"""Where the runs of single tile sizes lie in a run with several; each is a run directory of its own."""


def content_after(name: str) -> list[str]:
    """What a stage and all stages that are made from it have written, for when its inputs have changed."""
    changed = [name]
    for stage in STAGES.values():
        if stage.name not in changed and set(stage.made_from) & set(changed):
            changed.append(stage.name)
    return [file for stage in changed for file in STAGES[stage].content]


def all_content() -> list[str]:
    """Everything that a run writes but its manifest."""
    written = [file for stage in STAGES.values() for file in stage.content]
    return [*written, SCALES_FOLDER, INPUTS_NAME, PROBE_FOLDER]


def scale_url(run_url: str, tile_size: int) -> str:
    """The run directory of one tile size in a run with several."""
    return f"{run_url}/{SCALES_FOLDER}/{tile_size}"


def unit_file(stage: str, index: int) -> str:
    """The file of a unit in a stage; it exists when the unit is finished there."""
    return f"{STAGES[stage].content[0]}/{index}{STAGES[stage].suffix}"


def labels_name(index: int) -> str:
    """Where a unit's label map lies in the run."""
    return f"tiles/{index}.tif"


def segments_name(index: int) -> str:
    """Where a unit's segment table lies in the run; it exists when the unit is segmented."""
    return unit_file("tiles", index)


def failure_name(index: int) -> str:
    """Where a unit's failure is recorded in the run."""
    return f"tiles/{index}{FAILED}"


FAILED = ".failed"


def seams_name(index: int) -> str:
    """Where the joins of a unit with its neighbours lie in the run."""
    return unit_file("seams", index)


def seamlines_name(index: int) -> str:
    """Where the seamlines of a unit lie in the run."""
    return f"seamlines/{index}.arrow"


def contacts_name(index: int) -> str:
    """Where the contacts of a unit's small segments lie in the run."""
    return unit_file("contacts", index)


SUMMARY_NAME = "match/summary.json"
"""Written last; what the match found."""

SMALL_NAME = "match/small.i64"
"""Ids of the segments that may be absorbed or removed."""

LUT_NAME = "match/lut.i64"
"""Final ids of all owned labels, tile after tile, little-endian int64."""

OFFSETS_NAME = "match/offsets.i64"
"""(tiles + 1,) int64: where each tile's final ids start in the look-up table, counted in ids."""

SHARED_NAME = "match/shared.u1"
"""A byte for each final id in the look-up table: 1 = the segment has pieces in other tiles or labels."""
