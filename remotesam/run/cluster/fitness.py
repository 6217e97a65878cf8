"""Whether a worker can work on a run: package versions, the run directory, the raster."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from distributed.versions import get_versions

from remotesam.errors import RemotesamError, StoreError
from remotesam.run.job import Job
from remotesam.run.store import RunStore
from remotesam.windows import Window

PACKAGES = ("remotesam", "torch", "sam2", "numpy", "rasterio", "shapely", "dask", "distributed")
"""Packages whose version must be this machine's on every worker, or polygons and messages may differ."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a worker must fulfil before it gets a tile."""

    versions: dict[str, str]
    """The driver's, by package."""
    token: str
    """Written to the run directory by the driver, to be read by everyone."""

    @property
    def probe(self) -> str:
        """File in the run directory that holds the token."""
        return f"probe/{self.token}"


def versions() -> dict[str, str]:
    """Versions that matter; a build's local part (`+cpu`, `+cu128`) does not, nor the patch of Python."""
    packages = get_versions(packages=PACKAGES)["packages"]
    versions = {name: str(packages[name]).split("+")[0] for name in PACKAGES}
    return {"python": ".".join(str(packages["python"]).split(".")[:2]), **versions}


def reason_unfit(job: Job, terms: Terms) -> str:
    """Why this worker cannot work on a run, to be said after its name; empty when it can."""
    for name, installed in versions().items():
        if installed != terms.versions[name]:
            return f"has {name} {installed}, the run needs {terms.versions[name]}; install the same there"
    store = RunStore(job.run_url)
    try:
        seen = store.get(terms.probe).decode() == terms.token
        store.put(f"probe/{uuid.uuid4().hex}", b"")
    except StoreError as error:
        return f"cannot use the run directory ({error}); put --run-dir on storage that all workers share"
    if not seen:
        return f"sees another {job.run_url}; put --run-dir on storage that all workers share"
    try:
        job.raster.read(Window(0, 0, 1, 1))
    except RemotesamError as error:
        return f"cannot read the raster ({error}); give an absolute path or URL that all workers reach"
    return ""
