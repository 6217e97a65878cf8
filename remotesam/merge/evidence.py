"""Which segments of two neighbouring tiles are one object: evidence from the strip that both have segmented.

Two chips overlap by twice the padding, so both tiles have an opinion on every pixel near their seam. How far
the two opinions agree says more than where labels happen to touch along the seam: with all pixels labelled,
everything touches something, and contact alone chains neighbours into mega-segments (Remote SAMsing, arXiv
2605.00256, section on tile size; `docs/algorithms.md#evidence`). The contact strategies of that paper are
here too, for comparison and for runs without padding.

The strip of two tiles is what both chips see and one of the two *cores* owns (`remotesam.grid.strip`).
A pixel owned by a third tile is left out on purpose: neither of the two will write it, so agreement there
cannot make two written regions one, and beside a corner it would let an object that neither owns decide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from remotesam.grid import Tile
from remotesam.grouping import group_sum, run_starts
from remotesam.windows import Window

_LOW = np.int64(2**32 - 1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """What two tiles say about the pixels both have labelled: one row per pair of labels that meet.

    Rows are sorted by label_a, then label_b. Amounts are pixels, or steradians when weights were given.
    """

    label_a: NDArray[np.int64]
    """(k,) label of the first tile, > 0."""
    label_b: NDArray[np.int64]
    """(k,) label of the second tile, > 0."""
    overlap: NDArray[np.float64]
    """(k,) M: amount that has both labels; for contacts the length of the common border in pixels."""
    area_a: NDArray[np.float64]
    """(k,) A: amount of label_a in the strip, ≥ overlap."""
    area_b: NDArray[np.float64]
    """(k,) B: amount of label_b in the strip, ≥ overlap."""
    total_a: float
    """Amount of the strip that has any label in the first tile."""
    total_b: float
    """Amount of the strip that has any label in the second tile."""

    @property
    def iou(self) -> NDArray[np.float64]:
        """(k,) J = M / (A + B - M) in the strip, in (0, 1]."""
        return self.overlap / (self.area_a + self.area_b - self.overlap)


def strip_evidence(
    a: NDArray[np.integer], b: NDArray[np.integer], weights: NDArray[np.floating] | None = None
) -> Evidence:
    """Count how the labels of two tiles overlap in their strip (`docs/algorithms.md#evidence`).

    Args:
        a: labels of the first tile, of any shape, 0 = none, below 2^31. A strip of several windows is
            given raveled and concatenated; only which pixel pairs with which matters.
        b: labels of the second tile at the same pixels.
        weights: amount that each pixel stands for (solid angle in steradians on the sphere), > 0; None
            counts pixels.

    Raises:
        ValueError: the shapes differ.
    """
    if a.shape != b.shape or (weights is not None and weights.shape != a.shape):
        raise ValueError(f"strip of shapes {a.shape} and {b.shape}: both tiles must show the same pixels")
    keys = (a.astype(np.int64) << 32 | b).ravel()
    # Labels come in runs: sorting run heads instead of pixels is what makes this fast.
    starts = run_starts(keys)
    if weights is None:
        amounts = np.diff(starts, append=keys.size).astype(np.float64)
    else:
        amounts = np.add.reduceat(weights.ravel().astype(np.float64), starts)
    return _evidence(keys[starts], amounts)


def contact_evidence(line_a: NDArray[np.integer], line_b: NDArray[np.integer]) -> Evidence:
    """Count contacts along a seam.

    Args:
        line_a: labels of the first tile along its outermost line of core pixels, 0 = none.
        line_b: labels of the second tile at the pixels across the seam.

    Raises:
        ValueError: the lengths differ.
    """
    return strip_evidence(line_a, line_b)


def facing_lines(one: Tile, other: Tile) -> tuple[Window, Window] | None:
    """The two lines of core pixels that face each other across the seam, in raster pixels.

    Args:
        one: any tile.
        other: its neighbour to the east or south; tiles that meet at a corner have no common line.

    Returns:
        The line in `one` and the line in `other`, of equal shape, or None.
    """
    a, b = one.core, other.core
    if a.col_stop == b.col and a.row == b.row:
        return Window(a.row, b.col - 1, a.height, 1), Window(a.row, b.col, a.height, 1)
    if a.row_stop == b.row and a.col == b.col:
        return Window(b.row - 1, a.col, 1, a.width), Window(b.row, a.col, 1, a.width)
    return None


def border_contacts(
    labels_a: NDArray[np.integer],
    labels_b: NDArray[np.integer],
    owned_a: NDArray[np.bool_],
    owned_b: NDArray[np.bool_],
) -> Evidence:
    """Count contacts along a border of any shape, as between views of a panorama.

    Args:
        labels_a: (H, W) labels of the first tile, 0 = none.
        labels_b: (H, W) labels of the second tile at the same pixels.
        owned_a: (H, W) True = the first tile owns the pixel.
        owned_b: (H, W) True = the second tile owns it; nowhere where the first does.
    """
    lines_a, lines_b = [], []
    for a, b, own_a, own_b in (
        (labels_a, labels_b, owned_a, owned_b),
        (labels_a.T, labels_b.T, owned_a.T, owned_b.T),
    ):
        down, up = own_a[:-1] & own_b[1:], own_b[:-1] & own_a[1:]
        lines_a += [a[:-1][down], a[1:][up]]
        lines_b += [b[1:][down], b[:-1][up]]
    return strip_evidence(np.concatenate(lines_a), np.concatenate(lines_b))


def _evidence(keys: NDArray[np.int64], amounts: NDArray[np.float64]) -> Evidence:
    """Sum amounts per pair and per label; keys are `a << 32 | b`, in any order and repeated."""
    keys, amounts = group_sum(keys, amounts)
    label_a, label_b = keys >> 32, keys & _LOW
    area_a = np.bincount(label_a, amounts, 1)
    area_b = np.bincount(label_b, amounts, 1)
    both = (label_a > 0) & (label_b > 0)
    label_a, label_b = label_a[both], label_b[both]
    return Evidence(
        label_a=label_a,
        label_b=label_b,
        overlap=amounts[both],
        area_a=area_a[label_a],
        area_b=area_b[label_b],
        total_a=float(area_a[1:].sum()),
        total_b=float(area_b[1:].sum()),
    )
