"""`remotesam schema`: the JSON Schema of all settings."""

from __future__ import annotations

import json

import click

KINDS = ("segment", "panorama")


@click.command("schema")
@click.argument("kind", type=click.Choice(KINDS), default=KINDS[0])
def show_schema(kind: str) -> None:
    """Print the JSON Schema of the settings of a KIND of run: `segment` where none is named."""
    from remotesam.config import PanoramaConfig, SegmentConfig, schema

    settings = schema(SegmentConfig if kind == "segment" else PanoramaConfig)
    click.echo(json.dumps(settings, indent=1, ensure_ascii=False))
