"""`remotesam segment` and `remotesam plan`."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from remotesam.cli.options import collect_config, run_options, setting_options
from remotesam.cli.progress_bar import Bar
from remotesam.config import SegmentConfig
from remotesam.errors import RemotesamError
from remotesam.events import Listener, duration, silent
from remotesam.vector.formats import suffixes


@click.command()
@click.argument("raster")
@click.option(
    "-o", "--output", required=True, metavar="FILE", help=f"Polygons; the format: {', '.join(suffixes())}."
)
@click.option("--labels", metavar="FILE", help="Also write the label raster, a Cloud Optimized GeoTIFF.")
@click.option("--preview", metavar="FILE", help="Also write a picture of the segments beside the image.")
@click.option("--report", metavar="FILE", help="Also write an HTML report.")
@run_options("tiles")
@setting_options(SegmentConfig)
def segment(
    raster: str,
    output: str,
    labels: str | None,
    preview: str | None,
    report: str | None,
    run_dir: str | None,
    resume: bool,
    progress: str,
    control: str | None,
    config_file: str | None,
    **given: Any,
) -> None:
    """Segment everything in RASTER and write polygons.

    RASTER is anything that GDAL reads: GeoTIFF, COG, VRT, PNG, JPEG; a local path, /vsi… or http(s) address.
    """
    config = collect_config(SegmentConfig, config_file, given)
    with followed(progress, control) as (listener, cancel):
        from remotesam.pipeline.outputs import Outputs
        from remotesam.pipeline.segment import run
        from remotesam.run.options import RunOptions

        result = run(
            raster,
            config,
            Outputs(polygons=output, labels=labels, preview=preview, report=report),
            RunOptions(
                run_dir=run_dir, resume=resume, listener=listener, cancel=cancel, live=progress == "json"
            ),
        )
    if progress == "bar":
        click.echo(
            f"{result.stats.segments} segments, {result.coverage:.1%} of the valid area, in "
            f"{duration(result.stats.seconds)} → {result.output}"
        )
    if result.failed:
        raise RemotesamError(
            f"{len(result.failed)} of {result.stats.units} tiles failed (first: {result.failed[0]}); the "
            f"rest is in {result.output}; see `remotesam run status {result.run_dir}`"
        )


@click.command()
@click.argument("raster")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--no-probe", is_flag=True, help="Do not segment one tile to estimate the time.")
@setting_options(SegmentConfig)
def plan(raster: str, as_json: bool, no_probe: bool, config_file: str | None, **given: Any) -> None:
    """Say what a run over RASTER would take, before any work is done."""
    from remotesam.pipeline.plan import describe, preflight

    facts = preflight(raster, collect_config(SegmentConfig, config_file, given), probe=not no_probe)
    if as_json:
        import json

        click.echo(json.dumps(facts, indent=1))
    else:
        click.echo(describe(facts))


@contextmanager
def followed(progress: str, control: str | None) -> Iterator[tuple[Listener, threading.Event]]:
    """A listener for the chosen kind of progress, and an event that Ctrl-C or the control input sets.

    The first Ctrl-C asks the run to stop at the next pass; the second ends the process at once.
    """
    cancel = threading.Event()
    with _interruptible(cancel):
        if control == "stdin":
            from remotesam.events import watch_control

            watch_control(cancel)
        if progress == "json":
            yield from _json(cancel)
        elif progress == "bar":
            with Bar() as bar:
                yield bar, cancel
        else:
            yield silent, cancel


def _json(cancel: threading.Event) -> Iterator[tuple[Listener, threading.Event]]:
    from remotesam.events import EventWriter, protocol_stdout

    with protocol_stdout() as stream:
        writer = EventWriter(stream, on_reader_gone=cancel.set)
        try:
            yield writer.write, cancel
        except RemotesamError as error:
            if error.exit_code != 3:
                writer.write("error", code=type(error).__name__, message=str(error))
            raise


@contextmanager
def _interruptible(cancel: threading.Event) -> Iterator[None]:
    def stop(*_: object) -> None:
        if cancel.is_set():
            raise KeyboardInterrupt
        cancel.set()
        click.echo("stopping after the pass under way; once more to stop at once", err=True)

    before: dict[int, Callable[[int, Any], Any] | int | None] = {
        number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
