"""Documents for annotation tools and web maps: COCO, LabelMe, GeoJSON by the rules of RFC 7946."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import shapely
from shapely.geometry import Polygon, box, mapping

from remotesam.sphere.geometry import bbox_rfc7946
from remotesam.sphere.objects import SphereObjects

Coordinates = Literal["lonlat", "pixel"]

CATEGORY = "segment"
"""The one class of a class-agnostic segmentation."""


def coco(objects: SphereObjects, file_name: str) -> dict[str, Any]:
    """A COCO detection document in picture pixels.

    Polygons of COCO have no holes, so a part with holes is given as several that share edges. `bbox` is the
    planar box; `bbox_unwrapped` is [x, y, width, height] with x + width > picture width over the seam.
    """
    grid = objects.grid
    return {
        "images": [{"id": 1, "file_name": file_name, "width": grid.width, "height": grid.height}],
        "categories": [{"id": 1, "name": CATEGORY}],
        "annotations": [_coco_entry(objects, k) for k in range(len(objects))],
    }


def _coco_entry(objects: SphereObjects, k: int) -> dict[str, Any]:
    outline = objects.outlines[k]
    west, north, east, south = shapely.bounds(outline)
    return {
        "id": int(objects.ids[k]),
        "image_id": 1,
        "category_id": 1,
        "iscrowd": 0,
        "segmentation": [_flat(part) for part in without_holes(outline)],
        "area": float(shapely.area(outline)),
        "bbox": [west, north, east - west, south - north],
        "bbox_unwrapped": [
            float(objects.columns[name][k]) for name in ("box_x", "box_y", "box_width", "box_height")
        ],
        **attributes(objects, k),
    }


def labelme(objects: SphereObjects, file_name: str) -> dict[str, Any]:
    """A LabelMe document; the parts of one object share its id as their `group_id`."""
    shapes = [
        {
            "label": CATEGORY,
            "points": np.asarray(part.exterior.coords)[:-1].tolist(),
            "group_id": int(objects.ids[k]),
            "shape_type": "polygon",
            "flags": {},
        }
        for k in range(len(objects))
        for part in without_holes(objects.outlines[k])
    ]
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": file_name,
        "imageData": None,
        "imageHeight": objects.grid.height,
        "imageWidth": objects.grid.width,
    }


def geojson_features(objects: SphereObjects, coordinates: Coordinates) -> Iterator[dict[str, Any]]:
    """GeoJSON features, one per object.

    Args:
        objects: what to write.
        coordinates: `lonlat` for degrees, with boxes by RFC 7946 (west > east over the antimeridian, ±180 and
            ±90 with a pole); `pixel` for picture pixels, y down.
    """
    lonlat = coordinates == "lonlat"
    shapes = objects.in_degrees() if lonlat else objects.outlines
    for k, geometry in enumerate(shapes):
        poles = str(objects.columns["contains_pole"][k])
        bounds = bbox_rfc7946(geometry, poles) if lonlat else shapely.bounds(geometry).tolist()
        yield {
            "type": "Feature",
            "id": int(objects.ids[k]),
            "bbox": list(bounds),
            "geometry": mapping(geometry),
            "properties": {"id": int(objects.ids[k]), **attributes(objects, k)},
        }


def without_holes(geometry: Any) -> list[Polygon]:
    """Polygons without holes that cover exactly a Polygon or MultiPolygon.

    A polygon is cut by the vertical line through the middle one of its holes until none is left, so both
    halves have about half of the holes.
    """
    done: list[Polygon] = []
    todo = list(shapely.get_parts(geometry))
    while todo:
        part = todo.pop()
        if part.is_empty or part.geom_type != "Polygon":
            continue
        if not part.interiors:
            done.append(part)
            continue
        middles = sorted((ring.bounds[0] + ring.bounds[2]) / 2 for ring in part.interiors)
        cut = middles[len(middles) // 2]
        west, south, east, north = part.bounds
        for half in (box(west, south, cut, north), box(cut, south, east, north)):
            todo += list(shapely.get_parts(part.intersection(half)))
    return done


def _flat(polygon: Polygon) -> list[float]:
    values: list[float] = np.asarray(polygon.exterior.coords)[:-1].ravel().tolist()
    return values


def attributes(objects: SphereObjects, k: int) -> dict[str, Any]:
    """Attributes of one object as JSON values; NaN, which JSON lacks, is null."""
    values = {name: column[k] for name, column in objects.columns.items()}
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in plain.items()
    }
