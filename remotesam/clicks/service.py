"""From clicks on a raster to polygons: which part the model sees, and what becomes of its masks.

Clicks are answered on a *chip*: a square at native resolution round the prompts, as large as the network's
input. An answer that runs into the chip's edge is asked again on a chip twice as large.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import shapes
from scipy import ndimage
from shapely.geometry import shape

from remotesam.errors import InputError
from remotesam.raster.protocol import Raster
from remotesam.windows import Window

if TYPE_CHECKING:
    from remotesam.segmenter.prompts import Prediction

MARGIN = 1 / 8
"""A cached chip is used again when the prompts keep this share of its side from its edges."""

MAX_DOUBLINGS = 3
"""A chip grows at most to eight times the network's input; beyond, objects are blurred by the resize."""

CACHED_CHIPS = 4
"""Encoded chips kept; one is 5 to 20 MB."""

HOLE_SHARE = 0.01
"""Holes below this share of the object are noise of the mask, not courtyards."""

TOLERANCE = 0.75
"""Simplification in px of the chip's network grid: under one pixel, so steps vanish and corners stay."""


class ClickModel(Protocol):
    """What the service needs of a model; `segmenter.prompts.PromptSegmenter` is one."""

    @property
    def image_size(self) -> int:
        """Side in px of the network's input."""
        ...

    def encode(self, image: NDArray[np.uint8]) -> Any:
        """Prepare a chip, (H, W, 3) uint8 RGB."""
        ...

    def decode(
        self,
        encoded: Any,
        points: NDArray[np.float64],
        labels: NDArray[np.bool_],
        box: Sequence[float] | None = None,
    ) -> Sequence[Prediction]:
        """Answer prompts in chip pixels, best first."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """Prompts in raster pixels, (x, y) with edges at integers."""

    points: NDArray[np.float64]
    """(N, 2) float64."""
    labels: NDArray[np.bool_]
    """(N,) bool, True = part of the object."""
    box: tuple[float, float, float, float] | None
    """(x0, y0, x1, y1) or None."""

    @property
    def corners(self) -> NDArray[np.float64]:
        """(M, 2) every place a prompt touches."""
        corners = [] if self.box is None else [self.box[:2], self.box[2:]]
        return np.array([*self.points, *corners], dtype=np.float64).reshape(-1, 2)

    def moved_to(self, chip: Window) -> Prompts:
        """The same prompts in the pixels of a chip."""
        box = self.box
        if box is not None:
            box = (box[0] - chip.col, box[1] - chip.row, box[2] - chip.col, box[3] - chip.row)
        return Prompts(self.points - (chip.col, chip.row), self.labels, box)


class ClickService:
    """One raster, one model, and the chips encoded so far."""

    def __init__(self, raster: Raster, model: ClickModel) -> None:
        self._raster, self._model = raster, model
        self._to_crs = Affine(*raster.spec.transform)
        self._chips: OrderedDict[Window, Any] = OrderedDict()
        self.encodes = 0

    def reset(self) -> None:
        """Forget the encoded chips."""
        self._chips.clear()

    def predict(
        self,
        points: Sequence[Sequence[float]],
        labels: Sequence[int],
        box: Sequence[float] | None,
    ) -> list[dict[str, Any]]:
        """Answer prompts given in the raster's CRS.

        Returns:
            Candidates, best first; none when the model finds nothing there.

        Raises:
            InputError: A prompt lies outside the raster or there is none that names the object.
            RasterError: The raster cannot be read there.
        """
        prompts = self._in_pixels(points, labels, box)
        chip = self._cached_chip(prompts) or self._chip(prompts.corners, self._model.image_size)
        for doubling in range(MAX_DOUBLINGS + 1):
            answers = self._answer(prompts, chip)
            cut = bool(answers) and self._is_cut(answers[0].mask, chip)
            if not cut or doubling == MAX_DOUBLINGS:
                break
            larger = self._chip(prompts.corners, 2 * max(chip.height, chip.width))
            if larger == chip:
                break
            chip = larger
        candidates = [self._candidate(answer, prompts.moved_to(chip), chip) for answer in answers]
        return [candidate for candidate in candidates if candidate is not None]

    def _answer(self, prompts: Prompts, chip: Window) -> Sequence[Prediction]:
        if chip not in self._chips:
            self._chips[chip] = self._model.encode(self._raster.read(chip).image)
            self.encodes += 1
            if len(self._chips) > CACHED_CHIPS:
                self._chips.popitem(last=False)
        self._chips.move_to_end(chip)
        moved = prompts.moved_to(chip)
        return self._model.decode(self._chips[chip], moved.points, moved.labels, moved.box)

    def _cached_chip(self, prompts: Prompts) -> Window | None:
        for chip in reversed(self._chips):
            margin = round(MARGIN * max(chip.height, chip.width))
            inner = chip.pad(-margin)
            spec = self._raster.spec
            # At the raster's own edge there is nothing more to see, so no margin is asked for.
            safe = Window.from_bounds(
                0 if chip.row == 0 else inner.row,
                0 if chip.col == 0 else inner.col,
                spec.height if chip.row_stop == spec.height else inner.row_stop,
                spec.width if chip.col_stop == spec.width else inner.col_stop,
            )
            low, high = prompts.corners.min(axis=0), prompts.corners.max(axis=0)
            if (
                safe.col <= low[0]
                and safe.row <= low[1]
                and high[0] <= safe.col_stop
                and high[1] <= safe.row_stop
            ):
                return chip
        return None

    def _chip(self, corners: NDArray[np.float64], side: int) -> Window:
        """A square round the prompts, moved (never cut) to lie inside the raster where that is possible."""
        low, high = corners.min(axis=0), corners.max(axis=0)
        needed = int(np.ceil((high - low).max() * 1.5))
        side = max(side, needed)
        height, width = min(side, self._raster.spec.height), min(side, self._raster.spec.width)
        centre = (low + high) / 2
        row = int(np.clip(round(centre[1] - height / 2), 0, self._raster.spec.height - height))
        col = int(np.clip(round(centre[0] - width / 2), 0, self._raster.spec.width - width))
        return Window(row, col, height, width)

    def _is_cut(self, mask: NDArray[np.bool_], chip: Window) -> bool:
        spec = self._raster.spec
        return bool(
            (chip.row > 0 and mask[0].any())
            or (chip.col > 0 and mask[:, 0].any())
            or (chip.row_stop < spec.height and mask[-1].any())
            or (chip.col_stop < spec.width and mask[:, -1].any())
        )

    def _candidate(self, answer: Prediction, prompts: Prompts, chip: Window) -> dict[str, Any] | None:
        mask = clean_mask(answer.mask, prompts.points[prompts.labels])
        if not mask.any():
            return None
        tolerance = TOLERANCE * max(1.0, max(chip.height, chip.width) / self._model.image_size)
        polygon = mask_polygon(mask, tolerance)
        in_crs = shapely.transform(polygon, lambda xy: _apply(self._to_crs, np.add(xy, (chip.col, chip.row))))
        return {
            "wkb": shapely.to_wkb(in_crs, hex=True),
            "score": answer.score,
            "area_px": int(mask.sum()),
        }

    def _in_pixels(
        self, points: Sequence[Sequence[float]], labels: Sequence[int], box: Sequence[float] | None
    ) -> Prompts:
        if len(points) != len(labels):
            raise InputError(f"{len(points)} points but {len(labels)} labels; give one label per point")
        if box is None and not any(labels):
            raise InputError("no prompt names the object; give a point with label 1, or a box")
        inverse = ~self._to_crs
        places = _apply(inverse, np.array(points, dtype=np.float64).reshape(-1, 2))
        corners = None
        if box is not None:
            west, south, east, north = box
            ring = _apply(inverse, np.array([(x, y) for x in (west, east) for y in (south, north)]))
            limit = (self._raster.spec.width, self._raster.spec.height)
            low, high = np.clip(ring.min(axis=0), 0, limit), np.clip(ring.max(axis=0), 0, limit)
            corners = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
            if not (low < high).all():
                raise InputError("the box lies outside the raster; draw it on the image")
        spec = self._raster.spec
        for x, y in places:
            if not (0 <= x <= spec.width and 0 <= y <= spec.height):
                raise InputError("a click lies outside the raster; click on the image")
        return Prompts(places, np.array(labels, dtype=bool), corners)


def clean_mask(mask: NDArray[np.bool_], inside: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Keep the parts that were clicked (else the largest) and fill holes that are noise.

    Args:
        mask: (H, W) bool, True = object.
        inside: (N, 2) (x, y) of the clicks on the object, in pixels of the mask.

    Returns:
        (H, W) bool, all False when the mask was.
    """
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    cols = np.clip(inside[:, 0].astype(int), 0, mask.shape[1] - 1)
    rows = np.clip(inside[:, 1].astype(int), 0, mask.shape[0] - 1)
    wanted = set(labels[rows, cols].tolist()) - {0}
    if not wanted:
        wanted = {int(np.bincount(labels.ravel())[1:].argmax()) + 1}
    kept = np.isin(labels, list(wanted))
    holes, count = ndimage.label(~kept)
    sizes = np.bincount(holes.ravel(), minlength=count + 1)
    outside = np.unique(np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]]))
    noise = sizes < HOLE_SHARE * kept.sum()
    noise[outside] = False
    noise[0] = False
    filled: NDArray[np.bool_] = kept | noise[holes]
    return filled


def mask_polygon(mask: NDArray[np.bool_], tolerance: float) -> shapely.Geometry:
    """The outline of a mask, (x, y) in its pixels, simplified and valid.

    Args:
        mask: (H, W) bool with at least one True.
        tolerance: Simplification in px; 0 = every pixel corner.
    """
    found = shapes(mask.astype(np.uint8), mask=mask, connectivity=4)
    whole = shapely.union_all([shape(polygon) for polygon, _ in found])
    simple = whole.simplify(tolerance)
    return shapely.make_valid(simple) if not simple.is_empty else whole


def _apply(affine: Affine, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    x = affine.a * xy[:, 0] + affine.b * xy[:, 1] + affine.c
    y = affine.d * xy[:, 0] + affine.e * xy[:, 1] + affine.f
    return np.column_stack([x, y])
