"""The rule that CI skips nothing, on a suite in a process of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

SUITE = """
import pytest
from tests.skips import BeyondInstalling

def test_import(): pytest.importorskip("no_such_package")
@pytest.mark.skipif(True, reason="no such program")
def test_mark(): pass
@pytest.fixture
def server(): pytest.skip("no such server")
def test_fixture(server): pass
def test_privilege(): raise BeyondInstalling("needs root")
@pytest.mark.xfail(strict=True)
def test_known(): raise ValueError
def test_good(): pass
"""


def outcomes(folder: Path, **environ: str) -> str:
    (folder / "conftest.py").write_text(
        "from tests.skips import pytest_make_collect_report, pytest_runtest_makereport\n"
    )
    (folder / "test_suite.py").write_text(SUITE)
    (folder / "test_module.py").write_text("import pytest\npytest.importorskip('no_such_package')\n")
    known = {name: value for name, value in os.environ.items() if name != "CI"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--continue-on-collection-errors", "."],
        cwd=folder,
        env={**known, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        check=False,
    ).stdout


def test_a_missing_thing_skips_at_home(tmp_path: Path) -> None:
    assert "1 passed, 5 skipped, 1 xfailed" in outcomes(tmp_path, CI="false")


def test_a_missing_thing_fails_in_ci(tmp_path: Path) -> None:
    said = outcomes(tmp_path, CI="true")
    assert "1 failed, 1 passed, 1 skipped, 1 xfailed, 3 errors" in said
    for reason in ("no_such_package", "no such program", "no such server"):
        assert re.search(f"CI skips nothing: .*{reason}", said), reason
    assert "test_module.py: skipped, and CI skips nothing" in said
