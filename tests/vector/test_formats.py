"""A format is a row of a table and a function: a toy one, registered here, takes a run's polygons."""

from __future__ import annotations

import csv
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import shapely

from remotesam.errors import OutputError
from remotesam.vector import formats
from remotesam.vector.formats import GEOMETRY, Format, Layer
from tests.command import Command
from tests.oracle import cells, segment
from tests.vector.test_writer import write


def write_wkt(file_format: Format, layer: Layer) -> None:
    """One row per polygon, the outline as text in the last column."""
    with layer.path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, delimiter=file_format.options["SEPARATOR"])
        table.writerow([*layer.schema.names[:-1], "wkt"])
        for batch in layer.batches:
            for row in batch.to_pylist():
                wkt = shapely.to_wkt(shapely.from_wkb(row.pop(GEOMETRY)), rounding_precision=-1)
                table.writerow([*row.values(), wkt])


TOY = Format(
    title="WKT in a table",
    suffixes=(".wkt.csv",),
    writer="tests.vector.test_formats:write_wkt",
    options={"SEPARATOR": ";"},
)


@pytest.fixture
def toy() -> Iterator[None]:
    formats.FORMATS.append(TOY)
    yield
    formats.FORMATS.remove(TOY)


@pytest.mark.usefixtures("toy")
def test_a_registered_format_takes_the_polygons_of_a_run(make_raster, tmp_path: Path) -> None:
    raster = make_raster(cells(8, 150, 180, 30), "scene.tif")
    frame = segment(raster, tmp_path / "usual.gpkg", tile_size=64).polygons()
    result = segment(raster, tmp_path / "out.wkt.csv", tile_size=64)
    with Path(result.output).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    assert len(rows) == len(frame) == result.stats.segments > 10
    assert [int(row["segment_id"]) for row in rows] == frame["segment_id"].tolist()
    outlines = shapely.from_wkt([row["wkt"] for row in rows])
    assert shapely.equals(outlines, frame.geometry.to_numpy()).all()
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.usefixtures("toy")
def test_a_full_disk_is_explained_for_a_registered_format(tmp_path: Path, monkeypatch) -> None:
    def full(file_format: Format, layer: Layer) -> None:
        next(layer.batches)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tests.vector.test_formats.write_wkt", full)
    with pytest.raises(OutputError, match=r"out\.wkt\.csv: cannot be written \(No space left on device\)"):
        write(tmp_path / "out.wkt.csv")
    assert list(tmp_path.iterdir()) == []


def test_every_row_leads_to_a_writer() -> None:
    from remotesam.panorama.formats import DOCUMENTS

    for row in formats.FORMATS:
        assert callable(pkgutil.resolve_name(row.writer))
        assert (row.driver != "") == row.writer.startswith("remotesam.vector.ogr:")
    for document in DOCUMENTS:
        assert callable(pkgutil.resolve_name(document.encoder))


def test_the_help_names_every_format(capfd: pytest.CaptureFixture[str]) -> None:
    from remotesam.panorama import formats as of_panoramas

    for command, suffixes in (("segment", formats.suffixes()), ("panorama", of_panoramas.suffixes())):
        text = Command(capfd)(command, "--help").out
        assert [suffix for suffix in suffixes if suffix not in text] == []
