"""The table of what is known of segments: who measures it, how pieces are merged, which results show it.

It stands on a low floor because all that touch attributes read it: `tiles` measures what a unit knows of its
own segments, `merge` makes one value of a segment's pieces, `pipeline` and `panorama` write what they show.
A further attribute is one entry here and the function that measures it, or `ATTRIBUTES[mine.name] = mine`
before the run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, Flag, auto
from operator import attrgetter
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray


class Merging(Enum):
    """How the values of a segment's pieces in several units become one."""

    SUM = auto()
    """They are added."""
    MEAN = auto()
    """Their mean, weighted by the pixels that each piece owns."""
    OF_LARGEST = auto()
    """That of the piece that owns most pixels; of equal ones the first's, by unit and label."""
    MIN = auto()
    """The smallest."""
    MAX = auto()
    """The largest."""
    ANY = auto()
    """True if it is true of any piece."""


class Shown(Flag):
    """Results that have a column for an attribute."""

    NOWHERE = 0
    POLYGONS = auto()
    """The polygons of a raster."""
    LABELS = auto()
    """The attribute table of the label raster; a part of POLYGONS."""
    LIVE = auto()
    """The provisional polygons of finished tiles; of what a unit measures."""
    PANORAMA = auto()
    """The objects of a panorama."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UnitSegments:
    """What attributes of a unit's segments are measured on; rows in the order of labels."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB that the model saw; black where there is no data."""
    labels: NDArray[np.int32]
    """(H, W) labels 1..n, 0 = none; the first of them own pixels, the others lie in the context."""
    area: NDArray[np.int64]
    """(n,) pixels."""
    core_area: NDArray[np.int64]
    """(n,) pixels that the unit owns."""
    touches_seam: NDArray[np.bool_]
    """(n,) True = may go on in another unit."""
    score: NDArray[np.float32]
    """(n,) predicted IoU, 0..1."""
    stability: NDArray[np.float32]
    """(n,) stability score, 0..1."""
    pass_index: NDArray[np.int16]
    """(n,) pass that accepted it, from 0."""
    iou_threshold: NDArray[np.float32]
    """(n,) predicted IoU asked for in that pass."""
    stability_threshold: NDArray[np.float32]
    """(n,) stability asked for in that pass."""
    prompt: NDArray[np.float64]
    """(n, 2) point that was prompted, (x, y) in raster px; in a view its own px."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outlines:
    """What attributes of finished segments are measured on."""

    ids: NDArray[np.int64]
    """(n,) final ids."""
    geometries: NDArray[np.object_]
    """(n,) Polygons and MultiPolygons in the raster's CRS."""
    area: NDArray[np.float64]
    """(n,) m² on the ellipsoid; px² without CRS."""
    perimeter: NDArray[np.float64]
    """(n,) m; px without CRS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One attribute of segments: a number or truth value."""

    name: str
    """Column that holds it, in the run's files and in the results."""
    type: pa.DataType
    """Of that column."""
    help: str
    """What it says, with its unit."""
    of_unit: Callable[[UnitSegments], ArrayLike] | None = None
    """Measures it for the (n,) segments of a unit; None = it does not come from there."""
    merging: Merging | None = None
    """How pieces are merged; None = it says nothing of whole segments, or is measured on their outlines."""
    of_outline: Callable[[Outlines], ArrayLike] | None = None
    """Measures it for (n,) finished segments; None = it does not come from there."""
    shown: Shown = Shown.NOWHERE
    """Results that show it."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its type in numpy."""
        dtype: np.dtype[Any] = np.dtype(self.type.to_pandas_dtype())
        return dtype


_EVERYWHERE = Shown.POLYGONS | Shown.LABELS | Shown.PANORAMA

