"""Views as files: export them for somebody else's model, and fuse what it made of them on the panorama."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from remotesam.config import PanoramaConfig, make_panorama_config
from remotesam.errors import InputError
from remotesam.panorama.locate import frame_crs
from remotesam.panorama.outputs import write_json, write_raster
from remotesam.panorama.segment import layout_of, open_panorama
from remotesam.report.run_report import write_picture
from remotesam.sphere.equirect import Equirect
from remotesam.sphere.fusion import Fused, Kind, describe_views, import_views
from remotesam.sphere.sampler import Sampler

DOCUMENT = "views.json"
"""Name of the description that is written beside the exported views."""


def export_views(image: str, folder: str, kind: Kind, config: PanoramaConfig | None = None) -> str:
    """Write every view of a panorama as a PNG, and a `views.json` to be fused with `fuse_files`.

    The entries of the document name the pictures; a model's rasters go into the same folder, and the names in
    the document are changed to theirs.

    Args:
        image: an equirectangular picture of the whole sphere.
        folder: where to write; made when it is not there.
        kind: what the model's output will be, see `remotesam.sphere.fusion.Kind`.
        config: layout, size and field of view.

    Returns:
        Path of the document.

    Raises:
        RemotesamError: the picture cannot be read, or a file cannot be written.
    """
    config = config or make_panorama_config()
    raster, place = open_panorama(image, config)
    if not place.grid.wraps or place.grid.height != place.grid.full_height:
        raise InputError(f"{image}: is a partial panorama; views are exported of whole ones")
    layout = layout_of(config, place.grid)
    sampler = Sampler(raster.read(raster.spec.window).image, place.grid)
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    names = [f"view_{view.index:04d}.png" for view in layout.views]
    for view, name in zip(layout.views, names, strict=True):
        write_picture(sampler.sample(view)[0], target / name)
    write_json(describe_views(layout, place.grid, names, kind), str(target / DOCUMENT))
    return str(target / DOCUMENT)


def fuse_files(document: str, output: str, *, gamma: float = 1.0) -> Fused:
    """Fuse the rasters that a `views.json` names and write a GeoTIFF on the panorama's grid.

    Args:
        document: path of the document; file names in it are relative to its folder. `.npy` and everything
            that GDAL reads will do.
        output: the GeoTIFF; its mask says where a view saw the sphere, which can be all of it.
        gamma: exponent of the weight that falls to a view's border.

    Raises:
        RemotesamError: a file cannot be read or does not fit its view.
    """
    folder = Path(document).parent
    try:
        content: dict[str, Any] = json.loads(Path(document).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{document}: is no readable JSON ({error}); write it with --export-views") from None
    fused = import_views(content, lambda name: _read(folder / name), gamma=gamma)
    grid = Equirect.whole(int(content["width"]), int(content["height"]))
    write_raster(
        fused.values,
        grid,
        frame_crs("camera", "lonlat"),
        output,
        nodata=None,
        resampling="NEAREST" if fused.values.dtype == np.int32 else "AVERAGE",
        valid=fused.valid,
    )
    return fused


def _read(path: Path) -> NDArray[Any]:
    """A view's raster as (H, W) or (H, W, C)."""
    try:
        if path.suffix == ".npy":
            return np.asarray(np.load(path, allow_pickle=False))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            dataset = rasterio.open(path)
        with dataset:
            bands = dataset.read()
    except (OSError, ValueError, RasterioError) as error:
        raise InputError(
            f"{path}: cannot be read as the raster of a view ({error}); check its name"
        ) from None
    return bands[0] if len(bands) == 1 else np.moveaxis(bands, 0, 2)
