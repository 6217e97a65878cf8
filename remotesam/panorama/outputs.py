"""The files of a panorama's result: vectors, annotations, label raster, preview, world file, page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from remotesam.errors import OutputError
from remotesam.files import write_whole
from remotesam.panorama.annotations import Coordinates, coco, geojson_features, labelme
from remotesam.panorama.locate import Frame
from remotesam.report.overlay import overlay
from remotesam.report.run_report import write_picture
from remotesam.sphere.equirect import Equirect
from remotesam.sphere.objects import SphereObjects
from remotesam.vector.writer import SUFFIXES, open_writer

DOCUMENTS = (".coco.json", ".labelme.json", ".geojson", ".geojsonl", ".geojsons")
"""Endings of file names that this module writes itself; the others are those of `remotesam.vector.writer`."""

PREVIEW_WIDTH = 4096
"""Columns of a preview at most."""

WORLD_SUFFIX = {".png": ".pgw", ".jpg": ".jgw", ".jpeg": ".jgw", ".tif": ".tfw", ".tiff": ".tfw"}
"""World files are named after the picture's format."""


def check_output(output: str, coordinates: Coordinates) -> None:
    """Refuse an output before any work is done.

    Raises:
        OutputError: its name says no known format, or its folder does not exist.
    """
    path = Path(output)
    if not (output.endswith(DOCUMENTS) or path.suffix.lower() in SUFFIXES):
        raise OutputError(f"{output}: unknown format; name it *{', *'.join((*DOCUMENTS[:2], *SUFFIXES))}")
    if coordinates == "lonlat" and output.endswith((".coco.json", ".labelme.json")):
        raise OutputError(f"{output}: annotation tools work in pixels; add --coords pixel")
    if not path.resolve().parent.is_dir():
        raise OutputError(f"{output}: its folder does not exist; make it first")


def write_objects(
    objects: SphereObjects,
    output: str,
    *,
    coordinates: Coordinates,
    crs: str,
    frame: Frame,
    image: str,
    metadata: Mapping[str, str],
) -> None:
    """Write the objects in the format that the file name asks for, whole or not at all.

    Args:
        objects: what to write.
        output: file to make; replaced when it exists.
        coordinates: `lonlat` or `pixel`.
        crs: CRS of those coordinates.
        frame: what longitude and latitude mean; stated in GeoJSON, whose coordinates every reader takes for
            WGS 84.
        image: path of the panorama.
        metadata: settings and facts to keep in the file, where the format has room.

    Raises:
        OutputError: the file cannot be written.
    """
    name = Path(image).name
    if output.endswith(".coco.json"):
        write_json(coco(objects, name), output)
    elif output.endswith(".labelme.json"):
        write_json(labelme(objects, name), output)
    elif output.endswith(".geojson"):
        collection = {
            "type": "FeatureCollection",
            "name": "segments",
            "remotesam:frame": "pixel" if coordinates == "pixel" else frame,
            "remotesam:metadata": dict(metadata),
            "features": list(geojson_features(objects, coordinates)),
        }
        write_json(collection, output)
    elif output.endswith((".geojsonl", ".geojsons")):
        lines = (json.dumps(feature, allow_nan=False) for feature in geojson_features(objects, coordinates))
        write_whole("".join(f"{line}\n" for line in lines).encode(), Path(output))
    else:
        shapes = objects.in_degrees() if coordinates == "lonlat" else objects.outlines
        table = attribute_table(objects)
        with open_writer(output, crs=crs, schema=table.schema, metadata=metadata, overwrite=True) as writer:
            writer.write(shapes, table)


def attribute_table(objects: SphereObjects) -> pa.Table:
    """Attributes with the id in front, as Arrow columns."""
    columns = {"id": pa.array(objects.ids, pa.int64())}
    for name, values in objects.columns.items():
        columns[name] = pa.array(values.tolist(), pa.string()) if values.dtype == object else pa.array(values)
    return pa.table(columns)


