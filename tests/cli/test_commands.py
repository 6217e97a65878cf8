"""The command line as its users meet it."""

import json
import os
import signal
import subprocess
import sys

import geopandas as gpd
import pytest

from tests.oracle import cells

QUICK = [
    "--model",
    "nano",
    "--points-per-side",
    "4",
    "--tile-size",
    "64",
    "--padding",
    "16",
    "--max-passes",
    "1",
]
LOOSE = ["--iou-start", "0", "--iou-end", "0", "--stability-start", "0", "--stability-end", "0"]


@pytest.fixture
def scene(make_raster):
    return make_raster(cells(1, 150, 150, 20), "scene.tif")


def remotesam(*arguments, **options):
    line = [sys.executable, "-m", "remotesam", *map(str, arguments)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_help_names_every_command_and_imports_nothing_heavy():
    code = "import sys; from remotesam.cli.main import cli; cli(['--help'], standalone_mode=False); "
    code += "print({'torch', 'rasterio', 'dask'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip().endswith("set()")
    for name in (
        "segment",
        "plan",
        "panorama",
        "evaluate",
        "demo",
        "models",
        "run",
        "serve",
        "schema",
        "doctor",
    ):
        assert f"  {name} " in ran.stdout


def test_every_setting_is_an_option(command):
    options = command("segment", "--help").out
    settings = json.loads(command("schema").out)["properties"]
    for name in settings:
        assert f"--{name.replace('_', '-')}" in options


def test_plan_says_what_a_run_takes(command, scene):
    found = json.loads(command("plan", scene, "--json", *QUICK).out)
    assert found["tiles"] == 9
    assert found["chip"] == [96, 96]
    assert found["valid_share"] == 1
    assert found["seconds"] > 0
    assert "9 tiles" in command("plan", scene, "--no-probe", *QUICK).out


def test_doctor_finds_the_bundled_model(command):
    ran = command("doctor", "--json")
    found = json.loads(ran.out)
    assert ran.code == 0
    assert found["problems"] == []
    assert any(model["name"] == "nano" and model["present"] for model in found["models"])
    assert "Everything works" in command("doctor").out


def test_models_are_listed_and_checked(command):
    listed = {m["name"]: m["does"] for m in json.loads(command("models", "list", "--json").out)}
    assert {"nano", "sam2.1-large"} <= set(listed)
    assert "clicks" in listed["nano"]
    assert "SHA-256" in command("models", "check", "nano").out


def test_progress_json_is_all_that_standard_output_carries(scene, tmp_path):
    process = remotesam(
        "segment",
        scene,
        "-o",
        tmp_path / "o.gpkg",
        "--progress",
        "json",
        *QUICK,
        *LOOSE,
        stdin=subprocess.DEVNULL,
    )
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    events = [json.loads(line) for line in out.splitlines()]
    assert events[0]["event"] == "start"
    assert events[0]["protocol"] == 1
    (model,) = [e for e in events if e["event"] == "model"]
    assert model["name"] == "nano"
    assert model["device"].split(":")[0] in ("cpu", "cuda", "mps"), "the device in use, not the setting"
    assert [e["done"] for e in events if e["event"] == "tile"] == list(range(1, 10))
    assert events[-1]["event"] == "done"
    assert events[-1]["features"] == len(gpd.read_file(tmp_path / "o.gpkg", layer="segments"))
    assert len(gpd.read_file(events[0]["live"])) > 0


@pytest.mark.parametrize("how", ["interrupt", "cancel", "end of input"])
def test_a_stopped_run_keeps_its_tiles_and_goes_on(scene, tmp_path, how):
    # Many points and passes: each tile takes long enough to be interrupted.
    slow = [*QUICK[:-1], "4", "--points-per-side", "10", "--workers", "1", *LOOSE, "--target-coverage", "1"]
    arguments = ["segment", scene, "-o", tmp_path / "o.gpkg", "--progress", "json", *slow]
    control = [] if how == "interrupt" else ["--control", "stdin"]
    with remotesam(*arguments, *control, stdin=subprocess.PIPE) as process:
        for line in process.stdout:
            if json.loads(line)["event"] == "tile":
                break
        if how == "interrupt":
            process.send_signal(signal.SIGINT)
        elif how == "cancel":
            process.stdin.write("cancel\n")
            process.stdin.flush()
        else:
            process.stdin.close()
        rest = [json.loads(line) for line in process.stdout]
        assert process.wait(timeout=120) == 3
        assert "Traceback" not in process.stderr.read()
    assert rest[-1]["event"] == "cancelled"
    assert rest[-1]["partial"]
    assert not (tmp_path / "o.gpkg").exists()
    kept = len(list((tmp_path / "o.remotesam" / "tiles").glob("*.arrow")))
    assert 1 <= kept < 9
    if how != "interrupt":
        return
    process = remotesam(*arguments, stdin=subprocess.DEVNULL)
    out, _ = process.communicate(timeout=250)
    assert process.returncode == 0
    tiles = [json.loads(line) for line in out.splitlines() if '"event": "tile"' in line]
    assert len(tiles) == 9 - kept
    assert (tmp_path / "o.gpkg").exists()


def test_a_reader_that_goes_away_stops_the_run(scene, tmp_path):
    line = ["segment", scene, "-o", tmp_path / "o.gpkg", "--progress", "json", *QUICK, *LOOSE]
    with remotesam(*line, stdin=subprocess.DEVNULL) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=120) in (0, 1, 3)
        assert "Traceback" not in process.stderr.read()


