"""Perspective models on the sphere: run a callable on views and fuse its answers on the panorama's grid.

After MTPano (arXiv 2602.05330; `docs/algorithms.md#fusion-of-views`): outputs that do not depend on the
camera's rotation (class scores, labels, range) are resampled as they are; outputs that do (surface normals)
are turned by the view's rotation too. Where views overlap, a weight that falls to the view's border decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from remotesam.errors import InputError
from remotesam.sphere.equirect import Equirect
from remotesam.sphere.footprint import footprints
from remotesam.sphere.layouts import Layout, views
from remotesam.sphere.sampler import Sampler
from remotesam.sphere.views import View

Kind = Literal["invariant", "labels", "depth", "variant"]
"""What a model's output is: `invariant`: numbers that mean the same whatever the camera's rotation (scores,
probabilities, range along the ray), weighted mean; `labels`: class or instance ids, taken from the view in
which a direction is nearest to the centre; `depth`: z-depth, turned into range along the ray first;
`variant`: vectors (x right, y down, z forward), turned into the panorama's frame (x to longitude 0, y to
longitude 90° east, z up) and normalised."""

FLOOR = 1e-6
"""Weight that a pixel keeps on a view's very border, so that a direction seen by borders only has a value."""


@dataclass(frozen=True, slots=True)
class Fused:
    """A model's answer on the panorama."""

    values: NDArray[Any]
    """(H, W) or (H, W, C); float32, or int32 for labels; 0 where not valid."""
    valid: NDArray[np.bool_]
    """(H, W) True where a view with data saw the pixel."""


def map_views(
    fn: Callable[[NDArray[np.uint8]], NDArray[Any]],
    image: NDArray[np.uint8],
    kind: Kind = "invariant",
    *,
    grid: Equirect | None = None,
    layout: Layout | None = None,
    gamma: float = 1.0,
) -> Fused:
    """Run a perspective model on every view of a panorama and fuse what it says.

    Args:
        fn: called with (size, size, 3) uint8 RGB; returns (size, size) or (size, size, C).
        image: (H, W, 3) uint8 RGB panorama.
        kind: what the output is.
        grid: where the image lies on the sphere; None = a whole panorama.
        layout: views to use; None = rings at native resolution.
        gamma: exponent of the weight that falls from 1 at a view's centre to 0 at its border.

    Raises:
        InputError: the output does not fit its view or `kind`, or the image is not a panorama.
    """
    grid = grid or Equirect.whole(image.shape[1], image.shape[0])
    layout = layout or views(grid.full_width)
    sampler = Sampler(image, grid)

    def answers() -> Iterable[tuple[View, NDArray[Any], NDArray[np.bool_]]]:
        for view in layout.views:
            picture, seen = sampler.sample(view)
            if seen.any():
                yield view, np.asarray(fn(picture)), seen

    return fuse(answers(), grid, kind, gamma=gamma)


def fuse(
    answers: Iterable[tuple[View, NDArray[Any], NDArray[np.bool_]]],
    grid: Equirect,
    kind: Kind = "invariant",
    *,
    gamma: float = 1.0,
) -> Fused:
    """Fuse values of views on a grid; views are used as they come and not kept.

    Args:
        answers: per view its values (size, size[, C]) and where they count (size, size) bool.
        grid: grid of the result.
        kind: what the values are.
        gamma: exponent of the weight.

    Raises:
        InputError: values do not fit their view, each other or `kind`; or there are no views.
    """
    if kind not in get_args(Kind):
        raise InputError(f"unknown kind of output '{kind}'; use one of {', '.join(get_args(Kind))}")
    total: NDArray[Any] | None = None
    weight = np.zeros((grid.height, grid.width), np.float32)
    for view, values, counts in answers:
        prepared = _prepared(view, values, kind)
        if total is None:
            dtype = np.int32 if kind == "labels" else np.float32
            total = np.zeros((grid.height, grid.width, *prepared.shape[2:]), dtype)
        elif total.shape[2:] != prepared.shape[2:]:
            raise InputError(
                f"view {view.index} has {prepared.shape[2:]} values per pixel, not {total.shape[2:]}"
            )
        _add(total, weight, view, prepared, counts, grid, kind, gamma)
    if total is None:
        raise InputError("there is no view with data to fuse")
    valid = weight > 0
    if kind == "labels":
        return Fused(total, valid)
    scale = weight if kind != "variant" else np.linalg.norm(total, axis=2)
    scale[scale == 0] = 1
    total /= scale if total.ndim == 2 else scale[:, :, None]
    return Fused(total, valid)


