"""Shared by the tests inside QGIS. Without QGIS they are left out, except where run.sh asks for them."""

import os
import stat
import sys
from pathlib import Path

import pytest
from tests.skips import (
    pytest_make_collect_report,  # noqa: F401 (a hook)
    pytest_runtest_makereport,  # noqa: F401 (a hook)
)

TESTS = Path(__file__).parent
try:
    import qgis.core  # noqa: F401

    HAVE_QGIS = True
except ImportError:
    HAVE_QGIS = False

NEED_QGIS = ("test_dock.py", "test_algorithms.py", "test_layers.py", "test_clicks.py", "test_desktop.py")
collect_ignore = [] if HAVE_QGIS else list(NEED_QGIS)


def pytest_report_header():
    return "QGIS: " + ("found" if HAVE_QGIS else "not in this Python, its tests are left out (see run.sh)")


def pytest_configure(config):
    if not HAVE_QGIS and os.environ.get("REMOTESAM_REQUIRE_QGIS"):
        raise pytest.UsageError("REMOTESAM_REQUIRE_QGIS is set, but this Python has no QGIS")


@pytest.fixture
def profile(tmp_path, monkeypatch, qgis_app):
    """An empty profile: no engine setting, no remembered engine."""
    from remotesam_qgis import settings

    for key in (settings.ENGINE_PATH, settings.MODELS_FOLDER, settings.STYLE, settings.MODEL):
        settings.put(key, "")
    monkeypatch.setattr(settings, "info_cache", lambda: tmp_path / "cache" / "engine.json")


@pytest.fixture
def fake_engine(tmp_path, monkeypatch, profile):
    """The stand-in engine as an executable that the plugin finds; returns its path."""
    program = tmp_path / "bin" / "remotesam"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {TESTS / "fake_engine.py"} "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("REMOTESAM_EXECUTABLE", str(program))
    return program


@pytest.fixture
def make_raster(tmp_path):
    """Write a GeoTIFF or PNG of 80 x 60 px with GDAL and return its path."""
    from osgeo import gdal, osr

    gdal.UseExceptions()

    def make(name="t.tif", *, epsg=32633, west=500000.0, north=4500060.0, size=1.0, bands=3):
        path = tmp_path / name
        memory = gdal.GetDriverByName("MEM").Create("", 80, 60, bands, gdal.GDT_Byte)
        if epsg:
            reference = osr.SpatialReference()
            reference.ImportFromEPSG(epsg)
            memory.SetProjection(reference.ExportToWkt())
            memory.SetGeoTransform((west, size, 0, north, 0, -size))
        for band in range(bands):
            memory.GetRasterBand(band + 1).Fill(40 * band + 60)
        driver = "PNG" if name.endswith(".png") else "GTiff"
        gdal.GetDriverByName(driver).CreateCopy(str(path), memory)
        return path

    return make
