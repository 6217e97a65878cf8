"""A run over tiles and a run over views are two kinds of the same: one manifest, one status, one clean."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from remotesam.errors import DeviceError, ResumeError
from remotesam.panorama.segment import retry as retry_panorama
from remotesam.panorama.segment import segment_panorama
from remotesam.pipeline.segment import retry
from remotesam.run.layout import STAGES, all_content, content_after
from remotesam.run.options import RunOptions
from remotesam.run.records import FORMAT
from remotesam.run.status import describe, run_status
from remotesam.run.store import RunStore
from tests.command import Command
from tests.fakes import ColourSegmenter
from tests.oracle import cells, polygons, segment
from tests.sphere_fakes import PaintSegmenter, painted

QUICK = {"points_per_side": 4, "max_passes": 1, "min_area": 30, "absorb_area": 0, "workers": "1"}
TILES = {"tile_size": 64, "padding": 8}


@pytest.fixture
def sphere(tmp_path):
    path = tmp_path / "pano.png"
    cv2.imwrite(str(path), painted(512)[0][..., ::-1])
    return path


def run_panorama(path, output, segmenter=None, **more):
    return segment_panorama(path, output, segmenter=segmenter or PaintSegmenter(), **QUICK, **more)


class Broken(PaintSegmenter):
    """Loses its device at the third view."""

    def propose(self, queries):
        if self.network_calls.encodes >= 2:
            self.asked = getattr(self, "asked", 0) + len(queries)
            raise DeviceError("the device is gone; restart")
        return super().propose(queries)


def test_status_of_a_panorama(sphere, tmp_path):
    result = run_panorama(sphere, tmp_path / "o.gpkg")
    found = run_status(result.run_dir)
    assert (found.kind, found.units) == ("panorama", result.stats.units)
    assert found.finished["tiles"] == found.units
    assert found.written
    assert f"{found.units} of {found.units} views" in describe(found)


def test_a_failed_view_is_named_and_retried_alone(sphere, tmp_path):
    whole = run_panorama(sphere, tmp_path / "whole.gpkg")

    class FailsOnce(PaintSegmenter):
        def propose(self, queries):
            if self.network_calls.encodes == 4:
                self.network_calls.encodes += 1
                raise RuntimeError("a bad moment")
            return super().propose(queries)

    partial = run_panorama(sphere, tmp_path / "o.gpkg", FailsOnce())
    (failure,) = run_status(partial.run_dir).failures
    assert failure.unit == partial.failed[0]
    assert "a bad moment" in failure.error
    again = PaintSegmenter()
    mended = retry_panorama(partial.run_dir, RunOptions(segmenter=again))
    assert again.network_calls.encodes == 1
    assert run_status(partial.run_dir).failures == []
    assert np.array_equal(mended.labels, whole.labels)


def test_the_commands_know_both_kinds(command: Command, sphere, tmp_path):
    options = ["--view-size", "64", "--views", "cube", "--points-per-side", "8", "--max-passes", "1"]
    ran = command("panorama", sphere, "-o", tmp_path / "o.gpkg", "--progress", "none", *options)
    assert ran.code == 0, ran.err
    store = RunStore(tmp_path / "o.remotesam")
    store.remove(["tiles/3.arrow"])
    store.put("tiles/3.failed", b'{"unit": 3, "error": "a bad moment"}')
    ran = command("run", "status", store.url)
    assert ran.code == 0
    assert "failed: view 3: a bad moment" in ran.out
    ran = command("run", "retry-failed", store.url)
    assert ran.code == 0, ran.err
    assert "failed" not in command("run", "status", store.url).out
    assert command("run", "clean", store.url).code == 0
    assert not any(Path(store.url).iterdir())


def test_a_lost_device_stops_either_kind_at_once(sphere, make_raster, tmp_path):
    broken = Broken()
    with pytest.raises(DeviceError, match="device is gone"):
        run_panorama(sphere, tmp_path / "o.gpkg", broken)
    assert broken.asked == 1
    assert len(RunStore(tmp_path / "o.remotesam").finished("tiles")) == 2


def test_a_retry_takes_the_settings_of_the_last_run(make_raster, tmp_path):
    scene = make_raster(cells(3, 128, 128, 12), "scene.tif")
    first = segment(scene, tmp_path / "o.gpkg", **TILES)
    last = segment(scene, tmp_path / "o.gpkg", merge="none", **TILES)
    assert last.stats.segments > first.stats.segments
    expected = polygons(last, scene, **TILES)
    RunStore(last.run_dir).remove(["tiles/1.arrow"])
    again = retry(last.run_dir, RunOptions(segmenter=ColourSegmenter()))
    assert polygons(again, scene, **TILES) == expected


def test_clean_leaves_nothing_of_ours(make_raster, tmp_path):
    scene = make_raster(cells(4, 128, 128, 12), "scene.tif")
    result = segment(
        scene, tmp_path / "o.gpkg", tile_size=(64, 32), padding=8, band_statistics=True, min_area=40
    )
    (tmp_path / "o.remotesam" / "mine.txt").write_text("keep")
    RunStore(result.run_dir).clean()
    assert [path.name for path in Path(result.run_dir).iterdir()] == ["mine.txt"]


def test_every_stage_is_told_in_words(make_raster, tmp_path):
    scene = make_raster(cells(5, 128, 128, 12), "scene.tif")
    stages = []

    def listener(event, /, **fields):
        if event == "stage":
            stages.append(fields)

    segment(
        scene,
        tmp_path / "o.gpkg",
        tile_size=(64, 32),
        padding=8,
        band_statistics=True,
        min_area=40,
        listener=listener,
    )
    names = {fields["name"] for fields in stages}
    assert names <= set(STAGES)
    assert {"tiles", "seams", "colours", "polygons", "bands", "write"} <= names
    assert all(
        ("/" not in fields["title"] and " " in fields["title"]) or fields["title"] == "Writing"
        for fields in stages
    )
    assert next(fields["title"] for fields in stages if fields["name"] == "tiles") == "Segmenting tiles"


def test_what_comes_after_a_stage_is_thrown_away_with_it():
    assert content_after("polygons") == ["polygons", "written.json"]
    assert set(content_after("seams")) == set(all_content()) - {
        "tiles",
        "live.gpkg",
        "scales",
        "stages.json",
        "probe",
    }
    assert "polygons" in content_after("colours")
    assert "match" not in content_after("colours")


def test_another_kind_or_version_of_run_is_one_line(sphere, make_raster, tmp_path):
    run_panorama(sphere, tmp_path / "o.gpkg")
    with pytest.raises(ResumeError, match="kind of run"):
        segment(make_raster(cells(1, 64, 64, 4)), tmp_path / "o.gpkg", **TILES)
    store = RunStore(tmp_path / "o.remotesam")
    store.put_json("manifest.json", {"format": FORMAT - 1, "grid": [1, 1, 1, 1]})
    with pytest.raises(ResumeError, match="another version"):
        run_status(store.url)


@pytest.mark.parametrize(
    "option",
    [
        "--band-statistics",
        "--outline=smooth",
        "--label-attributes",
        "--tile-size=500",
        "--padding=10",
        "--min-contact=5",
        "--aoi=0,0,1,1",
        "--dst-crs=EPSG:4326",
        "--merge=naive",
    ],
)
def test_a_panorama_takes_what_it_uses_and_nothing_else(command: Command, sphere, tmp_path, option):
    ran = command("panorama", sphere, "-o", tmp_path / "o.gpkg", option)
    assert ran.code == 2
    assert option.split("=")[0] in ran.err
