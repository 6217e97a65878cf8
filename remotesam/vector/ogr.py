"""Formats that GDAL writes; what they need is in their rows of `remotesam.vector.formats`."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyogrio

from remotesam.vector.formats import GEOMETRY, Format, Layer

_GDAL = {
    # How long SQLite waits for a reader (QGIS) to let go of a GeoPackage, ms.
    "SQLITE_BUSY_TIMEOUT": "60000",
    # GDAL says its errors twice: in the exception, and on the terminal, where they are not wanted.
    "CPL_LOG": os.devnull,
}


def write(file_format: Format, layer: Layer) -> None:
    """Write a layer; GDAL pulls the rows.

    Raises:
        OSError: not all rows are in the file.
        pyogrio.errors.DataSourceError: likewise, as GDAL noticed it; and other errors of pyogrio.
    """
    names = short_names(layer.schema.names[:-1], file_format.longest_name)
    schema = pa.schema([field.with_name(name) for field, name in zip(layer.schema, names, strict=False)])
    schema = schema.append(layer.schema.field(GEOMETRY))
    count = 0

    def renamed() -> Iterator[pa.RecordBatch]:
        nonlocal count
        for batch in layer.batches:
            count += batch.num_rows
            yield pa.record_batch(batch.columns, schema=schema)

    options = {name: value.format(folder=layer.path.parent) for name, value in file_format.options.items()}
    if layer.crs is not None:
        options |= file_format.crs_options
    if file_format.metadata == "description" and layer.metadata:
        options["DESCRIPTION"] = json.dumps(dict(layer.metadata))
    write_arrow(
        pa.RecordBatchReader.from_batches(schema, renamed()),
        layer.path,
        file_format,
        crs=layer.crs,
        layer=layer.name if file_format.layers else layer.path.stem,
        options=options,
    )
    if file_format.metadata == "table" and layer.metadata:
        table = pa.table({"key": list(layer.metadata), "value": list(layer.metadata.values())})
        pyogrio.write_arrow(table, layer.path, layer="metadata", driver=file_format.driver, append=True)
    _check_complete(layer.path, file_format, count)


def write_arrow(
    rows: pa.RecordBatchReader | pa.Table,
    path: Path,
    file_format: Format,
    *,
    crs: str | None,
    layer: str,
    options: Mapping[str, str] | None = None,
    append: bool = False,
) -> None:
    """Write or append rows whose column `GEOMETRY` is WKB.

    Args:
        rows: read lazily, batch by batch.
        path: the file.
        file_format: its format.
        crs: CRS of the geometries; None = unknown.
        layer: layer to make or to append to.
        options: GDAL's layer and dataset creation options.
        append: add to an existing file.
    """
    pyogrio.set_gdal_config_options(_GDAL)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*crs.*not provided", category=UserWarning)
        pyogrio.write_arrow(
            rows,
            path,
            layer=layer,
            driver=file_format.driver,
            geometry_name=GEOMETRY,
            geometry_type="MultiPolygon" if file_format.multi else "Unknown",
            crs=crs,
            append=append,
            **(options or {}),
        )


def short_names(names: list[str], longest: int | None) -> list[str]:
    """Column names cut to so many characters, kept apart by a number at their end; None = as they are."""
    if longest is None:
        return names
    short: list[str] = []
    for name in names:
        candidate, number = name[:longest], 1
        while candidate.lower() in (taken.lower() for taken in short):
            tail = f"_{number}"
            candidate, number = name[: longest - len(tail)] + tail, number + 1
        short.append(candidate)
    return short


def _check_complete(path: Path, file_format: Format, rows: int) -> None:
    """Raise OSError when the file on disk does not hold all rows: GDAL forgives a full disk on closing."""
    if file_format.driver.startswith("GeoJSON"):  # counting would parse it all
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - 64, 0))
            end = file.read().rstrip()
        if rows and not end.endswith(b"}"):
            raise OSError("the file ends in the middle")
        return
    count = pyogrio.read_info(path, layer=0, force_feature_count=True)["features"]
    if count != rows:
        raise OSError(f"{count} of {rows} features are in the file")
