"""The stages that a run does for each tile size: segment every tile, compare seams, give final ids."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from remotesam.config import stage_settings
from remotesam.events import Warned, tell
from remotesam.merge.match import match
from remotesam.merge.task import match_seams
from remotesam.pipeline.live_preview import LivePreview
from remotesam.run.job import TileJob
from remotesam.run.layout import SUMMARY_NAME
from remotesam.run.records import MatchSummary, UnitSummary
from remotesam.run.runner import Runner, discard_if_changed, each_unit, segment_units, timed
from remotesam.run.store import RunStore
from remotesam.tiles.task import segment_unit


@dataclass(frozen=True, slots=True)
class MatchedScale:
    """Tiles and match of one tile size."""

    job: TileJob
    """Its config holds one tile size."""
    summaries: dict[int, UnitSummary]
    """The summary of every finished tile."""
    found: MatchSummary
    """What the match found."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall time of each stage."""


def match_scale(job: TileJob, runner: Runner, live: LivePreview | None = None) -> MatchedScale:
    """Segment every tile of one tile size and give its segments final ids.

    Args:
        job: its config holds one tile size.
        runner: who works and who is told.
        live: gets every finished tile.

    Raises:
        RemotesamError: see `remotesam.run.runner.segment_units`.
        Cancelled: the user stopped; finished tiles are kept.
    """
    store = RunStore(job.run_url)
    seconds: dict[str, float] = {}
    with timed(seconds, "tiles"):
        on_finished = live.add if live is not None else lambda _: None
        summaries = segment_units(job, runner, segment_unit, on_finished=on_finished)
    missing = [index for index in range(job.units) if index not in summaries]
    inputs = {"settings": stage_settings(job.config, "match"), "missing": missing}
    discard_if_changed(store, "seams", inputs)
    if store.exists(SUMMARY_NAME):
        return MatchedScale(job, summaries, store.get_record(SUMMARY_NAME, MatchSummary), seconds)
    with timed(seconds, "seams"):
        each_unit(job, runner, "seams", match_seams)
    with timed(seconds, "match"):
        summary = match(job, partial(each_unit, job, runner))
    for chain in summary.long:
        message = f"a segment that starts in tile {chain.tile} spans {chain.tiles} tiles"
        tell(runner.listener, Warned(code="long_component", message=message))
    return MatchedScale(job, summaries, summary, seconds)
