"""What two views say about the directions both see (`docs/algorithms.md#joins-on-the-sphere`)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from remotesam.merge.evidence import Evidence, strip_evidence
from remotesam.sphere.ownership import owner_distance
from remotesam.sphere.views import View


def view_evidence(
    one: View,
    other: View,
    labels_one: NDArray[np.int32],
    labels_other: NDArray[np.int32],
    owners: NDArray[np.int16],
) -> Evidence:
    """Count how the labels of two views overlap, by solid angle.

    The labels of `other` are brought into `one` by the homography between the two, which is exact for every
    direction, so no seam and no pole exists here. As between planar tiles only directions count that one of
    the two owns: what a third view will write proves nothing about these two.

    Args:
        one: the view with the lower index.
        other: a neighbour.
        labels_one: (size, size) labels of `one`, 0 = none.
        labels_other: (size, size) labels of `other`, 0 = none.
        owners: (size, size) owner of each pixel of `one`.

    Returns:
        Evidence with amounts in steradians.
    """
    box = _common_box(one, other)
    if box is None:
        return strip_evidence(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0))
    rows, cols = box
    seen = owner_distance(one, other)[rows, cols] <= other.half
    owner = owners[rows, cols]
    seen &= (owner == one.index) | (owner == other.index)
    moved = _brought(one, other, labels_other, box)
    weights = one.solid_angles()[rows, cols]
    return strip_evidence(labels_one[rows, cols][seen], moved[seen], weights[seen])


def label_solid_angles(view: View, labels: NDArray[np.int32], count: int) -> NDArray[np.float64]:
    """(count,) solid angle of the labels 1..count of a view, sr."""
    amounts = np.bincount(labels.ravel(), view.solid_angles().ravel(), minlength=count + 1)
    return amounts[1 : count + 1].astype(np.float64)


def _common_box(one: View, other: View) -> tuple[slice, slice] | None:
    """Rows and columns of `one` that may show what `other` sees; None when there are none."""
    edge = np.linspace(0, other.size, 33)
    sides = [np.stack([edge, np.full(33, position)], 1) for position in (0.0, float(other.size))]
    border = np.concatenate([*sides, *(side[:, ::-1] for side in sides)])
    points, inside = one.project(other.rays(border))
    corners = np.array([[0, 0], [one.size, 0], [0, one.size], [one.size, one.size]], float)
    _, held = other.project(one.rays(corners))
    shared_points = np.concatenate([points[inside], corners[held]])
    if not len(shared_points):
        return None
    step = 2 + other.size // 16
    low = np.maximum(np.floor(shared_points.min(axis=0)).astype(int) - step, 0)
    high = np.minimum(np.ceil(shared_points.max(axis=0)).astype(int) + step, one.size)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _brought(
    one: View, other: View, labels: NDArray[np.int32], box: tuple[slice, slice]
) -> NDArray[np.int32]:
    """Labels of `other` at the pixels of a box of `one`, nearest; meaningless where `other` does not see."""
    rows, cols = box
    # OpenCV counts from pixel centres, our points from pixel edges.
    to_points = np.array([[1, 0, cols.start + 0.5], [0, 1, rows.start + 0.5], [0, 0, 1.0]])
    to_centres = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1.0]])
    return np.asarray(
        cv2.warpPerspective(
            labels,
            to_centres @ one.homography(other) @ to_points,
            (cols.stop - cols.start, rows.stop - rows.start),
            flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.int32,
    )
