"""The plan of tiles: cores that partition the raster, chips that give each core its context."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from remotesam.windows import Window


@dataclass(frozen=True, slots=True)
class Tile:
    """One unit of work."""

    index: int
    """Position in row-major order; part of every segment's key."""
    row: int
    """Row of the tile in the grid, not of pixels."""
    col: int
    """Column of the tile in the grid, not of pixels."""
    core: Window
    """Pixels that this tile alone writes, in raster pixels."""
    chip: Window
    """Pixels that the model sees: the core, its padding, and at the raster's far edges more."""

    @property
    def core_in_chip(self) -> Window:
        """The core in chip pixels."""
        return self.core.relative_to(self.chip)


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Tiles over a raster of `height` × `width` pixels (Remote SAMsing, contextual padding).

    Cores are `tile_size` squares from the top left; the last row and column of cores are smaller when the
    raster is not a multiple. Chips keep one constant shape wherever the raster is large enough, by reading
    inwards at the edges, so a ragged core still gets full context and the device sees one shape. (The
    reference implementation moves the *core* inwards; see `docs/algorithms.md#tiles`.)
    """

    height: int
    """Rows of the raster, px, ≥ 1."""
    width: int
    """Columns of the raster, px, ≥ 1."""
    tile_size: int
    """Side of a core, px, ≥ 1."""
    padding: int
    """Context read on every side that exists, px, ≥ 0."""

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.tile_size) < 1 or self.padding < 0:
            raise ValueError(f"impossible grid {self}")

    @property
    def rows(self) -> int:
        """Rows of tiles."""
        return -(-self.height // self.tile_size)

    @property
    def cols(self) -> int:
        """Columns of tiles."""
        return -(-self.width // self.tile_size)

    def __len__(self) -> int:
        return self.rows * self.cols

    def __getitem__(self, index: int) -> Tile:
        if not 0 <= index < len(self):
            raise IndexError(f"tile {index} of {len(self)}")
        return self.at(*divmod(index, self.cols))

    def __iter__(self) -> Iterator[Tile]:
        return (self[index] for index in range(len(self)))

    def at(self, row: int, col: int) -> Tile:
        """The tile in grid row `row` and grid column `col`."""
        top, height = self._core_span(row, self.height)
        left, width = self._core_span(col, self.width)
        chip_top, chip_height = self._chip_span(top, self.height)
        chip_left, chip_width = self._chip_span(left, self.width)
        return Tile(
            row * self.cols + col,
            row,
            col,
            Window(top, left, height, width),
            Window(chip_top, chip_left, chip_height, chip_width),
        )

    def _core_span(self, index: int, size: int) -> tuple[int, int]:
        start = index * self.tile_size
        return start, min(self.tile_size, size - start)

    def _chip_span(self, start: int, size: int) -> tuple[int, int]:
        """Start and length of the chip along one axis: as long as an inner chip, moved to fit inside."""
        length = min(self.tile_size + 2 * self.padding, size)
        return min(max(start - self.padding, 0), size - length), length

    def neighbours(self, index: int) -> list[Tile]:
        """Tiles to the east, south, south-east and south-west: each adjoining pair is met once."""
        row, col = divmod(index, self.cols)
        steps = ((0, 1), (1, 0), (1, 1), (1, -1))
        return [
            self.at(row + down, col + right)
            for down, right in steps
            if row + down < self.rows and 0 <= col + right < self.cols
        ]

    def before(self, index: int) -> list[int]:
        """The tile itself, its western and its northern neighbour: whose stages look at seams of the tile."""
        row, col = divmod(index, self.cols)
        return [index, *([index - 1] if col else []), *([index - self.cols] if row else [])]

    def around(self, window: Window) -> list[Tile]:
        """Tiles whose core shares a pixel with `window`, in index order."""
        inside = window.clip(self.height, self.width)
        if inside.empty:
            return []
        first_row, last_row = inside.row // self.tile_size, (inside.row_stop - 1) // self.tile_size
        first_col, last_col = inside.col // self.tile_size, (inside.col_stop - 1) // self.tile_size
        return [
            self.at(row, col)
            for row in range(first_row, last_row + 1)
            for col in range(first_col, last_col + 1)
        ]


def strip(one: Tile, other: Tile) -> list[Window]:
    """The pixels that both chips see and one of the two cores owns, in raster pixels.

    See `docs/algorithms.md#evidence`.

    One window for each of the two cores that has such pixels (for tiles that meet at a corner the union of
    the two is no rectangle). Pixels owned by a third tile are left out: agreement there says nothing about
    the seam between these two, and would let a label that neither tile will write join them.
    """
    both = one.chip.intersect(other.chip)
    parts = (both.intersect(tile.core) for tile in (one, other))
    return [part for part in parts if not part.empty]
