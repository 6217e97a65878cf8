"""Which segments of two tiles are one object: rules over the evidence of a strip or a border."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from remotesam.grouping import first_of_run
from remotesam.merge.evidence import Evidence

Strategy = Literal["overlap", "best-match", "mutual-best", "min-contact", "naive", "none"]
"""How segments are joined over seams; all but overlap and none count contacts along the seam."""


ContactStrategy = Literal["best-match", "mutual-best", "min-contact", "naive"]
"""The strategies that count contacts: Remote SAMsing, section on merging."""


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
    """(k,) label of the first tile."""
    label_b: NDArray[np.int64]
    """(k,) label of the second tile."""
    score: NDArray[np.float64]
    """(k,) IoU in the strip (of the border lines, for contacts), in (0, 1]."""
    area: NDArray[np.float64]
    """(k,) overlap in pixels or steradians; for contacts the length in pixels."""
    kind: NDArray[np.int8]
    """(k,) values of `JoinKind`."""

    def __len__(self) -> int:
        return len(self.label_a)


def join_overlap(
    evidence: Evidence,
    chip_area_a: NDArray[np.number],
    chip_area_b: NDArray[np.number],
    *,
    n_core_a: int,
    n_core_b: int,
    contacts: Evidence | None = None,
    at_corner: bool = False,
    rule: MatchRule | None = None,
) -> Joins:
    """Decide by overlap which segments of two tiles are one object (`docs/algorithms.md#overlap-rule`).

    Two segments are joined when (R1) each is the other's best by IoU and the IoU is at least `min_iou`, or
    (R2, one object split differently by the two tiles) b is a's best, a lies to `containment` in b, the
    strip shows enough of a, and a is no sliver; or the same with a and b exchanged. Ties are broken by
    overlap, then by the smaller label, so neither the order of the pixels nor which tile comes first matters.

    Four conditions come from planar tiles, each measured with `benchmarks/merge.py`: the two must touch along
    the seam (what one tile saw as a detail beside it, inside the other's large region, is not a piece of that
    region); how much of a segment the strip must show follows the strip, for objects larger than a tile
    (`MatchRule.evenness`); R2 has a smallest IoU; and tiles that meet at a corner are joined by a stricter
    R1 only, because pieces of one object meet again over the sides.

    Labels without a core pixel are never joined, but they compete: a segment whose best partner is seen by
    the other tile only in its padding is complete, and must not settle for its second best.

    Args:
        evidence: from `strip_evidence`.
        chip_area_a: (n_a,) T: amount of each label 1..n_a in the first tile's whole chip.
        chip_area_b: (n_b,) the same of the second tile.
        n_core_a: labels up to this one own core pixels of the first tile.
        n_core_b: the same of the second tile.
        contacts: from `contact_evidence` or `border_contacts`: only segments that touch are joined. None
            joins without looking, for tiles whose cores have no common border.
        at_corner: the two cores touch at a corner only.
        rule: thresholds; None = the defaults.
    """
    rule = rule or MatchRule()
    iou, overlap = evidence.iou, evidence.overlap
    a, b = evidence.label_a, evidence.label_b
    best_of_a, best_of_b = _is_best(a, iou, overlap, b), _is_best(b, iou, overlap, a)
    joined = best_of_a & best_of_b & (iou >= (rule.min_iou_at_corner if at_corner else rule.min_iou))
    a_inside = overlap >= rule.containment * evidence.area_a
    b_inside = overlap >= rule.containment * evidence.area_b
    if not at_corner:
        piece_a = best_of_a & a_inside & _enough_shown(overlap, chip_area_a, a, evidence.total_a, rule)
        piece_b = best_of_b & b_inside & _enough_shown(overlap, chip_area_b, b, evidence.total_b, rule)
        joined |= (piece_a | piece_b) & (iou >= rule.min_piece)
    if contacts is not None:
        joined &= np.isin(_pair_keys(evidence), _pair_keys(contacts))
    joined &= (a <= n_core_a) & (b <= n_core_b)
    kind = np.where(a_inside | b_inside, JoinKind.CONTAINED, JoinKind.MUTUAL).astype(np.int8)
    return _select(evidence, joined, kind)


def join_contact(evidence: Evidence, strategy: ContactStrategy, *, min_contact: int = 20) -> Joins:
    """Decide by contact which segments of two tiles are one object.

    The strategies of Remote SAMsing, arXiv 2605.00256 (`docs/algorithms.md#contact-strategies`).
    `best-match`: every segment takes the partner with the longest common border, and all these one-sided
    choices are joined. `mutual-best`: only choices that both make. `min-contact`: all pairs with a border
    of `min_contact` px. `naive`: all pairs that touch.

    Args:
        evidence: from `contact_evidence`, so every label owns core pixels.
        strategy: one of the above.
        min_contact: shortest border in pixels, for `min-contact` only.

    Raises:
        ValueError: `strategy` does not count contacts.
    """
    if strategy not in get_args(ContactStrategy):
        raise ValueError(f"merge strategy '{strategy}' does not count contacts")
    if strategy in ("best-match", "mutual-best"):
        nothing = np.zeros(len(evidence.label_a))
        best_a = _is_best(evidence.label_a, evidence.overlap, nothing, evidence.label_b)
        best_b = _is_best(evidence.label_b, evidence.overlap, nothing, evidence.label_a)
        joined = best_a | best_b if strategy == "best-match" else best_a & best_b
    else:
        joined = evidence.overlap >= (min_contact if strategy == "min-contact" else 1)
    return _select(evidence, joined, np.full(len(joined), JoinKind.CONTACT, np.int8))


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


def _select(evidence: Evidence, joined: NDArray[np.bool_], kind: NDArray[np.int8]) -> Joins:
    return Joins(
        label_a=evidence.label_a[joined],
        label_b=evidence.label_b[joined],
        score=evidence.iou[joined],
        area=evidence.overlap[joined],
        kind=kind[joined],
    )