def import_views(
    document: Mapping[str, Any], read: Callable[[str], NDArray[Any]], *, gamma: float = 1.0
) -> Fused:
    """Fuse rasters that somebody else's model made from exported views.

    Args:
        document: content of a `views.json`: `width` and `height` of the panorama, `kind`, and per entry of
            `views` the `file`, `lon`, `lat` (degrees), `size` and `focal` (px).
        read: gives the (size, size[, C]) array of a file named in the document.
        gamma: exponent of the weight.

    Raises:
        InputError: an entry is missing or wrong.
    """
    try:
        grid = Equirect.whole(int(document["width"]), int(document["height"]))
        kind: Kind = document.get("kind", "invariant")
        entries = [
            (
                str(entry["file"]),
                View(
                    index, float(entry["lon"]), float(entry["lat"]), int(entry["size"]), float(entry["focal"])
                ),
            )
            for index, entry in enumerate(document["views"])
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"views.json: {error!r} is missing or wrong; write it with --export-views") from None
    return fuse(
        ((view, read(file), np.ones((view.size, view.size), bool)) for file, view in entries),
        grid,
        kind,
        gamma=gamma,
    )


def describe_views(layout: Layout, grid: Equirect, files: Iterable[str], kind: Kind) -> dict[str, Any]:
    """The document that `import_views` reads, for views written to `files` in layout order."""
    return {
        "width": grid.full_width,
        "height": grid.full_height,
        "kind": kind,
        "views": [
            {"file": file, "lon": view.lon, "lat": view.lat, "size": view.size, "focal": view.focal}
            for file, view in zip(files, layout.views, strict=True)
        ],
    }


def _prepared(view: View, values: NDArray[Any], kind: Kind) -> NDArray[Any]:
    """Values of a view in the dtype and frame of the result."""
    if values.shape[:2] != (view.size, view.size) or values.ndim not in (2, 3):
        raise InputError(f"view {view.index} is {view.size}×{view.size} px but its values are {values.shape}")
    if kind == "labels":
        if values.ndim != 2 or values.dtype.kind not in "iub":
            raise InputError(
                f"labels must be whole numbers (H, W), view {view.index} gives {values.dtype} {values.shape}"
            )
        return values.astype(np.int32)
    if kind == "depth" and values.ndim != 2:
        raise InputError(f"depth must be (H, W), view {view.index} gives {values.shape}")
    if kind == "variant":
        if values.shape[2:] != (3,):
            raise InputError(f"vectors must be (H, W, 3), view {view.index} gives {values.shape}")
        # The frame's second axis points up, a camera's down.
        return (values * [1, -1, 1] @ view.frame).astype(np.float32)
    return np.ascontiguousarray(values, np.float32)


def _add(
    total: NDArray[Any],
    weight: NDArray[np.float32],
    view: View,
    values: NDArray[Any],
    counts: NDArray[np.bool_],
    grid: Equirect,
    kind: Kind,
    gamma: float,
) -> None:
    """Add one view to the sums, in place."""
    everywhere = bool(counts.all())
    for part in footprints(view, grid):
        seen = part.seen
        if not everywhere:
            seen = seen & part.resample(counts.astype(np.uint8), nearest=True).astype(bool)
        sampled = part.resample(values, nearest=kind == "labels")
        here, strength = total[part.window.slices], weight[part.window.slices]
        share = np.where(seen, np.maximum(part.edge, FLOOR), np.float32(0)).astype(np.float32)
        if kind == "labels":
            wins = share > strength
            here[wins], strength[wins] = sampled[wins], share[wins]
            continue
        share **= np.float32(gamma)
        if kind == "depth":
            sampled = sampled * part.stretch
        product = sampled * (share if sampled.ndim == 2 else share[:, :, None])
        here[seen] += product[seen]
        strength += share
