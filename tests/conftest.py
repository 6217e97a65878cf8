"""For every test: rasters of any kind, real data, a web server that serves ranges; no skips in CI."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp

from tests.command import Command
from tests.skips import (
    BeyondInstalling,
    pytest_make_collect_report,  # noqa: F401 (a hook)
    pytest_runtest_makereport,  # noqa: F401 (a hook)
)

UTM = "EPSG:32633"
NORTH_UP = Affine(0.5, 0, 400_000, 0, -0.5, 5_000_000)


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """Path of a real file of the data that lie beside the checkout; skips the test where there are none."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"

    def find(name: str) -> Path:
        if not folder.exists():
            raise BeyondInstalling(f"no real data at {folder}")
        assert (folder / name).exists(), f"{folder} lacks {name}"
        return folder / name

    return find


@pytest.fixture
def make_raster(tmp_path: Path) -> Callable[..., Path]:
    """Write an array as a raster file and return its path; see `write_raster` for the arguments."""

    def make(array: Any, name: str = "raster.tif", **kwargs: Any) -> Path:
        return write_raster(tmp_path / name, array, **kwargs)

    return make


def write_raster(
    path: Path,
    array: Any,
    *,
    crs: str | None = UTM,
    transform: Affine | None = NORTH_UP,
    nodata: float | None = None,
    mask: Any = None,
    colorinterp: list[str] | None = None,
    colormap: dict[int, tuple[int, ...]] | None = None,
    overviews: list[int] | None = None,
    gcps: tuple[list[Any], str] | None = None,
    rpcs: Any = None,
    dtype: str | None = None,
    driver: str = "GTiff",
    **options: Any,
) -> Path:
    """Write `array`, (H, W) or (bands, H, W).

    Args:
        path: Where to.
        array: The values.
        crs: CRS, None for none.
        transform: Pixels → CRS, None for none.
        nodata: Nodata tag.
        mask: (H, W) bool, True = data: an internal mask band.
        colorinterp: Names such as "red" or "alpha", one per band.
        colormap: Palette of band 1.
        overviews: Factors of internal overviews to build (averaged).
        gcps: Ground control points and their CRS, in place of a transform.
        rpcs: Sensor model.
        dtype: numpy name; default is the array's.
        driver: GDAL driver, such as "PNG".
        options: Creation options, such as `tiled=True`.
    """
    array = np.asarray(array)
    bands = array[None] if array.ndim == 2 else array
    if gcps is not None or rpcs is not None:
        crs = transform = None
    profile = {"count": bands.shape[0], "height": bands.shape[1], "width": bands.shape[2]}
    profile |= {"dtype": dtype or bands.dtype.name, "crs": crs, "transform": transform, "nodata": nodata}
    profile = {key: value for key, value in profile.items() if value is not None} | options
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", driver=driver, **profile) as dataset,
    ):
        if colorinterp is not None:
            dataset.colorinterp = [ColorInterp[name] for name in colorinterp]
        if gcps is not None:
            dataset.gcps = (gcps[0], rasterio.crs.CRS.from_string(gcps[1]))
        if rpcs is not None:
            dataset.rpcs = rpcs
        if colormap is not None:
            dataset.write_colormap(1, colormap)
        dataset.write(bands.astype(profile["dtype"]))
        if mask is not None:
            dataset.write_mask(np.asarray(mask, bool))
        if overviews:
            dataset.build_overviews(overviews, rasterio.enums.Resampling.average)
    return path


@pytest.fixture
def web_server(tmp_path: Path) -> Iterator[str]:
    """Address of a server of `tmp_path`; see `tests/range_server.py`."""
    root = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-m", "tests.range_server", str(tmp_path)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.terminate()


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Command:
    """`remotesam …` in this process, with captured output."""
    return Command(capfd)
