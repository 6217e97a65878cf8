"""Segment ids as a Cloud Optimized GeoTIFF: one uint32 band, 0 = none, overviews by majority.

GDAL writes such a file only by copying a finished one, so windows go to a plain tiled GeoTIFF first, in the
folder `<name>.part`; memory holds one window and GDAL's block cache.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self
from xml.sax.saxutils import escape

import numpy as np
import pyarrow as pa
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray

from remotesam.errors import OutputError
from remotesam.files import unwritable
from remotesam.windows import Affine6, Window

BLOCK = 512
"""Side of the blocks of the file, px."""

_CACHE_MB = 256
"""GDAL's block cache: a row of blocks of a raster 130 000 px wide fits, so that windows that share blocks do
not compress them twice."""

_RAT_TYPES = {"integer": "0", "real": "1", "text": "2"}


class LabelsCog:
    """An open label raster; use it in a `with` block, which finishes it or, on an error, takes it away."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        height: int,
        width: int,
        crs: str | None,
        transform: Affine6,
        overwrite: bool = False,
    ) -> None:
        """Start the file.

        Args:
            path: *.tif to make.
            height: rows of the raster.
            width: columns of the raster.
            crs: CRS of `transform`; None = unknown.
            transform: pixels → coordinates.
            overwrite: replace a file that exists.

        Raises:
            OutputError: the file exists, or its folder cannot be written.
        """
        self.path = Path(path)
        if self.path.suffix.lower() not in (".tif", ".tiff"):
            raise OutputError(f"{self.path}: labels are written as GeoTIFF; name it *.tif")
        if self.path.exists() and not overwrite:
            raise OutputError(f"{self.path}: exists already; pass --overwrite or choose another name")
        self._staging = self.path.with_name(self.path.name + ".part")
        self._env = rasterio.Env(GDAL_CACHEMAX=_CACHE_MB)
        try:
            shutil.rmtree(self._staging, ignore_errors=True)
            self._staging.mkdir()
            with self._env:
                self._plain = rasterio.open(
                    self._staging / "plain.tif",
                    "w",
                    driver="GTiff",
                    dtype="uint32",
                    count=1,
                    height=height,
                    width=width,
                    crs=crs,
                    transform=Affine(*transform),
                    nodata=0,
                    tiled=True,
                    blockxsize=BLOCK,
                    blockysize=BLOCK,
                    compress="zstd",
                    zstd_level=1,
                    bigtiff="if_safer",
                    sparse_ok=True,
                )
        except (OSError, rasterio.errors.RasterioError) as error:
            explained = unwritable(self.path, error)
            shutil.rmtree(self._staging, ignore_errors=True)
            raise explained from error

    def write(self, window: Window, ids: NDArray[np.integer]) -> None:
        """Write one window; windows may come in any order, what is never written is 0.

        Args:
            window: where, in raster px, inside the raster.
            ids: (height, width) ids, 0 ≤ id < 2³².

        Raises:
            OutputError: the disk is full, or an id is too large for the file.
        """
        if ids.size and (ids.min() < 0 or ids.max() > np.iinfo(np.uint32).max):
            raise OutputError(f"{self.path}: ids from {ids.min()} to {ids.max()} do not fit 32 bits")
        spot = rasterio.windows.Window(window.col, window.row, window.width, window.height)
        try:
            with self._env:
                self._plain.write(ids.astype(np.uint32), 1, window=spot)
        except (OSError, rasterio.errors.RasterioError) as error:
            raise unwritable(self.path, error) from error

    def close(self, attributes: pa.Table | None = None) -> None:
        """Make the overviews and put the file in its place.

        Args:
            attributes: rows of a raster attribute table, with the ids in a column `id`; kept in
                `<name>.aux.xml`, where GDAL and QGIS look for it.

        Raises:
            OutputError: the disk is full.
        """
        done = self._staging / self.path.name
        try:
            with self._env:
                self._plain.close()
                rasterio.shutil.copy(
                    self._staging / "plain.tif",
                    done,
                    driver="COG",
                    compress="ZSTD",
                    predictor="YES",
                    blocksize=BLOCK,
                    overviews="IGNORE_EXISTING",
                    overview_resampling="MODE",
                    bigtiff="IF_SAFER",
                    num_threads="ALL_CPUS",
                )
                _check_readable(done)
            table = done.with_name(done.name + ".aux.xml")
            if attributes is not None:
                table.write_text(_attribute_table(attributes), "utf-8")
                table.replace(self.path.with_name(table.name))
            done.replace(self.path)
        except (OSError, rasterio.errors.RasterioError) as error:
            raise unwritable(self.path, error) from error
        finally:
            shutil.rmtree(self._staging, ignore_errors=True)

    def abort(self) -> None:
        """Drop everything written; what was there before is still there."""
        self._plain.close()
        shutil.rmtree(self._staging, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.abort()
        elif self._staging.exists():
            self.close()


def _check_readable(path: Path) -> None:
    """Read the last block of every level: a full disk may show only there."""
    with rasterio.open(path) as labels:
        for level in (None, *range(len(labels.overviews(1)))):
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
