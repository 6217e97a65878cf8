"""Joining views of a synthetic sphere by each strategy: what the merge benchmark and its test run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Literal

import numpy as np

from benchmarks.sphere_scenes import SphereScene, mean_iou
from remotesam.choices import STRATEGIES as MERGE
from remotesam.merge.components import Edges, components
from remotesam.merge.evidence import contact_evidence
from remotesam.merge.joins import Joins, Pair, join_overlap
from remotesam.sphere.evidence import label_solid_angles, view_evidence
from remotesam.sphere.mosaic import assemble
from remotesam.sphere.ownership import owners_in_view
from remotesam.sphere.seamlines import ViewSeamline, find_seamline
from remotesam.tiles.labels import owned_first

Strategy = Literal["none", "best-match", "mutual-best", "overlap", "perfect"]

STRATEGIES: tuple[Strategy, ...] = ("none", "best-match", "mutual-best", "overlap", "perfect")
"""No merge; Remote SAMsing's contact strategies along the views' borders; ours, with seamlines;
and what would be left to any merge if every object had been joined: views see objects where they are not."""


BITS = 16
"""Bits of a label in a key of view and label."""

MASK = (1 << BITS) - 1


class ViewedScene:
    """A scene as its views have labelled it."""

    def __init__(self, scene: SphereScene) -> None:
        """Label all views."""
        self.scene = scene
        self.layout = scene.layout
        self.owners = [owners_in_view(self.layout, index) for index in range(len(self.layout))]
        self.labels, self.n_core = [], []
        for view, owners in zip(self.layout.views, self.owners, strict=True):
            labels, _, n_core = owned_first(scene.labels(view), owners == view.index)
            self.labels.append(labels)
            self.n_core.append(n_core)

    def merged(self, strategy: Strategy) -> np.ndarray:
        """(H, W) ids of the panorama after joining."""
        if strategy == "perfect":
            views = self.layout.views
            return assemble(views, self.scene.grid, lambda index: self.scene.whole(views[index]))
        joins: dict[Strategy, Callable[[], tuple[Edges, list[ViewSeamline]]]] = {
            "none": lambda: (Edges.concatenate([]), []),
            "overlap": self._by_overlap,
            "best-match": lambda: (self._by_contact("best-match"), []),
            "mutual-best": lambda: (self._by_contact("mutual-best"), []),
        }
        edges, lines = joins[strategy]()
        return self._picture(edges, lines)

    def score(self, strategy: Strategy) -> float:
        """Mean IoU with the truth after joining, 0..1."""
        return mean_iou(self.scene.truth, self.merged(strategy), self.scene.grid)

    def _by_overlap(self) -> tuple[Edges, list[ViewSeamline]]:
        views = self.layout.views
        areas = [
            label_solid_angles(view, labels, int(labels.max()))
            for view, labels in zip(views, self.labels, strict=True)
        ]
        found, lines = [], []
        for one in range(len(views)):
            for view in self.layout.neighbours(one):
                other = view.index
                if other < one:
                    continue
                evidence = view_evidence(
                    views[one], view, self.labels[one], self.labels[other], self.owners[one]
                )
                joins = join_overlap(
                    Pair(
                        strip=evidence,
                        chip_area_a=areas[one],
                        chip_area_b=areas[other],
                        n_core_a=self.n_core[one],
                        n_core_b=self.n_core[other],
                    )
                )
                found.append(Edges.of(joins, one, other))
                labels, n_core = zip(*((self.labels[k], self.n_core[k]) for k in (one, other)), strict=True)
                line = find_seamline(self.layout, views[one], view, labels, n_core, joins)
                lines += [] if line is None else [line]
        return Edges.concatenate(found), lines

    def _by_contact(self, strategy: Literal["best-match", "mutual-best"]) -> Edges:
        """Neighbouring pixels of the panorama with labels of different views, over the seam too."""
        views, grid = self.layout.views, self.scene.grid
        keys = assemble(views, grid, self._keys)
        lines: dict[tuple[int, int], list[np.ndarray]] = defaultdict(list)
        for here, there in ((keys, np.roll(keys, -1, 1)), (keys[:-1], keys[1:])):
            one, other, first, second = here >> BITS, there >> BITS, here & MASK, there & MASK
            differ = (one != other) & (first > 0) & (second > 0)
            rows = np.stack([one[differ], other[differ], first[differ], second[differ]])
            swap = rows[0] > rows[1]
            rows[:, swap] = rows[[1, 0, 3, 2]][:, swap]
            pairs = rows[0] * len(views) + rows[1]
            for pair in np.unique(pairs):
                lines[divmod(int(pair), len(views))].append(rows[2:, pairs == pair])
        found = []
        for (one_index, other_index), pieces in lines.items():
            line = np.concatenate(pieces, axis=1)
            joins: Joins = MERGE[strategy].load()(Pair(contacts=contact_evidence(line[0], line[1])))
            found.append(Edges.of(joins, one_index, other_index))
        return Edges.concatenate(found)

    def _keys(self, index: int) -> np.ndarray:
        """View and label of each pixel in one number; 0 without a label that the view owns."""
        labels = self.labels[index]
        known = (labels > 0) & (labels <= self.n_core[index])
        return np.where(known, index << BITS | labels, 0).astype(np.int32)

    def _picture(self, edges: Edges, lines: list[ViewSeamline]) -> np.ndarray:
        joined = components(self.n_core, edges)

        def final(index: int) -> np.ndarray:
            labels = self.labels[index]
            ids = np.zeros(int(labels.max()) + 1, np.int32)
            ids[1 : self.n_core[index] + 1] = joined.lut(index)
            return ids[labels]

        return assemble(self.layout.views, self.scene.grid, final, lines)
