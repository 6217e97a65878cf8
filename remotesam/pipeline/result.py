"""What a run gives back to a script."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from remotesam.run.records import RunStatistics

if TYPE_CHECKING:
    import geopandas


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run."""

    output: str
    """The polygon file."""
    labels: str | None
    """The label raster, if asked for."""
    preview: str | None
    """The picture, if asked for."""
    report: str | None
    """The HTML report, if asked for."""
    run_dir: str
    """The run directory: finished tiles, for another run with other settings after the tile stage."""
    stats: RunStatistics
    """Counts, seconds by stage, coverage by pass."""
    failed: list[int]
    """Tiles that could not be segmented."""

    @property
    def coverage(self) -> float:
        """Share 0..1 of the valid pixels that lie in a segment."""
        return self.stats.coverage

    def polygons(self) -> geopandas.GeoDataFrame:
        """The segments as a GeoDataFrame, read from `output`."""
        import geopandas as gpd

        if self.output.endswith(".parquet"):
            return gpd.read_parquet(self.output)
        layer = "segments" if self.output.endswith(".gpkg") else None
        return gpd.read_file(self.output, layer=layer)
