"""`remotesam schema`: the JSON Schema of all settings."""

from __future__ import annotations

import json

import click


@click.command("schema")
def show_schema() -> None:
    """Print the JSON Schema of all settings."""
    from remotesam.config import schema

    click.echo(json.dumps(schema(), indent=1, ensure_ascii=False))
