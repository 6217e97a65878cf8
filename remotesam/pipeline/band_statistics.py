"""Mean and standard deviation of every chosen band in each segment, in the raster's own units."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from remotesam.merge.final_labels import labels_of
from remotesam.run.job import TileJob, WorkerContext
from remotesam.run.store import RunStore

STAGE = "bands"
"""Name of the stage, and folder, of the tiles' sums."""


def sum_bands(context: WorkerContext[TileJob], index: int) -> int:
    """Task: count, sum and sum of squares of each band for every segment in the core of a tile."""
    core = context.job.grid[index].core
    pixels = context.raster.read_native(core)
    labels = labels_of(context.job).read(core)
    chosen = (labels > 0) & pixels.valid
    ids, position = np.unique(labels[chosen], return_inverse=True)
    values = [band[chosen].astype(np.float64) for band in pixels.values]
    sums = {
        "ids": ids,
        "counts": np.bincount(position, minlength=len(ids)),
        "sums": np.stack([np.bincount(position, v, len(ids)) for v in values], axis=1),
        "squares": np.stack([np.bincount(position, v * v, len(ids)) for v in values], axis=1),
    }
    context.store.put_arrays(f"{STAGE}/{index}.arrow", sums)
    return len(ids)


def band_schema(job: TileJob) -> pa.Schema:
    """Columns of the statistics: band<n>_mean and band<n>_std, n as the file counts bands."""
    names = [f"band{band}_{kind}" for band in job.raster.spec.bands for kind in ("mean", "std")]
    return pa.schema([(name, pa.float64()) for name in names])


@dataclass(slots=True)
class BandStatistics:
    """Gathers the tiles' sums; holds only segments that were not asked for yet."""

    store: RunStore
    """The run."""
    names: list[str]
    """Columns of `band_schema`."""
    _sums: dict[int, NDArray[np.float64]] = field(default_factory=dict)

    def add(self, index: int) -> None:
        """Take the sums of a tile."""
        sums, _ = self.store.get_arrays(f"{STAGE}/{index}.arrow")
        rows = np.concatenate([sums["counts"][:, None], sums["sums"], sums["squares"]], axis=1)
        for key, row in zip(sums["ids"].tolist(), rows, strict=True):
            self._sums[key] = self._sums.get(key, 0.0) + row

    def take(self, ids: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """Columns of complete segments, which are forgotten here; NaN where no pixel had data."""
        bands = len(self.names) // 2
        empty = np.zeros(1 + 2 * bands)
        rows = np.array([self._sums.pop(key, empty) for key in ids.tolist()]).reshape(-1, 1 + 2 * bands)
        count = np.where(rows[:, :1] > 0, rows[:, :1], np.nan)
        mean = rows[:, 1 : 1 + bands] / count
        std = np.sqrt(np.maximum(rows[:, 1 + bands :] / count - mean**2, 0))
        return dict(zip(self.names, np.stack([mean, std], axis=2).reshape(len(ids), -1).T, strict=True))
