"""`remotesam serve`."""

from __future__ import annotations

import os

import click


@click.command()
def serve() -> None:
    """Answer clicks on a raster, JSON lines in and out; for programs such as the QGIS plugin."""
    from remotesam._version import __version__
    from remotesam.events import PROTOCOL, EventWriter, protocol_stdout, read_lines

    with protocol_stdout() as stream:
        writer = EventWriter(stream)
        writer.write("start", protocol=PROTOCOL, version=__version__, pid=os.getpid())
        from remotesam.clicks.server import serve as answer
        from remotesam.segmenter.prompts import load_prompts

        answer(read_lines(0), writer, lambda name, device: load_prompts(name, device=device))
