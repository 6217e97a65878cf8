"""The checkpoints remotesam knows by name, where they lie, and how they get there. Free of torch.

Official files come from Meta's own server (github.com/facebookresearch/sam2, README "Download Checkpoints").
Meta publishes neither sizes nor digests. The SHA-256 values below are those that independent projects pin
and check on download: all eight in computational-cell-analytics/micro-sam (`micro_sam/v2/util.py`), and each
one again in at least one other public repository; the sizes are from public download scripts that verify
them. No file was downloaded to compute them anew.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import platformdirs

from remotesam.errors import CheckpointError, ModelUnavailableError
from remotesam.segmenter.download import download
from remotesam.segmenter.families import FAMILIES, Family

MODELS_VARIABLE = "REMOTESAM_MODELS"
"""Environment variable that names the directory of checkpoint files."""

_SERVER = "https://dl.fbaipublicfiles.com/segment_anything_2/"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One model file known by name."""

    name: str
    """What the user types."""
    filename: str
    """Name of the file in the models directory."""
    url: str | None = None
    """Where it is fetched from; None = shipped with the package."""
    size: int | None = None
    """Bytes; None = not checked."""
    sha256: str | None = None
    """Digest of the whole file in hex; None = unverified, only size and strict loading are checked."""
    architecture: str | None = None
    """Network that the file fills, where its name is not that of the model."""
    family: str = "sam2"
    """Name in `families.FAMILIES`: how the file becomes a segmenter."""

    @property
    def network(self) -> str:
        """Name in `architectures.ARCHITECTURES`."""
        return self.architecture or self.name


def _official(name: str, path: str, size: int, sha256: str) -> Checkpoint:
    return Checkpoint(name, path.rsplit("/", 1)[-1], _SERVER + path, size, sha256)


CHECKPOINTS: dict[str, Checkpoint] = {
    checkpoint.name: checkpoint
    for checkpoint in (
        Checkpoint("nano", "nano.pt"),
        Checkpoint("nano-affinity", "nano.pt", architecture="nano", family="regions"),
        _official(
            "sam2.1-tiny",
            "092824/sam2.1_hiera_tiny.pt",
            156_008_466,
            "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
        ),
        _official(
            "sam2.1-small",
            "092824/sam2.1_hiera_small.pt",
            184_416_285,
            "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
        ),
        _official(
            "sam2.1-base-plus",
            "092824/sam2.1_hiera_base_plus.pt",
            323_606_802,
            "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
        ),
        _official(
            "sam2.1-large",
            "092824/sam2.1_hiera_large.pt",
            898_083_611,
            "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
        ),
        _official(
            "sam2-tiny",
            "072824/sam2_hiera_tiny.pt",
            155_906_050,
            "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125",
        ),
        _official(
            "sam2-small",
            "072824/sam2_hiera_small.pt",
            184_309_650,
            "95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3",
        ),
        _official(
            "sam2-base-plus",
            "072824/sam2_hiera_base_plus.pt",
            323_493_298,
            "d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071",
        ),
        _official(
            "sam2-large",
            "072824/sam2_hiera_large.pt",
            897_952_466,
            "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b",
        ),
    )
}
"""All checkpoints by name: the bundled one first, then SAM 2.1 and SAM 2 by size."""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One line of `remotesam models list`."""

    name: str
    """Name to pass as model."""
    path: Path
    """Where the file is, or would be put."""
    present: bool
    """True when the file exists and has the expected size."""
    size: int | None
    """Bytes of the file, or of the download; None when unknown."""
    digest_known: bool
    """True when a download is checked against a SHA-256."""
    url: str | None
    """Source of the download; None = shipped with the package."""
    family: str
    """Name in `families.FAMILIES`."""


def models_directory() -> Path:
    """Give the directory of downloaded checkpoints: `REMOTESAM_MODELS`, else the user's cache directory."""
    named = os.environ.get(MODELS_VARIABLE)
    return Path(named).expanduser() if named else platformdirs.user_cache_path("remotesam") / "models"


def expected_path(checkpoint: Checkpoint) -> Path:
    """Give the place of a checkpoint's file, whether it is there or not.

    The models directory wins over the package, so that a bundled model can be replaced without reinstalling.
    """
    placed = models_directory() / checkpoint.filename
    if checkpoint.url is None and not placed.exists():
        return Path(str(files("remotesam.segmenter").joinpath("weights", checkpoint.filename)))
    return placed


