"""`remotesam models`: list, fetch and check models."""

from __future__ import annotations

import json

import click
from rich.console import Console
from rich.progress import DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn


@click.group()
def models() -> None:
    """List, fetch and check models."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_models(as_json: bool) -> None:
    """Show all models by name, and which are on this machine."""
    from remotesam.segmenter.checkpoints import list_models as known
    from remotesam.segmenter.families import FAMILIES

    models_here = known()
    if as_json:
        fields = ("name", "family", "present", "size", "url", "digest_known")
        rows = [
            {
                **{field: getattr(model, field) for field in fields},
                "path": str(model.path),
                "does": FAMILIES[model.family].abilities,
            }
            for model in models_here
        ]
        click.echo(json.dumps(rows, indent=1))
        return
    for model in models_here:
        size = f"{model.size / 1e6:7.1f} MB" if model.size else "      ?   "
        state = "here" if model.present else "to be fetched"
        checked = (
            ""
            if model.digest_known or model.url is None
            else "  (size and structure checked, no digest known)"
        )
        click.echo(
            f"{model.name:<18} {size}  {state:<14}{model.path if model.present else model.url}{checked}\n"
            f"{'':<18} {', '.join(FAMILIES[model.family].abilities)}"
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

    checked = verify(path)
    official = f", the official {checked.official}" if checked.official else ""
    count = "" if checked.parameters is None else f", {checked.parameters / 1e6:.1f} M parameters"
    click.echo(f"{checked.path}: {checked.architecture}{count}, loads{official}\nSHA-256 {checked.digest}")
