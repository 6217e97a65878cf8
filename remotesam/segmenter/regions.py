"""A tree of regions from a dense embedding: cells merge with their most alike neighbours, step by step.

Reciprocal-nearest-neighbour agglomeration (Murtagh 1983, Computer Journal 26(4), §3): all pairs that are each
other's best partner merge at once, so the whole tree takes a few dozen array operations instead of one per
merge. The cost of a merge is Ward's (1963) with a gentler weight of size, plus the contrast along the border.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIZE_POWER = 0.25
"""Power of the harmonic size in the merge cost: 1 = Ward, 0 = size plays no part."""
BORDER_SHARE = 0.4
"""Share of the contrast along the common border in the cost; the rest is the distance of the means."""


@dataclass(frozen=True, slots=True)
class RegionTree:
    """Every region that merging went through; nodes 0..cells-1 are the cells in row-major order."""

    shape: tuple[int, int]
    """(rows, columns) of cells."""
    parent: NDArray[np.int64]
    """(N,) node that swallowed this one; the root's is itself."""
    height: NDArray[np.float32]
    """(N,) cost of the merge that made the node, never less than its children's; 0 for cells."""
    area: NDArray[np.int64]
    """(N,) cells."""
    mean: NDArray[np.float32]
    """(N, C) mean embedding."""
    spread: NDArray[np.float32]
    """(N,) mean squared distance of the cells from the mean."""
    perimeter: NDArray[np.float64]
    """(N,) cell sides on the border to other regions; sides on the rim of the image do not count."""
    border: NDArray[np.float32]
    """(N,) mean squared contrast across those sides; 0 where there are none."""
    first: NDArray[np.int64]
    """(N,) position of the node's first cell in `order`; its cells are the next `area` ones."""
    order: NDArray[np.int64]
    """(cells,) cell numbers, every node's cells side by side."""

    def cells(self, node: int) -> NDArray[np.int64]:
        """Give the cell numbers of a node."""
        start = self.first[node]
        return self.order[start : start + self.area[node]]

    def ancestors(self, node: int) -> list[int]:
        """Give a node and all that swallowed it, smallest first."""
        chain = [node]
        while self.parent[chain[-1]] != chain[-1]:
            chain.append(int(self.parent[chain[-1]]))
        return chain


def merge_tree(embedding: NDArray[np.float32]) -> RegionTree:
    """Build the tree of a dense embedding (`docs/algorithms.md#region-tree`).

    Args:
        embedding: (rows, columns, C) float32.
    """
    rows, columns, width = embedding.shape
    cells = rows * columns
    total = 2 * cells - 1
    mean = np.zeros((total, width), np.float32)
    mean[:cells] = embedding.reshape(cells, width)
    square = np.zeros(total, np.float64)
    square[:cells] = (mean[:cells] ** 2).sum(1)
    area = np.ones(total, np.int64)
    parent = np.arange(total)
    height = np.zeros(total, np.float32)
    edges, contrast = _grid_edges(mean[:cells], rows, columns)
    length = np.ones(len(edges), np.float64)
    perimeter, border = np.zeros(total), np.zeros(total)
    _add_borders(perimeter, border, edges, length, contrast, 0, cells)
    used = cells
    while len(edges):
        cost = _costs(edges, contrast / length, mean, area)
        pairs, heights = _best_friends(edges, cost, used)
        new = np.arange(used, used + len(pairs))
        a, b = pairs[:, 0], pairs[:, 1]
        parent[a] = parent[b] = new
        area[new] = area[a] + area[b]
        share = (area[a] / area[new]).astype(np.float32)[:, None]
        mean[new] = mean[a] * share + mean[b] * (1 - share)
        square[new] = square[a] + square[b]
        height[new] = np.maximum(heights, np.maximum(height[a], height[b]))
        start, used = used, used + len(pairs)
        edges, contrast, length = _contract(parent[edges], contrast, length, used)
        _add_borders(perimeter, border, edges, length, contrast, start, used)
    spread = (square / area - (mean**2).sum(1)).clip(min=0).astype(np.float32)
    first, order = _arrange(parent, area, cells)
    border = (border / np.maximum(perimeter, 1)).astype(np.float32)
    return RegionTree((rows, columns), parent, height, area, mean, spread, perimeter, border, first, order)


def best_cut(tree: RegionTree, worth: NDArray[np.float32]) -> NDArray[np.int64]:
    """Choose regions that cover every cell once and have the greatest sum of area x worth.

    See `docs/algorithms.md#region-tree`.

    Args:
        tree: Regions.
        worth: (N,) worth of a cell of each node.

    Returns:
        Node numbers, ascending.
    """
    own = (tree.area * worth.astype(np.float64)).tolist()
    parent = tree.parent.tolist()
    below = [0.0] * len(own)
    whole = np.zeros(len(own), bool)
    for node, value in enumerate(own):  # children come before their parent
        whole[node] = value >= below[node]
        if node + 1 < len(own):
            below[parent[node]] += max(value, below[node])
    taken = np.zeros(len(own), bool)
    for node in range(len(own) - 2, -1, -1):
        taken[node] = taken[parent[node]] or whole[parent[node]]
    return np.flatnonzero(whole & ~taken)


