"""A run that is killed again and again, in every stage, ends in the polygons of one that was not."""

import multiprocessing
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from remotesam.run.store import RunStore
from remotesam.vector.writer import Writer
from tests.oracle import cells, polygons, segment

SETTINGS = {"tile_size": 64, "padding": 30, "min_area": 30, "absorb_area": 60, "simplify": 1.0}


def run_until_killed(scene: Path, output: Path, fuse: int, scales: bool) -> None:
    """Run, and die without any clean-up at the `fuse`-th write, half of it done."""
    left = fuse
    put, write = RunStore.put, Writer.write

    def die(stage: str) -> None:
        (output.parent / "deaths").open("a").write(f"{stage}\n")
        os._exit(9)

    def fragile_put(store: RunStore, name: str, content: bytes) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            part = Path(store.path(name) + ".half.part")
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(content[: len(content) // 2])
            die(name.split("/")[0])
        put(store, name, content)

    def fragile_write(writer: Writer, *arguments: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            die("write")
        write(writer, *arguments)

    RunStore.put, Writer.write = fragile_put, fragile_write
    segment(scene, output, **settings(scales))
    os._exit(0)


def settings(scales: bool) -> dict[str, object]:
    # Segments of up to 4000 px count as small: there is something to decide between joins and polygons.
    small = {**SETTINGS, "absorb_area": 4000}
    return {**small, "tile_size": (48, 96)} if scales else small


@pytest.mark.slow
@pytest.mark.parametrize("scales", [False, True])
def test_killed_at_random_moments_and_resumed_gives_the_same_polygons(make_raster, tmp_path, scales):
    scene = make_raster(cells(5, 237, 311, 60), "scene.tif")
    whole = polygons(segment(scene, tmp_path / "whole.gpkg", **settings(scales)), scene, **settings(scales))
    rng = random.Random(11)
    fork = multiprocessing.get_context("fork")
    for _ in range(5):
        while True:
            fuse = rng.choice([rng.randint(1, 4), rng.randint(1, 30)])
            child = fork.Process(target=run_until_killed, args=(scene, tmp_path / "out.gpkg", fuse, scales))
            child.start()
            child.join()
            if child.exitcode == 0:
                break
            assert child.exitcode == 9
        result = segment(scene, tmp_path / "out.gpkg", **settings(scales))
        assert polygons(result, scene, **settings(scales)) == whole
        RunStore(result.run_dir).clean()
    deaths = Counter((tmp_path / "deaths").read_text().split())
    expected = {"tiles", "seamlines", "seams", "contacts", "match", "polygons"} | (
        {"fused"} if scales else {"write"}
    )
    assert expected <= set(deaths)
    assert sum(deaths.values()) >= 50
