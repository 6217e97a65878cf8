"""Finding the engine, judging it, and the environment it starts in; no QGIS needed."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from remotesam_qgis.engine.environ import clean_env
from remotesam_qgis.engine.locate import Engine, EngineError, ask, check, find

FAKE = Path(__file__).with_name("fake_engine.py")
ENGINE = Engine((sys.executable, str(FAKE)), "test")


def executable(path, text="#!/bin/sh\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_the_order_of_the_search(tmp_path):
    home = tmp_path / "home"
    setting = executable(tmp_path / "set" / "remotesam")
    variable = executable(tmp_path / "var" / "remotesam")
    managed = executable(home / ".remotesam" / "venv" / "bin" / "remotesam")
    on_path = executable(tmp_path / "path" / "remotesam")
    local = executable(home / ".local" / "bin" / "remotesam")
    environ = {"REMOTESAM_EXECUTABLE": str(variable), "PATH": str(on_path.parent)}
    found = []
    for remove in (None, "setting", "variable", managed, on_path):
        if remove == "setting":
            setting = ""
        elif remove == "variable":
            del environ["REMOTESAM_EXECUTABLE"]
        elif remove is not None:
            remove.unlink()
        found.append(find(str(setting), environ, home).command)
    assert found == [
        (str(tmp_path / "set" / "remotesam"),),
        (str(variable),),
        (str(managed),),
        (str(on_path),),
        (str(local),),
    ]


def test_nothing_found_says_how_to_install(tmp_path):
    with pytest.raises(EngineError, match="uv tool install remotesam"):
        find("", {"PATH": ""}, tmp_path)


def test_never_the_python_that_runs_qgis(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(executable(tmp_path / "qgis" / "remotesam")))
    with pytest.raises(EngineError):
        find("", {"PATH": ""}, tmp_path)


@pytest.mark.parametrize("shape", ["python", "folder", "missing"])
def test_an_explicit_setting_may_be_a_python_or_an_environment_and_must_exist(tmp_path, shape):
    python = executable(tmp_path / "env" / "bin" / "python3.12")
    program = executable(tmp_path / "env" / "bin" / "remotesam")
    if shape == "python":
        assert find(str(python), {}, tmp_path).command == (str(python), "-m", "remotesam")
    elif shape == "folder":
        assert find(str(tmp_path / "env"), {}, tmp_path).command == (str(program),)
    else:  # a wrong setting is never papered over by the search
        environ = {"REMOTESAM_EXECUTABLE": str(program)}
        with pytest.raises(EngineError, match="No remotesam engine at"):
            find(str(tmp_path / "nothing"), environ, tmp_path)


def test_check_reads_the_doctor():
    assert check(ENGINE, os.environ)["remotesam"] == "0.0-fake"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ('{"protocol": 2, "remotesam": "9"}', "update this plugin"),
        ('{"protocol": 0, "remotesam": "0"}', "uv tool upgrade"),
        ('{"remotesam": "0"}', "speaks protocol None"),
        ("Traceback", "no usable answer"),
    ],
)
def test_check_refuses_what_it_cannot_follow(tmp_path, answer, message):
    script = tmp_path / "engine.py"
    script.write_text(f"print({answer!r})")
    with pytest.raises(EngineError, match=message):
        check(Engine((sys.executable, str(script)), "test"), os.environ)


def test_check_gives_up_on_a_silent_engine(tmp_path):
    script = tmp_path / "engine.py"
    script.write_text("import time; time.sleep(60)")
    with pytest.raises(EngineError, match="did not answer within 1 s"):
        ask(Engine((sys.executable, str(script)), "test"), [], os.environ, timeout=1)


def test_the_environment_of_qgis_does_not_reach_the_engine(tmp_path):
    qgis = tmp_path / "qgis"
    (qgis / "cert.pem").parent.mkdir()
    (qgis / "cert.pem").write_text("")
    mine = tmp_path / "mine.pem"
    mine.write_text("")
    hostile = {
        "PYTHONHOME": "/nowhere",
        "PYTHONPATH": "/usr/lib/python3/dist-packages",
        "PYTHONEXECUTABLE": "/usr/bin/python3",
        "__PYVENV_LAUNCHER__": "/usr/bin/python3",
        "PYTHONPLATLIBDIR": "x",
        "PROJ_LIB": "/usr/share/proj",
        "PROJ_DATA": "/usr/share/proj",
        "GDAL_DATA": "x",
        "GDAL_DRIVER_PATH": "x",
        "GDAL_PAM_PROXY_DIR": "x",
        "QT_PLUGIN_PATH": "x",
        "O4W_QT_PREFIX": "x",
        "QGIS_PREFIX_PATH": "/usr",
        "CONDA_PREFIX": "x",
        "VIRTUAL_ENV": "x",
        "LD_LIBRARY_PATH": f"{qgis}/lib:/opt/cuda/lib",
        "SSL_CERT_FILE": f"{qgis}/cert.pem",
        "REQUESTS_CA_BUNDLE": "/dangling.pem",
        "CURL_CA_BUNDLE": str(mine),
        "CUDA_VISIBLE_DEVICES": "1",
        "GDAL_CACHEMAX": "512",
        "AWS_PROFILE": "p",
        "PATH": os.environ["PATH"],
        "HOME": "/h",
    }
    assert clean_env(hostile, [str(qgis)], proxy="http://proxy:3128") == {
        "LD_LIBRARY_PATH": "/opt/cuda/lib",
        "CURL_CA_BUNDLE": str(mine),
        "CUDA_VISIBLE_DEVICES": "1",
        "GDAL_CACHEMAX": "512",
        "AWS_PROFILE": "p",
        "PATH": os.environ["PATH"],
        "HOME": "/h",
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONSAFEPATH": "1",
        "HTTP_PROXY": "http://proxy:3128",
        "HTTPS_PROXY": "http://proxy:3128",
        "http_proxy": "http://proxy:3128",
        "https_proxy": "http://proxy:3128",
    }


@pytest.mark.skipif(os.name == "nt", reason="layout of POSIX environments")
def test_a_python_of_another_environment_starts_under_a_poisoned_parent(tmp_path):
    """The engine's interpreter must be its own: prefix and modules, whatever QGIS has set."""
    venv.create(tmp_path / "engine", with_pip=False)
    python = tmp_path / "engine" / "bin" / "python"
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed')")
    poison = {
        "PYTHONHOME": str(tmp_path),
        "PYTHONPATH": str(tmp_path),
        "__PYVENV_LAUNCHER__": "/usr/bin/python3",
        "PYTHONPLATLIBDIR": "nowhere",
    }
    command = [str(python), str(FAKE), "doctor", "--json"]
    broken = subprocess.run(
        command, env={**os.environ, **poison}, capture_output=True, check=False, timeout=60
    )
    assert broken.returncode != 0, "the poison must be poisonous, or this test shows nothing"
    done = subprocess.run(
        command,
        env=clean_env({**os.environ, **poison}),
        capture_output=True,
        check=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert json.loads(done.stdout)["prefix"] == str(tmp_path / "engine")
