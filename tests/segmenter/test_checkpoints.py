"""Finding, fetching, checking and loading model files; every failure is one line that says what to do."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from remotesam.errors import CheckpointError, ConfigError, DeviceError, ModelUnavailableError, RemotesamError
from remotesam.segmenter import checkpoints, loading
from remotesam.segmenter.architectures import ARCHITECTURES, build
from remotesam.segmenter.download import download

OFFICIAL = [name for name in ARCHITECTURES if name != "nano"]


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models directory."""
    folder = tmp_path / "models"
    monkeypatch.setenv("REMOTESAM_MODELS", str(folder))
    return folder


@pytest.fixture(scope="module")
def nano_state() -> dict[str, torch.Tensor]:
    return build("nano").state_dict()


def one_line(error: RemotesamError) -> str:
    assert "\n" not in str(error)
    return str(error)


def test_the_table_names_what_can_be_built() -> None:
    assert {known.network for known in checkpoints.CHECKPOINTS.values()} == set(ARCHITECTURES)
    for status in checkpoints.list_models():
        assert status.digest_known == (status.url is not None)
        assert status.url is None or not status.present
    digests = [known.sha256 for known in checkpoints.CHECKPOINTS.values() if known.url]
    assert len(set(digests)) == len(digests) == 8
    assert checkpoints.resolve("nano.pt")[0] == "nano", "a file shared by two models means the first"


