"""Tiled and merged equals whole; the same result from every executor, in every order, after every stop."""

import threading

import numpy as np
import pytest
import shapely

from remotesam.errors import Cancelled, ResumeError
from remotesam.run import runner
from remotesam.run.executors import SerialExecutor
from remotesam.segmenter.protocol import Query
from tests.fakes import ColourSegmenter
from tests.oracle import cells, polygons, segment


@pytest.fixture
def scene(make_raster):
    return make_raster(cells(5, 237, 311, 60), "scene.tif")


def tiled(scene, tmp_path, tile_size=64, padding=30, name="tiled", **settings):
    settings = {"tile_size": tile_size, "padding": padding, **settings}
    result = segment(scene, tmp_path / f"{name}.gpkg", **settings)
    passed_on = ("executor", "cancel", "listener", "resume", "segmenter")
    settings = {k: v for k, v in settings.items() if k not in passed_on}
    return polygons(result, scene, **settings)


@pytest.fixture
def whole(scene, tmp_path):
    return tiled(scene, tmp_path, tile_size=400, padding=0, name="whole")


@pytest.mark.parametrize(("tile_size", "padding"), [(100, 40), (64, 30), (97, 20), (300, 10)])
def test_tiled_equals_whole(scene, tmp_path, whole, tile_size, padding):
    assert tiled(scene, tmp_path, tile_size, padding) == whole