def list_models() -> list[ModelStatus]:
    """Give the state of every known checkpoint on this machine, without reading any file's content."""
    return [_status(checkpoint) for checkpoint in CHECKPOINTS.values()]


def resolve(name_or_path: str) -> tuple[str | None, Path]:
    """Find the file that a model argument means, without fetching it.

    Args:
        name_or_path: Name in `CHECKPOINTS`, official file name with or without `.pt`, or path of a file.

    Returns:
        (name, path); name is None for a path that is no known checkpoint's place.

    Raises:
        ModelUnavailableError: No such name, or the file is not there.
        CheckpointError: The named checkpoint's file is there but has another size than it must.
    """
    named = Path(name_or_path).expanduser()
    if name_or_path not in CHECKPOINTS and named.is_file():
        return None, named
    checkpoint = _known(name_or_path)
    if checkpoint is None:
        raise ModelUnavailableError(
            f"model {name_or_path!r} is neither a file nor a known name; "
            f"give the path of a .pt file or one of {', '.join(CHECKPOINTS)}"
        )
    path = expected_path(checkpoint)
    if not path.is_file():
        raise ModelUnavailableError(_how_to_get(checkpoint, path))
    actual = path.stat().st_size
    if checkpoint.size is not None and actual != checkpoint.size:
        raise CheckpointError(
            f"{path}: {actual} bytes where {checkpoint.name} has {checkpoint.size}; "
            f"delete the file and run `remotesam models fetch {checkpoint.name}`"
        )
    return checkpoint.name, path


def fetch(name: str, progress: Callable[[int, int | None], None] | None = None) -> Path:
    """Make a named checkpoint present, downloading it if need be; an interrupted download is continued.

    Args:
        name: Name in `CHECKPOINTS`.
        progress: Called with (bytes so far, bytes in all or None) as the download goes on.

    Returns:
        The path of the complete, checked file.

    Raises:
        ModelUnavailableError: No such name, or the server cannot be reached.
        CheckpointError: What came has another size or digest than it must.
    """
    checkpoint = _known(name)
    if checkpoint is None:
        raise ModelUnavailableError(f"model {name!r} is unknown; choose one of {', '.join(CHECKPOINTS)}")
    path = expected_path(checkpoint)
    if _status(checkpoint).present:
        return path
    if checkpoint.url is None:
        raise ModelUnavailableError(_how_to_get(checkpoint, path))
    download(checkpoint.url, path, size=checkpoint.size, sha256=checkpoint.sha256, progress=progress)
    return path


def locate(name_or_path: str) -> tuple[str | None, Path]:
    """Find a model's file, fetching it when it is a known name that is not here.

    Returns:
        (name, path) as `resolve`.

    Raises:
        ModelUnavailableError: It is neither here nor to be fetched.
        CheckpointError: The file that is here, or that came, is not what its name says.
    """
    try:
        return resolve(name_or_path)
    except ModelUnavailableError:
        if name_or_path not in CHECKPOINTS:
            raise
        return name_or_path, fetch(name_or_path)


def family_of(name: str | None) -> Family:
    """The family of a checkpoint by its name; that of a file given by its path is SAM 2."""
    return FAMILIES["sam2" if name is None else CHECKPOINTS[name].family]


def file_digest(path: Path) -> str:
    """Give the SHA-256 of a file as hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _known(name: str) -> Checkpoint | None:
    """Give the checkpoint of a name or of an official file name; None when it is neither."""
    filename = name.removesuffix(".pt") + ".pt"
    by_file = (checkpoint for checkpoint in CHECKPOINTS.values() if checkpoint.filename == filename)
    return CHECKPOINTS.get(name) or next(by_file, None)


def _status(checkpoint: Checkpoint) -> ModelStatus:
    path = expected_path(checkpoint)
    size = path.stat().st_size if path.is_file() else None
    present = size is not None and checkpoint.size in (None, size)
    return ModelStatus(
        checkpoint.name,
        path,
        present,
        size if checkpoint.url is None else checkpoint.size,
        checkpoint.sha256 is not None,
        checkpoint.url,
        checkpoint.family,
    )


def _how_to_get(checkpoint: Checkpoint, path: Path) -> str:
    if checkpoint.url is None:
        return f"{path}: the bundled model {checkpoint.name} is missing; reinstall remotesam"
    return (
        f"model {checkpoint.name} is not on this machine; run `remotesam models fetch {checkpoint.name}`, "
        f"or put {checkpoint.url} at {path}"
    )
