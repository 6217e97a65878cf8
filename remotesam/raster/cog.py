"""Rasters as Cloud Optimized GeoTIFF: label maps and what else lies on a raster's or a panorama's pixels.

GDAL writes such a file only by copying a finished one, so windows go to a plain tiled GeoTIFF first; memory
holds one window and GDAL's block cache.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import escape

import numpy as np
import pyarrow as pa
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from remotesam.errors import OutputError
from remotesam.files import FileKind, explained, kind_of, staged
from remotesam.windows import Affine6, Window

GEOTIFF = FileKind(title="GeoTIFF", suffixes=(".tif", ".tiff"))

BLOCK = 512
"""Side of the blocks of the file, px."""

_CACHE_MB = 256
"""GDAL's block cache: a row of blocks of a raster 130 000 px wide fits, so that windows that share blocks do
not compress them twice."""

Resampling = Literal["MODE", "NEAREST", "AVERAGE"]
"""GDAL's names of ways to make overviews."""

_RAT_TYPES = {"integer": "0", "real": "1", "text": "2"}

_TABLE_SUFFIX = ".aux.xml"
"""Of the file beside a raster in which GDAL and QGIS look for its attribute table (and keep statistics)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CogHeader:
    """What a file says of its pixels."""

    height: int
    """Rows, px."""
    width: int
    """Columns, px."""
    crs: str | None
    """CRS of `transform`; None = unknown."""
    transform: Affine6
    """Pixels → coordinates."""
    dtype: str = "uint32"
    """numpy's name of the type of the values."""
    bands: int = 1
    """Number of bands."""
    nodata: float | None = 0
    """Value that means nothing, and that pixels have which are never written; None = no such value, and 0."""
    resampling: Resampling = "MODE"
    """How overviews are made; ids and classes need the majority or one pixel's value."""


@dataclass(frozen=True, slots=True)
class Block:
    """Values of one window."""

    window: Window
    """Where, in raster px, inside the raster."""
    values: NDArray[Any]
    """(height, width) or (height, width, bands)."""
    valid: NDArray[np.bool_] | None = None
    """(height, width) True = data, kept as the file's mask; None = everywhere. For all blocks or for none."""


def write_cog(
    path: str | os.PathLike[str],
    blocks: Iterable[Block],
    header: CogHeader,
    *,
    attributes: pa.Table | None = None,
    overwrite: bool = False,
) -> None:
    """Write a file, complete or not at all.

    Args:
        path: *.tif to make.
        blocks: asked for one after the other, in any order.
        header: size, place and type.
        attributes: rows of a raster attribute table, with the ids in a column `id`.
        overwrite: replace a file that exists.

    Raises:
        OutputError: the name is no GeoTIFF's, the file exists or cannot be written, or a value is too large
            for its type.
        Exception: whatever `blocks` raises, as it is.
    """
    path = Path(path)
    kind_of(path, [GEOTIFF])
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists already; pass --overwrite or choose another name")
    with (
        staged(path, [path.name + _TABLE_SUFFIX]) as part,
        rasterio.Env(GDAL_CACHEMAX=_CACHE_MB, GDAL_TIFF_INTERNAL_MASK=True),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # as the raster that was segmented
        plain = part.with_name("plain.tif")
        _write_plain(path, plain, blocks, header)
        with explained(path, OSError, RasterioError):
            rasterio.shutil.copy(
                plain,
                part,
                driver="COG",
                compress="ZSTD",
                predictor="YES",
                blocksize=BLOCK,
                overviews="IGNORE_EXISTING",
                overview_resampling=header.resampling,
                bigtiff="IF_SAFER",
                num_threads="ALL_CPUS",
            )
            plain.unlink()
            _check_readable(part)
            if attributes is not None:
                part.with_name(part.name + _TABLE_SUFFIX).write_text(_attribute_table(attributes), "utf-8")


def _write_plain(path: Path, plain: Path, blocks: Iterable[Block], header: CogHeader) -> None:
    """Write the blocks to a tiled GeoTIFF; `path` is the file that errors name."""
    kind = np.dtype(header.dtype)
    errors = (OSError, RasterioError)
    with explained(path, *errors):
        dataset = rasterio.open(
            plain,
            "w",
            driver="GTiff",
            dtype=header.dtype,
            count=header.bands,
            height=header.height,
            width=header.width,
            crs=header.crs,
            transform=Affine(*header.transform),
            nodata=header.nodata,
            tiled=True,
            blockxsize=BLOCK,
            blockysize=BLOCK,
            compress="zstd",
            zstd_level=1,
            bigtiff="if_safer",
            sparse_ok=True,
        )
    try:
        for block in blocks:
            values, window = block.values, block.window
            if values.size and kind.kind in "iu":
                low, high = values.min(), values.max()
                if low < np.iinfo(kind).min or high > np.iinfo(kind).max:
                    raise OutputError(
                        f"{path}: values from {low} to {high} do not fit {kind.itemsize * 8} bits"
                    )
            bands = values[None] if values.ndim == 2 else np.moveaxis(values, 2, 0)
            spot = rasterio.windows.Window(window.col, window.row, window.width, window.height)
            with explained(path, *errors):
                dataset.write(bands.astype(kind, copy=False), window=spot)
                if block.valid is not None:
                    dataset.write_mask(block.valid, window=spot)
    finally:
        with explained(path, *errors):
            dataset.close()


def _check_readable(path: Path) -> None:
    """Read the last block of every level: a full disk may show only there."""
    with rasterio.open(path) as dataset:
        for level in (None, *range(len(dataset.overviews(1)))):
            options = {} if level is None else {"overview_level": level}
            with rasterio.open(path, **options) as view:
                view.read(1, window=rasterio.windows.Window(view.width - 1, view.height - 1, 1, 1))


def _attribute_table(table: pa.Table) -> str:
    """The table in the XML of GDAL's auxiliary files (GDALRasterAttributeTable)."""
    columns = []
    fields = []
    for index, field in enumerate(table.schema):
        if pa.types.is_integer(field.type):
            kind = "integer"
        else:
            kind = "real" if pa.types.is_floating(field.type) else "text"
        usage = "5" if field.name == "id" else "0"
        fields.append(
            f'<FieldDefn index="{index}"><Name>{escape(field.name)}</Name>'
            f"<Type>{_RAT_TYPES[kind]}</Type><Usage>{usage}</Usage></FieldDefn>"
        )
        columns.append(["" if value is None else escape(str(value)) for value in table[index].to_pylist()])
    rows = [
        f'<Row index="{index}">' + "".join(f"<F>{value}</F>" for value in row) + "</Row>"
        for index, row in enumerate(zip(*columns, strict=True))
    ]
    return (
        '<PAMDataset><PAMRasterBand band="1"><GDALRasterAttributeTable tableType="thematic">'
        + "".join(fields)
        + "\n"
        + "\n".join(rows)
        + "</GDALRasterAttributeTable></PAMRasterBand></PAMDataset>\n"
    )
