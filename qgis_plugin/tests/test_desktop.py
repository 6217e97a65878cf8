"""A whole QGIS desktop under Xvfb: the zip in an empty profile, the real engine, a real raster.

Needs QGIS with its desktop, xvfb-run, and an engine named by REMOTESAM_TEST_ENGINE (or on PATH).
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from osgeo import gdal

import package

sys.path.append(str(Path(__file__).with_name("desktop")))
from run_qgis import run_session

pytestmark = [pytest.mark.desktop, pytest.mark.timeout(900)]
SAMPLE = Path(__file__).parents[2] / "../shared/data/dk_fields_s2/dk_s2_rgb_uint16_10m.tif"
FIELDS = {
    "model": "nano-affinity",
    "settings": {"tile_size": "160"},
    "click_window": [513900, 6244300, 515700, 6245700],
    "clicks": [[514540, 6244840], [514930, 6245230]],
}
DRAWN = {
    "model": "nano",
    "settings": {
        "tile_size": "80",
        "padding": 16,
        "points_per_side": 8,
        "max_passes": "1",
        "iou_start": 0.2,
        "iou_end": 0.1,
        "stability_start": 0.2,
        "stability_end": 0.1,
        "min_area": 20,
    },
    "click_window": [2690020, 1234015, 2690140, 1234115],
    "clicks": [[2690080, 1234065], [2690100, 1234040]],
}
"""Small tiles and low thresholds: this is a test of the plugin, not of the quality of a model."""
SCENE = FIELDS if SAMPLE.exists() else DRAWN


@pytest.fixture(scope="module")
def engine():
    found = os.environ.get("REMOTESAM_TEST_ENGINE") or shutil.which("remotesam")
    if not found:
        pytest.skip("no engine: set REMOTESAM_TEST_ENGINE to the remotesam executable")
    return found


@pytest.fixture(scope="module")
def raster(tmp_path_factory):
    """A satellite image of fields where the sample data are, else a drawn scene."""
    folder = tmp_path_factory.mktemp("raster")
    if SAMPLE.exists():
        return shutil.copyfile(SAMPLE, folder / "fields.tif")
    target = folder / "drawn.tif"
    drawn = gdal.GetDriverByName("GTiff").Create(str(target), 320, 240, 3, gdal.GDT_Byte)
    drawn.SetGeoTransform((2690000, 0.5, 0, 1234125, 0, -0.5))
    drawn.SetProjection("EPSG:2056")
    for band in range(3):
        rows = bytearray()
        for row in range(240):
            for col in range(320):
                field = (row // 60) * 5 + col // 64
                rows.append((field * 47 + band * 61) % 200 + (row * col) % 17)
        drawn.GetRasterBand(band + 1).WriteRaster(0, 0, 320, 240, bytes(rows))
    del drawn
    return target


@pytest.fixture(scope="module")
def desktop(engine, raster):
    """Run a session in a new profile with further orders; gives (exit code, report, folder)."""
    if not shutil.which("xvfb-run") or not shutil.which("qgis"):
        pytest.skip("needs qgis and xvfb-run")
    folders = []

    def run(**further):
        folder = Path(tempfile.mkdtemp(prefix="qgis_"))  # short: it is to be read in the pictures
        folders.append(folder)
        orders = {
            "zip": str(package.build(folder)),
            "raster": str(raster),
            "engine": str(engine),
            "cancel_at": 3,
            "project_crs": "EPSG:3857",
            **SCENE,
            **further,
        }
        code, report, said = run_session(folder, orders)
        assert report.get("finished") or further, (report, said[-3000:])
        return code, report, folder

    yield run
    for folder in folders:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def session(desktop):
    code, report, folder = desktop()
    pictures = os.environ.get("REMOTESAM_PICTURES")
    if pictures:
        Path(pictures).mkdir(parents=True, exist_ok=True)
        for picture in folder.glob("*.png"):
            shutil.copy(picture, pictures)
    return code, report, folder


def test_the_zip_installs_in_an_empty_profile_and_unloads(session):
    code, report, _ = session
    assert report["installed"]
    assert report["engine"].startswith("Engine ")
    assert report["reloaded"]
    assert code == 0, "QGIS must end cleanly"


def test_polygons_arrive_while_the_engine_works(session):
    assert session[1]["live_features"] > 0


def test_cancel_keeps_finished_tiles_and_the_next_run_goes_on_from_them(session):
    report = session[1]
    assert [name for name, count in report["partial_layers"] if count > 0] == ["segments (partial)"]
    assert report["first_tile_of_second_run"][0] > 3, "finished tiles are not segmented again"
    assert report["features"] > 0
    assert report["renderer"] == "singleSymbol"


def test_the_interface_is_never_held_for_long(session, capsys):
    """A budget, not a speed: 0.25 s of the main thread's processor time, whatever the machine's load."""
    held, gap = session[1]["longest_pause"], session[1]["longest_gap"]
    with capsys.disabled():
        print(
            f"\nlongest between two looks at events: {held:.3f} s of processor time, {gap:.3f} s on the clock"
        )
    assert held < 0.25


def test_clicks_give_polygons(session, capsys):
    report = session[1]
    with capsys.disabled():
        print(f"\nclick to preview: {', '.join(f'{seconds:.2f} s' for seconds in report['click_seconds'])}")
    assert report["project_crs"] == "EPSG:3857", "not the raster's own"
    assert report["clicked"] >= 1
    assert len(report["click_seconds"]) == 2


def test_a_killed_engine_is_explained_and_the_panel_ready_again(session):
    report = session[1]
    assert "memory" in report["after_kill"]
    assert report["usable_after_kill"]


def test_an_engine_does_not_outlive_a_killed_qgis(desktop):
    code, report, folder = desktop(die=True)
    assert code != 0
    status = Path(f"/proc/{report['engine_pid']}/status")
    deadline = time.monotonic() + 120  # it ends after the pass under way
    while status.exists() and "zombie" not in status.read_text() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not status.exists() or "zombie" in status.read_text()
    assert list(folder.glob("orphan.remotesam/tiles/*.arrow")), "finished tiles are kept"


def test_the_pictures_show_something(session):
    from qgis.PyQt.QtGui import QImage

    for name in ("panel", "running", "cancelled", "result-random", "click"):
        picture = QImage(str(session[2] / f"{name}.png"))
        assert picture.width() >= 1000
        colours = {
            picture.pixel(x, y) for x in range(0, picture.width(), 7) for y in range(0, picture.height(), 7)
        }
        assert len(colours) > 50, name


def test_the_released_schema_knows_no_setting_that_the_engine_does_not(engine):
    """It may lag behind, the form is made anew from the engine's answer; it may not be ahead."""
    done = subprocess.run([engine, "schema"], capture_output=True, check=True, timeout=100)
    released = json.loads((package.PLUGIN / "engine" / "schema.json").read_text(encoding="utf-8"))
    assert set(released["properties"]) <= set(json.loads(done.stdout)["properties"])


