"""Provisional polygons of finished tiles, for a map that is looked at while the run goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from remotesam.pipeline.live_layer import LiveLayer
from remotesam.polygons.tile_polygons import tile_parts
from remotesam.run.job import Job
from remotesam.run.store import RunStore
from remotesam.tiles.task import labels_name, segments_name
from remotesam.vector.transform import place

SCHEMA = pa.schema(
    [("tile", pa.int64()), ("label", pa.int64()), ("score", pa.float32()), ("pass", pa.int16())]
)
"""Attributes of provisional polygons: the ids are those of the tile, seams are not joined yet."""

TOLERANCE = 1.0
"""Simplification in px; a preview needs no more."""


@dataclass(slots=True)
class LivePreview:
    """A GeoPackage in the run directory to which finished tiles are added."""

    path: Path
    """The file."""
    _job: Job
    _layer: LiveLayer

    @classmethod
    def beside(cls, job: Job) -> LivePreview:
        """The preview of a run whose directory is on this machine; begun anew."""
        path = Path(RunStore(job.run_url).path("live.gpkg"))
        path.unlink(missing_ok=True)
        return cls(path, job, LiveLayer(path, crs=job.raster.spec.crs, schema=SCHEMA))

    def add(self, index: int) -> None:
        """Add a finished tile.

        Raises:
            OutputError: the file cannot be written.
        """
        store, tile = RunStore(self._job.run_url), self._job.grid[index]
        labels = np.zeros((tile.core.height + 2, tile.core.width + 2), np.int64)
        labels[1:-1, 1:-1] = store.get_labels(labels_name(index), tile.core_in_chip)
        parts = tile_parts(labels, tile.core, tolerance=TOLERANCE)
        table = store.get_table(segments_name(index)).take(parts.ids - 1)
        rows = pa.table(
            [np.full(len(parts.ids), index), parts.ids, table["score"], table["pass"]], schema=SCHEMA
        )
        self._layer.append(place(parts.geometries, self._job.raster.spec.transform), rows)
