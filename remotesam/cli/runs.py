"""`remotesam run`: look at, mend and delete run directories."""

from __future__ import annotations

import importlib
from typing import Any

import click

from remotesam.errors import RemotesamError

RETRIES = {"segment": "remotesam.pipeline.segment", "panorama": "remotesam.panorama.segment"}
"""Module of each kind of run; its `retry` continues one."""


@click.group()
def run() -> None:
    """Look at, mend and delete run directories."""


@run.command()
@click.argument("directory")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(directory: str, as_json: bool) -> None:
    """Say how far the run in DIRECTORY has come and which tiles failed."""
    from remotesam.run.records import encode
    from remotesam.run.status import describe, run_status

    run_state = run_status(directory)
    click.echo(encode(run_state).decode() if as_json else describe(run_state))


@run.command("retry-failed")
@click.argument("directory")
@click.option("--workers", metavar="auto|N|gpu", help="As in `segment`; default: as the run was started.")
@click.option("--scheduler", metavar="tcp://…|FILE", help="As in `segment`; default: as the run was started.")
def retry_failed(directory: str, workers: str | None, scheduler: str | None) -> None:
    """Segment what failed in the run in DIRECTORY again, then write its output anew."""
    from remotesam.cli.segment import followed
    from remotesam.run.options import RunOptions
    from remotesam.run.store import RunStore

    given = {"workers": workers, "scheduler": scheduler}
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    kind = RunStore(directory).manifest().kind
    retry = importlib.import_module(RETRIES[kind]).retry
    with followed("bar", None) as (listener, cancel):
        result = retry(directory, RunOptions(listener=listener, cancel=cancel), **settings)
    click.echo(f"{result.stats.segments} segments → {result.output}")
    if result.failed:
        raise RemotesamError(
            f"{len(result.failed)} of {result.stats.units} failed again; "
            f"see `remotesam run status {directory}`"
        )


@run.command()
@click.argument("directory")
def clean(directory: str) -> None:
    """Delete what the run in DIRECTORY has written; outputs stay."""
    from remotesam.run.store import RunStore

    store = RunStore(directory)
    store.manifest()
    store.clean()
    click.echo(f"{directory}: cleaned")