def write_json(document: Any, output: str) -> None:
    """Write a JSON document, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    write_whole(json.dumps(document, allow_nan=False, separators=(",", ":")).encode(), Path(output))


def write_labels(labels: NDArray[np.int32], grid: Equirect, crs: str, output: str) -> None:
    """Write the label picture as a Cloud Optimized GeoTIFF in degrees.

    Raises:
        OutputError: the file cannot be written.
    """
    write_raster(labels, grid, crs, output, nodata=0, resampling="MODE")


def write_raster(
    values: NDArray[Any],
    grid: Equirect,
    crs: str,
    output: str,
    *,
    nodata: float | None,
    resampling: str,
    valid: NDArray[np.bool_] | None = None,
) -> None:
    """Write a picture on a panorama's grid as a Cloud Optimized GeoTIFF in degrees.

    Args:
        values: (H, W) or (H, W, C).
        grid: the grid, of that size.
        crs: of its degrees.
        output: the file.
        nodata: value that means nothing, or None.
        resampling: GDAL's name for how overviews are made.
        valid: (H, W) True = data; kept as the file's mask. None = everywhere.

    Raises:
        OutputError: the file cannot be written.
    """
    bands = values[None] if values.ndim == 2 else np.moveaxis(values, 2, 0)
    part = Path(f"{output}.part")
    try:
        with rasterio.open(
            part,
            "w",
            driver="COG",
            height=grid.height,
            width=grid.width,
            count=len(bands),
            dtype=values.dtype,
            crs=crs,
            transform=rasterio.Affine(*grid.transform),
            nodata=nodata,
            compress="DEFLATE",
            predictor="YES",
            overview_resampling=resampling,
        ) as dataset:
            dataset.write(bands)
            if valid is not None:
                dataset.write_mask(valid)
        part.replace(output)
    except (RasterioError, OSError) as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"{output}: cannot be written ({error}); choose another place") from error


def write_preview(image: NDArray[np.uint8], labels: NDArray[np.int32], grid: Equirect, output: str) -> None:
    """Write the panorama under its segments, at most `PREVIEW_WIDTH` wide, with a world file beside it.

    Args:
        image: (H, W, 3) uint8 RGB on `grid`.
        labels: (H, W) ids, 0 = none.
        grid: the grid of both.
        output: .png or .jpg.

    Raises:
        OutputError: a file cannot be written.
    """
    scale = min(1.0, PREVIEW_WIDTH / grid.width)
    size = (max(round(grid.width * scale), 1), max(round(grid.height * scale), 1))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    small_labels = np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST), np.int32)
    write_picture(overlay(small, small_labels), output)
    write_world_file(output, grid, size)


def write_world_file(picture: str, grid: Equirect, size: tuple[int, int]) -> bool:
    """Write the world file that makes a GIS draw a picture of `grid` in degrees.

    Args:
        picture: path of the picture; the world file gets its name.
        grid: what the picture shows.
        size: (columns, rows) of the picture, which may be smaller than the grid.

    Returns:
        True when it is new or has changed.

    Raises:
        OutputError: the picture's format has no world file, or it cannot be written.
    """
    path = Path(picture)
    suffix = WORLD_SUFFIX.get(path.suffix.lower())
    if suffix is None:
        raise OutputError(f"{picture}: there is no world file for this format; use .png, .jpg or .tif")
    a, _, c, _, e, f = grid.transform
    across, down = a * grid.width / size[0], e * grid.height / size[1]
    lines = (across, 0.0, 0.0, down, c + across / 2, f + down / 2)
    target = path.with_suffix(suffix)
    content = "".join(f"{value:.12f}\n" for value in lines).encode()
    if target.is_file() and target.read_bytes() == content:
        return False
    write_whole(content, target)
    return True


def picture_on(image: NDArray[np.uint8], place: Equirect, grid: Equirect) -> NDArray[np.uint8]:
    """The picture on another grid of the same resolution: turned to north, or set into the whole sphere.

    Args:
        image: (H, W, 3) on `place`.
        place: where it lies.
        grid: grid of the result.

    Returns:
        (grid.height, grid.width, 3) by the nearest pixel, black where there is no picture.
    """
    if grid == place:
        return image
    lon, _ = grid.lonlat(np.arange(grid.width) + 0.5, 0.0)
    _, lat = grid.lonlat(0.0, np.arange(grid.height) + 0.5)
    x, _ = place.point(lon + grid.centre - place.centre, 0.0)
    _, y = place.point(0.0, lat)
    cols, rows = np.floor(x).astype(int), np.floor(y).astype(int)
    inside = ((rows >= 0) & (rows < place.height))[:, None] & ((cols >= 0) & (cols < place.width))[None, :]
    turned: NDArray[np.uint8] = image[np.clip(rows, 0, place.height - 1)][
        :, np.clip(cols, 0, place.width - 1)
    ]
    turned[~inside] = 0
    return turned