def test_names_and_listing_need_no_torch() -> None:
    code = (
        "import sys, remotesam.segmenter.protocol, remotesam.segmenter.checkpoints as c; c.list_models();"
        "sys.exit('torch' in sys.modules or 'rasterio' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "name",
    [name if name == "sam2.1-tiny" else pytest.param(name, marks=pytest.mark.slow) for name in OFFICIAL],
)
def test_official_format_loads_strictly_by_name_and_by_path(
    name: str, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = checkpoints.CHECKPOINTS[name]
    models.mkdir()
    path = models / known.filename
    original = build(name)
    torch.save({"model": original.state_dict()}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    as_fetched = dataclasses.replace(known, size=path.stat().st_size, sha256=digest)
    monkeypatch.setitem(checkpoints.CHECKPOINTS, name, as_fetched)

    for argument in (name, known.filename, known.filename.removesuffix(".pt"), str(path)):
        assert checkpoints.resolve(argument)[1] == path
    segmenter = loading.load(name, device="cpu")
    assert (segmenter.name, segmenter.digest, segmenter.image_size) == (name, digest, 1024)
    loaded = segmenter._backend.model.state_dict()
    for key, value in original.state_dict().items():
        assert torch.equal(loaded[key], value), key
    elsewhere = path.rename(models / "mine.pt")
    assert loading.check(str(elsewhere)).architecture == name
    assert loading.check(str(elsewhere)).official == name
    assert loading.load(str(elsewhere)).name == "mine"
    elsewhere.unlink()  # up to 900 MB, and pytest keeps the folders of three runs


def test_the_video_predictor_loads_from_the_same_file(tmp_path: Path, nano_state: dict) -> None:
    path = tmp_path / "some.pt"
    torch.save({"model": nano_state}, path)
    predictor = loading.load_video(str(path), device="cpu")
    assert hasattr(predictor, "propagate_in_video")
    assert predictor.image_size == ARCHITECTURES["nano"].image_size


def test_half_precision_files_fill_a_float32_network(tmp_path: Path, nano_state: dict) -> None:
    path = tmp_path / "half.pt"
    torch.save({"model": {key: value.half() for key, value in nano_state.items()}}, path)
    parameter = next(loading.load(str(path))._backend.model.parameters())
    assert parameter.dtype == torch.float32


def damaged(kind: str, state: dict[str, torch.Tensor], path: Path) -> None:
    """Write a checkpoint that is wrong in one way."""
    state = dict(state)
    key = next(key for key in state if "memory_encoder" in key)
    content: object = {"model": state}
    if kind == "missing parameter":
        del state[key]
    elif kind == "extra parameter":
        state["surplus.weight"] = torch.zeros(1)
    elif kind == "other shape":
        state[key] = torch.zeros(3, 3)
    elif kind == "other architecture":
        state["image_encoder.trunk.patch_embed.proj.weight"] = torch.zeros(40, 3, 7, 7)
    elif kind == "not a SAM":
        content = {"model": {"layer.weight": torch.zeros(2)}}
    elif kind == "bare state":
        content = state
    torch.save(content, path)
    data = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "garbage":
        path.write_bytes(b"<html>not found</html>" * 50)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "flipped byte":
        broken = bytearray(data)
        start = data.index(b"PK", 100)
        broken[:start] = bytes(start)
        path.write_bytes(broken)


@pytest.mark.parametrize(
    "kind",
    [
        "missing parameter",
        "extra parameter",
        "other shape",
        "other architecture",
        "not a SAM",
        "bare state",
        "truncated",
        "garbage",
        "empty",
        "flipped byte",
    ],
)
def test_a_wrong_file_is_one_line(kind: str, tmp_path: Path, nano_state: dict) -> None:
    path = tmp_path / "model.pt"
    damaged(kind, nano_state, path)
    with pytest.raises(CheckpointError, match=r"model\.pt") as caught:
        loading.load(str(path))
    one_line(caught.value)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple:
            return (Path(tmp_path / "harm").touch, ())

    path = tmp_path / "evil.pt"
    torch.save({"model": Harm()}, path, pickle_module=pickle)
    with pytest.raises(CheckpointError):
        loading.load(str(path))
    assert not (tmp_path / "harm").exists()


def test_another_model_under_an_official_name_is_refused(
    models: Path, nano_state: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.mkdir()
    path = models / "sam2.1_hiera_tiny.pt"
    torch.save({"model": nano_state}, path)
    with pytest.raises(CheckpointError, match="156008466"):
        loading.load("sam2.1-tiny")
    tiny = checkpoints.CHECKPOINTS["sam2.1-tiny"]
    monkeypatch.setitem(checkpoints.CHECKPOINTS, tiny.name, dataclasses.replace(tiny, size=None))
    with pytest.raises(CheckpointError, match=r"holds nano, not sam2\.1-tiny"):
        loading.load("sam2.1-tiny")


def test_unknown_names_and_paths_say_what_there_is(tmp_path: Path) -> None:
    for argument in ("sam3-huge", str(tmp_path / "nowhere.pt")):
        with pytest.raises(ModelUnavailableError, match=r"sam2\.1-large") as caught:
            loading.load(argument)
        one_line(caught.value)
    with pytest.raises(ModelUnavailableError):
        checkpoints.fetch("sam3-huge")


def test_a_file_at_hand_wins_over_an_official_file_name(
    tmp_path: Path, nano_state: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": nano_state}, "sam2.1_hiera_tiny.pt")
    assert loading.check("sam2.1_hiera_tiny.pt").architecture == "nano"
    with pytest.raises(ModelUnavailableError):
        checkpoints.resolve("sam2.1-tiny")


def test_offline_says_where_to_put_the_file(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = checkpoints.CHECKPOINTS["sam2.1-tiny"]
    offline = dataclasses.replace(tiny, url="http://127.0.0.1:9/sam2.1_hiera_tiny.pt")
    monkeypatch.setitem(checkpoints.CHECKPOINTS, tiny.name, offline)
    with pytest.raises(ModelUnavailableError) as caught:
        loading.load("sam2.1-tiny")
    assert str(models / "sam2.1_hiera_tiny.pt") in one_line(caught.value)
    with pytest.raises(ModelUnavailableError, match="models fetch"):
        loading.check("sam2.1-tiny")


@dataclasses.dataclass
class FileServer:
    """Serves `tmp_path` over http with byte ranges."""

    url: str = ""
    requests: list[str] = field(default_factory=list)
    break_next: int = 0
    """So many of the next answers stop in the middle, as on a lost connection."""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[FileServer]:
    state = FileServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests.append(self.path)
            file = tmp_path / self.path.lstrip("/")
            if not file.is_file():
                self.send_error(404)
                return
            data = file.read_bytes()
            asked = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(asked[1]) if asked else 0
            if start >= len(data):
                self.send_error(416)
                return
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            broken = state.break_next > 0
            state.break_next -= broken
            self.wfile.write(data[start : (start + len(data)) // 2 if broken else None])

        def log_message(self, *args: object) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


DATA = bytes(range(256)) * 20_000
DIGEST = hashlib.sha256(DATA).hexdigest()


def test_an_interrupted_download_continues_where_it_stopped(tmp_path: Path, web: FileServer) -> None:
    (tmp_path / "file.bin").write_bytes(DATA)
    target, seen = tmp_path / "models" / "model.pt", []
    web.break_next = 9  # more often than one call tries again
    with pytest.raises(ModelUnavailableError, match="continues where it stopped"):
        download(f"{web.url}/file.bin", target, size=len(DATA), sha256=DIGEST)
    part = target.with_name("model.pt.part")
    kept = part.stat().st_size
    assert 0 < kept < len(DATA)
    assert not target.exists()
    web.break_next = 1
    download(
        f"{web.url}/file.bin",
        target,
        size=len(DATA),
        sha256=DIGEST,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert target.read_bytes() == DATA
    assert not part.exists()
    assert seen[0][0] > kept
    assert seen[-1] == (len(DATA), len(DATA))


def test_a_stale_longer_or_complete_part_is_handled(tmp_path: Path, web: FileServer) -> None:
    (tmp_path / "file.bin").write_bytes(DATA)
    target = tmp_path / "model.pt"
    part = target.with_name("model.pt.part")
    part.write_bytes(DATA + b"more")
    download(f"{web.url}/file.bin", target, size=len(DATA), sha256=DIGEST)
    assert target.read_bytes() == DATA
    part.write_bytes(DATA)
    requests = len(web.requests)
    download(f"{web.url}/file.bin", target, size=len(DATA), sha256=DIGEST)
    assert len(web.requests) == requests, "a complete part needs no server"
    part.write_bytes(DATA + b"more")
    download(f"{web.url}/file.bin", target, size=None, sha256=DIGEST)  # the server refuses the range
    assert target.read_bytes() == DATA


@pytest.mark.parametrize(("size", "sha256"), [(len(DATA) + 1, None), (len(DATA), "0" * 64), (None, "0" * 64)])
def test_a_wrong_file_from_the_server_is_not_kept(
    size: int | None, sha256: str | None, tmp_path: Path, web: FileServer
) -> None:
    (tmp_path / "file.bin").write_bytes(DATA)
    with pytest.raises(CheckpointError) as caught:
        download(f"{web.url}/file.bin", tmp_path / "model.pt", size=size, sha256=sha256)
    one_line(caught.value)
    assert not list(tmp_path.glob("model.pt*"))


def test_a_missing_page_is_one_line(tmp_path: Path, web: FileServer) -> None:
    with pytest.raises(ModelUnavailableError, match="404") as caught:
        download(f"{web.url}/none.bin", tmp_path / "model.pt", size=None, sha256=None)
    one_line(caught.value)
    assert len(web.requests) == 1, "a refusal is final"


def test_load_fetches_a_known_model(
    tmp_path: Path, web: FileServer, nano_state: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"model": nano_state}, tmp_path / "there.pt")
    digest = hashlib.sha256((tmp_path / "there.pt").read_bytes()).hexdigest()
    entry = checkpoints.Checkpoint(
        "nano", "remote_nano.pt", f"{web.url}/there.pt", (tmp_path / "there.pt").stat().st_size, digest
    )
    monkeypatch.setitem(checkpoints.CHECKPOINTS, "nano", entry)
    assert loading.load("nano").digest == digest
    assert checkpoints.list_models()[0].present


def test_devices_and_precisions_that_are_not_there() -> None:
    for device in ("tpu", "cuda:x", "cuda:99", "mps:0"):
        with pytest.raises(DeviceError) as caught:
            loading.choose_device(device)
        one_line(caught.value)
    with pytest.raises(ConfigError):
        loading.choose_precision("int4", torch.device("cpu"))
    with pytest.raises(DeviceError, match="fp16"):
        loading.choose_precision("fp16", torch.device("cpu"))
    assert loading.choose_precision("auto", torch.device("cpu")) == torch.float32
