"""A run that is killed again and again, in every stage, ends in the polygons of one that was not."""

import itertools
import multiprocessing
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from remotesam.run.store import RunStore
from remotesam.vector import writer
from tests.oracle import cells, polygons, segment

SETTINGS = {"tile_size": 64, "padding": 30, "min_area": 30, "absorb_area": 60, "simplify": 1.0}


def run_until_killed(scene: Path, output: Path, doomed: Callable[[str], bool], scales: bool) -> None:
    """Run, and die without any clean-up, half of a write done, when `doomed` says so of the write's stage."""
    put, as_rows = RunStore.put, writer.as_rows

    def die(stage: str) -> None:
        (output.parent / "deaths").open("a").write(f"{stage}\n")
        os._exit(9)

    def fragile_put(store: RunStore, name: str, content: bytes) -> None:
        stage = name.split("/", 1)[0]
        if doomed(stage):
            part = Path(store.path(name) + ".half.part")
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(content[: len(content) // 2])
            die(stage)
        put(store, name, content)

    def fragile_rows(*arguments: Any, **more: Any) -> Any:
        if doomed("write"):
            die("write")
        return as_rows(*arguments, **more)

    RunStore.put, writer.as_rows = fragile_put, fragile_rows
    segment(scene, output, **settings(scales))
    os._exit(0)


def countdown(fuse: int) -> Callable[[str], bool]:
    """True at the `fuse`-th write."""
    left = itertools.count(fuse, -1)
    return lambda _: next(left) == 1


def deaths(folder: Path) -> Counter[str]:
    """How often a run died in each stage."""
    path = folder / "deaths"
    return Counter(path.read_text().split() if path.exists() else ())


def settings(scales: bool) -> dict[str, object]:
    # Segments of up to 4000 px count as small: there is something to decide between joins and polygons.
    small = {**SETTINGS, "absorb_area": 4000}
    return {**small, "tile_size": (48, 96)} if scales else small


def stages(scales: bool) -> set[str]:
    each = {"tiles", "seamlines", "seams", "contacts", "match", "polygons"}
    return each | ({"fused"} if scales else {"write"})


class Scene:
    """A raster, its polygons, and a run of it that is killed and started until it ends."""

    def __init__(self, scene: Path, folder: Path, scales: bool) -> None:
        self.scene, self.folder, self.scales = scene, folder, scales
        self.whole = self._polygons("whole.gpkg")[0]

    def survive(self, doom: Callable[[], Callable[[str], bool]]) -> None:
        """Kill runs, each by what `doom` gives, until one ends; its polygons are those of the whole run."""
        fork = multiprocessing.get_context("fork")
        while True:
            arguments = (self.scene, self.folder / "out.gpkg", doom(), self.scales)
            child = fork.Process(target=run_until_killed, args=arguments)
            child.start()
            child.join()
            if child.exitcode == 0:
                break
            assert child.exitcode == 9
        found, run_dir = self._polygons("out.gpkg")
        assert found == self.whole
        assert [path.name for path in self.folder.glob("*.part")] == []
        RunStore(run_dir).clean()

    def _polygons(self, name: str) -> tuple[object, str]:
        result = segment(self.scene, self.folder / name, **settings(self.scales))
        return polygons(result, self.scene, **settings(self.scales)), result.run_dir


@pytest.fixture(params=[False, True], ids=["one scale", "two scales"])
def scene(request, make_raster, tmp_path):
    return Scene(make_raster(cells(5, 237, 311, 60), "scene.tif"), tmp_path, request.param)


@pytest.mark.gate
def test_killed_once_in_every_stage_and_resumed_gives_the_same_polygons(scene):
    scene.survive(lambda: lambda stage: stage not in deaths(scene.folder))
    died = deaths(scene.folder)
    assert stages(scene.scales) <= set(died)
    assert set(died.values()) == {1}


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed_gives_the_same_polygons(scene):
    rng = random.Random(11)
    for _ in range(5):
        scene.survive(lambda: countdown(rng.choice([rng.randint(1, 4), rng.randint(1, 30)])))
    died = deaths(scene.folder)
    assert stages(scene.scales) <= set(died)
    assert died.total() >= 50
