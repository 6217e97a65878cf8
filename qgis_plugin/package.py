#!/usr/bin/env python3
"""Build the plugin's zip: `python qgis_plugin/package.py` writes dist/remotesam_qgis-<version>.zip beside it.

Standard library only. The same sources give the same bytes: names are sorted, times and modes are fixed.
"""

from __future__ import annotations

import argparse
import configparser
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PLUGIN = HERE / "remotesam_qgis"
LICENSE = HERE.parent / "LICENSE"
KEPT = {".py", ".svg", ".txt", ".json", ".qm"}
"""Kinds of files that belong in the zip; a new kind must be thought about before it is shipped."""
EPOCH = (2026, 1, 1, 0, 0, 0)


def main() -> None:
    """Build the zip and print its path."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=HERE / "dist", help="folder to write to")
    print(build(parser.parse_args().output))


def build(folder: Path) -> Path:
    """Write the zip.

    Args:
        folder: Where to; made when it is not there.

    Returns:
        Path of the zip.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{PLUGIN.name}-{version()}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, path in sorted(files().items()):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, path.read_bytes())
    return target


def files() -> dict[str, Path]:
    """Every file of the zip by its name in it."""
    found = {
        f"{PLUGIN.name}/{path.relative_to(PLUGIN).as_posix()}": path
        for path in PLUGIN.rglob("*")
        if path.is_file() and path.suffix in KEPT
    }
    return {**found, f"{PLUGIN.name}/LICENSE": LICENSE}


def version() -> str:
    """The version in metadata.txt."""
    metadata = configparser.ConfigParser(interpolation=None)
    metadata.read(PLUGIN / "metadata.txt", encoding="utf-8")
    return metadata["general"]["version"]


if __name__ == "__main__":
    main()