ATTRIBUTES: dict[str, Attribute] = {
    attribute.name: attribute
    for attribute in (
        Attribute(
            name="segment_id",
            type=pa.int64(),
            help="number of the segment, from 1; the value of its pixels in the label raster",
            of_outline=attrgetter("ids"),
            shown=Shown.POLYGONS,
        ),
        Attribute(
            name="score",
            type=pa.float32(),
            help="predicted IoU with the object, 0..1",
            of_unit=attrgetter("score"),
            merging=Merging.MEAN,
            shown=_EVERYWHERE | Shown.LIVE,
        ),
        Attribute(
            name="stability",
            type=pa.float32(),
            help="share of the mask that survives other thresholds, 0..1",
            of_unit=attrgetter("stability"),
            merging=Merging.MEAN,
            shown=_EVERYWHERE,
        ),
        Attribute(
            name="pass",
            type=pa.int16(),
            help="pass that found its largest piece, from 0",
            of_unit=attrgetter("pass_index"),
            merging=Merging.OF_LARGEST,
            shown=_EVERYWHERE | Shown.LIVE,
        ),
        Attribute(
            name="area_m2",
            type=pa.float64(),
            help="area of the outline on the ellipsoid, m²; px² without CRS",
            of_outline=attrgetter("area"),
            shown=Shown.POLYGONS,
        ),
        Attribute(
            name="perimeter_m",
            type=pa.float64(),
            help="length of the outline on the ellipsoid, m; px without CRS",
            of_outline=attrgetter("perimeter"),
            shown=Shown.POLYGONS,
        ),
        Attribute(
            name="area_px",
            type=pa.int64(),
            help="pixels in the label raster",
            merging=Merging.SUM,
            shown=Shown.POLYGONS | Shown.LABELS,
        ),
        Attribute(
            name="tile",
            type=pa.int64(),
            help="first tile that it lies in, numbered row by row from 0",
            merging=Merging.MIN,
            shown=Shown.POLYGONS,
        ),
        Attribute(
            name="tiles",
            type=pa.int32(),
            help="number of tiles that it lies in",
            merging=Merging.SUM,
            shown=Shown.POLYGONS,
        ),
        Attribute(
            name="touches_seam",
            type=pa.bool_(),
            help="true = it reaches the edge of a tile's core",
            of_unit=attrgetter("touches_seam"),
            merging=Merging.ANY,
            shown=Shown.POLYGONS,
        ),
        Attribute(
            name="scale",
            type=pa.int32(),
            help="tile size of the run that found it, px",
            merging=Merging.OF_LARGEST,
            shown=Shown.POLYGONS,
        ),
        Attribute(
            name="view",
            type=pa.int32(),
            help="first view that it lies in, numbered from 0",
            merging=Merging.MIN,
            shown=Shown.PANORAMA,
        ),
        Attribute(
            name="views",
            type=pa.int32(),
            help="number of views that it lies in",
            merging=Merging.SUM,
            shown=Shown.PANORAMA,
        ),
        Attribute(
            name="seam_iou",
            type=pa.float32(),
            help="least agreement of two views about it, 0..1; empty when one view saw all of it",
            shown=Shown.PANORAMA,
        ),
        Attribute(
            name="area",
            type=pa.int64(),
            help="pixels in the unit, its context included",
            of_unit=attrgetter("area"),
        ),
        Attribute(
            name="core_area",
            type=pa.int64(),
            help="pixels that the unit owns",
            of_unit=attrgetter("core_area"),
        ),
        Attribute(
            name="iou_threshold",
            type=pa.float32(),
            help="predicted IoU asked for in the pass that accepted it",
            of_unit=attrgetter("iou_threshold"),
        ),
        Attribute(
            name="stability_threshold",
            type=pa.float32(),
            help="stability asked for in the pass that accepted it",
            of_unit=attrgetter("stability_threshold"),
        ),
        Attribute(
            name="x",
            type=pa.float64(),
            help="point that was prompted, px to the right in the raster or view",
            of_unit=lambda unit: unit.prompt[:, 0],
        ),
        Attribute(
            name="y",
            type=pa.float64(),
            help="the same, px down",
            of_unit=lambda unit: unit.prompt[:, 1],
        ),
    )
}
"""All attributes in the order in which results show them.

`area_px`, `tile`, `tiles`, `scale`, `view` and `views` are what merging knows of a piece by itself,
`seam_iou` comes from the joins. Band statistics and the sphere's own measures are columns besides.
"""


def shown_in(result: Shown) -> list[Attribute]:
    """The attributes that a result has columns for, in order."""
    return [attribute for attribute in ATTRIBUTES.values() if result in attribute.shown]


def schema_of(result: Shown) -> pa.Schema:
    """The Arrow columns of a result."""
    return pa.schema([(attribute.name, attribute.type) for attribute in shown_in(result)])


def unit_columns(unit: UnitSegments) -> dict[str, pa.Array]:
    """Everything that a unit knows of its segments, as Arrow columns by name."""
    return {
        attribute.name: pa.array(np.asarray(attribute.of_unit(unit), attribute.dtype), attribute.type)
        for attribute in ATTRIBUTES.values()
        if attribute.of_unit is not None
    }


def outline_columns(outlines: Outlines) -> dict[str, NDArray[Any]]:
    """Everything that is measured on finished segments, as columns by name."""
    return {
        attribute.name: np.asarray(attribute.of_outline(outlines), attribute.dtype)
        for attribute in ATTRIBUTES.values()
        if attribute.of_outline is not None
    }
