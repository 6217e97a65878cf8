"""Half-open pixel rectangles: the only way areas of a raster are named in this package."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A rectangle of pixels, rows `[row, row + height)` and columns `[col, col + width)`.

    Offsets may be negative (a padded window may reach outside its raster); sizes may not.
    """

    row: int
    """First row, counted downwards from the top of the raster."""
    col: int
    """First column, counted rightwards from the left of the raster."""
    height: int
    """Number of rows, ≥ 0."""
    width: int
    """Number of columns, ≥ 0."""

    def __post_init__(self) -> None:
        if self.height < 0 or self.width < 0:
            raise ValueError(f"window of negative size {self.height}×{self.width}")

    @classmethod
    def from_bounds(cls, row: int, col: int, row_stop: int, col_stop: int) -> Window:
        """The window between two corners; empty when a stop lies before its start."""
        return cls(row, col, max(row_stop - row, 0), max(col_stop - col, 0))

    @property
    def row_stop(self) -> int:
        """First row below the window."""
        return self.row + self.height

    @property
    def col_stop(self) -> int:
        """First column right of the window."""
        return self.col + self.width

    @property
    def area(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    @property
    def empty(self) -> bool:
        """True when the window holds no pixel."""
        return self.area == 0

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width), the shape of an array that fills the window."""
        return (self.height, self.width)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of this window in an array whose pixel (0, 0) is the raster's; offsets must be ≥ 0."""
        if self.row < 0 or self.col < 0:
            raise ValueError(f"{self} starts outside its array; clip it first")
        return (slice(self.row, self.row_stop), slice(self.col, self.col_stop))

    def intersect(self, other: Window) -> Window:
        """Pixels in both windows; an empty window when there are none."""
        return Window.from_bounds(
            max(self.row, other.row),
            max(self.col, other.col),
            min(self.row_stop, other.row_stop),
            min(self.col_stop, other.col_stop),
        )

    def contains(self, other: Window) -> bool:
        """True when every pixel of `other` is in this window."""
        return other.empty or self.intersect(other) == other

    def pad(self, pixels: int) -> Window:
        """The window grown by `pixels` on every side (shrunk when negative)."""
        return Window.from_bounds(
            self.row - pixels, self.col - pixels, self.row_stop + pixels, self.col_stop + pixels
        )

    def clip(self, height: int, width: int) -> Window:
        """The part inside a raster of `height` × `width` pixels."""
        return self.intersect(Window(0, 0, height, width))

    def shift(self, rows: int, cols: int) -> Window:
        """The same rectangle moved down by `rows` and right by `cols`."""
        return Window(self.row + rows, self.col + cols, self.height, self.width)

    def relative_to(self, outer: Window) -> Window:
        """The same pixels in coordinates whose origin is the corner of `outer`."""
        return self.shift(-outer.row, -outer.col)


Affine6 = tuple[float, float, float, float, float, float]
"""a, b, c, d, e, f of x' = a·x + b·y + c, y' = d·x + e·y + f; (x, y) are pixels with edges at integers."""
