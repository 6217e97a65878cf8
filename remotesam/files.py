"""Files that are complete or not there: written under another name, then renamed."""

from __future__ import annotations

import shutil
from pathlib import Path

from remotesam.errors import OutputError

_FULL_BYTES = 1 << 20
"""A disk with less room than this is called full: what libraries say of it is about everything else."""


_LONGEST_REASON = 200
"""Characters that are passed on of a library's message; GDAL quotes whole SQL statements."""


def unwritable(path: Path, error: Exception) -> OutputError:
    """What to tell a user whose output could not be written."""
    reason = " ".join(str(error).split())[:_LONGEST_REASON] or type(error).__name__
    if path.parent.is_dir() and shutil.disk_usage(path.parent).free < _FULL_BYTES:
        reason = "the disk is full"
    return OutputError(f"{path}: cannot be written ({reason}); free space or choose another place")


def write_whole(content: bytes, target: Path) -> None:
    """Write a file under another name and rename it, so that a file that exists is complete.

    Raises:
        OutputError: the folder is missing, read-only or full.
    """
    part = target.with_name(target.name + ".part")
    try:
        part.write_bytes(content)
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"{target}: cannot be written ({error.strerror}); choose another place") from error
