"""`remotesam.segment` for scripts: the run of the command line with keyword arguments."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from remotesam.config import make_config, read_config
from remotesam.pipeline.result import Result
from remotesam.pipeline.segment import run
from remotesam.progress import Listener, silent
from remotesam.segmenter.protocol import Segmenter

if TYPE_CHECKING:
    from distributed import Client

Name = str | os.PathLike[str]


def segment(
    raster: Name,
    output: Name,
    *,
    config: Name | Mapping[str, Any] | None = None,
    labels: Name | None = None,
    preview: Name | None = None,
    report: Name | None = None,
    run_dir: Name | None = None,
    resume: bool = True,
    executor: Client | str | None = None,
    segmenter: Segmenter | None = None,
    listener: Listener = silent,
    cancel: threading.Event | None = None,
    **settings: Any,
) -> Result:
    """Segment everything in a raster and write polygons.

    Args:
        raster: anything GDAL reads: a path, /vsi…, http(s)://, s3://.
        output: vector file; the suffix chooses the format (.gpkg, .parquet, .fgb, .geojson, .shp, …).
        config: a YAML file or a mapping of settings.
        labels: label raster to write as well.
        preview: picture to write as well.
        report: HTML report to write as well.
        run_dir: where finished tiles are kept; default is beside the output.
        resume: continue an interrupted run; False starts over.
        executor: a Dask client, "dask", "threads" or "serial"; default follows the setting `workers`. Under
            "dask" call this from a script's `if __name__ == "__main__":`, as workers import the script.
        segmenter: a model of your own (see `remotesam.segmenter.protocol`) instead of the setting `model`.
        listener: called with progress events, see `remotesam.events`.
        cancel: set it from another thread to stop.
        **settings: any setting (see `remotesam schema`), e.g. `tile_size=500, bands=(4, 3, 2)`; also the
            names of samgeo: `pred_iou_thresh` is `iou_start`, `stability_score_thresh` is `stability_start`.

    Raises:
        RemotesamError: with one line that says what is wrong and what to do.
    """
    given = read_config(config) if isinstance(config, str | os.PathLike) else dict(config or {})
    return run(
        os.fspath(raster),
        os.fspath(output),
        make_config(given, **settings),
        labels=_text(labels),
        preview=_text(preview),
        report=_text(report),
        run_dir=_text(run_dir),
        resume=resume,
        listener=listener,
        cancel=cancel,
        segmenter=segmenter,
        executor=executor,
    )


def _text(name: Name | None) -> str | None:
    return None if name is None else os.fspath(name)
