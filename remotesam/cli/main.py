"""The `remotesam` command: its subcommands, and how errors reach the user."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from remotesam._version import __version__
from remotesam.errors import RemotesamError

COMMANDS = {
    "segment": "remotesam.cli.segment:segment",
    "plan": "remotesam.cli.segment:plan",
    "panorama": "remotesam.cli.panorama:panorama",
    "evaluate": "remotesam.cli.evaluate:evaluate",
    "demo": "remotesam.cli.demo:demo",
    "models": "remotesam.cli.models:models",
    "run": "remotesam.cli.runs:run",
    "serve": "remotesam.cli.serve:serve",
    "schema": "remotesam.cli.schema:show_schema",
    "doctor": "remotesam.cli.doctor:doctor",
}


class _LateGroup(click.Group):
    """Imports a subcommand when it is asked for: `remotesam --help` must not wait for GDAL."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(
    cls=_LateGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="remotesam")
def cli() -> None:
    """Turn any huge image into clean polygons of everything in it, with SAM 2."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit code.

    0 done · 1 error · 2 wrong arguments or settings · 3 cancelled, finished tiles kept. What goes
    wrong is one line on standard error. Set REMOTESAM_DEBUG=1 to see where in the program it happened.
    """
    try:
        result: Any = cli.main(arguments, prog_name="remotesam", standalone_mode=False)
    except click.Abort:
        _leave("cancelled", 3)
    except click.ClickException as error:
        _leave(error.format_message(), 2)
    except RemotesamError as error:
        if os.environ.get("REMOTESAM_DEBUG"):
            raise
        _leave(str(error), error.exit_code)
    except BrokenPipeError:
        # The reader of our output is gone (`remotesam … | head`); what is left to flush has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(result if isinstance(result, int) else 0)


def _leave(message: str, code: int) -> None:
    line = " ".join(message.split())
    click.echo(line if code == 3 else f"error: {line}", err=True)
    sys.exit(code)
