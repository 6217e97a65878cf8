"""The demo: a scene with an exact reference, segmented and judged on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import rasterio
from affine import Affine

from remotesam.errors import OutputError
from remotesam.evaluation.evaluate import evaluate
from remotesam.evaluation.report import markdown, score_rows
from remotesam.events import Listener, duration
from remotesam.files import explained, staged
from remotesam.pipeline.segment import segment
from remotesam.polygons.tile_polygons import tile_parts
from remotesam.polygons.union import SeamUnion
from remotesam.scenes.scene import Scene
from remotesam.scenes.showcase import GSD, showcase
from remotesam.vector.transform import place
from remotesam.vector.writer import write_features
from remotesam.windows import Window

CRS = "EPSG:25832"
"""ETRS89 / UTM 32N; the scene lies in a place that has no such village."""

ORIGIN = (500_000.0, 5_500_000.0)
"""West and north of the scene, m."""

SETTINGS: dict[str, Any] = {"tile_size": 1000, "points_per_side": 32}
"""What the demo changes: a quarter of the default points, so that two cores need minutes."""


def run_demo(directory: str | os.PathLike[str], model: str, listener: Listener) -> str:
    """Make, segment and judge the demo scene.

    Args:
        directory: gets scene.tif, reference.gpkg, segments.gpkg, labels.tif, preview.png and report.html.
        model: name or path of the model.
        listener: is told what happens.

    Returns:
        The summary for the user.

    Raises:
        RemotesamError: what went wrong.
    """
    folder = Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}); choose another folder") from None
    scene = showcase()
    write_scene(scene, folder / "scene.tif", folder / "reference.gpkg")
    result = segment(
        folder / "scene.tif",
        folder / "segments.gpkg",
        labels=folder / "labels.tif",
        preview=folder / "preview.png",
        report=folder / "report.html",
        listener=listener,
        model=model,
        **SETTINGS,
    )
    evaluation = evaluate(folder / "segments.gpkg", folder / "reference.gpkg", raster=folder / "scene.tif")
    passes = "\n".join(
        f"  pass {row.index:>2}  coverage {row.coverage:6.1%}  {row.accepted:>5} segments accepted, "
        f"predicted IoU > {row.iou_threshold:.2f}"
        for row in result.stats.passes
        if row.accepted
    )
    files = "\n".join(f"  {folder / name}" for name in ("segments.gpkg", "preview.png", "report.html"))
    return (
        f"{result.stats.segments} segments from {scene.labels.max()} objects in "
        f"{duration(result.stats.seconds)} with {model}\n{passes}\n\n"
        f"{markdown(score_rows(evaluation.scores))}\n\n{files}"
    )


def write_scene(scene: Scene, raster: Path, reference: Path) -> None:
    """Write a scene as a georeferenced GeoTIFF, and its exact objects as polygons.

    Args:
        scene: image and labels.
        raster: GeoTIFF to write.
        reference: vector file to write, with `object_id` and `class`.

    Raises:
        OutputError: a file cannot be written.
    """
    height, width = scene.labels.shape
    transform = Affine(GSD, 0, ORIGIN[0], 0, -GSD, ORIGIN[1])
    with (
        staged(raster) as part,
        explained(raster, OSError, rasterio.errors.RasterioError),
        rasterio.open(
            part,
            "w",
            driver="GTiff",
            height=height,
            width=width,
            count=3,
            dtype="uint8",
            crs=CRS,
            transform=transform,
            tiled=True,
            compress="deflate",
            photometric="rgb",
        ) as dataset,
    ):
        dataset.write(np.moveaxis(scene.image, 2, 0))
    parts = tile_parts(np.pad(scene.labels.astype(np.int64), 1), Window(0, 0, height, width), tolerance=0)
    ids, geometries = SeamUnion(np.ones(scene.labels.max() + 1, np.int64)).add(parts)
    schema = pa.schema([("object_id", pa.int64()), ("class", pa.string())])
    rows = pa.table([ids, [scene.classes[key - 1] for key in ids]], schema=schema)
    placed = place(geometries, (transform.a, transform.b, transform.c, transform.d, transform.e, transform.f))
    write_features(reference, [(placed, rows)], crs=CRS, schema=schema, layer="objects", overwrite=True)