def absorb_small(labels: NDArray[np.int64], embedding: NDArray[np.float32], least: int) -> NDArray[np.int64]:
    """Give regions that are too small to the neighbour whose mean is most like theirs.

    Args:
        labels: (rows, columns) region of each cell, 0..K-1.
        embedding: (rows, columns, C).
        least: Regions of fewer cells are given away, as long as they have a neighbour.

    Returns:
        (rows, columns) labels; numbers that were given away are missing.
    """
    values = embedding.reshape(labels.size, -1)
    edges, _ = _grid_edges(values, *labels.shape)
    flat = labels.ravel().copy()
    count = int(flat.max()) + 1
    while True:
        area = np.bincount(flat, minlength=count)
        sums = np.stack([np.bincount(flat, column, count) for column in values.T], 1)
        mean = sums / np.maximum(area, 1)[:, None]
        pairs = flat[edges]
        pairs = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)
        pairs = np.concatenate([pairs, pairs[:, ::-1]])
        pairs = pairs[area[pairs[:, 0]] < least]
        if len(pairs) == 0:
            return flat.reshape(labels.shape)
        gap = ((mean[pairs[:, 0]] - mean[pairs[:, 1]]) ** 2).sum(1)
        ranked = pairs[np.lexsort((gap, area[pairs[:, 0]]))]
        target = np.arange(count)
        giver, where = np.unique(ranked[:, 0], return_index=True)
        target[giver] = ranked[where, 1]
        loop = target[target] == np.arange(count)  # two small ones that chose each other: the first stays
        target = np.where(loop & (target > np.arange(count)), np.arange(count), target)
        flat = target[flat]


def _grid_edges(
    values: NDArray[np.float32], rows: int, columns: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Give the (E, 2) pairs of 4-neighbours and the squared distance of each."""
    number = np.arange(rows * columns).reshape(rows, columns)
    across = np.stack([number[:, :-1].ravel(), number[:, 1:].ravel()], 1)
    down = np.stack([number[:-1].ravel(), number[1:].ravel()], 1)
    edges = np.concatenate([across, down])
    return edges, ((values[edges[:, 0]] - values[edges[:, 1]]) ** 2).sum(1).astype(np.float64)


def _costs(
    edges: NDArray[np.int64],
    contrast: NDArray[np.float64],
    mean: NDArray[np.float32],
    area: NDArray[np.int64],
) -> NDArray[np.float64]:
    a, b = edges[:, 0], edges[:, 1]
    gap = ((mean[a] - mean[b]) ** 2).sum(1)
    size = 2 * area[a] * area[b] / (area[a] + area[b])
    cost: NDArray[np.float64] = (BORDER_SHARE * contrast + (1 - BORDER_SHARE) * gap) * size**SIZE_POWER
    return cost


def _best_friends(
    edges: NDArray[np.int64], cost: NDArray[np.float64], used: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Give the pairs that are each other's cheapest partner, ties by edge number."""
    by_cost = np.argsort(cost, kind="stable")
    rank = np.empty(len(edges), np.int64)
    rank[by_cost] = np.arange(len(edges))
    best = np.full(used, len(edges))
    np.minimum.at(best, edges[:, 0], rank)
    np.minimum.at(best, edges[:, 1], rank)
    mutual = (best[edges[:, 0]] == rank) & (best[edges[:, 1]] == rank)
    return edges[mutual], cost[mutual]


def _contract(
    edges: NDArray[np.int64], contrast: NDArray[np.float64], length: NDArray[np.float64], used: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Drop edges inside merged regions and add up those that now join the same two regions."""
    inner = edges[:, 0] == edges[:, 1]
    edges, contrast, length = np.sort(edges[~inner], axis=1), contrast[~inner], length[~inner]
    key, place = np.unique(edges[:, 0] * np.int64(used) + edges[:, 1], return_inverse=True)
    joined = np.stack([key // used, key % used], 1)
    sums = [np.bincount(place, values, len(key)).astype(np.float64) for values in (contrast, length)]
    return joined, sums[0], sums[1]


def _add_borders(
    perimeter: NDArray[np.float64],
    border: NDArray[np.float64],
    edges: NDArray[np.int64],
    length: NDArray[np.float64],
    contrast: NDArray[np.float64],
    start: int,
    stop: int,
) -> None:
    """Sum length and contrast of the edges round the nodes start..stop-1, just made, in place."""
    for end in (0, 1):
        nodes = edges[:, end]
        fresh = nodes >= start
        perimeter[start:stop] += np.bincount(nodes[fresh] - start, length[fresh], stop - start)
        border[start:stop] += np.bincount(nodes[fresh] - start, contrast[fresh], stop - start)


def _arrange(
    parent: NDArray[np.int64], area: NDArray[np.int64], cells: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lay the cells out so that every node's are side by side, children in turn in their parent's range."""
    total = len(parent)
    first = np.zeros(total, np.int64)
    taken = np.zeros(total, np.int64)
    for node in range(total - 2, -1, -1):
        above = parent[node]
        first[node] = first[above] + taken[above]
        taken[above] += area[node]
    order = np.empty(cells, np.int64)
    order[first[:cells]] = np.arange(cells)
    return first, order
