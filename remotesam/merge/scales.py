"""Two scales of one scene as one map: a fine segment stays where it explains the coarse one's inside better.

Remote SAMsing (arXiv 2605.00256) has one tile size for a whole image, though fields want 1000 px and cars 250
in the same scene; its small tiles detect more and fragment more. Here both are run, and every fine segment is
judged against the coarse segment it lies in, by the colours of the image: a car differs from its car park, a
piece of a meadow does not differ from the meadow.

The colours of a segment are taken as one isotropic normal distribution. The gain of a fine segment f in a
coarse segment C is twice the Kullback-Leibler divergence of f's distribution from C's, per colour channel:
`log(v_C / v_f) + (v_f + d²) / v_C - 1`, with d² the mean squared difference of the mean colours and v the
mean variance of a channel. It is 0 when f looks like C, and grows with a different mean as well as with a
calm region in a busy one. It is decided globally: tiles report sums, and the order of a sum does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from remotesam.grouping import first_of_run, group_sum, run_starts

Ints = NDArray[np.int64]

COARSE, FINE = 1, 2
"""Values of an origin map; 0 is no segment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleRule:
    """When a fine segment replaces part of a coarse one."""

    inside: float = 0.7
    """Share of a fine segment that must lie in one coarse segment to be compared with it; others straddle a
    border that the coarse scale has seen, and go. Borders of two scales differ by some pixels, so not 1."""
    gain: float = math.log(2)
    """Gain per channel from which a fine segment stays, at equal quality.

    Two halves of a coarse segment have this gain when their means are 2 standard deviations apart: from there
    a mixture of two equal normals has two modes (Ashman, Bird and Zepf 1994, AJ 108, 2348).
    """
    noise: float = 5.0
    """Standard deviation added to that of every segment, in grey levels: compression and sensor noise, below
    which differences mean nothing. Two calm halves need 10 levels to be two."""
    sliver: float = 0.1
    """When less than this share of a coarse segment is left, the rest goes to the largest of its parts."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairStatistics:
    """Colour sums over the pixels of each pair of a coarse and a fine label; sorted by (coarse, fine)."""

    coarse: Ints
    """(k,) coarse id, 0 = none."""
    fine: Ints
    """(k,) fine id, 0 = none; never both 0."""
    pixels: Ints
    """(k,) number of pixels."""
    sums: Ints
    """(k, 3) sum of each channel."""
    squares: Ints
    """(k,) sum of the squares of all channels."""

    @classmethod
    def merge(cls, parts: Sequence[PairStatistics]) -> PairStatistics:
        """The statistics of all parts together, in whatever order they come."""
        empty = np.empty(0, np.int64)
        keys = np.concatenate([empty, *(part.coarse << 32 | part.fine for part in parts)])
        values = [np.column_stack([part.pixels, part.sums, part.squares]) for part in parts]
        return _grouped(keys, np.concatenate([np.empty((0, 5), np.int64), *values]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """What one scale gave to the result."""

    segments: int
    """Segments in the result."""
    pixels: int
    """Their pixels."""
    offered: int
    """Segments of this scale before the choice."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Choice:
    """Which segments of two scales stay, ready to be applied window by window."""

    from_fine: Ints
    """(fine ids + 1,) new id of each fine segment that stays wherever it is; 0 = it does not."""
    from_coarse: Ints
    """(coarse ids + 1,) new id of what is left of each coarse segment."""
    filling: Ints
    """(fine ids + 1,) new id for the pixels of each fine segment that no coarse segment has."""
    origin: NDArray[np.uint8]
    """(new ids + 1,) COARSE or FINE for each new id; the first entry is 0."""
    pixels: Ints
    """(new ids + 1,) pixels of each new id; the first entry is 0."""
    old: Ints
    """(new ids + 1,) id of the segment in its own scale, whose attributes the new one has."""
    coarse: Contribution
    """What the coarse scale gave."""
    fine: Contribution
    """What the fine scale gave."""
    fragments: int
    """Fine segments that look like the coarse segment around them."""
    straddling: int
    """Fine segments that lie in no single coarse segment."""

    def apply(self, coarse: NDArray[np.integer], fine: NDArray[np.integer]) -> tuple[Ints, NDArray[np.uint8]]:
        """The combined labels of a window.

        Args:
            coarse: (H, W) coarse ids, 0 = none.
            fine: (H, W) fine ids of the same pixels, 0 = none.

        Returns:
            (H, W) new ids 1..n, 0 = none; and (H, W) the scale each pixel's segment comes from.
        """
        kept = self.from_fine[fine]
        rest = np.where(coarse > 0, self.from_coarse[coarse], self.filling[fine])
        labels = np.where(kept > 0, kept, rest)
        return labels, self.origin[labels]


