"""`remotesam evaluate`: scores of segments against a reference."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("segments")
@click.argument("reference")
@click.option("--raster", metavar="FILE", help="The image: sets the pixels to compare on and what is nodata.")
@click.option("--class-field", metavar="NAME", help="Attribute of the reference with the class.")
@click.option(
    "--baselines",
    metavar="NAME[,NAME]",
    help="Compare with slic, felzenszwalb at an equal number of segments (needs --raster).",
)
@click.option("--boxes", is_flag=True, help="The reference only boxes its objects: judge boxes by boxes.")
@click.option(
    "--background", is_flag=True, help="The reference is complete: for ASA, the rest is a class of its own."
)
@click.option("--resolution", type=float, metavar="SIZE", help="Pixel side to compare at, without a raster.")
@click.option(
    "--tile-size", type=click.IntRange(2), metavar="PX", help="Tile size of the run, for the seam rate."
)
@click.option(
    "--json",
    "json_file",
    is_flag=False,
    flag_value="-",
    metavar="[FILE]",
    help="Write all scores; as the last word on the line, print them instead of a table.",
)
@click.option("--html", "html_file", metavar="FILE", help="Write a page with the scores and a picture.")
def evaluate(
    segments: str,
    reference: str,
    raster: str | None,
    class_field: str | None,
    baselines: str | None,
    boxes: bool,
    background: bool,
    resolution: float | None,
    tile_size: int | None,
    json_file: str | None,
    html_file: str | None,
) -> None:
    """Judge SEGMENTS by REFERENCE, each polygons or a label raster.

    Coverage, ASA, Det@0.5, SS-Det@0.5 (recall by single segments), mIoU, boundary IoU and the seam rate.
    """
    from remotesam.evaluation.evaluate import evaluate as judge
    from remotesam.evaluation.report import class_rows, markdown, score_rows
    from remotesam.files import write_whole

    names = [name.strip() for name in baselines.split(",") if name.strip()] if baselines else []
    evaluation = judge(
        segments,
        reference,
        raster=raster,
        class_field=class_field,
        baselines=names,
        boxes=boxes,
        background=background,
        resolution=resolution,
        tile_size=tile_size,
        picture=html_file is not None,
    )
    if json_file == "-":
        click.echo(evaluation.to_json())
    else:
        click.echo(markdown(score_rows(evaluation.scores)))
        classes = class_rows(evaluation.scores)
        if len(classes) > 1:
            click.echo("\n" + markdown(classes))
        for note in evaluation.notes:
            click.echo(note)
    if json_file not in (None, "-"):
        write_whole(evaluation.to_json().encode(), Path(json_file))
    if html_file is not None:
        from remotesam.evaluation.report import evaluation_report

        write_whole(evaluation_report(evaluation).encode(), Path(html_file))
