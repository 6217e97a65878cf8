"""Build the plugin's zip: `python qgis_plugin/package.py` writes dist/remotesam_qgis-<version>.zip beside it.

Standard library only. The same sources give the same bytes: names are sorted, times and modes are fixed.
The version is that of the engine, remotesam/_version.py; metadata.txt holds 0.0.0 in its place.

The addresses in metadata.txt are placeholders at example.org. Who publishes the plugin gives the real ones:

    python qgis_plugin/package.py --release --repository https://host/owner/name --email who@host
"""

from __future__ import annotations

import argparse
import re
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PLUGIN = HERE / "remotesam_qgis"
LICENSE = HERE.parent / "LICENSE"
VERSION = HERE.parent / "remotesam" / "_version.py"
KEPT = {".py", ".svg", ".txt", ".json", ".qm"}
"""Kinds of files that belong in the zip; a new kind must be thought about before it is shipped."""
EPOCH = (2026, 1, 1, 0, 0, 0)


PLACEHOLDER = "example.org"


def main() -> None:
    """Build the zip and print its path."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=HERE / "dist", help="folder to write to")
    parser.add_argument(
        "--repository", metavar="URL", help="public repository; also the homepage, and /issues the tracker"
    )
    parser.add_argument("--email", metavar="ADDRESS", help="address of the maintainer")
    parser.add_argument("--release", action="store_true", help="refuse to build with placeholders")
    args = parser.parse_args()
    text = metadata(args.repository, args.email)
    left = [line for line in text.splitlines() if PLACEHOLDER in line]
    if args.release and left:
        parser.error(f"metadata.txt: {', '.join(left)}; a release needs --repository URL and --email ADDRESS")
    print(build(args.output, text))


def metadata(repository: str | None = None, email: str | None = None) -> str:
    """The text of metadata.txt with the version, and the maintainer's addresses where they are given."""
    given = {"version": version(), "email": email}
    if repository:
        home = repository.rstrip("/")
        given |= {"repository": home, "homepage": home, "tracker": f"{home}/issues"}
    text = (PLUGIN / "metadata.txt").read_text(encoding="utf-8")
    for key, value in given.items():
        if value:
            text = re.sub(rf"(?m)^{key}=.*$", lambda _, line=f"{key}={value}": line, text)
    return text


def build(folder: Path, text: str | None = None) -> Path:
    """Write the zip.

    Args:
        folder: Where to; made when it is not there.
        text: What metadata.txt is to hold; None = what it holds and the version.

    Returns:
        Path of the zip.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = metadata() if text is None else text
    target = folder / f"{PLUGIN.name}-{version()}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, path in sorted(files().items()):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16
            is_metadata = path == PLUGIN / "metadata.txt"
            archive.writestr(entry, text.encode() if is_metadata else path.read_bytes())
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
    """The version of the engine these sources belong to, read without importing it."""
    found = re.search(r'(?m)^__version__ = "(.+)"$', VERSION.read_text(encoding="utf-8"))
    if found is None:
        raise SystemExit(f'{VERSION}: no line __version__ = "..."')
    return found[1]


if __name__ == "__main__":
    main()