def pair_statistics(
    coarse: NDArray[np.integer], fine: NDArray[np.integer], image: NDArray[np.uint8]
) -> PairStatistics:
    """Sum up the colours of a window; windows that partition the raster are then merged.

    Args:
        coarse: (H, W) final ids of the coarse run, 0 = none, below 2^31.
        fine: (H, W) final ids of the fine run at the same pixels, 0 = none, below 2^31.
        image: (H, W, 3) RGB.

    Raises:
        ValueError: the shapes differ.
    """
    if coarse.shape != fine.shape or image.shape != (*coarse.shape, 3):
        raise ValueError(f"windows of shapes {coarse.shape}, {fine.shape} and {image.shape} are not the same")
    keys = (coarse.astype(np.int64) << 32 | fine).ravel()
    colours = image.reshape(-1, 3).astype(np.int64)
    values = np.column_stack([np.ones(len(keys), np.int64), colours, (colours * colours).sum(axis=1)])
    starts = run_starts(keys)
    labelled = keys[starts] != 0
    return _grouped(keys[starts][labelled], np.add.reduceat(values, starts, axis=0)[labelled])


def choose(
    statistics: PairStatistics,
    coarse_quality: NDArray[np.floating],
    fine_quality: NDArray[np.floating],
    rule: ScaleRule | None = None,
) -> Choice:
    """Decide for every segment of both scales, on the whole raster (`docs/algorithms.md#scales`).

    A fine segment inside a coarse one stays when its gain times the ratio of the two qualities reaches
    `ScaleRule.gain`; then it keeps all its pixels. A coarse segment keeps the pixels that no fine segment has
    taken, and gains those pixels of its fragments that it had left unlabelled. Fine segments where the coarse
    run has none fill the gap.

    Args:
        statistics: of all windows, merged.
        coarse_quality: (n,) quality of the coarse ids 1..n, > 0: predicted IoU times stability.
        fine_quality: (m,) the same of the fine ids.
        rule: thresholds; None = the defaults.

    Raises:
        ValueError: the statistics name a segment that has no quality.
    """
    rule = rule or ScaleRule()
    for name, ids, n in (
        ("coarse", statistics.coarse, len(coarse_quality)),
        ("fine", statistics.fine, len(fine_quality)),
    ):
        if ids.max(initial=0) > n:
            raise ValueError(f"{name} segment {ids.max()} has no quality, there are {n}")
    inner = _Inner.of(statistics, len(coarse_quality), len(fine_quality), rule)
    quality = fine_quality[inner.fine - 1] / np.append(1.0, coarse_quality)[inner.home]
    kept = inner.inside & (inner.gain * quality >= rule.gain)
    stays = np.zeros(len(fine_quality) + 1, np.bool_)
    stays[inner.fine[kept]] = True
    successor = _successors(statistics, inner, stays, len(coarse_quality), rule)
    # Who gets the pixels of a fine segment that no coarse one has: its home if it is part of it, else itself.
    fills = np.zeros(len(fine_quality) + 1, np.int64)
    part_of_home = inner.inside & ~kept
    fills[inner.fine[part_of_home]] = inner.home[part_of_home]
    return _numbered(statistics, stays, successor, fills, inner)


def fuse(
    coarse: NDArray[np.integer],
    fine: NDArray[np.integer],
    coarse_quality: NDArray[np.floating],
    fine_quality: NDArray[np.floating],
    image: NDArray[np.uint8],
    rule: ScaleRule | None = None,
) -> tuple[Ints, NDArray[np.uint8], Choice]:
    """Both steps for a scene that fits in memory; the arguments are those of the steps.

    Returns:
        The labels and origins of `Choice.apply`, and the choice.
    """
    choice = choose(pair_statistics(coarse, fine, image), coarse_quality, fine_quality, rule)
    return *choice.apply(coarse, fine), choice


