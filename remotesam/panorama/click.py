"""One object of a panorama from clicks, with SAM 2's video memory along a walk over the sphere (SAP)."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from remotesam.config import PanoramaConfig, settings_from
from remotesam.errors import Cancelled, InputError
from remotesam.events import Listener, ModelLoaded, StageBegan, Started, StepDone, silent, tell
from remotesam.panorama.locate import Place
from remotesam.panorama.outlines import trace_picture
from remotesam.panorama.outputs import check_output
from remotesam.panorama.segment import (
    PanoramaOutputs,
    PanoramaResult,
    layout_of,
    open_panorama,
    resolved,
    tell_finished,
    write_panorama,
)
from remotesam.run.layout import STAGES
from remotesam.run.records import RunStatistics
from remotesam.sphere.cleanup import clean, renumber
from remotesam.sphere.layouts import Layout
from remotesam.sphere.objects import measure
from remotesam.sphere.run_lengths import find_runs
from remotesam.sphere.sampler import Sampler
from remotesam.sphere.scan import UNSEEN, Agreement, Click, Prompt, fuse_logits, plan_scan, view_prompts

if TYPE_CHECKING:
    from remotesam.segmenter.tracking import VideoPredictor

_NUMBER = r"\s*([-+]?(?:\d+\.?\d*|\.\d+))\s*"

CLICK = re.compile(rf"{_NUMBER},{_NUMBER}(?:,\s*([-+])\s*)?")
"""Two numbers and a sign that may be left out."""

Point = tuple[float, float, bool]
"""Two coordinates, and True = on the object."""


def parse_click(text: str) -> Point:
    """Read `A,B`, `A,B,+` or `A,B,-`.

    Raises:
        InputError: it is something else.
    """
    parts = CLICK.fullmatch(text)
    if parts is None:
        raise InputError(f"click '{text}': write two numbers and, if you like, + or -, as in 12.5,-3,-")
    return float(parts[1]), float(parts[2]), parts[3] != "-"


def segment_clicked(  # noqa: PLR0913 (public API)
    image: str,
    outputs: PanoramaOutputs,
    clicks: Sequence[Point] = (),
    pixel_clicks: Sequence[Point] = (),
    *,
    memory: bool = True,
    config: PanoramaConfig | Mapping[str, Any] | None = None,
    listener: Listener = silent,
    cancel: threading.Event | None = None,
    predictor: VideoPredictor | None = None,
) -> PanoramaResult:
    """Segment one object on a panorama and write its polygon.

    The views form a closed walk; it starts where the first positive click is most central, and the video
    memory carries the object from view to view. Logits go back to the panorama by their maximum, and what
    lies above 0 is the object (SAP, arXiv 2603.12759; `docs/algorithms.md#clicks-on-the-sphere`).

    Args:
        image: an equirectangular picture.
        outputs: files to make.
        clicks: (longitude, latitude, on the object), degrees in the frame of the result.
        pixel_clicks: (x, y, on the object) in pixels of the picture.
        memory: False segments each view that sees a positive click alone, for comparison.
        config: `model`, `device`, `simplify`, `min_area` (px of a view) and those of the views are used; the
            layout is SAP's by default.
        listener: is told what happens.
        cancel: set it to stop at the next view.
        predictor: a video predictor of your own; default is made of `config.model`.

    Raises:
        RemotesamError: with one line for the user.
    """
    started = time.perf_counter()
    config = resolved(settings_from(PanoramaConfig, config, {}), outputs, views_by_default="sap")
    check_output(outputs.polygons, config.coords or "lonlat")
    raster, place = open_panorama(image, config, outputs)
    layout = layout_of(config, place.grid)
    points = _camera_clicks(place, clicks, pixel_clicks)
    steps = _steps(layout, points, memory=memory)
    if predictor is None:
        from remotesam.segmenter.loading import load_video

        tell(listener, StageBegan(name="load_model", title=STAGES["load_model"].title))
        predictor = load_video(config.model, device=config.device)
        device = str(next(predictor.parameters()).device)
        tell(listener, ModelLoaded(name=config.model, device=device))
    chip = raster.read(raster.spec.window)
    sampler = Sampler(chip.image, place.grid, None if chip.valid.all() else chip.valid)
    total = sum(len(order) for order, _ in steps)
    begun = Started(kind="click", unit="view", tiles=total, model=config.model, output=outputs.polygons)
    tell(listener, begun)
    tell(listener, StageBegan(name="tiles", title="Following the object", total=total))
    logits: dict[int, NDArray[np.float16]] = {}
    doubted = 0
    agreement = Agreement()
    for order, prompts in steps:
        clicked = {order[position] for position in prompts}
        for index, values in _follow(predictor, sampler, layout, order, prompts):
            if cancel is not None and cancel.is_set():
                raise Cancelled("cancelled; a click leaves nothing to resume")
            if agreement.takes(layout.views[index], values, certain=index in clicked):
                logits[index] = values
            else:
                doubted += 1
            tell(listener, StepDone(done=len(logits) + doubted, total=total))
    grid = place.result_grid(turned=config.coords == "lonlat")
    fused = fuse_logits(layout, grid, logits.get)
    runs = find_runs((fused > 0).astype(np.int32), grid)
    focal = layout.views[0].focal
    final, _ = renumber(clean(runs, absorb_area=0, min_area=config.min_area / focal**2))
    labels = runs.paint(final)
    if not labels.any():
        raise InputError("nothing was found at the click; click elsewhere, or use a larger model")
    objects = measure(find_runs(labels, grid), *trace_picture(labels, config.simplify))
    write_panorama(raster, place, labels, objects, outputs, config)
    stats = RunStatistics(
        units=total,
        segments=len(objects),
        coverage=float(objects.columns["area_sr"].sum()) / (4 * np.pi),
        seconds=round(time.perf_counter() - started, 2),
        stages={},
        clicks=len(points),
        views_doubted=doubted,
    )
    tell_finished(listener, stats, outputs.polygons, partial=False)
    return PanoramaResult(outputs.polygons, objects, labels, "", stats, [])


def _camera_clicks(place: Place, clicks: Sequence[Point], pixel_clicks: Sequence[Point]) -> list[Click]:
    """All clicks as camera longitude and latitude.

    Raises:
        InputError: a pixel lies outside the picture.
    """
    camera_clicks = [
        Click((lon - place.heading + 180) % 360 - 180, lat, positive) for lon, lat, positive in clicks
    ]
    for x, y, positive in pixel_clicks:
        if not (0 <= x <= place.grid.width and 0 <= y <= place.grid.height):
            raise InputError(
                f"click {x:g},{y:g} lies outside the picture of {place.grid.width}×{place.grid.height} px"
            )
        lon, lat = place.grid.lonlat(x, y)
        camera_clicks.append(Click(float(lon), float(lat), positive))
    return camera_clicks


def _steps(
    layout: Layout, clicks: Sequence[Click], *, memory: bool
) -> list[tuple[tuple[int, ...], dict[int, Prompt]]]:
    """Walks with their prompts: one over all views, or one of a single view for each that is clicked."""
    if memory:
        scan = plan_scan(layout, clicks)
        return [(scan.order, scan.prompts)]
    return [((index,), {0: prompt}) for index, prompt in view_prompts(layout, clicks).items()]


def _follow(
    predictor: VideoPredictor,
    sampler: Sampler,
    layout: Layout,
    order: tuple[int, ...],
    prompts: dict[int, Prompt],
) -> Any:
    """Yield (view index, (size, size) float16 logits) along a walk; low where the picture has no data."""
    from remotesam.segmenter.tracking import track

    size = layout.views[0].size
    seen: dict[int, NDArray[np.bool_]] = {}

    def frame(position: int) -> NDArray[np.uint8]:
        picture, seen[position] = sampler.sample(layout.views[order[position]])
        return picture

    clicks = {position: (prompt.points, prompt.positive) for position, prompt in prompts.items()}
    for position, logits in track(predictor, frame, len(order), (size, size), clicks):
        values = np.clip(logits, UNSEEN, -UNSEEN).astype(np.float16)
        values[~seen[position]] = UNSEEN
        yield order[position], values
