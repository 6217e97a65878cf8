"""Runs over images whose objects are regions of one colour: segmenting the whole at once is the oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import shapely

from remotesam.config import make_config
from remotesam.pipeline.result import Result
from remotesam.pipeline.segment import segment as segment_raster
from remotesam.polygons.collect import assemble
from remotesam.run.job import TileJob, open_for
from remotesam.run.store import RunStore
from tests.fakes import ColourSegmenter

EXACT = {"points_per_side": 8, "min_area": 0, "absorb_area": 0, "simplify": 0, "workers": "1"}
"""Settings under which the polygons are the regions, pixel for pixel."""


def cells(seed: int, height: int, width: int, count: int) -> np.ndarray:
    """(3, height, width) uint8: random straight-sided regions, each of one colour, none black."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, 1, (count, 2)) * [height, width]
    rows, cols = np.mgrid[:height, :width]
    nearest = ((rows[..., None] - centres[:, 0]) ** 2 + (cols[..., None] - centres[:, 1]) ** 2).argmin(-1)
    return rng.integers(1, 255, (count, 3), dtype=np.uint8)[nearest].transpose(2, 0, 1)


def segment(raster: Path, output: Path, executor: Any = None, **settings: Any) -> Result:
    """A run with the colour segmenter."""
    more = {"segmenter": ColourSegmenter(), **EXACT, **settings}
    return segment_raster(raster, output, executor=executor, **more)


def polygons(result: Result, raster: Path, **settings: Any) -> list[bytes]:
    """The segments of a run in pixels, sorted, as bytes."""
    config = make_config({**EXACT, **settings})
    job = TileJob(open_for(str(raster), config), result.run_dir, config)
    batches = assemble(job, RunStore(result.run_dir))
    return sorted(shapely.to_wkb(np.concatenate([batch.geometries for batch in batches])).tolist())