def test_qgis_process_segments_with_the_real_engine(engine, raster, tmp_path):
    """All four algorithms from the command line, in a profile that has the plugin from the zip."""
    default = tmp_path / "profiles" / "default"
    (default / "QGIS").mkdir(parents=True)
    (default / "QGIS" / "QGIS3.ini").write_text("[PythonPlugins]\nremotesam_qgis=true\n")
    shutil.unpack_archive(package.build(tmp_path), default / "python" / "plugins")
    programs = ("/usr/bin/qgis_process.bin", "/usr/bin/qgis_process")
    program = next(filter(os.path.exists, programs), None) or pytest.skip("no qgis_process")
    environ = {
        **os.environ,
        "QGIS_CUSTOM_CONFIG_PATH": str(tmp_path),
        "QT_QPA_PLATFORM": "offscreen",
        "REMOTESAM_EXECUTABLE": str(engine),
    }
    small = {name.upper(): value for name, value in DRAWN["settings"].items()} | {"TILE_SIZE": "200"}
    segments, panorama = tmp_path / "s.gpkg", tmp_path / "p.gpkg"
    wide = tmp_path / "wide.tif"
    gdal.Translate(str(wide), str(raster), width=256, height=128)

    def run(algorithm, **parameters):
        words = [f"{name}={value}" for name, value in parameters.items()]
        command = [program, "run", f"remotesam:{algorithm}", "--", *words]
        done = subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path
        )
        assert done.returncode == 0, (algorithm, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout

    assert "SEGMENTS:" in run("segment", INPUT=raster, OUTPUT=segments, **small)
    assert re.search(r"TILES:\t[1-9]", run("plan", INPUT=raster, TILE_SIZE="200"))
    assert "MEASURES:" in run("evaluate", INPUT=segments, REFERENCE=segments)
    views = {"VIEW_SIZE": 256, "POINTS_PER_SIDE": 4, "MAX_PASSES": "1"}
    assert "SEGMENTS:" in run("panorama", INPUT=wide, OUTPUT=panorama, **views)
    assert segments.exists()
    assert panorama.exists()
