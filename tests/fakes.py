"""Segmenters that are pure functions of pixels, so that whole runs can be compared with an oracle."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from remotesam.segmenter.protocol import Candidate, NetworkCalls, Query
from remotesam.windows import Window


class Fixed:
    """Proposals that were decided beforehand."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self.candidates = list(candidates)

    def select(self, *, min_iou: float, min_stability: float, nms_iou: float) -> list[Candidate]:
        passing = [c for c in self.candidates if c.score > min_iou and c.stability >= min_stability]
        return sorted(passing, key=lambda c: -c.score)


class ColourSegmenter:
    """Proposes every 4-connected region of one colour but black; its score follows from the colour."""

    name, digest, image_size, device = "colours", "0" * 64, 64, "cpu"

    def __init__(self) -> None:
        self.network_calls = NetworkCalls()

    def propose(self, queries: Sequence[Query]) -> list[Fixed]:
        self.network_calls.encodes += len(queries)
        return [Fixed(regions(query.image)) for query in queries]


class ScriptedSegmenter:
    """Answers the n-th query with the n-th list of candidates, and remembers what it was asked."""

    name, digest, image_size, device = "script", "1" * 64, 64, "cpu"

    def __init__(self, *answers: Sequence[Candidate]) -> None:
        self.answers = list(answers)
        self.queries: list[Query] = []
        self.network_calls = NetworkCalls()

    def propose(self, queries: Sequence[Query]) -> list[Fixed]:
        self.queries.extend(Query(q.image.copy(), q.points.copy()) for q in queries)
        return [Fixed(self.answers.pop(0) if self.answers else []) for _ in queries]


def candidate(mask: np.ndarray, score: float = 0.95, stability: float = 0.95) -> Candidate:
    """A candidate from a full-size mask."""
    rows, cols = np.nonzero(mask)
    box = Window.from_bounds(rows.min(), cols.min(), rows.max() + 1, cols.max() + 1)
    return Candidate(box, mask[box.slices].copy(), score, stability, (cols[0] + 0.5, rows[0] + 0.5))


def regions(image: np.ndarray) -> list[Candidate]:
    """Every 4-connected region of one colour that is not black."""
    code = image.astype(np.int64) @ np.array([65536, 256, 1])
    found = []
    for colour in np.unique(code):
        if colour == 0:
            continue
        mask = (code == colour).view(np.uint8)
        count, parts = cv2.connectedComponents(mask, connectivity=4)
        score = 0.94 + 0.05 * ((int(colour) * 2654435761) % 1000) / 1000
        found += [candidate(parts == part, score) for part in range(1, count)]
    return found
