"""Files that are complete or not there at all: written beside their place, then moved into it.

Everything that is written goes through `staged` (what a library writes by path, with the files that belong to
it) or `replace_file` (bytes), so an error or a kill leaves an earlier file as it was. Names of staging files
are never shared: two runs with one output do not disturb each other, and the last to finish wins.
"""

from __future__ import annotations

import contextlib
import glob
import os
import platform
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from remotesam.errors import OutputError

_FULL_BYTES = 1 << 20
"""A disk with less room than this is called full: what libraries say of it is about everything else."""

_LONGEST_REASON = 200
"""Characters that are passed on of a library's message; GDAL quotes whole SQL statements."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKind:
    """A kind of file that can be asked for by the end of its name."""

    title: str
    """What people call it."""
    suffixes: tuple[str, ...]
    """Ends of file names, in lower case with the dot; the first is the usual one."""


Kind = TypeVar("Kind", bound=FileKind)


def suffixes(kinds: Iterable[FileKind]) -> tuple[str, ...]:
    """All suffixes of some kinds, in their order, each once."""
    return tuple(dict.fromkeys(suffix for kind in kinds for suffix in kind.suffixes))


def kind_of(path: str | os.PathLike[str], kinds: Sequence[Kind]) -> Kind:
    """The kind that a file's name asks for, capitals or not; the longest suffix wins, then the first kind.

    Raises:
        OutputError: none of them.
    """
    name = Path(path).name
    matches = [
        (len(suffix), -number)
        for number, kind in enumerate(kinds)
        for suffix in kind.suffixes
        if name.lower().endswith(suffix) and len(name) > len(suffix)
    ]
    if not matches:
        raise OutputError(f"{path}: unknown format; name it *{', *'.join(suffixes(kinds))}")
    return kinds[-max(matches)[1]]


def check_place(path: str | os.PathLike[str]) -> None:
    """Find out before any work whether a file can be written where it is asked for.

    Raises:
        OutputError: its folder is missing or read-only, or it is itself a folder.
    """
    path = Path(path)
    folder = path.absolute().parent
    if not folder.is_dir():
        raise OutputError(f"{path}: there is no folder {folder}; make it or choose another place")
    if path.is_dir() or not os.access(folder, os.W_OK):
        raise OutputError(f"{path}: cannot be written there; choose another place")


def unwritable(path: Path, error: Exception) -> OutputError:
    """What to tell a user whose output could not be written: the one place that explains."""
    said = getattr(error, "strerror", None) or str(error)
    reason = " ".join(said.split())[:_LONGEST_REASON] or type(error).__name__
    with contextlib.suppress(OSError):
        if shutil.disk_usage(path.parent).free < _FULL_BYTES:
            reason = "the disk is full"
    return OutputError(f"{path}: cannot be written ({reason}); free space or choose another place")


@contextlib.contextmanager
def explained(path: Path, *kinds: type[Exception]) -> Iterator[None]:
    """Turn what a library raises while it writes `path` into one line for the user.

    Raises:
        OutputError: instead of any error of these kinds.
    """
    try:
        yield
    except OutputError:
        raise
    except kinds as error:
        raise unwritable(path, error) from error


def write_whole(content: bytes, target: Path) -> None:
    """Write a file of which nobody ever sees half.

    Raises:
        OutputError: the folder is missing, read-only or full.
    """
    with explained(target, OSError):
        _sweep(target)
        replace_file(content, target)


def replace_file(content: bytes, target: Path) -> None:
    """What `write_whole` does, for callers that explain errors and tidy up themselves.

    Raises:
        OSError: as the system gave it.
    """
    part = _beside(target)
    try:
        part.write_bytes(content)
        _into_place(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def staged(target: Path, companions: Sequence[str] = ()) -> Iterator[Path]:
    """A place to write a file in, and the files that belong to it; all are moved when the block is left.

    ```
    with staged(Path("map.shp"), COMPANIONS) as part:   # part.name == "map.shp", alone in a new folder
        library.write(part)                             # … and its .dbf, .shx beside it
    ```

    Args:
        target: the file to make.
        companions: names of files that would be taken for parts of the new file. Those that an earlier file
            left and the new one lacks are deleted, or they would speak for it.

    Yields:
        Where to write the file: its name is that of `target`. All that is in its folder in the end is moved,
        the file itself last; after an error nothing is, and what was there before is still there.

    Raises:
        OutputError: the folder is missing, read-only or full.
    """
    with explained(target, OSError):
        _sweep(target)
        folder = _beside(target)
        folder.mkdir()
    try:
        yield folder / target.name
        with explained(target, OSError):
            files = sorted(folder.iterdir(), key=lambda part: part.name == target.name)
            for name in {*companions} - {part.name for part in files}:
                target.with_name(name).unlink(missing_ok=True)
            for part in files:
                _into_place(part, target.with_name(part.name))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _into_place(part: Path, target: Path) -> None:
    """Give a finished file its name."""
    part.replace(target)


def _beside(target: Path) -> Path:
    """A name that nobody else uses, on the same file system as `target`."""
    return target.with_name(f"{target.name}.{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}.part")


def _sweep(target: Path) -> None:
    """Delete what processes of this machine left of `target` when they were killed."""
    import psutil

    for part in target.parent.glob(f"{glob.escape(f'{target.name}.{platform.node()}')}-*-*.part"):
        pid = part.name.rsplit("-", 2)[1]
        if not pid.isdigit() or psutil.pid_exists(int(pid)):
            continue
        if part.is_file():
            part.unlink(missing_ok=True)
        else:
            shutil.rmtree(part, ignore_errors=True)
