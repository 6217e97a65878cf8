"""Resumable, verified download of one large file over HTTP."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from remotesam.errors import CheckpointError, ModelUnavailableError

_BLOCK = 1 << 20
_TIMEOUT_S = 30
_ATTEMPTS = 4

Progress = Callable[[int, int | None], None]
"""Called with (bytes so far, bytes in all or None)."""


def download(
    url: str, target: Path, *, size: int | None, sha256: str | None, progress: Progress | None = None
) -> None:
    """Fetch `url` into `target`, which appears only when complete and checked.

    Bytes go to `target` + ".part". A broken connection is taken up again where it stopped (HTTP Range,
    RFC 9110 §14), at once a few times and by the next call after that.

    Args:
        url: http or https address.
        target: File to make; its directory is made too.
        size: Bytes the file must have; None = whatever the server sends.
        sha256: Digest in hex the file must have; None = not checked.
        progress: Told of every block.

    Raises:
        ModelUnavailableError: The server cannot be reached, refuses, or keeps breaking off.
        CheckpointError: The complete file has another size or digest; the part is deleted.
    """
    part = target.with_name(target.name + ".part")
    hint = f"put {url} at {target} by hand, or try again: it continues where it stopped"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _fill(url, part, size, progress)
    except urllib.error.HTTPError as error:
        raise ModelUnavailableError(f"{url}: server answers {error.code} {error.reason}; {hint}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise ModelUnavailableError(f"{url}: download failed ({reason}); {hint}") from error
    _verify(part, url, size, sha256)
    part.replace(target)


def _fill(url: str, part: Path, size: int | None, progress: Progress | None) -> None:
    """Continue `part` until the server has sent everything."""
    for attempt in range(1, _ATTEMPTS + 1):
        have = part.stat().st_size if part.exists() else 0
        if size is not None and have == size:
            return
        if size is not None and have > size:
            part.unlink()
            have = 0
        try:
            _receive(url, part, have, progress)
        except urllib.error.HTTPError as error:
            error.close()
            # 416: the part is not a prefix of what the server has. Start anew; other refusals are final.
            if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or attempt == _ATTEMPTS:
                raise
            part.unlink(missing_ok=True)
        except (OSError, http.client.HTTPException):
            if attempt == _ATTEMPTS:
                raise
        else:
            return


def _receive(url: str, part: Path, have: int, progress: Progress | None) -> None:
    headers = {"Range": f"bytes={have}-"} if have else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 (an address of CHECKPOINTS)
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310 (the same)
        continues = response.status == http.HTTPStatus.PARTIAL_CONTENT
        received = have if continues else 0
        length = response.headers.get("Content-Length")
        total = received + int(length) if length is not None else None
        with part.open("ab" if continues else "wb") as stream:
            while block := response.read(_BLOCK):
                stream.write(block)
                received += len(block)
                if progress is not None:
                    progress(received, total)
    # http.client ends a sized body quietly when the connection drops, so the length is ours to check.
    if total is not None and received < total:
        raise ConnectionError(f"connection closed after {received} of {total} bytes")


def _verify(part: Path, url: str, size: int | None, sha256: str | None) -> None:
    actual_size = part.stat().st_size
    if size is not None and actual_size != size:
        part.unlink()
        raise CheckpointError(f"{url}: came with {actual_size} bytes instead of {size}; try another network")
    if sha256 is None:
        return
    with part.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != sha256:
        part.unlink()
        raise CheckpointError(f"{url}: came with SHA-256 {digest} instead of {sha256}; try another network")
