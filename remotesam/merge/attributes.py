"""Attributes of whole segments from the rows of the tiles they were found in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from remotesam.errors import StoreError

_ROW = np.dtype(
    [
        ("area", "i8"),
        ("score", "f8"),
        ("stability", "f8"),
        ("largest", "i8"),
        ("pass", "i2"),
        ("tile", "i8"),
        ("tiles", "i4"),
        ("touches_seam", "?"),
    ]
)
"""`score` and `stability` are sums weighted by core pixels until the segment is complete."""


@dataclass(slots=True)
class Attributes:
    """Gathers rows by final id, tile by tile; holds only ids that were not asked for yet."""

    scale: int
    """Tile size of the run, px."""
    _rows: dict[int, np.void] = field(default_factory=dict)

    def add(self, tile: int, ids: NDArray[np.int64], table: pa.Table) -> None:
        """Take the segments of a tile.

        Args:
            tile: its index.
            ids: (n,) final id of each label that owns core pixels, 0 = removed.
            table: rows of those labels, as `owned_segments` gives them.
        """
        area = table["core_area"].to_numpy()
        order = np.lexsort((np.arange(len(ids)), -area, ids))
        order = order[(ids[order] > 0) & (area[order] > 0)]
        if len(order) == 0:
            return
        ids, area = ids[order], area[order]
        starts = np.flatnonzero(np.append(True, ids[1:] != ids[:-1]))
        rows = np.zeros(len(starts), _ROW)
        rows["area"] = np.add.reduceat(area, starts)
        for name in ("score", "stability"):
            rows[name] = np.add.reduceat(table[name].to_numpy()[order].astype(np.float64) * area, starts)
        rows["largest"] = area[starts]
        rows["pass"] = table["pass"].to_numpy()[order][starts]
        rows["tile"], rows["tiles"] = tile, 1
        rows["touches_seam"] = np.logical_or.reduceat(table["touches_seam"].to_numpy()[order], starts)
        for key, row in zip(ids[starts].tolist(), rows, strict=True):
            known = self._rows.get(key)
            self._rows[key] = row.copy() if known is None else _merged(known, row)

    def ids(self) -> NDArray[np.int64]:
        """(n,) ids that were not taken yet, ascending."""
        return np.array(sorted(self._rows), np.int64)

    def take(self, ids: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Columns of complete segments, which are forgotten here.

        Args:
            ids: (n,) final ids, each once.

        Returns:
            area_px, score, stability, pass (of the largest piece), tile (the first), tiles, touches_seam,
            scale (px).

        Raises:
            StoreError: an id has polygons but no segment.
        """
        try:
            rows = np.array([self._rows.pop(key) for key in ids.tolist()], _ROW)
        except KeyError as error:
            raise StoreError(
                f"segment {error} has polygons but no attributes; run again with --fresh"
            ) from None
        return {
            "area_px": rows["area"],
            "score": (rows["score"] / rows["area"]).astype(np.float32),
            "stability": (rows["stability"] / rows["area"]).astype(np.float32),
            "pass": rows["pass"],
            "tile": rows["tile"],
            "tiles": rows["tiles"],
            "touches_seam": rows["touches_seam"],
            "scale": np.full(len(rows), self.scale, np.int32),
        }


def _merged(one: np.void, other: np.void) -> np.void:
    merged = one.copy()
    for name in ("area", "score", "stability", "tiles"):
        merged[name] = one[name] + other[name]
    if other["largest"] > one["largest"]:
        merged["largest"], merged["pass"] = other["largest"], other["pass"]
    merged["tile"] = min(one["tile"], other["tile"])
    merged["touches_seam"] = one["touches_seam"] or other["touches_seam"]
    return merged
