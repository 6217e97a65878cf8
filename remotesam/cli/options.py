"""Command-line options made from the settings: one source for names, ranges, defaults and help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from remotesam.config import Kind, Settings, schema, settings_from

Command = TypeVar("Command", bound=Callable[..., Any])


def setting_options(kind: type[Settings]) -> Callable[[Command], Command]:
    """Add an option for every setting of a kind of run, its own first, and `--config FILE` for many."""
    properties = schema(kind)["properties"]
    shared = [name for name in properties if name in Settings.__struct_fields__]
    own = [name for name in properties if name not in Settings.__struct_fields__]

    def add(command: Command) -> Command:
        for name in reversed([*own, *shared]):
            command = _option(name, properties[name])(command)
        read = click.option(
            "--config", "config_file", metavar="FILE", help="YAML file of settings; options on the line win."
        )
        return read(command)

    return add


def run_options(unit: str) -> Callable[[Command], Command]:
    """Add what every run over many tiles or views has: its directory, resuming, progress, control.

    Args:
        unit: what is finished one by one, in the plural.
    """
    kept = f"Where finished {unit} are kept. [default: beside the output]"
    resume = "Continue an interrupted run, or discard it. [default: resume]"
    shown = click.Choice(["bar", "json", "none"])
    stop = "Stop when `cancel` or the end comes on this input."
    options = (
        click.option("--run-dir", metavar="DIR", help=kept),
        click.option("--resume/--fresh", default=True, help=resume),
        click.option("--progress", type=shown, default="bar", show_default=True),
        click.option("--control", type=click.Choice(["stdin"]), help=stop),
    )

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def collect_config(kind: type[Kind], config_file: str | None, given: dict[str, Any]) -> Kind:
    """The settings of a command line: the file's, overridden by the options that were given.

    Args:
        kind: of run.
        config_file: path of a YAML file, or None.
        given: values by field name; None = option not given.

    Raises:
        ConfigError: an unknown or impossible setting.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    return settings_from(kind, config_file, chosen)


def _option(name: str, about: dict[str, Any]) -> Callable[[Command], Command]:
    flag = "--" + name.replace("_", "-")
    default = about.get("default")
    text = about["description"]
    if isinstance(default, bool):
        off = "--no-" + name.replace("_", "-")
        return click.option(
            f"{flag}/{off}", name, default=None, help=f"{text}  [default: {'on' if default else 'off'}]"
        )
    choices = _choices(about)
    # click reads ".6" too, which is no number in JSON.
    kind = click.Choice(choices) if choices else click.FLOAT if _is_number(about) else None
    shown = ",".join(map(str, default)) if isinstance(default, list) else default
    if shown is not None:
        text = f"{text}  [default: {shown}]"
    return click.option(
        flag, name, default=None, type=kind, metavar=None if choices else _metavar(about), help=text
    )


def _metavar(about: dict[str, Any]) -> str:
    kinds = [about, *about.get("anyOf", [])]
    names = {"integer": "N", "number": "X", "string": "TEXT", "array": "N,N"}
    metavar = next((names[kind["type"]] for kind in kinds if kind.get("type") in names), "VALUE")
    return str(about.get("x-hint", metavar))


def _choices(about: dict[str, Any]) -> list[str] | None:
    """The words that a setting may have, if it is a choice."""
    listed = [kind["enum"] for kind in (about, *about.get("anyOf", [])) if "enum" in kind]
    return [word for word in listed[0] if word is not None] if listed else None


def _is_number(about: dict[str, Any]) -> bool:
    return any(kind.get("type") == "number" for kind in (about, *about.get("anyOf", [])))
