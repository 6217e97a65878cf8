"""What a run would take, found out before any work is done: tiles, time, disk, memory, oddities."""

from __future__ import annotations

import tempfile
import time
from typing import Any

import psutil

from remotesam.config import SegmentConfig
from remotesam.events import duration
from remotesam.grid import TileGrid
from remotesam.raster.checks import valid_share, warnings
from remotesam.raster.protocol import Raster
from remotesam.raster.reader import RasterInput
from remotesam.run.executors import attempt
from remotesam.run.job import TileJob, WorkerContext, open_for
from remotesam.run.layout import labels_name, segments_name
from remotesam.tiles.task import segment_unit


def preflight(source: RasterInput, config: SegmentConfig, *, probe: bool = True) -> dict[str, Any]:
    """Look at a raster and, unless told not to, segment one of its tiles.

    Args:
        source: the raster, see `remotesam.segment`.
        config: settings of the run.
        probe: segment the tile in the middle of the grid to estimate time and disk.

    Returns:
        JSON-ready facts; times in seconds, sizes in bytes.

    Raises:
        RemotesamError: whatever would stop the run at its start.
    """
    raster = open_for(source, config)
    spec = raster.spec
    grids = [TileGrid(spec.height, spec.width, size, config.padding) for size in config.tile_size]
    tiles = sum(len(grid) for grid in grids)
    facts: dict[str, Any] = {
        "raster": spec.path,
        "height": spec.height,
        "width": spec.width,
        "megapixels": round(spec.height * spec.width / 1e6, 2),
        "bands": list(spec.bands),
        "dtype": spec.dtype,
        "crs": spec.crs,
        "georeferencing": spec.georeferencing,
        "valid_share": round(valid_share(raster), 4),
        "tiles": tiles,
        "chip": list(grids[0][0].chip.shape),
        "free_memory": psutil.virtual_memory().available,
        "warnings": warnings(raster),
    }
    if probe:
        facts |= _probe(raster, config, grids[0], tiles, facts["valid_share"])
    return facts


def describe(facts: dict[str, Any]) -> str:
    """The facts as a short text."""
    height, width = facts["chip"]
    lines = [
        f"{facts['raster']}",
        (
            f"  {facts['width']} × {facts['height']} px ({facts['megapixels']:g} Mpx), {facts['dtype']}, "
            f"bands {', '.join(map(str, facts['bands']))}, {facts['crs'] or 'no CRS: pixel coordinates'}"
        ),
        f"  {facts['valid_share']:.1%} of the pixels hold data",
        f"  {facts['tiles']} tiles, {width} × {height} px seen for each",
    ]
    if "seconds" in facts:
        lines.append(
            f"  about {duration(facts['seconds'])} (one tile took {duration(facts['probe_seconds'])}, "
            f"{facts['probe_segments']} segments) with one worker"
        )
        lines.append(
            f"  about {facts['disk'] / 1e6:.0f} MB in the run directory and "
            f"{facts['peak_memory'] / 2**30:.1f} GiB of memory"
        )
    return "\n".join([*lines, *(f"  warning: {text}" for text in facts["warnings"])])


def _probe(raster: Raster, config: SegmentConfig, grid: TileGrid, tiles: int, share: float) -> dict[str, Any]:
    index = grid.at(grid.rows // 2, grid.cols // 2).index
    with tempfile.TemporaryDirectory(prefix="remotesam-plan-") as directory:
        context = WorkerContext(TileJob(raster, directory, config))
        _ = context.segmenter  # loaded before the clock starts
        started = time.perf_counter()
        outcome = attempt(segment_unit, context, index)
        seconds = time.perf_counter() - started
        if outcome is None or outcome.error is not None:
            raise outcome.error if outcome and outcome.error else RuntimeError("probe was cancelled")
        disk = sum(len(context.store.get(name)) for name in (labels_name(index), segments_name(index)))
    memory = psutil.Process().memory_info()
    return {
        "probe_seconds": round(seconds, 2),
        "probe_segments": outcome.summary.segments,
        "seconds": round(seconds * tiles * (share), 1),
        "disk": disk * tiles,
        "peak_memory": memory.rss,
    }
