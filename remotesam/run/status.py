"""How far a run has come, read from its directory alone, whatever its units are."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from remotesam.run.layout import FAILED, STAGES, SUMMARY_NAME, WRITTEN_NAME, failure_name
from remotesam.run.records import Manifest, UnitFailure
from remotesam.run.store import RunStore


class RunStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run has come."""

    run: str
    """The run directory."""
    kind: str
    """Kind of run: "segment" or "panorama"."""
    source: str
    """What is segmented."""
    output: str
    """What is written."""
    model: str
    """Name and digest of the model."""
    units: int
    """Tiles or views, those of all scales together."""
    finished: dict[str, int]
    """Units finished in each stage that goes unit by unit."""
    matched: bool
    """True = segments are joined across tiles."""
    written: bool
    """True = the output is written."""
    failures: list[UnitFailure]
    """Units that failed."""


def run_status(directory: str) -> RunStatus:
    """Look at a run directory.

    Raises:
        StoreError: there is no run in the directory.
    """
    store = RunStore(directory)
    manifest = store.manifest()
    stores = unit_stores(directory, manifest)
    places = {place.url: place for place in (store, *stores)}.values()
    finished = {
        stage.name: sum(len(place.finished(stage.content[0], stage.suffix)) for place in places)
        for stage in STAGES.values()
        if stage.by_unit
    }
    return RunStatus(
        run=directory,
        kind=manifest.kind,
        source=manifest.source,
        output=str(manifest.outputs["polygons"]),
        model=str(manifest.identity["model"]),
        units=sum(manifest.units.values()),
        finished={name: count for name, count in finished.items() if count or name == "tiles"},
        matched=all(place.exists(SUMMARY_NAME) for place in stores),
        written=store.exists(WRITTEN_NAME),
        failures=failures(stores),
    )


def unit_stores(directory: str, manifest: Manifest) -> list[RunStore]:
    """The run directories that hold units: the run's own, or one for each scale."""
    return [RunStore(f"{directory}/{folder}" if folder else directory) for folder in manifest.units]


def failures(stores: Iterable[RunStore]) -> list[UnitFailure]:
    """The failed units of some run directories, in order."""
    return [
        store.get_record(failure_name(index), UnitFailure)
        for store in stores
        for index in sorted(store.finished("tiles", FAILED))
    ]


def describe(status: RunStatus) -> str:
    """The status as a short text."""
    unit = "view" if status.kind == "panorama" else "tile"
    counts = ", ".join(f"{STAGES[name].title.lower()} {count}" for name, count in status.finished.items())
    lines = [
        f"{status.run}: {status.source} → {status.output} with {status.model}",
        (
            f"{status.finished['tiles']} of {status.units} {unit}s finished; output "
            f"{'written' if status.written else 'not written yet'}"
        ),
        f"units by stage: {counts}",
    ]
    lines += [f"failed: {unit} {failure.unit}: {failure.error}" for failure in status.failures]
    return "\n".join(lines)
