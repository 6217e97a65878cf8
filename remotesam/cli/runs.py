"""`remotesam demo`, `models`, `run`, `schema` and `doctor`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from remotesam.errors import RemotesamError


@click.command()
@click.argument("directory", default="remotesam-demo", type=click.Path(path_type=Path))
@click.option("--model", default="nano-affinity", show_default=True, help="Model to show.")
def demo(directory: Path, model: str) -> None:
    """Make an aerial scene, segment it, and judge the result against its exact reference."""
    from remotesam.cli.demo import run_demo
    from remotesam.progress import Bar

    with Bar() as bar:
        summary = run_demo(directory, model, bar)
    click.echo(summary)


@click.group()
def models() -> None:
    """List, fetch and check models."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_models(as_json: bool) -> None:
    """Show all models by name, and which are on this machine."""
    from remotesam.segmenter.checkpoints import list_models as known

    found = known()
    if as_json:
        fields = ("name", "present", "size", "url", "digest_known")
        click.echo(
            json.dumps([{**{f: getattr(m, f) for f in fields}, "path": str(m.path)} for m in found], indent=1)
        )
        return
    for model in found:
        size = f"{model.size / 1e6:7.1f} MB" if model.size else "      ?   "
        state = "here" if model.present else "to be fetched"
        checked = (
            ""
            if model.digest_known or model.url is None
            else "  (size and structure checked, no digest known)"
        )
        click.echo(
            f"{model.name:<18} {size}  {state:<14}{model.path if model.present else model.url}{checked}"
        )


@models.command()
@click.argument("name")
def fetch(name: str) -> None:
    """Download the checkpoint NAME, or continue an interrupted download."""
    from remotesam.segmenter.checkpoints import fetch as download

    columns = (
        *Progress.get_default_columns()[:2],
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=None)
        path = download(name, lambda done, total: bar.update(task, completed=done, total=total))
    click.echo(path)


@models.command()
@click.argument("path")
def check(path: str) -> None:
    """Verify the checkpoint file PATH, or the model of that name."""
    from remotesam.segmenter.loading import check as verify

    found = verify(path)
    known = f", the official {found.official}" if found.official else ""
    click.echo(
        f"{found.path}: {found.architecture}, {found.parameters / 1e6:.1f} M parameters, loads{known}\n"
        f"SHA-256 {found.digest}"
    )


@click.group()
def run() -> None:
    """Look at, mend and delete run directories."""


@run.command()
@click.argument("directory")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(directory: str, as_json: bool) -> None:
    """Say how far the run in DIRECTORY has come and which tiles failed."""
    from remotesam.run.status import describe, run_status

    found = run_status(directory)
    click.echo(json.dumps(found, indent=1) if as_json else describe(found))


@run.command("retry-failed")
@click.argument("directory")
@click.option("--workers", metavar="auto|N|gpu", help="As in `segment`; default: as the run was started.")
@click.option("--scheduler", metavar="tcp://…|FILE", help="As in `segment`; default: as the run was started.")
def retry_failed(directory: str, workers: str | None, scheduler: str | None) -> None:
    """Segment the failed tiles of the run in DIRECTORY again, then write its output anew."""
    from remotesam.cli.segment import followed
    from remotesam.pipeline.segment import retry

    given = {"workers": workers, "scheduler": scheduler}
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    with followed("bar", None) as (listener, cancel):
        result = retry(directory, listener=listener, cancel=cancel, **settings)
    click.echo(f"{result.stats['segments']} segments → {result.output}")
    if result.failed:
        raise RemotesamError(
            f"{len(result.failed)} tiles failed again; see `remotesam run status {directory}`"
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


@click.command("schema")
def show_schema() -> None:
    """Print the JSON Schema of all settings."""
    from remotesam.config import schema

    click.echo(json.dumps(schema(), indent=1, ensure_ascii=False))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> int:
    """Check this installation: versions, devices, memory, models, cache."""
    from remotesam.cli.doctor import describe, examine

    found = examine()
    click.echo(json.dumps(found, indent=1) if as_json else describe(found))
    return 1 if found["problems"] else 0