def test_run_status_and_clean(command, scene, tmp_path):
    assert (
        command("segment", scene, "-o", tmp_path / "o.gpkg", "--progress", "none", *QUICK, *LOOSE).code == 0
    )
    found = json.loads(command("run", "status", tmp_path / "o.remotesam", "--json").out)
    assert found["finished"] == {"tiles": 9, "seams": 9, "contacts": 9, "polygons": 9}
    assert found["matched"]
    assert found["written"]
    assert command("run", "clean", tmp_path / "o.remotesam").code == 0
    assert command("run", "status", tmp_path / "o.remotesam").code == 1
    assert (tmp_path / "o.gpkg").exists()


def test_a_failed_tile_is_named_and_retried_alone(command, make_raster, tmp_path):
    path = make_raster(
        cells(1, 192, 192, 30), "cut.tif", tiled=True, blockxsize=64, blockysize=64, compress="deflate"
    )
    whole = path.read_bytes()
    stamp = path.stat()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + b"\xff" * 50 + whole[middle + 50 :])
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    options = ["--progress", "none", "--padding", "0", *QUICK[:6], *LOOSE, "--max-passes", "1"]
    ran = command("segment", path, "-o", tmp_path / "o.gpkg", *options, "--padding", "0")
    assert ran.code == 1
    found = json.loads(command("run", "status", tmp_path / "o.remotesam", "--json").out)
    assert 1 <= len(found["failures"]) < 9
    assert "cut.tif" in found["failures"][0]["error"]
    kept = {f.name: f.stat().st_mtime_ns for f in (tmp_path / "o.remotesam/tiles").glob("*.arrow")}
    assert len(kept) == 9 - len(found["failures"])
    path.write_bytes(whole)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    ran = command("run", "retry-failed", tmp_path / "o.remotesam")
    assert ran.code == 0, ran.err
    found = json.loads(command("run", "status", tmp_path / "o.remotesam", "--json").out)
    assert found["failures"] == []
    assert found["finished"]["tiles"] == 9
    assert all((tmp_path / "o.remotesam/tiles" / name).stat().st_mtime_ns == t for name, t in kept.items())


def test_a_raster_over_http(command, make_raster, web_server, tmp_path):
    make_raster(cells(1, 96, 96, 9), "served.tif", tiled=True, blockxsize=64, blockysize=64)
    url = f"{web_server}/served.tif"
    ran = command("segment", url, "-o", tmp_path / "o.gpkg", "--progress", "none", *QUICK, *LOOSE)
    assert ran.code == 0, ran.err
    assert len(gpd.read_file(tmp_path / "o.gpkg", layer="segments"))
