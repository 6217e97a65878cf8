"""What is known of a raster before any pixel is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec
from affine import Affine

from remotesam.windows import Affine6, Window


@dataclass(frozen=True, slots=True)
class RasterSpec:
    """The grid that every later stage works on, and the mark by which a run knows its raster again.

    With an AOI or an overview level this is the grid of the *part and level that is read*: its pixel (0, 0)
    is the corner of the AOI's window, and `transform` is shifted and scaled to match.
    """

    path: str
    """As the user gave it; absolute when it names a local file, `memory:NAME` for an array."""
    height: int
    """Rows, px, ≥ 1."""
    width: int
    """Columns, px, ≥ 1."""
    dtype: str
    """numpy name of the chosen bands' common type, e.g. "uint16"."""
    count: int
    """Bands of the file, alpha included."""
    crs: str | None
    """`EPSG:…` or WKT; None when coordinates are those of no known system."""
    transform: Affine6
    """Pixels of this grid → `crs`. Without georeferencing: → pixels of the full file, y downwards."""
    georeferencing: Literal["affine", "gcps", "rpcs", "none"]
    """Where `transform` comes from; with "gcps" it is the least-squares affine, with "rpcs" it is pixels."""
    bands: tuple[int, ...]
    """1-based bands that are read: three as red, green, blue, or one as grey or through its palette."""
    nodata: tuple[str, ...] | None
    """Nodata value of each band in `bands`, as text ("0", "-9999", "nan"); None when there is none."""
    area: str
    """Digest of the AOI polygon in pixels of this grid; empty without AOI."""
    identity: str
    """Digest of the source, see `protocol.Header.identity`: another one = the raster changed."""

    @property
    def window(self) -> Window:
        """The whole grid."""
        return Window(0, 0, self.height, self.width)

    def bounds(self, window: Window) -> list[float]:
        """[west, south, east, north] of a window in `crs`, of its corners when the grid is turned."""
        affine = Affine(*self.transform)
        corners = [
            affine @ (x, y) for x in (window.col, window.col_stop) for y in (window.row, window.row_stop)
        ]
        xs, ys = zip(*corners, strict=True)
        return [min(xs), min(ys), max(xs), max(ys)]

    def to_json(self) -> str:
        """The spec as one JSON object; `from_json` is the inverse."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> RasterSpec:
        """Read what `to_json` wrote.

        Raises:
            msgspec.DecodeError: `text` is not such an object.
        """
        return msgspec.json.decode(text, type=cls)
