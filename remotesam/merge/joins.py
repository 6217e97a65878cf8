"""Which segments of two units are one object: rules over the evidence of a strip or a border."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from remotesam.grouping import first_of_run
from remotesam.merge.evidence import Evidence


class JoinKind(IntEnum):
    """On what grounds two segments are joined; `remotesam.merge.components` treats them differently."""

    CONTACT = 0
    """They touch along the seam. Never refused, so that the published strategies stay what they are."""
    MUTUAL = 1
    """Each is the other's best, but both also reach well outside the other: refused in a doubtful chain."""
    CONTAINED = 2
    """In the strip one lies (almost) wholly in the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchRule:
    """Thresholds of the overlap strategy.

    min_iou, containment and max_share were chosen on synthetic spheres, as `benchmarks/panorama.py` makes
    them; the others with `benchmarks/merge.py` on its scenes (not the held-out ones) and, with `--image`, on
    graph-based segmentations of real images, which differ from tile to tile as a model's do.
    `docs/algorithms.md#overlap-rule` has the formulas.
    """

    min_iou: float = 0.2
    """R1: smallest IoU in the strip at which two mutually best segments are joined."""
    min_iou_at_corner: float = 0.5
    """The same for tiles that meet at a corner only: two squares of the padding's side show little."""
    containment: float = 0.8
    """R2: share of a segment's pixels in the strip that the other segment must hold."""
    min_piece: float = 0.1
    """R2: smallest IoU in the strip: a sliver in a large region is a detail that one tile saw, no piece."""
    evenness: float = 0.5
    """R2: what the strip shows of a segment, against what it shows of all labelled pixels of the chip.

    A segment that only touches the strip with a corner proves nothing by being contained there. An object
    spread evenly over the chip has `strip / chip` of its area in the strip; at least this multiple is asked.
    A fixed share cannot serve: a road through the whole tile has 2·50 of 1100 px in the strip at the
    default sizes, 9 %.
    """
    max_share: float = 0.1
    """R2: share of a segment's area that is enough whatever `evenness` says (a fixed rule)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Joins:
    """Pairs of labels that are one object; rows in the order of the evidence."""

    label_a: NDArray[np.int64]
    """(k,) label of the first unit."""
    label_b: NDArray[np.int64]
    """(k,) label of the second unit."""
    score: NDArray[np.float64]
    """(k,) IoU in the strip (of the border lines, for contacts), in (0, 1]."""
    area: NDArray[np.float64]
    """(k,) overlap in pixels or steradians; for contacts the length in pixels."""
    kind: NDArray[np.int8]
    """(k,) values of `JoinKind`."""

    def __len__(self) -> int:
        return len(self.label_a)

    @classmethod
    def nothing(cls) -> Joins:
        """No pair at all."""
        labels, amounts = np.empty(0, np.int64), np.empty(0, np.float64)
        return cls(label_a=labels, label_b=labels, score=amounts, area=amounts, kind=np.empty(0, np.int8))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pair:
    """What is known of two neighbouring units when their segments are compared; a tile or a view each."""

    strip: Evidence | None = None
    """From `remotesam.merge.evidence.strip_evidence`; None when the strategy does not look at it."""
    contacts: Evidence | None = None
    """From `contact_evidence` or `border_contacts`, so every label owns pixels. None when the
    strategy does not look at them, where what the two own has no common border, and for views."""
    chip_area_a: NDArray[np.number] = field(default_factory=lambda: np.empty(0, np.int64))
    """(n_a,) T: amount of each label 1..n_a in the first unit's whole chip, px or sr."""
    chip_area_b: NDArray[np.number] = field(default_factory=lambda: np.empty(0, np.int64))
    """(n_b,) the same of the second unit."""
    n_core_a: int = 0
    """Labels up to this one own pixels of the first unit."""
    n_core_b: int = 0
    """The same of the second unit."""
    at_corner: bool = False
    """True = what the two own touches at a corner only."""
    min_contact: int = 20
    """Shortest border that counts for `join_min_contact`, px."""


Rule: TypeAlias = Callable[[Pair], Joins]
"""Decides which segments of two neighbours are one object, whichever of the two comes first.

`remotesam.choices.STRATEGIES` is the table of rules."""


