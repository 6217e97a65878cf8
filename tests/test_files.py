"""Files appear whole or not at all, whoever else writes the same one and whatever stops the writer."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely

from remotesam.errors import OutputError
from remotesam.files import FileKind, check_place, kind_of, staged, suffixes, write_whole
from remotesam.vector.writer import write_features

WRITE_AND_WAIT = """
import sys
from pathlib import Path
from remotesam.files import staged
with staged(Path(sys.argv[1])) as part:
    part.write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_comes_with_what_belongs_to_it(tmp_path: Path) -> None:
    target = tmp_path / "map.tif"
    for end in ("", ".aux.xml", ".ovr"):
        (tmp_path / f"map.tif{end}").write_text("old")
    with staged(target, ["map.tif.aux.xml", "map.tif.ovr"]) as part:
        part.write_text("new")
        part.with_name("map.tif.aux.xml").write_text("new")
        assert target.read_text() == "old"
    assert names(tmp_path) == ["map.tif", "map.tif.aux.xml"]
    assert target.read_text() == (tmp_path / "map.tif.aux.xml").read_text() == "new"


def test_after_an_error_all_is_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "map.shp"
    target.write_text("old")
    (tmp_path / "map.prj").write_text("old")

    def fail() -> None:
        with staged(target, ["map.prj"]) as part:
            part.write_text("half")
            part.with_suffix(".dbf").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert names(tmp_path) == ["map.prj", "map.shp"]
    assert target.read_text() == (tmp_path / "map.prj").read_text() == "old"


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    """Each is suspended in the middle of its own; the last to finish wins."""
    target, inside = tmp_path / "out", threading.Barrier(2)
    second_may_end = threading.Event()

    def run(text: str, wait: bool) -> None:
        with staged(target) as part:
            part.write_text(text)
            inside.wait(10)
            if wait:
                assert second_may_end.wait(10)
            assert part.read_text() == text

    threads = [threading.Thread(target=run, args=args) for args in (("first", False), ("second", True))]
    for thread in threads:
        thread.start()
    threads[0].join(10)
    assert target.read_text() == "first"
    second_may_end.set()
    threads[1].join(10)
    assert target.read_text() == "second"
    assert names(tmp_path) == ["out"]


def test_what_a_killed_process_left_goes_and_what_a_live_one_writes_stays(tmp_path: Path) -> None:
    target = tmp_path / "out[1].gpkg"
    command = [sys.executable, "-c", WRITE_AND_WAIT, str(target)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as killed, subprocess.Popen(command, **pipes) as alive:
        for process in (killed, alive):
            assert process.stdout.readline() == "writing\n"
        killed.kill()
        killed.wait(10)
        assert len(names(tmp_path)) == 2
        with staged(target) as part:
            part.write_text("whole")
        assert len(names(tmp_path)) == 2
        alive.communicate("", timeout=10)
    assert names(tmp_path) == ["out[1].gpkg"]
    assert target.read_text() == "half"


def test_a_file_that_cannot_be_written_is_named_with_the_reason(tmp_path: Path) -> None:
    for write in (lambda path: write_whole(b"x", path), lambda path: staged(path).__enter__()):
        with pytest.raises(OutputError, match=r"nowhere/out\.html: cannot be written \(No such file"):
            write(tmp_path / "nowhere" / "out.html")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match=r"folder: cannot be written \(Is a directory\)"):
        write_whole(b"x", tmp_path / "folder")
    assert names(tmp_path) == ["folder"]
    with pytest.raises(OutputError, match="there is no folder"):
        check_place(tmp_path / "nowhere" / "out.html")
    with pytest.raises(OutputError, match="cannot be written there"):
        check_place(tmp_path / "folder")


def test_a_relative_name_without_folder_has_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_place("out.txt")
    with staged(Path("out.txt")) as part:
        part.write_text("x")
    assert names(tmp_path) == ["out.txt"]


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_the_log_of_an_earlier_geopackage_is_not_played_into_a_new_one(tmp_path: Path, journal: str) -> None:
    """A reader that has the file open, as QGIS does, leaves `-wal`: SQLite takes it for the new one's."""
    path, schema = tmp_path / "out.gpkg", pa.schema([("id", pa.int64())])

    def write(count: int) -> None:
        boxes = shapely.box(np.arange(count), 0, np.arange(count) + 1, 1)
        features = [(boxes, pa.table({"id": np.arange(count)}))]
        write_features(path, features, crs="EPSG:3301", schema=schema, overwrite=True)

    write(3)
    reader = sqlite3.connect(path)
    reader.execute(f"PRAGMA journal_mode={journal}")
    reader.execute("CREATE TABLE note (text)")
    reader.commit()
    assert (tmp_path / "out.gpkg-wal").exists() == (journal == "wal")
    write(7)
    with contextlib.closing(sqlite3.connect(path)) as found:
        assert found.execute("SELECT count(*) FROM segments").fetchone() == (7,)
        assert found.execute("SELECT name FROM sqlite_master WHERE name = 'note'").fetchone() is None
    reader.close()


def test_the_longest_suffix_names_the_kind_and_then_the_first() -> None:
    plain, coco = (
        FileKind(title="JSON", suffixes=(".json",)),
        FileKind(title="COCO", suffixes=(".coco.json",)),
    )
    other = FileKind(title="other", suffixes=(".json", ".txt"))
    kinds = [plain, coco, other]
    assert kind_of("a/b.COCO.JSON", kinds) is coco
    assert kind_of(Path("a/b.json"), kinds) is plain
    assert kind_of("b.txt", kinds) is other
    assert suffixes(kinds) == (".json", ".coco.json", ".txt")
    for name in ("a.gpkg", ".json", "json", "a/.coco.json/b"):
        with pytest.raises(OutputError, match=r"unknown format; name it \*\.json, \*\.coco\.json, \*\.txt"):
            kind_of(name, kinds)


def test_a_folder_that_may_not_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    # Root writes everywhere by a capability; without it, it is a user like others.
    mortal = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    code = (
        "import sys\n"
        "from remotesam.errors import OutputError\n"
        "from remotesam.files import check_place\n"
        "try: check_place(sys.argv[1])\n"
        "except OutputError as error: print(error)"
    )
    command = [*mortal, sys.executable, "-c", code, str(tmp_path / "out.gpkg")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    tmp_path.chmod(0o700)
    assert "cannot be written there" in said
