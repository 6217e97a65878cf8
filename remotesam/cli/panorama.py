"""`remotesam panorama`: everything on a 360° panorama, or the one object that was clicked on."""

from __future__ import annotations

from typing import Any

import click

from remotesam.cli.options import collect_config, run_options, setting_options
from remotesam.cli.segment import followed
from remotesam.errors import ConfigError, RemotesamError
from remotesam.events import duration


@click.command()
@click.argument("image")
@click.option(
    "-o", "--output", required=True, metavar="FILE", help="Polygons: .geojson, .gpkg, .parquet, .coco.json, …"
)
@click.option(
    "--views",
    type=click.Choice(["rings", "sap", "cube"]),
    help="Layout of the views. [default: rings; sap for clicks]",
)
@click.option("--view-size", default=1024, show_default=True, help="Side of a view in pixels.")
@click.option("--fov", default="auto", show_default=True, metavar="auto|DEG", help="Field of view of a view.")
@click.option(
    "--pad", default=0.10, show_default=True, help="Context on each side, as a share of a view's side."
)
@click.option(
    "--coords",
    type=click.Choice(["lonlat", "pixel"]),
    help="Coordinates. [default: lonlat; pixel for COCO, LabelMe]",
)
@click.option(
    "--heading", type=float, metavar="DEG", help="Compass direction of the picture's middle column."
)
@click.option("--earth", is_flag=True, help="IMAGE is a map of the earth: the result is in WGS 84.")
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
@setting_options
def panorama(
    image: str,
    output: str,
    views: str | None,
    view_size: int,
    fov: str,
    pad: float,
    coords: str | None,
    heading: float | None,
    earth: bool,
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
    prompted = bool(clicks or pixel_clicks)
    config = collect_config(config_file, given)
    documents = output.endswith((".coco.json", ".labelme.json"))
    from remotesam.panorama.segment import PanoramaExtras, PanoramaOptions, segment_panorama

    options = PanoramaOptions(
        views=views or ("sap" if prompted else "rings"),  # type: ignore[arg-type]  # one of the choices
        view_size=view_size,
        fov=_degrees(fov),
        pad=pad,
        coords=coords or ("pixel" if documents else "lonlat"),  # type: ignore[arg-type]  # one of the choices
        heading=heading,
        earth=earth,
    )
    if view_kind:
        from remotesam.panorama.view_files import export_views

        click.echo(export_views(image, output, view_kind, options))  # type: ignore[arg-type]  # one of the choices
        return
    extras = PanoramaExtras(labels=labels, preview=preview, page=page, world_file=world_file)
    with followed(progress, control) as (listener, cancel):
        if prompted:
            from remotesam.panorama.click import parse_click, segment_clicked

            points = [parse_click(text) for text in clicks]
            pixels = [parse_click(text) for text in pixel_clicks]
            result = segment_clicked(
                image,
                output,
                points,
                pixels,
                memory=memory,
                config=config,
                options=options,
                extras=extras,
                listener=listener,
                cancel=cancel,
            )
        else:
            result = segment_panorama(
                image,
                output,
                config=config,
                options=options,
                extras=extras,
                run_dir=run_dir,
                resume=resume,
                listener=listener,
                cancel=cancel,
            )
    if progress == "bar":
        click.echo(
            f"{len(result.objects)} segments, {result.coverage:.1%} of the sphere's valid part, in "
            f"{duration(result.stats['seconds'])} → {result.output}"
        )
    if result.failed:
        raise RemotesamError(
            f"{len(result.failed)} of {result.stats['views']} views failed (first: {result.failed[0]}); "
            f"the rest is in {result.output}. Run the same command again to retry them"
        )


def _degrees(text: str) -> float | None:
    """`auto` or a number.

    Raises:
        ConfigError: it is neither.
    """
    if text == "auto":
        return None
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"--fov {text}: give auto or degrees") from None
