"""`hard_scene`: scenes of the kinds that a segmenter tears apart or runs together; for training."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from remotesam.scenes.canopy import forest, meadow
from remotesam.scenes.canvas import Canvas
from remotesam.scenes.disturbances import shadowed, uneven_fields
from remotesam.scenes.eye_level import garden, street
from remotesam.scenes.rooms import room
from remotesam.scenes.scene import Scene, finished, split_components
from remotesam.scenes.sensor import expose
from remotesam.scenes.traffic import dark_cars
from remotesam.scenes.trials import breeding, row_crop

LEAST = 24
"""Parts of fewer pixels, left over where things overlap, go to what lies next to them."""

KINDS: dict[str, tuple[float, Callable[[Canvas, float], None]]] = {
    "breeding": (0.19, breeding),
    "row_crop": (0.06, row_crop),
    "uneven_fields": (0.15, uneven_fields),
    "shadowed": (0.1, shadowed),
    "dark_cars": (0.1, dark_cars),
    "forest": (0.13, forest),
    "meadow": (0.06, meadow),
    "garden": (0.09, garden),
    "street": (0.05, street),
    "room": (0.07, room),
}
"""Share and layout by name."""


def hard_scene(seed: int, shape: tuple[int, int], *, kind: str | None = None) -> Scene:
    """Make the hard scene of a seed.

    Args:
        seed: Any non-negative integer; the same arguments give the same scene everywhere.
        shape: (height, width) in pixels.
        kind: A key of `KINDS`; None draws one.
    """
    rng = np.random.default_rng((seed, 7))
    gsd = float(np.exp(rng.uniform(np.log(0.06), np.log(0.4))))
    drawn = str(rng.choice(list(KINDS), p=[share for share, _ in KINDS.values()]))
    canvas = Canvas(rng, shape)
    KINDS[kind or drawn][1](canvas, gsd)
    return finished(expose(rng, canvas.finish()), without_specks(canvas.labels), canvas.classes)


def without_specks(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Give parts of fewer than `LEAST` pixels the label of the nearest pixel of a larger part.

    Args:
        labels: (H, W) int32, 0 = none; a label may be in several parts.
    """
    parts, _ = split_components(labels)
    small = (np.bincount(parts.ravel()) < LEAST)[parts]
    if not small.any() or small.all():
        return labels
    _, nearest = cv2.distanceTransformWithLabels(
        small.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    by_seed = np.zeros(int(nearest.max()) + 1, np.int32)
    by_seed[nearest[~small]] = labels[~small]
    return np.where(small, by_seed[nearest], labels)
