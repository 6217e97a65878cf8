"""Files that are wrong, far away, shared by threads, or changed since."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from remotesam.errors import InputError, RasterError
from remotesam.raster.gdal import gdal_name, is_remote
from remotesam.raster.reader import open_raster
from remotesam.windows import Window
from tests.raster.test_reader import rgb, whole, windows_of

Make = Callable[..., Path]
Shared = Callable[[str], Path]


def message(error: pytest.ExceptionInfo[BaseException]) -> str:
    """The text of an error, which must be one line."""
    text = str(error.value)
    assert text
    assert "\n" not in text
    return text


def test_files_that_are_no_raster(tmp_path: Path) -> None:
    (tmp_path / "empty.tif").touch()
    (tmp_path / "note.txt").write_text("hello")
    (tmp_path / "folder").mkdir()
    cases = {
        "nowhere.tif": "no such file",
        "empty.tif": "0 bytes",
        "note.txt": "convert it",
        "folder": "folder",
    }
    for name, reason in cases.items():
        with pytest.raises(RasterError, match=reason) as raised:
            open_raster(tmp_path / name)
        assert str(tmp_path / name) in message(raised)


def test_a_file_without_permission(make_raster: Make) -> None:
    path = make_raster(rgb())
    path.chmod(0)
    # Root reads everything by a capability; without it, it is a user like others.
    mortal = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    code = (
        "import sys\n"
        "from remotesam.errors import RasterError\n"
        "from remotesam.raster.reader import open_raster\n"
        "try: open_raster(sys.argv[1])\n"
        "except RasterError as error: print(error)"
    )
    command = [*mortal, sys.executable, "-c", code, str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "permissions" in said
    assert str(path) in said
    assert said.count("\n") == 1


def test_a_header_cut_short(make_raster: Make, tmp_path: Path) -> None:
    data = make_raster(rgb()).read_bytes()
    cut = tmp_path / "cut.tif"
    cut.write_bytes(data[:50])
    with pytest.raises(RasterError, match="damaged") as raised:
        open_raster(cut)
    assert "cut.tif" in message(raised)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.tif", {"tiled": True, "compress": "deflate", "blockxsize": 64, "blockysize": 64}),
        ("a.tif", {"compress": "lzw"}),
        ("a.png", {"driver": "PNG", "crs": None, "transform": None}),
        ("a.jpg", {"driver": "JPEG", "crs": None, "transform": None}),
    ],
)
def test_pixels_cut_short_name_file_and_window(make_raster: Make, name: str, options: dict) -> None:
    path = make_raster(rgb(256, 256), name=name, **options)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    raster = open_raster(path)
    with pytest.raises(RasterError) as raised:
        raster.read(Window(200, 3, 56, 250))
    text = message(raised)
    assert name in text
    assert "rows 200–255, columns 3–252" in text
    if name != "a.png":  # GDAL decodes a small PNG at once
        assert raster.read(Window(0, 0, 10, 10)).valid.all()


def test_complex_samples_and_containers_are_refused(make_raster: Make, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="amplitude") as raised:
        open_raster(make_raster(np.ones((1, 4, 4), np.complex64)))
    message(raised)
    for table in ("one", "two"):
        make_raster(
            rgb(), name="box.gpkg", driver="GPKG", RASTER_TABLE=table, APPEND_SUBDATASET=table == "two"
        )
    with pytest.raises(InputError, match="no bands") as raised:
        open_raster(tmp_path / "box.gpkg")
    name = f"GPKG:{tmp_path}/box.gpkg:one"
    assert name in message(raised)
    assert whole(open_raster(name))[1].any()


def test_a_vrt_whose_source_is_gone(make_raster: Make, tmp_path: Path) -> None:
    source = make_raster(rgb())
    with rasterio.open(source) as dataset:
        rasterio.shutil.copy(dataset, tmp_path / "a.vrt", driver="VRT")
    assert np.array_equal(whole(open_raster(tmp_path / "a.vrt"))[0], whole(open_raster(source))[0])
    source.unlink()
    with pytest.raises(RasterError) as raised:
        whole(open_raster(tmp_path / "a.vrt"))
    assert "a.vrt" in message(raised)


@pytest.mark.parametrize("driver", ["GTiff", "PNG", "VRT"])
def test_threads_read_what_one_thread_reads(make_raster: Make, tmp_path: Path, driver: str) -> None:
    values = rgb(700, 900)
    tiled = {"tiled": True, "blockxsize": 128, "blockysize": 128, "compress": "deflate"}
    path = make_raster(values, **tiled)
    if driver != "GTiff":
        with rasterio.open(path) as dataset:
            path = tmp_path / f"other.{driver.lower()}"
            rasterio.shutil.copy(dataset, path, driver=driver)
    raster = open_raster(path)
    shown = np.moveaxis(values, 0, -1)
    with ThreadPoolExecutor(6) as pool:
        windows = windows_of(raster, 60)
        for window, chip in zip(windows, pool.map(raster.read, windows), strict=True):
            assert np.array_equal(chip.image, shown[window.slices])


def test_handles_close_with_their_threads_and_on_request(make_raster: Make) -> None:
    raster = open_raster(make_raster(rgb()))
    for _ in range(3):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(raster.read, windows_of(raster, 8)))
    assert len(raster._source._handles) == 0
    raster.read(Window(0, 0, 2, 2))
    (handle,) = raster._source._handles
    raster.close()
    assert handle.dataset.closed
    assert raster.read(Window(0, 0, 2, 2)).valid.all()


def test_a_raster_travels_to_another_process(make_raster: Make, tmp_path: Path) -> None:
    path = make_raster(np.random.default_rng(3).integers(0, 9999, (1, 50, 60)).astype(np.uint16), nodata=5)
    raster = open_raster(path, aoi="400005,4999980,400020,4999995", overview=0)
    expected = whole(raster)[0]
    (tmp_path / "raster.pickle").write_bytes(pickle.dumps(raster))
    script = (
        "import pickle, sys, numpy as np; from pathlib import Path\n"
        "raster = pickle.loads(Path('raster.pickle').read_bytes())\n"
        "np.save('image.npy', raster.read(raster.spec.window).image)"
    )
    root = str(Path(__file__).resolve().parents[2])
    subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, check=True, env=os.environ | {"PYTHONPATH": root}
    )
    assert np.array_equal(np.load(tmp_path / "image.npy"), expected)


@pytest.mark.parametrize(
    ("path", "name", "remote"),
    [
        ("a/b.tif", "a/b.tif", False),
        ("https://host/a.tif?x=1", "/vsicurl/https://host/a.tif?x=1", True),
        ("http://host/a.tif", "/vsicurl/http://host/a.tif", True),
        ("s3://bucket/a.tif", "/vsis3/bucket/a.tif", True),
        ("gs://bucket/a.tif", "/vsigs/bucket/a.tif", True),
        ("/vsizip/a.zip/a.tif", "/vsizip/a.zip/a.tif", False),
        ("/vsizip//vsicurl/https://host/a.zip", "/vsizip//vsicurl/https://host/a.zip", True),
        ("GTIFF_DIR:2:a.tif", "GTIFF_DIR:2:a.tif", False),
        ("file:///tmp/a%20b.tif", "/tmp/a b.tif", False),
    ],
)
def test_names(path: str, name: str, remote: bool) -> None:
    assert gdal_name(path) == name
    assert is_remote(name) == remote


def test_a_zip_is_read_in_place(make_raster: Make, tmp_path: Path) -> None:
    path = make_raster(rgb())
    expected = whole(open_raster(path))[0]
    subprocess.run([sys.executable, "-m", "zipfile", "-c", "a.zip", path.name], cwd=tmp_path, check=True)
    raster = open_raster(f"/vsizip/{tmp_path}/a.zip/{path.name}")
    assert np.array_equal(whole(raster)[0], expected)


def test_a_web_address_is_read_by_ranges(make_raster: Make, web_server: str) -> None:
    values = rgb(1024, 1024)
    path = make_raster(values, name="cog.tif", driver="COG", blocksize=128, compress="deflate")
    raster = open_raster(f"{web_server}/cog.tif")
    chip = raster.read(Window(300, 400, 50, 60))
    assert np.array_equal(chip.image, np.moveaxis(values, 0, -1)[300:350, 400:460])
    assert raster.spec.path == f"{web_server}/cog.tif"
    before = raster.spec.identity
    assert open_raster(f"{web_server}/cog.tif").spec.identity == before
    os.utime(path, ns=(1, 1))
    assert open_raster(f"{web_server}/cog.tif").spec.identity != before


def test_a_lost_connection_is_tried_again(make_raster: Make, web_server: str) -> None:
    values = rgb(1024, 1024)
    make_raster(values, name="lost.tif", tiled=True, compress="deflate")
    raster = open_raster(f"{web_server}/lost.tif")
    urllib.request.urlopen(f"{web_server}/break/2", data=b"").close()
    assert np.array_equal(whole(raster)[0], np.moveaxis(values, 0, -1))
    with urllib.request.urlopen(f"{web_server}/broken") as left:
        assert left.read() == b"0"


def test_a_web_address_that_is_not_there(web_server: str) -> None:
    with pytest.raises(RasterError, match="404") as raised:
        open_raster(f"{web_server}/nowhere.tif")
    assert f"{web_server}/nowhere.tif" in message(raised)
    with pytest.raises(RasterError, match="check the address"):
        open_raster("http://127.0.0.1:9/closed.tif")


def test_identity_is_that_of_the_pixels_not_of_the_place(make_raster: Make, tmp_path: Path) -> None:
    path = make_raster(rgb())
    before = open_raster(path).spec.identity
    (tmp_path / "raster.tif.aux.xml").write_text("<PAMDataset></PAMDataset>")
    assert open_raster(path).spec.identity == before
    assert open_raster(path, bands=[2], aoi="400005,4999980,400020,4999995").spec.identity == before
    os.utime(path, ns=(10**18, 10**18))
    touched = open_raster(path).spec.identity
    assert touched != before
    with rasterio.open(path, "r+") as dataset:
        dataset.nodata = 3
    os.utime(path, ns=(10**18, 10**18))
    assert open_raster(path).spec.identity != touched


def test_a_vrt_changes_with_its_source(make_raster: Make, tmp_path: Path) -> None:
    source = make_raster(rgb())
    with rasterio.open(source) as dataset:
        rasterio.shutil.copy(dataset, tmp_path / "a.vrt", driver="VRT")
    before = open_raster(tmp_path / "a.vrt").spec.identity
    os.utime(source, ns=(1, 1))
    assert open_raster(tmp_path / "a.vrt").spec.identity != before


def test_a_relative_path_survives_a_change_of_folder(
    make_raster: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_raster(rgb())
    monkeypatch.chdir(path.parent)
    raster = open_raster(path.name)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert whole(raster)[1].all()


def test_a_bucket(make_raster: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boto3 = pytest.importorskip("boto3")
    pytest.importorskip("moto.server")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    names = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    names |= {"AWS_S3_ENDPOINT": f"127.0.0.1:{port}", "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "FALSE"}
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    values = rgb(300, 300)
    path = make_raster(values, name="cog.tif", driver="COG", blocksize=128, compress="deflate")
    with subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)], stderr=subprocess.PIPE
    ) as server:
        assert server.stderr is not None
        while b"Running on" not in server.stderr.readline():
            assert server.poll() is None
        try:
            client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
            client.create_bucket(Bucket="scenes")
            client.upload_file(str(path), "scenes", "a/cog.tif")
            with open_raster("s3://scenes/a/cog.tif") as raster:
                assert np.array_equal(whole(raster)[0], np.moveaxis(values, 0, -1))
            with pytest.raises(RasterError, match=r"s3://scenes/a/none\.tif") as raised:
                open_raster("s3://scenes/a/none.tif")
            message(raised)
            make_raster(rgb(300, 300) // 2, name="cog.tif", driver="COG", blocksize=128, compress="deflate")
            client.upload_file(str(path), "scenes", "a/cog.tif")
            assert open_raster("s3://scenes/a/cog.tif").spec.identity != raster.spec.identity
        finally:
            server.terminate()
