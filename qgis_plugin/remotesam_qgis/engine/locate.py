"""Where the engine is, and whether this plugin can talk to it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from .environ import popen_kwargs
from .protocol import PROTOCOL

INSTALL_COMMAND = "uv tool install remotesam"
VARIABLE = "REMOTESAM_EXECUTABLE"
TOOL_FOLDERS = (
    ".local/bin",
    ".local/share/uv/tools/remotesam",
    ".local/share/pipx/venvs/remotesam",
    ".local/pipx/venvs/remotesam",
    "pipx/venvs/remotesam",
)
CHECK_SECONDS = 60.0
"""Limit of a check: importing torch from a cold, slow disk takes tens of seconds."""


class EngineError(Exception):
    """The engine is missing, broken, or of another protocol; the text is for the user."""


@dataclass(frozen=True)
class Engine:
    """A way to start the engine.

    Attributes:
        command: First words of the command line: `("remotesam",)` or `("python", "-m", "remotesam")`
        origin: Where it was found, for messages.
    """

    command: tuple[str, ...]
    origin: str


def find(setting: str, environ: Mapping[str, str], home: Optional[Path] = None) -> Engine:
    """Find the engine: the setting, the environment variable, the managed environment, PATH, tool folders.

    The Python that runs QGIS is never tried: inside QGIS `sys.executable` is QGIS itself on some
    platforms and an unrelated Python on others.

    Args:
        setting: Path from the options page (executable, Python or environment folder); empty = search.
        environ: Environment to read; pass a cleaned one, so that PATH holds no folder of QGIS on Windows.
        home: Home folder of the user.

    Returns:
        The first engine that exists.

    Raises:
        EngineError: Nothing was found, or the setting names something that does not exist.
    """
    home = home or Path.home()
    for explicit, origin in ((setting.strip(), "the options page"), (environ.get(VARIABLE, ""), VARIABLE)):
        if explicit:
            command = _command_of(Path(explicit).expanduser())
            if command is None:
                raise EngineError(
                    f"No remotesam engine at {explicit} (from {origin}). Name the remotesam executable, "
                    "a Python that has remotesam, or the folder of its environment."
                )
            return Engine(command, origin)
    for path, origin in _well_known(environ, home):
        command = _command_of(path)
        if command is not None:
            return Engine(command, origin)
    raise EngineError(
        "The remotesam engine is not installed. Run this once in a terminal, then press Check: "
        + INSTALL_COMMAND
    )


def check(engine: Engine, env: Mapping[str, str], timeout: float = CHECK_SECONDS) -> dict[str, Any]:
    """Ask the engine about itself.

    Args:
        engine: The engine to ask.
        env: Clean environment for the process.
        timeout: Seconds to wait.

    Returns:
        What `remotesam doctor --json` says: at least `protocol` and `remotesam`, its version.

    Raises:
        EngineError: It does not start, does not answer, or speaks another protocol.
    """
    report = ask(engine, ["doctor", "--json"], env, timeout)
    refuse_other_protocol(report.get("protocol"), str(report.get("remotesam", "?")))
    return report


def ask(engine: Engine, arguments: list[str], env: Mapping[str, str], timeout: float = CHECK_SECONDS) -> Any:
    """Run a short engine command and return the JSON it prints.

    Raises:
        EngineError: It does not start, fails, takes too long or prints no JSON.
    """
    command = [*engine.command, *arguments]
    shown = " ".join(command)
    try:
        done = subprocess.run(  # nosec B603 - argument list, no shell
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=dict(env),
            timeout=timeout,
            check=False,
            **popen_kwargs(),
        )
    except OSError as error:
        raise EngineError(f"The engine cannot be started ({shown}): {error.strerror or error}.") from error
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"The engine did not answer within {timeout:.0f} s ({shown}).") from error
    try:
        answer = json.loads(done.stdout.decode("utf-8", "replace"))
    except ValueError as error:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        detail = said[-1] if said else f"exit code {done.returncode}"
        raise EngineError(f"The engine gave no usable answer ({shown}): {detail}") from error
    return answer


def refuse_other_protocol(protocol: object, version: str) -> None:
    """Accept an engine of this plugin's protocol only.

    Raises:
        EngineError: The engine is older or newer than this plugin can follow.
    """
    if protocol == PROTOCOL:
        return
    newer = isinstance(protocol, int) and protocol > PROTOCOL
    advice = "update this plugin" if newer else "update the engine with: uv tool upgrade remotesam"
    raise EngineError(
        f"remotesam {version} speaks protocol {protocol}, this plugin speaks protocol {PROTOCOL}: {advice}."
    )


def _command_of(path: Path) -> Optional[tuple[str, ...]]:
    if path.is_dir():
        return next(filter(None, map(_command_of, _in_environment(path))), None)
    if not path.is_file() or not os.access(path, os.X_OK):
        return None
    if path.stem.lower().startswith("python"):
        return (str(path), "-m", "remotesam")
    return (str(path),)


def _in_environment(folder: Path) -> Iterator[Path]:
    for inner in ("bin", "Scripts", ""):
        for name in ("remotesam", "remotesam.exe"):
            yield folder / inner / name


def _well_known(environ: Mapping[str, str], home: Path) -> Iterator[tuple[Path, str]]:
    local = environ.get("LOCALAPPDATA")
    for root in ([Path(local) / "remotesam"] if local else []) + [home / ".remotesam"]:
        yield root / "venv", "the managed environment"
    on_path = shutil.which("remotesam", path=environ.get("PATH", ""))
    if on_path:
        yield Path(on_path), "PATH"
    for tools in TOOL_FOLDERS:
        yield home / tools, str(home / tools)
    appdata = environ.get("APPDATA")
    if appdata:
        yield Path(appdata) / "uv" / "tools" / "remotesam", "uv tools"
