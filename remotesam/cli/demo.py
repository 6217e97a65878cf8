"""`remotesam demo`: a scene with an exact reference, segmented and judged on this machine."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("directory", default="remotesam-demo", type=click.Path(path_type=Path))
@click.option("--model", default="nano-affinity", show_default=True, help="Model to show.")
def demo(directory: Path, model: str) -> None:
    """Make an aerial scene, segment it, and judge the result against its exact reference."""
    from remotesam.cli.progress_bar import Bar
    from remotesam.pipeline.demo import run_demo

    with Bar() as bar:
        summary = run_demo(directory, model, bar)
    click.echo(summary)
