"""Clean-up of a joined label picture on the sphere: enclosed fragments, slivers, consecutive ids."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from remotesam.grouping import first_of_run
from remotesam.merge.fragments import SmallSegments, decide
from remotesam.sphere.run_lengths import Runs


def clean(runs: Runs, *, absorb_area: float, min_area: float) -> NDArray[np.int32]:
    """Labels of the runs without fragments (`docs/algorithms.md#clean-up-on-the-sphere`).

    Pieces are judged one by one, connected over the seam and around the poles. By the planar rule
    (`remotesam.merge.fragments`) a small piece whose only neighbour is one other segment becomes part of it,
    and what is below the smallest size goes. A sliver that the borders of views cut off an object which goes
    on elsewhere becomes part of its largest neighbour instead: no thin gaps show where two views meet.

    Args:
        runs: runs of the joined picture.
        absorb_area: largest piece that is absorbed, sr.
        min_area: smallest segment that stays, sr.

    Returns:
        (R,) new label of each run; labels are those of `runs`, with some missing.
    """
    number, component = runs.components()
    area = np.bincount(component, runs.solid_angles(), minlength=number).astype(np.float64)
    label = np.zeros(number, np.int32)
    label[component] = runs.label
    # Pieces are named from 1 on; everything unlabelled is one neighbour, 0.
    name = np.where(label > 0, np.arange(1, number + 1), 0)
    small = np.flatnonzero((label > 0) & (area <= max(absorb_area, min_area)))
    pairs = name[runs.contacts(component)]
    both_ways = np.concatenate([pairs, pairs[:, ::-1]])
    touching = both_ways[np.isin(both_ways[:, 0], small + 1)]
    decision = decide(
        SmallSegments(ids=small + 1, areas=area[small]), touching, absorb_area=absorb_area, min_area=min_area
    )
    final = np.concatenate([[0], label])
    slivers = _cut_off(decision.removed, label, area)
    ends = _ends(decision.absorbed, decision.hosts, number)
    final[decision.removed] = 0
    final[decision.absorbed] = final[ends]
    for sliver, host in _largest_neighbours(slivers, touching, np.concatenate([[0.0], area]), final):
        final[sliver] = final[host]
    # What a sliver had absorbed follows it to its new owner.
    final[decision.absorbed] = final[ends]
    return final[name[component]]


def renumber(labels: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Consecutive ids in the order of the labels.

    Returns:
        The labels as 1..n, and (n,) the label that each had before.
    """
    before = np.unique(labels[labels > 0])
    look_up = np.zeros(int(labels.max(initial=0)) + 1, np.int32)
    look_up[before] = np.arange(1, len(before) + 1, dtype=np.int32)
    return look_up[labels], before.astype(np.int64)


def _cut_off(
    removed: NDArray[np.int64], label: NDArray[np.int32], area: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Names of the removed pieces that are not the largest piece of their object."""
    order = np.lexsort((np.arange(len(label)), -area, label))
    first = first_of_run(label[order])
    main = np.zeros(len(label), np.bool_)
    main[order[first]] = True
    return removed[~main[removed - 1]]


def _largest_neighbours(
    slivers: NDArray[np.int64],
    touching: NDArray[np.int64],
    area: NDArray[np.float64],
    final: NDArray[np.int32],
) -> list[tuple[int, int]]:
    """(sliver, neighbour) for every sliver that touches a piece which stays; of several the largest."""
    rows = touching[np.isin(touching[:, 0], slivers) & (final[touching[:, 1]] > 0)]
    order = np.lexsort((rows[:, 1], -area[rows[:, 1]], rows[:, 0]))
    rows = rows[order]
    first = first_of_run(rows[:, 0])
    return [(int(sliver), int(host)) for sliver, host in rows[first]]


def _ends(absorbed: NDArray[np.int64], hosts: NDArray[np.int64], number: int) -> NDArray[np.int64]:
    """Where each absorbed piece ends up when its host is absorbed in turn."""
    host_of = np.arange(number + 1)
    host_of[absorbed] = hosts
    ends = host_of[absorbed]
    while True:
        further = host_of[ends]
        if np.array_equal(further, ends):
            return ends
        ends = further
