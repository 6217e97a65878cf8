"""What works on this machine, what does not, and how to mend it."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from importlib import metadata
from typing import Any

import click
import psutil

from remotesam._version import __version__
from remotesam.events import PROTOCOL
from remotesam.segmenter import checkpoints
from remotesam.segmenter.families import FAMILIES

PACKAGES = (
    "torch",
    "sam2",
    "rasterio",
    "shapely",
    "pyogrio",
    "pyproj",
    "numpy",
    "opencv-python-headless",
    "scikit-image",
)
OPTIONAL = {"distributed": "dask"}


def examine() -> dict[str, Any]:
    """Look at versions, devices, memory, models and the cache.

    Returns:
        JSON-ready; `problems` lists what is wrong as {what, mend}, empty when all is well.
    """
    problems: list[dict[str, str]] = []
    memory = psutil.virtual_memory()
    return {
        "remotesam": __version__,
        "protocol": PROTOCOL,
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory.total / 2**30, 1),
        "free_memory_gib": round(memory.available / 2**30, 1),
        "packages": _packages(problems),
        "devices": _devices(problems),
        "models": _models(problems),
        "models_directory": _models_directory(problems),
        "problems": problems,
    }


def describe(seen: dict[str, Any]) -> str:
    """The findings as a short text."""
    lines = [
        f"remotesam {seen['remotesam']}, protocol {seen['protocol']}, Python {seen['python']}",
        (
            f"{seen['platform']}, {seen['cores']} cores, {seen['memory_gib']} GiB memory "
            f"({seen['free_memory_gib']} free)"
        ),
        "packages  " + ", ".join(f"{name} {version}" for name, version in seen["packages"].items()),
    ]
    lines += [
        f"device    {d['name']}: {d['model']}, {d['memory_gib']} GiB ({d['free_gib']} free)"
        for d in seen["devices"]
    ]
    present = [m["name"] for m in seen["models"] if m["present"]]
    lines.append(
        f"models    {', '.join(present) or 'none'} of {len(seen['models'])}, in {seen['models_directory']}"
    )
    if not seen["problems"]:
        return "\n".join([*lines, "", "Everything works."])
    return "\n".join([*lines, "", *(f"problem: {p['what']}\n   mend: {p['mend']}" for p in seen["problems"])])


def _packages(problems: list[dict[str, str]]) -> dict[str, str]:
    versions = {}
    for name in (*PACKAGES, *OPTIONAL):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            if name in PACKAGES:
                problems.append({"what": f"{name} is not installed", "mend": f"pip install {name}"})
    return versions


def _devices(problems: list[dict[str, str]]) -> list[dict[str, Any]]:
    try:
        from remotesam.segmenter.devices import describe as devices
    except (ImportError, OSError) as error:
        problems.append(
            {
                "what": f"torch cannot be loaded ({_first_line(error)})",
                "mend": "reinstall torch for this machine, see https://pytorch.org/get-started",
            }
        )
        return []
    return devices()


def _models(problems: list[dict[str, str]]) -> list[dict[str, Any]]:
    here = checkpoints.list_models()
    problems.extend(
        {"what": f"the bundled model is missing ({path})", "mend": "reinstall remotesam"}
        for path in sorted({str(m.path) for m in here if m.url is None and not m.present})
    )
    return [
        {
            "name": m.name,
            "present": m.present,
            "path": str(m.path),
            "size": m.size,
            "does": FAMILIES[m.family].abilities,
        }
        for m in here
    ]


def _models_directory(problems: list[dict[str, str]]) -> str:
    directory = checkpoints.models_directory()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        problems.append(
            {
                "what": f"{directory} cannot be written ({error.strerror})",
                "mend": f"set {checkpoints.MODELS_VARIABLE} to a folder you can write",
            }
        )
    return str(directory)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> int:
    """Check this installation: versions, devices, memory, models, cache."""
    from remotesam.cli.doctor import describe, examine

    examination = examine()
    click.echo(json.dumps(examination, indent=1) if as_json else describe(examination))
    return 1 if examination["problems"] else 0
