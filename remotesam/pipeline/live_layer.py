"""A GeoPackage that grows tile by tile while QGIS shows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from remotesam.vector.ogr import write_rows
from remotesam.vector.writer import GEOMETRY, unwritable


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
        parts, owner = shapely.get_parts(geometries, return_index=True)
        wkb = pa.array(shapely.to_wkb(shapely.multipolygons(parts, indices=owner)), pa.binary())
        columns = [
            attributes.column(name).cast(self._schema.field(name).type) for name in self._schema.names[:-1]
        ]
        table = pa.table([*columns, wkb], schema=self._schema)
        try:
            write_rows(table, self.path, self._crs, self._layer, {}, append=self.path.exists())
        except Exception as error:
            raise unwritable(self.path, error) from error