@dataclass(frozen=True, slots=True, eq=False)
class _Inner:
    """Every fine segment and the coarse segment that has most of it (its home, 0 = none)."""

    fine: Ints
    home: Ints
    inside: NDArray[np.bool_]
    """True = enough of it lies in its home to be compared with it."""
    gain: NDArray[np.float64]
    """Meaningful where `inside`."""

    @classmethod
    def of(cls, statistics: PairStatistics, n_coarse: int, n_fine: int, rule: ScaleRule) -> _Inner:
        s = statistics
        rows = np.lexsort((s.coarse, -s.pixels, s.fine))
        rows = rows[s.fine[rows] > 0]
        rows = rows[first_of_run(s.fine[rows])]
        fine, home = s.fine[rows], s.coarse[rows]
        whole = np.bincount(s.fine, s.pixels, n_fine + 1)[fine]
        inside = (home > 0) & (s.pixels[rows] >= rule.inside * whole)
        pixels = np.bincount(s.coarse, s.pixels, n_coarse + 1)[home]
        squares = np.bincount(s.coarse, s.squares, n_coarse + 1)[home]
        sums = np.stack([np.bincount(s.coarse, s.sums[:, k], n_coarse + 1)[home] for k in range(3)], axis=1)
        own_mean, own_variance = _moments(s.pixels[rows], s.sums[rows], s.squares[rows], rule.noise)
        mean, variance = _moments(pixels, sums, squares, rule.noise)
        distance = ((own_mean - mean) ** 2).mean(axis=1)
        gain = np.log(variance / own_variance) + (own_variance + distance) / variance - 1
        return cls(fine, home, inside, gain)


def _moments(
    pixels: NDArray[np.number], sums: NDArray[np.number], squares: NDArray[np.number], noise: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n, 3) mean colours, and (n,) mean variance of a channel with the noise floor added."""
    mean = np.divide(sums, pixels[:, None], dtype=np.float64)
    spread = np.divide(squares, pixels, dtype=np.float64) - (mean**2).sum(axis=1)
    return mean, np.maximum(spread, 0) / 3 + noise**2


def _successors(
    statistics: PairStatistics, inner: _Inner, stays: NDArray[np.bool_], n_coarse: int, rule: ScaleRule
) -> Ints:
    """(n_coarse + 1,) the fine segment that gets the rest of a coarse one; 0 = it keeps it."""
    s = statistics
    total = np.bincount(s.coarse, s.pixels, n_coarse + 1)
    taken = np.bincount(s.coarse[stays[s.fine]], s.pixels[stays[s.fine]], n_coarse + 1)
    home_of = np.zeros(len(stays), np.int64)
    home_of[inner.fine] = inner.home
    parts = np.flatnonzero(stays[s.fine] & (home_of[s.fine] == s.coarse) & (s.coarse > 0))
    parts = parts[np.lexsort((-s.fine[parts], s.pixels[parts]))]
    successor = np.zeros(n_coarse + 1, np.int64)
    successor[s.coarse[parts]] = s.fine[parts]
    successor[total - taken >= rule.sliver * total] = 0
    return successor


def _numbered(
    statistics: PairStatistics, stays: NDArray[np.bool_], successor: Ints, fills: Ints, inner: _Inner
) -> Choice:
    """Give new ids to what has pixels, coarse segments first."""
    s = statistics
    n_coarse, n_fine = len(successor) - 1, len(stays) - 1
    # Provisional ids: coarse as they are, fine behind them.
    behind = np.arange(n_fine + 1) + n_coarse
    rest = np.where(successor > 0, successor + n_coarse, np.arange(n_coarse + 1))
    gap = np.where(fills > 0, rest[fills], behind)
    gap[0] = 0
    target = np.where(s.coarse > 0, rest[s.coarse], gap[s.fine])
    target = np.where(stays[s.fine], behind[s.fine], target)
    pixels = np.bincount(target, s.pixels, n_coarse + n_fine + 1).astype(np.int64)
    present = np.flatnonzero(pixels)
    new = np.zeros(n_coarse + n_fine + 1, np.int64)
    new[present] = np.arange(1, len(present) + 1)
    is_fine = present > n_coarse
    straddling = ~inner.inside & (inner.home > 0)
    return Choice(
        from_fine=np.where(stays, new[behind], 0),
        from_coarse=new[rest],
        filling=new[gap],
        origin=np.append(0, np.where(is_fine, FINE, COARSE)).astype(np.uint8),
        pixels=np.append(0, pixels[present]),
        old=np.append(0, np.where(is_fine, present - n_coarse, present)),
        coarse=_contribution(pixels[present][~is_fine], n_coarse),
        fine=_contribution(pixels[present][is_fine], n_fine),
        fragments=int(np.count_nonzero(inner.inside & ~stays[inner.fine])),
        straddling=int(np.count_nonzero(straddling)),
    )


def _contribution(pixels: Ints, offered: int) -> Contribution:
    return Contribution(segments=len(pixels), pixels=int(pixels.sum()), offered=offered)


def _grouped(keys: Ints, values: Ints) -> PairStatistics:
    """Sum the rows (pixels, three sums, squares) of equal keys `coarse << 32 | fine`."""
    keys, values = group_sum(keys, values)
    return PairStatistics(
        coarse=keys >> 32,
        fine=keys & np.int64(2**32 - 1),
        pixels=values[:, 0],
        sums=values[:, 1:4],
        squares=values[:, 4],
    )
