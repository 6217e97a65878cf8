"""Clicks on a panorama: which views see them, in which order a video memory visits the views, and the fusion.

SAP (arXiv 2603.12759, sections 3.1-3.3; `docs/algorithms.md#clicks-on-the-sphere`): a click becomes a
direction; the views form a closed column-first zigzag walk, so neighbours in the sequence differ by one step
of one angle; walked cyclically from the view that holds the click, N frames see the whole sphere; masks go
back to the panorama by the maximum of the logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from remotesam.errors import InputError
from remotesam.sphere.equirect import Equirect, direction
from remotesam.sphere.footprint import footprints
from remotesam.sphere.layouts import Layout
from remotesam.sphere.views import View

UNSEEN = -1e4
"""Logit of a direction that no view of the scan holds a mask for."""


GATE_WIDTH = 1024
"""Columns of the panorama on which masks of views are compared; a third of a degree is fine enough for
that."""


@dataclass(frozen=True, slots=True)
class Click:
    """A point on the sphere that belongs, or does not belong, to the object."""

    lon: float
    """Camera longitude, degrees."""
    lat: float
    """Latitude, degrees."""
    positive: bool = True
    """True = part of the object."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Clicks as one view sees them."""

    points: NDArray[np.float64]
    """(N, 2) (x, y) in view pixels."""
    positive: NDArray[np.bool_]
    """(N,) True = part of the object."""


@dataclass(frozen=True, slots=True)
class Scan:
    """A walk over all views of a layout."""

    order: tuple[int, ...]
    """View indices in the order of visit; the first holds the first click."""
    prompts: dict[int, Prompt]
    """Prompts by position in `order`."""


def plan_scan(layout: Layout, clicks: Sequence[Click]) -> Scan:
    """The walk for some clicks.

    The view that holds the first positive click nearest to its centre comes first; the others follow in the
    layout's cyclic order. Every view that sees a positive click is prompted with all clicks it sees (SAP,
    section 3.3); one that sees negative clicks only is not, because SAM 2 cannot segment "not this".

    Raises:
        InputError: no click is positive, or one is no longitude and latitude.
    """
    prompts = view_prompts(layout, clicks)
    _, _, offset = _seen(layout, clicks)
    first = next(k for k, click in enumerate(clicks) if click.positive)
    start = int(np.argmin(offset[:, first]))
    order = tuple((start + step) % len(layout) for step in range(len(layout)))
    return Scan(order, {order.index(index): prompt for index, prompt in prompts.items()})


def view_prompts(layout: Layout, clicks: Sequence[Click]) -> dict[int, Prompt]:
    """Prompts of every view that sees a positive click, by view index.

    Raises:
        InputError: no click is positive, or one is no longitude and latitude.
    """
    points, inside, _ = _seen(layout, clicks)
    positive = np.array([click.positive for click in clicks])
    return {
        index: Prompt(points[index, seen], positive[seen])
        for index, seen in enumerate(inside)
        if (seen & positive).any()
    }


def _seen(
    layout: Layout, clicks: Sequence[Click]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """For (views, clicks): their points, whether the view sees them, how far off-centre they lie, px."""
    if not any(click.positive for click in clicks):
        raise InputError("at least one click must be on the object; add one without '-'")
    for click in clicks:
        if not -90 <= click.lat <= 90:
            raise InputError(f"click {click.lon},{click.lat}: latitude must lie between -90 and 90")
    directions = direction([click.lon for click in clicks], [click.lat for click in clicks])
    points = np.empty((len(layout), len(clicks), 2))
    inside = np.empty((len(layout), len(clicks)), bool)
    offset = np.full((len(layout), len(clicks)), np.inf)
    for view in layout.views:
        points[view.index], inside[view.index] = view.project(directions)
        seen = inside[view.index]
        offset[view.index, seen] = np.abs(points[view.index, seen] - view.size / 2).max(axis=1)
    return points, inside, offset


class Agreement:
    """Decides, view after view of a walk, whether a mask may be believed.

    The maximum of logits is SAP's rule, and it lets one view in which the memory lost the object paint over
    the whole panorama. Neighbours of a walk overlap, so a mask has to agree with what the views before it
    said about the directions both see; a mask in a view that sees none of the object contradicts the views
    that saw nothing there. (Ours, beyond the paper.)
    """

    def __init__(self, min_iou: float = 0.5) -> None:
        """Begin a walk.

        Args:
            min_iou: least IoU by solid angle with the masks so far, on the directions seen by both.
        """
        self._min_iou = min_iou
        self._grid = Equirect.whole(GATE_WIDTH)
        self._fused = np.full((self._grid.height, self._grid.width), UNSEEN, np.float32)

    def takes(self, view: View, logits: NDArray[np.floating], *, certain: bool) -> bool:
        """Compare a mask with those taken before, and take it if it agrees.

        Args:
            view: where it was seen.
            logits: (size, size) logits.
            certain: True = the user clicked in this view; its mask is taken as it is.
        """
        values = np.ascontiguousarray(logits, np.float32)
        weights = self._grid.row_solid_angles()[:, None]
        shared = union = 0.0
        parts = [(part, part.resample(values)) for part in footprints(view, self._grid)]
        for part, shown in parts:
            before = self._fused[part.window.slices]
            weight = weights[part.window.slices[0]] * (part.seen & (before > UNSEEN))
            shared += float((weight * ((shown > 0) & (before > 0))).sum())
            union += float((weight * ((shown > 0) | (before > 0))).sum())
        silent = not (values > 0).any()
        if not (certain or silent) and (shared == 0 or shared < self._min_iou * union):
            return False
        for part, shown in parts:
            before = self._fused[part.window.slices]
            np.maximum(before, np.where(part.seen, shown, np.float32(UNSEEN)), out=before)
        return True


def fuse_logits(
    layout: Layout, grid: Equirect, logits_of: Callable[[int], NDArray[np.floating] | None]
) -> NDArray[np.float32]:
    """Logits of one object on the panorama: the maximum over the views that see each direction.

    Args:
        layout: the views.
        grid: grid of the result.
        logits_of: (size, size) logits of a view by index, or None when the view is not part of the scan.

    Returns:
        (grid.height, grid.width) float32; above 0 = object, `UNSEEN` where no view looked.
    """
    fused = np.full((grid.height, grid.width), UNSEEN, np.float32)
    for view in layout.views:
        logits = logits_of(view.index)
        if logits is None:
            continue
        values = np.ascontiguousarray(logits, np.float32)
        for part in footprints(view, grid):
            target = fused[part.window.slices]
            np.maximum(target, np.where(part.seen, part.resample(values), np.float32(UNSEEN)), out=target)
    return fused
