"""Judge segments by a reference: any two of vectors and label rasters, in any CRS."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from remotesam._version import __version__
from remotesam.errors import ConfigError, InputError
from remotesam.evaluation.baselines import TOLERANCE, baseline, check_baselines
from remotesam.evaluation.label_sources import (
    ArrayLabels,
    LabelSource,
    PixelGrid,
    Polygons,
    RasterLabels,
    VectorLabels,
    is_vector,
    raster_grid,
    read_polygons,
    stored_facts,
)
from remotesam.evaluation.picture import comparison
from remotesam.evaluation.scoring import BoxScores, LabelScores, score, score_boxes
from remotesam.raster.protocol import Raster
from remotesam.raster.reader import RasterReader, open_raster
from remotesam.report.run_report import image_reader
from remotesam.windows import Window

_MOST_PIXELS = 4e9
"""A grid made from a resolution may not have more: a slip in its unit would never end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What one call of `evaluate` found."""

    segments: str
    """File judged."""
    reference: str
    """File judged by."""
    height: int
    """Rows of the grid on which both were compared, px."""
    width: int
    """Columns of that grid, px."""
    background: bool
    """True = pixels without reference counted as a class."""
    tile_size: int | None
    """Side of the tiles for the seam rate, px."""
    scores: list[LabelScores | BoxScores]
    """The segments first, then each baseline."""
    notes: list[str]
    """What a reader of the scores must know, one sentence each."""
    picture: NDArray[np.uint8] | None = None
    """Reference outlines on the image beside the segments, (H, W, 3) RGB; None unless asked for."""

    def to_json(self) -> str:
        """Everything as one JSON object; what is undefined (NaN) becomes null."""
        facts = _defined(replace(self, picture=None))
        del facts["picture"]
        return json.dumps({"version": __version__, **facts}, indent=2, ensure_ascii=False)


def evaluate(  # noqa: PLR0913 (public API)
    segments: str | os.PathLike[str],
    reference: str | os.PathLike[str],
    *,
    raster: str | os.PathLike[str] | None = None,
    class_field: str | None = None,
    baselines: Sequence[str] = (),
    boxes: bool = False,
    background: bool = False,
    resolution: float | None = None,
    tile_size: int | None = None,
    picture: bool = False,
) -> Evaluation:
    """Compare segments with reference objects, pixel by pixel, in bounded memory.

    They are compared on the pixels of the first of these that there is: `raster`; the raster named in the
    segments' metadata; the segments, if they are a raster; a new grid of `resolution`; the grid in the
    segments' metadata; the reference, if it is a raster. Where that grid has no CRS, vector coordinates are
    pixels: x to the right, y down, edges at integers.

    Args:
        segments: polygons or label raster; where segments overlap, a pixel belongs to the smallest.
        reference: polygons, which may overlap each other, or label raster.
        raster: the image; its nodata pixels do not count.
        class_field: attribute of the reference that holds the class: scores by class, and ASA of classes.
        baselines: names from `remotesam.evaluation.baselines.BASELINES`, run on `raster` at an equal number
            of segments.
        boxes: the reference says only where objects are, by the bounding boxes of its polygons.
        background: every object of the scene is in the reference, so the rest is a class of its own.
        resolution: side of a pixel in units of the segments' CRS.
        tile_size: side of the tiles' cores, px; default: from the segments' metadata.
        picture: True = also draw both on the image.

    Raises:
        InputError: a file cannot be read as segments or reference, or not be placed on the grid.
        RasterError: a raster cannot be read.
        ConfigError: no grid to compare on, or an unknown class field or baseline.
    """
    paths = [os.fspath(segments), os.fspath(reference)]
    notes: list[str] = []
    with ExitStack() as stack:
        facts = stored_facts(paths[0])
        image = _image(raster, facts, resolution)
        if image is not None:
            stack.enter_context(image)
        if baselines and image is None:
            raise ConfigError("baselines need the image: name it with --raster")
        check_baselines(baselines, 0 if image is None else image.spec.window.area)
        read = _read(paths, class_field)
        grid = _grid(paths, read, image, facts, resolution)
        if tile_size is None:
            tile_size = _stored_tile_size(facts, grid, notes)
        judge = _Judge(read[1], paths[1], grid, image, boxes=boxes, background=background)
        judged = _source(paths[0], read[0], grid, overlapping=False)
        scores = [judge("segments", judged, tile_size)]
        drawn = None
        if image is not None:
            scores += _judge_baselines(baselines, image, judge, scores[0].segments, notes)
            if picture:
                drawn = comparison(image_reader(image), judged, judge.objects, grid.height, grid.width)
    return Evaluation(
        segments=paths[0],
        reference=paths[1],
        height=grid.height,
        width=grid.width,
        background=background,
        tile_size=tile_size,
        scores=scores,
        notes=notes,
        picture=drawn,
    )


class _Judge:
    """The reference, ready to judge several sets of segments."""

    def __init__(
        self,
        polygons: Polygons | None,
        path: str,
        grid: PixelGrid,
        image: Raster | None,
        *,
        boxes: bool,
        background: bool,
    ) -> None:
        if boxes and polygons is None:
            raise InputError(f"{path}: boxes are read from polygons, this is a raster; leave --boxes away")
        self._grid = grid
        self._image = image
        self._background = background
        self._boxes = shapely.bounds(polygons.in_pixels(grid)) if boxes and polygons else None
        self.objects = _source(path, polygons, grid, overlapping=True)

    def __call__(self, method: str, labels: LabelSource, tile_size: int | None) -> LabelScores | BoxScores:
        scores = self._score(method, labels, tile_size)
        if scores.objects == 0:
            size = f"{self._grid.height}×{self._grid.width}"
            raise InputError(
                f"{self.objects.name}: no object lies on the {size} px compared; check its CRS (a grid "
                "without CRS takes coordinates as pixels) or name the image with --raster"
            )
        return scores

    def _score(self, method: str, labels: LabelSource, tile_size: int | None) -> LabelScores | BoxScores:
        valid = None if self._image is None else partial(_valid_pixels, self._image)
        size = (self._grid.height, self._grid.width)
        if self._boxes is not None:
            return score_boxes(method, labels, self._boxes, *size, valid=valid)
        return score(
            method,
            labels,
            self.objects,
            *size,
            valid=valid,
            tile_size=tile_size,
            background=self._background,
        )


def _valid_pixels(image: Raster, window: Window) -> NDArray[np.bool_]:
    return image.read_native(window).valid


def _judge_baselines(
    names: Sequence[str], image: Raster, judge: _Judge, wanted: int, notes: list[str]
) -> list[LabelScores | BoxScores]:
    """Scores of superpixels of the whole image, `wanted` of them."""
    if not names:
        return []
    if not wanted:
        notes.append("No baselines: there are no segments whose number they could match.")
        return []
    scores = []
    chip = image.read(image.spec.window)
    for name in names:
        scores.append(judge(name, ArrayLabels(name, baseline(name, chip.image, chip.valid, wanted)), None))
        if abs(scores[-1].segments - wanted) > TOLERANCE * wanted:
            notes.append(f"{name} could not make {wanted} segments, but {scores[-1].segments}.")
    return scores


def _read(paths: list[str], class_field: str | None) -> list[Polygons | None]:
    """The polygons of both files; None for a label raster."""
    if class_field is not None and not is_vector(paths[1]):
        raise ConfigError(f"{paths[1]}: a label raster has no attributes; leave --class-field away")
    fields = (None, class_field)
    return [
        read_polygons(path, field) if is_vector(path) else None
        for path, field in zip(paths, fields, strict=True)
    ]


def _image(
    raster: str | os.PathLike[str] | None, facts: dict[str, str], resolution: float | None
) -> RasterReader | None:
    """The image behind the segments: the one named, or the one in their metadata if it is still there."""
    if raster is not None:
        return open_raster(raster)
    source = facts.get("raster", "")
    if resolution is None and source and Path(source).is_file():
        return open_raster(source)
    return None


def _grid(
    paths: list[str],
    read: list[Polygons | None],
    image: Raster | None,
    facts: dict[str, str],
    resolution: float | None,
) -> PixelGrid:
    if image is not None:
        spec = image.spec
        return PixelGrid(spec.height, spec.width, spec.crs, Affine(*spec.transform))
    if read[0] is None:
        return raster_grid(paths[0])
    if resolution is not None:
        return _grid_round([polygons for polygons in read if polygons is not None], resolution)
    if {"height", "width", "transform"} <= set(facts):
        transform = Affine(*json.loads(facts["transform"]))
        return PixelGrid(int(facts["height"]), int(facts["width"]), facts.get("crs") or None, transform)
    if read[1] is None:
        return raster_grid(paths[1])
    raise ConfigError(
        f"{paths[0]}: no pixels to compare on; name the image with --raster, or give --resolution"
    )


def _grid_round(files: list[Polygons], resolution: float) -> PixelGrid:
    """A north-up grid round all polygons, in the CRS of the first."""
    if not resolution > 0:
        raise ConfigError(f"resolution {resolution}: give the side of a pixel, above 0")
    crs = files[0].crs
    plain = PixelGrid(1, 1, crs, Affine.identity())
    bounds = np.array([shapely.total_bounds(polygons.in_pixels(plain)) for polygons in files])
    west, south = (float(low) for low in bounds[:, :2].min(axis=0))
    east, north = (float(high) for high in bounds[:, 2:].max(axis=0))
    height, width = math.ceil((north - south) / resolution), math.ceil((east - west) / resolution)
    if height * width > _MOST_PIXELS:
        raise ConfigError(
            f"resolution {resolution}: makes {height}×{width} px; it is in units of the segments' CRS"
        )
    return PixelGrid(max(height, 1), max(width, 1), crs, Affine(resolution, 0, west, 0, -resolution, north))


def _source(path: str, polygons: Polygons | None, grid: PixelGrid, *, overlapping: bool) -> LabelSource:
    if polygons is None:
        return RasterLabels(path, grid)
    return VectorLabels(polygons, grid, overlapping=overlapping)


def _stored_tile_size(facts: dict[str, str], grid: PixelGrid, notes: list[str]) -> int | None:
    """The tile size of the run, if it had one and its grid is the one compared on."""
    if not facts.get("tile_size", "").isdigit():
        return None
    stored = [facts.get(name, str(size)) for name, size in (("height", grid.height), ("width", grid.width))]
    if stored != [str(grid.height), str(grid.width)]:
        notes.append("No seam rate: the segments were made on another grid than they are compared on.")
        return None
    return int(facts["tile_size"])


def _defined(value: Any) -> Any:
    """Records as mappings, metrics among their other fields, and None for NaN, which JSON does not know."""
    if is_dataclass(value):
        named = {field.name: getattr(value, field.name) for field in fields(value)}
        figures = named.pop("figures", {})
        return _defined({**named, **figures})
    if isinstance(value, dict):
        return {key: _defined(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_defined(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value