@pytest.mark.parametrize("seed", range(6))
def test_tiled_equals_whole_on_other_scenes_and_sizes(make_raster, tmp_path, seed):
    rng = np.random.default_rng(seed)
    height, width = (int(v) for v in rng.integers(90, 260, 2))
    scene = make_raster(cells(seed, height, width, 40), f"scene{seed}.tif")
    tile_size = int(rng.integers(40, 120))
    expected = tiled(scene, tmp_path, 400, 0, name="whole")
    assert tiled(scene, tmp_path, tile_size, tile_size // 2) == expected


def test_an_object_larger_than_many_tiles_is_one_polygon(make_raster, tmp_path):
    image = np.full((3, 200, 200), 90, np.uint8)
    image[:, 80:95, :] = 200  # a road from edge to edge
    image[:, 20:40, 20:40] = 30
    scene = make_raster(image, "field.tif")
    assert len(tiled(scene, tmp_path, 40, 15)) == 4


class Disagreeing(ColourSegmenter):
    """Cuts every region along a line that differs from chip to chip: no two tiles see the same objects."""

    def propose(self, queries):
        cut = []
        for query in queries:
            image = query.image.copy()
            row, col = (int(v) for v in np.random.default_rng(int(image.sum())).integers(20, 100, 2))
            image[: min(row, len(image) - 1)] ^= 1
            image[:, :col] ^= 2
            image[(query.image == 0).all(axis=2)] = 0
            cut.append(Query(image, query.points))
        return super().propose(cut)


@pytest.mark.parametrize("merge", ["overlap", "best-match"])
def test_tiles_that_disagree_still_give_a_coverage_that_holds_every_pixel_once(make_raster, tmp_path, merge):
    scene = make_raster(cells(9, 240, 260, 50), "scene.tif")
    settings = {"tile_size": 60, "padding": 25, "merge": merge, "min_area": 20, "absorb_area": 40}
    result = segment(scene, tmp_path / "out.gpkg", segmenter=Disagreeing(), **settings)
    found = np.array(shapely.from_wkb(polygons(result, scene, **settings)))
    assert shapely.coverage_is_valid(found)
    assert shapely.is_valid(found).all()
    assert shapely.area(found).sum() == pytest.approx(result.coverage * 240 * 260)


def test_without_merging_objects_are_cut_at_tile_borders(scene, tmp_path, whole):
    assert len(tiled(scene, tmp_path, merge="none")) > len(whole)


@pytest.mark.parametrize("merge", ["best-match", "mutual-best", "min-contact", "naive"])
def test_contact_strategies_reunite_objects_too(scene, tmp_path, whole, merge):
    pieces = len(tiled(scene, tmp_path, merge="none", name="none"))
    assert len(tiled(scene, tmp_path, merge=merge)) < 0.8 * pieces


def test_threads_give_the_same_polygons(scene, tmp_path, whole):
    assert tiled(scene, tmp_path, executor="threads") == whole


def test_the_order_of_tiles_does_not_matter(scene, tmp_path, whole, monkeypatch):
    class Backwards(SerialExecutor):
        def run(self, task, indices, cancel):
            return super().run(task, list(indices)[::-1], cancel)

    monkeypatch.setattr(runner, "SerialExecutor", Backwards)
    assert tiled(scene, tmp_path) == whole


class StopAfter:
    """A listener that stops the run after a number of events of one kind."""

    def __init__(self, event: str, count: int) -> None:
        self.cancel, self.event, self.count = threading.Event(), event, count

    def __call__(self, event, /, **fields):
        self.count -= event == self.event
        if self.count <= 0:
            self.cancel.set()


STOPS = [("tile", 1), ("tile", 7), ("step", 2), ("step", 25), ("step", 50)]


@pytest.mark.parametrize(("event", "count"), STOPS)
def test_interrupted_and_resumed_equals_uninterrupted(scene, tmp_path, whole, event, count):
    stop = StopAfter(event, count)
    with pytest.raises(Cancelled):
        tiled(scene, tmp_path, listener=stop, cancel=stop.cancel)
    seen = []
    result = tiled(scene, tmp_path, listener=lambda e, **f: seen.append(e))
    assert result == whole
    assert seen.count("tile") < 20


def test_finished_tiles_are_not_segmented_again(scene, tmp_path, whole):
    tiled(scene, tmp_path)

    class Refuses(ColourSegmenter):
        def propose(self, queries):
            raise AssertionError("segmented again")

    assert tiled(scene, tmp_path, segmenter=Refuses()) == whole


def test_a_changed_setting_raster_or_model_refuses_to_resume(scene, make_raster, tmp_path):
    tiled(scene, tmp_path)
    with pytest.raises(ResumeError, match=r"padding \(30 → 20\)"):
        tiled(scene, tmp_path, padding=20)

    class Other(ColourSegmenter):
        digest = "f" * 64

    with pytest.raises(ResumeError, match="model"):
        tiled(scene, tmp_path, segmenter=Other())
    make_raster(cells(6, 237, 311, 60), "scene.tif")
    with pytest.raises(ResumeError, match="raster"):
        tiled(scene, tmp_path)
    assert tiled(scene, tmp_path, resume=False)


def test_settings_after_the_tiles_are_applied_anew(scene, tmp_path, whole):
    tiled(scene, tmp_path, merge="none")

    class Refuses(ColourSegmenter):
        def propose(self, queries):
            raise AssertionError("segmented again")

    assert tiled(scene, tmp_path, segmenter=Refuses()) == whole


def test_two_scales_that_agree_give_what_one_gives(scene, tmp_path, whole):
    settings = {"tile_size": (50, 100), "padding": 40}
    result = segment(scene, tmp_path / "both.gpkg", **settings)
    assert polygons(result, scene, **settings) == whole
    assert [entry.tile_size for entry in result.stats.scales] == [100, 50]
    assert sum(entry.pixels for entry in result.stats.scales) == 237 * 311
    assert polygons(segment(scene, tmp_path / "both.gpkg", **settings), scene, **settings) == whole


def test_pixels_without_data_are_in_no_polygon(make_raster, tmp_path):
    image = cells(1, 120, 130, 20)
    image[:, 30:80, 40:110] = 0
    scene = make_raster(image, "hole.tif", nodata=0)
    result = segment(scene, tmp_path / "hole.gpkg", tile_size=50, padding=20)
    assert result.coverage == 1
    assert result.stats.valid_px == result.stats.area_px == 120 * 130 - 50 * 70
