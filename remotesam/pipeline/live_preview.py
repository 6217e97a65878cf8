"""Provisional polygons of finished tiles, for a map that is looked at while the run goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from remotesam.attributes import Shown, schema_of, shown_in
from remotesam.files import explained
from remotesam.polygons.tile_polygons import tile_parts
from remotesam.run.job import TileJob
from remotesam.run.layout import LIVE_NAME, labels_name, segments_name
from remotesam.run.store import RunStore
from remotesam.vector.formats import GEOMETRY, format_of
from remotesam.vector.ogr import write_arrow
from remotesam.vector.transform import place
from remotesam.vector.writer import as_rows

TOLERANCE = 1.0
"""Simplification in px; a preview needs no more."""


def live_schema() -> pa.Schema:
    """Columns of provisional polygons: the labels are those of the tile, seams are not joined yet."""
    return pa.schema([("tile", pa.int64()), ("label", pa.int64()), *schema_of(Shown.LIVE)])


@dataclass(slots=True)
class LivePreview:
    """A GeoPackage in the run directory to which finished tiles are added."""

    path: Path
    """The file."""
    _job: TileJob
    _layer: LiveLayer

    @classmethod
    def of(cls, job: TileJob) -> LivePreview:
        """The preview of a run whose directory is on this machine; of several scales it shows the largest."""
        path = Path(RunStore(job.run_url).path(LIVE_NAME))
        return cls(path, job.scales()[0], LiveLayer(path, crs=job.raster.spec.crs, schema=live_schema()))

    def clear(self) -> None:
        """Begin anew."""
        self.path.unlink(missing_ok=True)

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
        columns = {"tile": np.full(len(parts.ids), index), "label": parts.ids}
        columns |= {attribute.name: table[attribute.name] for attribute in shown_in(Shown.LIVE)}
        rows = pa.table(columns, schema=live_schema())
        self._layer.append(place(parts.geometries, self._job.raster.spec.transform), rows)


class LiveLayer:
    """Provisional polygons, readable after every `append`.

    Each append is one transaction of its own, and the file is closed in between, so readers see whole tiles
    and never hold up the run; SQLite waits for a reader that is in the middle of something.
    """

    def __init__(self, path: Path, *, crs: str | None, schema: pa.Schema, layer: str = "segments") -> None:
        """Name the layer; the file appears with the first append, an existing one is continued.

        Args:
            path: a *.gpkg.
            crs: CRS of the geometries; None = unknown.
            schema: columns other than the geometry.
            layer: name of the layer.
        """
        self.path = path
        self._crs = crs
        self._layer = layer
        self._schema = schema.append(pa.field(GEOMETRY, pa.binary()))

    def append(self, geometries: NDArray[np.object_], attributes: pa.RecordBatch | pa.Table) -> None:
        """Add the polygons of one tile and commit them.

        Args:
            geometries: (n,) Polygons and MultiPolygons in the layer's CRS.
            attributes: n rows with the columns of the schema.

        Raises:
            OutputError: the file cannot be written.
        """
        if len(geometries) == 0:
            return
        with explained(self.path, Exception):
            write_arrow(
                as_rows(geometries, attributes, self._schema, multi=True),
                self.path,
                format_of(self.path),
                crs=self._crs,
                layer=self._layer,
                append=self.path.exists(),
            )
