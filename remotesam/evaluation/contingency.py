"""How many pixels each segment shares with each reference object, counted window by window; arrays only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from remotesam.grouping import group_sum, run_starts

Ints = NDArray[np.int64]

_PENDING = 4_000_000
"""Counted pairs that wait before they are summed: 64 MB."""

_LOW = np.uint64(2**32 - 1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairTable:
    """Pixels that segments and reference objects share; sparse, objects by index into the id arrays."""

    pixels: int
    """Valid pixels."""
    segments: Ints
    """(n,) ids, ascending, without 0."""
    segment_area: Ints
    """(n,) pixels of each segment."""
    unreferenced: Ints
    """(n,) pixels of each segment that lie in no reference object."""
    references: Ints
    """(m,) ids, ascending, without 0."""
    reference_area: Ints
    """(m,) pixels of each reference object."""
    segment: Ints
    """(k,) index of the segment of each pair; pairs are sorted by reference, then by segment."""
    reference: Ints
    """(k,) index of the reference object of each pair."""
    overlap: Ints
    """(k,) pixels of each pair, > 0."""
    referenced: int
    """Pixels in at least one reference object."""
    referenced_covered: int
    """Of those, pixels in a segment."""

    @property
    def covered(self) -> int:
        """Pixels in a segment."""
        return int(self.segment_area.sum())

    def partners(self) -> Ints:
        """(m + 1,) where the pairs of each reference object start; those of object r are [r] to [r + 1]."""
        return np.searchsorted(self.reference, np.arange(len(self.references) + 1))


class PairCounter:
    """Builds a `PairTable` from windows in any order; memory follows the number of pairs, not of pixels."""

    def __init__(self) -> None:
        self._pixels = 0
        self._first = _KeyCounts()
        self._others = _KeyCounts()

    def add(
        self, segments: NDArray[np.uint32], references: NDArray[np.uint32], valid: NDArray[np.bool_]
    ) -> None:
        """Count the pixels of one window.

        Args:
            segments: (H, W) ids, 0 = none.
            references: (layers, H, W) ids, 0 = none. A pixel in several objects has one in each of several
                layers, without repetition; which layer does not matter.
            valid: (H, W), True = counts at all.
        """
        self._pixels += int(valid.sum())
        # With the labels of each pixel sorted, layer 0 is 0 exactly where there is no reference at all.
        layers = np.sort(references, axis=0)[::-1] if len(references) > 1 else references
        keys = segments.astype(np.uint64) << np.uint64(32)
        self._first.add(keys | layers[0], valid)
        for layer in layers[1:]:
            self._others.add(keys | layer, valid & (layer > 0))

    def table(self) -> PairTable:
        """Everything counted so far."""
        segment, reference, pixels = self._first.result()
        more_segment, more_reference, more_pixels = self._others.result()
        segments, segment_area = _sums(segment, pixels)
        inside = (segment > 0) & (reference > 0)
        all_segment = np.concatenate([segment, more_segment])
        all_reference = np.concatenate([reference, more_reference])
        all_pixels = np.concatenate([pixels, more_pixels])
        references, reference_area = _sums(all_reference, all_pixels)
        pair_reference, pair_segment, overlap = _pairs(all_reference, all_segment, all_pixels)
        unreferenced = np.zeros(len(segments), np.int64)
        outside = (segment > 0) & (reference == 0)
        unreferenced[np.searchsorted(segments, segment[outside])] = pixels[outside]
        return PairTable(
            pixels=self._pixels,
            segments=segments,
            segment_area=segment_area,
            unreferenced=unreferenced,
            references=references,
            reference_area=reference_area,
            segment=np.searchsorted(segments, pair_segment),
            reference=np.searchsorted(references, pair_reference),
            overlap=overlap,
            referenced=int(pixels[reference > 0].sum()),
            referenced_covered=int(pixels[inside].sum()),
        )


class _KeyCounts:
    """Pixels per key `segment << 32 | reference`, summed now and then."""

    def __init__(self) -> None:
        self._keys: list[NDArray[np.uint64]] = []
        self._pixels: list[Ints] = []
        self._pending = 0

    def add(self, keys: NDArray[np.uint64], counted: NDArray[np.bool_]) -> None:
        flat = keys.ravel() if counted.all() else keys[counted]
        if not flat.size:
            return
        starts = run_starts(flat)
        unique, pixels = group_sum(flat[starts], np.diff(starts, append=flat.size))
        self._keys.append(unique)
        self._pixels.append(pixels)
        self._pending += len(unique)
        if self._pending > _PENDING:
            self._sum()

    def _sum(self) -> None:
        if len(self._keys) > 1:
            keys, pixels = group_sum(np.concatenate(self._keys), np.concatenate(self._pixels))
            self._keys, self._pixels = [keys], [pixels]
        self._pending = 0

    def result(self) -> tuple[Ints, Ints, Ints]:
        """Segment id, reference id and pixels of every key seen."""
        self._sum()
        if not self._keys:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64)
        keys = self._keys[0]
        return (keys >> np.uint64(32)).astype(np.int64), (keys & _LOW).astype(np.int64), self._pixels[0]


def compact(labels: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
    """The ids of a map, ascending, and the map (same shape, int32) of indices into them."""
    flat = labels.ravel()
    starts = run_starts(flat)
    ids, index = np.unique(flat[starts], return_inverse=True)
    lengths = np.diff(starts, append=flat.size)
    return ids, np.repeat(index.astype(np.int32), lengths).reshape(labels.shape)


def _sums(ids: Ints, pixels: Ints) -> tuple[Ints, Ints]:
    """Ids above 0, ascending, and the pixels of each."""
    inside = ids > 0
    unique, index = np.unique(ids[inside], return_inverse=True)
    total = np.zeros(len(unique), np.int64)
    np.add.at(total, index, pixels[inside])
    return unique, total


def _pairs(reference: Ints, segment: Ints, pixels: Ints) -> tuple[Ints, Ints, Ints]:
    """Pairs of two ids above 0 with their pixels, sorted by reference, then by segment."""
    inside = (reference > 0) & (segment > 0)
    keys = reference[inside].astype(np.uint64) << np.uint64(32) | segment[inside].astype(np.uint64)
    unique, total = group_sum(keys, pixels[inside])
    return (unique >> np.uint64(32)).astype(np.int64), (unique & _LOW).astype(np.int64), total
