"""The vector formats, one row each.

To add one: write a module with a function that takes a `Format` and a `Layer` and writes the file, and add a
row to `FORMATS`. GDAL's formats need the row alone.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from remotesam import files

if TYPE_CHECKING:
    import pyarrow as pa

WGS84 = "OGC:CRS84"

GEOMETRY = "geometry"
"""Name of the geometry column."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What is to be written: one layer in one file."""

    path: Path
    """The file to make; its folder is new and holds nothing else."""
    crs: str | None
    """CRS of the geometries; None = unknown."""
    schema: pa.Schema
    """Columns, the last of them `GEOMETRY`: WKB of (Multi)Polygons whose outer rings are counterclockwise."""
    name: str
    """Name of the layer."""
    metadata: Mapping[str, str]
    """Settings and facts to keep in the file."""
    batches: Iterator[pa.RecordBatch]
    """Rows, made while they are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format(files.FileKind):
    """A vector format."""

    writer: str = "remotesam.vector.ogr:write"
    """`module:function`, imported when first used: a function of this format and a `Layer` that returns when
    the file is complete, or raises whatever its library raises."""
    driver: str = ""
    """GDAL's name of the format, for `remotesam.vector.ogr`."""
    options: Mapping[str, str] = field(default_factory=dict)
    """GDAL's options for layer and dataset; `{folder}` stands for the folder of the file."""
    crs_options: Mapping[str, str] = field(default_factory=dict)
    """Options that hold only where the CRS is known."""
    multi: bool = False
    """True = every geometry becomes a MultiPolygon, because a layer has one type."""
    wgs84: bool = False
    """True = always in WGS 84, if the CRS is known at all."""
    layers: bool = False
    """True = layers have names; otherwise the layer is called after the file."""
    metadata: Literal["table", "pairs", "description", "nowhere"] = "nowhere"
    """Where settings and facts go: a table `metadata`, key-value pairs, a JSON object as the description."""
    longest_name: int | None = None
    """Longest name of a column, characters; None = any."""
    companions: tuple[str, ...] = ()
    """Files that readers take for parts of it: `{name}` is its name, `{stem}` its name without the suffix."""

    def write(self, layer: Layer) -> None:
        """Write a layer; raises whatever the format's library raises."""
        pkgutil.resolve_name(self.writer)(self, layer)


_JSON = {"WRITE_BBOX": "YES", "COORDINATE_PRECISION": "9"}
"""Nine decimals of a degree are 0.1 mm; GDAL's seven are a centimetre, a whole pixel of drone imagery."""

FORMATS = [
    Format(
        title="GeoPackage",
        suffixes=(".gpkg",),
        driver="GPKG",
        options={"SPATIAL_INDEX": "YES"},
        multi=True,
        layers=True,
        metadata="table",
        # SQLite would play the log of an earlier file, left by a reader such as QGIS, into the new one.
        companions=("{name}-wal", "{name}-shm", "{name}-journal"),
    ),
    Format(
        title="GeoParquet",
        suffixes=(".parquet",),
        writer="remotesam.vector.geoparquet:write",
        metadata="pairs",
    ),
    Format(
        title="FlatGeobuf",
        suffixes=(".fgb",),
        driver="FlatGeobuf",
        options={"SPATIAL_INDEX": "YES", "TEMPORARY_DIR": "{folder}"},
        multi=True,
        metadata="description",
    ),
    Format(
        title="GeoJSON",
        suffixes=(".geojson",),
        driver="GeoJSON",
        options=_JSON,
        crs_options={"RFC7946": "YES"},
        wgs84=True,
        layers=True,
        metadata="description",
    ),
    Format(
        title="GeoJSON text sequence",
        suffixes=(".geojsonl", ".geojsons"),
        driver="GeoJSONSeq",
        options={**_JSON, "RS": "NO"},
        wgs84=True,
    ),
    Format(
        title="Shapefile",
        suffixes=(".shp",),
        driver="ESRI Shapefile",
        options={"2GB_LIMIT": "YES"},
        multi=True,
        longest_name=10,
        companions=tuple("{stem}" + end for end in (".dbf", ".shx", ".prj", ".cpg", ".qix", ".sbn", ".sbx")),
    ),
]
"""Formats by the end of the file name."""


def suffixes() -> tuple[str, ...]:
    """Ends of the names of files that can be written."""
    return files.suffixes(FORMATS)


def format_of(path: str | Path) -> Format:
    """The format that a file's name asks for.

    Raises:
        OutputError: none that is known.
    """
    return files.kind_of(path, FORMATS)