def join_overlap(pair: Pair, rule: MatchRule | None = None) -> Joins:
    """Decide by overlap which segments of two units are one object (`docs/algorithms.md#overlap-rule`).

    Two segments are joined when (R1) each is the other's best by IoU and the IoU is at least `min_iou`, or
    (R2, one object split differently by the two units) b is a's best, a lies to `containment` in b, the
    strip shows enough of a, and a is no sliver; or the same with a and b exchanged. Ties are broken by
    overlap, then by the smaller label, so neither the order of the pixels nor which unit comes first matters.

    Four conditions come from planar tiles, each measured with `benchmarks/merge.py`: the two must touch along
    the seam (what one tile saw as a detail beside it, inside the other's large region, is not a piece of that
    region); how much of a segment the strip must show follows the strip, for objects larger than a tile
    (`MatchRule.evenness`); R2 has a smallest IoU; and tiles that meet at a corner are joined by a stricter
    R1 only, because pieces of one object meet again over the sides.

    Labels without a core pixel are never joined, but they compete: a segment whose best partner is seen by
    the other unit only in its padding is complete, and must not settle for its second best.

    Args:
        pair: its strip is looked at; segments that do not touch are left apart where contacts are known.
        rule: thresholds; None = the defaults.
    """
    if pair.strip is None:
        return Joins.nothing()
    rule, evidence = rule or MatchRule(), pair.strip
    iou, overlap = evidence.iou, evidence.overlap
    a, b = evidence.label_a, evidence.label_b
    best_of_a, best_of_b = _is_best(a, iou, overlap, b), _is_best(b, iou, overlap, a)
    joined = best_of_a & best_of_b & (iou >= (rule.min_iou_at_corner if pair.at_corner else rule.min_iou))
    a_inside = overlap >= rule.containment * evidence.area_a
    b_inside = overlap >= rule.containment * evidence.area_b
    if not pair.at_corner:
        piece_a = best_of_a & a_inside & _enough_shown(overlap, pair.chip_area_a, a, evidence.total_a, rule)
        piece_b = best_of_b & b_inside & _enough_shown(overlap, pair.chip_area_b, b, evidence.total_b, rule)
        joined |= (piece_a | piece_b) & (iou >= rule.min_piece)
    if pair.contacts is not None:
        joined &= np.isin(_pair_keys(evidence), _pair_keys(pair.contacts))
    joined &= (a <= pair.n_core_a) & (b <= pair.n_core_b)
    kind = np.where(a_inside | b_inside, JoinKind.CONTAINED, JoinKind.MUTUAL).astype(np.int8)
    return select(evidence, joined, kind)


def join_best_match(pair: Pair) -> Joins:
    """Every segment takes the partner with the longest common border; all these one-sided choices are joined.

    This and the other rules over contacts are the merge strategies of Remote SAMsing, arXiv 2605.00256
    (`docs/algorithms.md#contact-strategies`).
    """
    return _by_contact(pair, lambda contacts: np.logical_or(*_longest(contacts)))


def join_mutual_best(pair: Pair) -> Joins:
    """Two segments are joined when each has its longest common border with the other."""
    return _by_contact(pair, lambda contacts: np.logical_and(*_longest(contacts)))


def join_min_contact(pair: Pair) -> Joins:
    """All pairs with a common border of `Pair.min_contact` px are joined."""
    return _by_contact(pair, lambda contacts: contacts.overlap >= pair.min_contact)


def join_naive(pair: Pair) -> Joins:
    """All pairs that touch are joined."""
    return _by_contact(pair, lambda contacts: contacts.overlap >= 1)


def join_nothing(pair: Pair) -> Joins:  # noqa: ARG001 (a rule)
    """No pair is joined."""
    return Joins.nothing()


def select(evidence: Evidence, joined: NDArray[np.bool_], kind: NDArray[np.int8]) -> Joins:
    """The joins that a rule has chosen among the rows of its evidence.

    Args:
        evidence: what the rule looked at.
        joined: (k,) True = one object.
        kind: (k,) values of `JoinKind`.
    """
    return Joins(
        label_a=evidence.label_a[joined],
        label_b=evidence.label_b[joined],
        score=evidence.iou[joined],
        area=evidence.overlap[joined],
        kind=kind[joined],
    )


def _by_contact(pair: Pair, choose: Callable[[Evidence], NDArray[np.bool_]]) -> Joins:
    if pair.contacts is None:
        return Joins.nothing()
    joined = choose(pair.contacts)
    return select(pair.contacts, joined, np.full(len(joined), JoinKind.CONTACT, np.int8))


def _longest(contacts: Evidence) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(k,) True = the longest border of its first label; (k,) the same of its second label."""
    length, none = contacts.overlap, np.zeros(len(contacts.label_a))
    best_a = _is_best(contacts.label_a, length, none, contacts.label_b)
    return best_a, _is_best(contacts.label_b, length, none, contacts.label_a)


def _pair_keys(evidence: Evidence) -> NDArray[np.int64]:
    return evidence.label_a << 32 | evidence.label_b


def _is_best(
    labels: NDArray[np.int64],
    score: NDArray[np.float64],
    area: NDArray[np.float64],
    partners: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """(k,) True = the best row of its label by (score, area), then by the lowest partner."""
    order = np.lexsort((partners, -area, -score, labels))
    ranked = labels[order]
    best = np.zeros(len(labels), np.bool_)
    best[order[first_of_run(ranked)]] = True
    return best


def _enough_shown(
    overlap: NDArray[np.float64],
    chip_area: NDArray[np.number],
    labels: NDArray[np.int64],
    total: float,
    rule: MatchRule,
) -> NDArray[np.bool_]:
    """(k,) True = the strip shows enough of the segment for containment there to mean something."""
    labelled = float(chip_area.sum())
    even_share = total / labelled if labelled > 0 else 1.0
    return overlap >= min(rule.max_share, rule.evenness * even_share) * chip_area[labels - 1]
