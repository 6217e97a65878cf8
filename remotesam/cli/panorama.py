"""`remotesam panorama`: everything on a 360° panorama, or the one object that was clicked on."""

from __future__ import annotations

from typing import Any

import click

from remotesam.cli.options import collect_config, run_options, setting_options
from remotesam.cli.segment import followed
from remotesam.config import PanoramaConfig
from remotesam.errors import RemotesamError
from remotesam.events import duration
from remotesam.panorama.formats import suffixes


@click.command()
@click.argument("image")
@click.option(
    "-o", "--output", required=True, metavar="FILE", help=f"Polygons; the format: {', '.join(suffixes())}."
)
@click.option("--labels", metavar="FILE", help="Also write the label raster, a Cloud Optimized GeoTIFF.")
@click.option("--preview", metavar="FILE", help="Also write the panorama under its segments (.png, .jpg).")
@click.option("--page", metavar="FILE", help="Also write an HTML page to look around in.")
@click.option("--world-file", is_flag=True, help="Also write a world file beside IMAGE, for QGIS.")
@click.option(
    "--click", "clicks", multiple=True, metavar="LON,LAT[,+|-]", help="Segment the object here; repeatable."
)
@click.option(
    "--click-px", "pixel_clicks", multiple=True, metavar="X,Y[,+|-]", help="The same in pixels of IMAGE."
)
@click.option(
    "--memory/--no-memory", default=True, help="Clicks: follow the object from view to view. [default: on]"
)
@click.option(
    "--export-views",
    "view_kind",
    type=click.Choice(["invariant", "labels", "depth", "variant"]),
    help="Only write views and a views.json to the folder -o, for a model with this kind of output.",
)
@run_options("views")
@setting_options(PanoramaConfig)
def panorama(
    image: str,
    output: str,
    labels: str | None,
    preview: str | None,
    page: str | None,
    world_file: bool,
    clicks: tuple[str, ...],
    pixel_clicks: tuple[str, ...],
    memory: bool,
    view_kind: str | None,
    run_dir: str | None,
    resume: bool,
    progress: str,
    control: str | None,
    config_file: str | None,
    **given: Any,
) -> None:
    """Segment everything on the equirectangular panorama IMAGE, or what is clicked on.

    IMAGE shows the whole sphere (twice as wide as high), or a part of it with GPano metadata. Objects over
    the seam and the poles come out whole.

    A views.json as IMAGE fuses the rasters it names on the panorama and writes the GeoTIFF -o.
    """
    if image.endswith(".json"):
        from remotesam.panorama.view_files import fuse_files

        fused = fuse_files(image, output)
        click.echo(f"{fused.valid.mean():.1%} of the panorama → {output}")
        return
    config = collect_config(PanoramaConfig, config_file, given)
    if view_kind:
        from remotesam.panorama.view_files import export_views

        click.echo(export_views(image, output, view_kind, config))  # type: ignore[arg-type]  # one of the choices
        return
    from remotesam.panorama.segment import PanoramaOutputs, run

    outputs = PanoramaOutputs(
        polygons=output, labels=labels, preview=preview, page=page, world_file=world_file
    )
    with followed(progress, control) as (listener, cancel):
        if clicks or pixel_clicks:
            from remotesam.panorama.click import parse_click, segment_clicked

            points = [parse_click(text) for text in clicks]
            pixels = [parse_click(text) for text in pixel_clicks]
            result = segment_clicked(
                image, outputs, points, pixels, memory=memory, config=config, listener=listener, cancel=cancel
            )
        else:
            from remotesam.run.options import RunOptions

            options = RunOptions(run_dir=run_dir, resume=resume, listener=listener, cancel=cancel)
            result = run(image, config, outputs, options)
    if progress == "bar":
        click.echo(
            f"{len(result.objects)} segments, {result.coverage:.1%} of the sphere's valid part, in "
            f"{duration(result.stats.seconds)} → {result.output}"
        )
    if result.failed:
        raise RemotesamError(
            f"{len(result.failed)} of {result.stats.units} views failed (first: {result.failed[0]}); "
            f"the rest is in {result.output}; see `remotesam run status {result.run_dir}`"
        )
