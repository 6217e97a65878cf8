"""How well the strategies reunite objects that tiles have cut: `python benchmarks/merge.py`.

Scenes of random cells are cut into tiles. Every tile sees the truth with errors of its own: displaced, and
with objects split that other tiles leave whole. The strategies have to find out what belongs together.
Printed are the mean over all true objects of their best IoU with any segment, and the largest segment's share
of the scene: a chain of wrong joins shows there first. The planar counterpart of the spherical table in
`benchmarks/panorama.py`; all seeds are fixed, and the held-out ones were never used to choose a threshold.

With `--image FILE` (needs scikit-image) the tiles of a real image are segmented by colour, each by itself
(Felzenszwalb and Huttenlocher 2004), and compared with the segmentation of the whole: no truth, but tiles
that disagree as a model's do. With `--run DIR` the strategies join the tiles of a finished run of
`remotesam segment`, so labels that the model made; `--reference FILE` adds the mean IoU against polygons.
The seam rate is the share of the tile borders on which a segment ends exactly at the border.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import geopandas
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.features import rasterize
from scipy import ndimage
from scipy.spatial import cKDTree

from remotesam.choices import STRATEGIES
from remotesam.config import make_config
from remotesam.evaluation.metrics import LEAST_RUN, seam_count
from remotesam.grid import Tile, TileGrid, strip
from remotesam.merge.components import Components, Edges, components
from remotesam.merge.evidence import contact_evidence, facing_lines, strip_evidence
from remotesam.merge.joins import Joins, MatchRule, Pair, Rule, join_overlap
from remotesam.run.job import TileJob, open_for
from remotesam.run.layout import labels_name, segments_name
from remotesam.run.records import UnitSummary
from remotesam.run.store import RunStore
from remotesam.tiles.labels import owned_first
from remotesam.windows import Window

Labels = NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A kind of scene, and how badly tiles see it."""

    name: str
    size: int = 768
    """Side of the scene, px."""
    cells: int = 230
    """Objects."""
    tile_size: int = 128
    padding: int = 16
    gap: float = 0.0
    """Unlabelled border between objects, px."""
    shift: float = 0.0
    """Standard deviation of each tile's displacement in x and y, px."""
    splits: float = 0.0
    """Share of objects that a tile splits in two, decided by each tile alone."""


CASES = (
    Case(name="gaps, clean", gap=2),
    Case(name="no gaps, clean"),
    Case(name="no gaps, shifted", shift=1.5),
    Case(name="no gaps, shifted, 15 % split", shift=1.5, splits=0.15),
    Case(name="no gaps, shifted twice, 15 % split", shift=3, splits=0.15),
    Case(name="gaps, shifted, 30 % split", gap=2, shift=1.5, splits=0.3),
    Case(name="objects larger than tiles, 15 % split", cells=20, shift=1.5, splits=0.15),
    Case(name="small tiles, shifted, 15 % split", tile_size=48, padding=8, shift=1, splits=0.15),
)


@dataclass(frozen=True, slots=True, eq=False)
class SeenTile:
    """What one tile made of its chip."""

    tile: Tile
    labels: Labels
    """Labels of the chip; 1..n_core own core pixels."""
    n_core: int

    def look(self, window: Window) -> Labels:
        """Labels in a window of raster pixels."""
        return self.labels[window.relative_to(self.tile.chip).slices]


def cells(case: Case, rng: np.random.Generator) -> Labels:
    """Labels 1..cells of a scene: the cells nearest to random points, with wavy borders and gaps."""
    points = rng.uniform(0, case.size, (case.cells, 2))
    rows, cols = np.mgrid[: case.size, : case.size] + 0.5
    wave = case.size / np.sqrt(case.cells) / 6
    warp = [ndimage.gaussian_filter(rng.normal(size=rows.shape), 2 * wave) for _ in range(2)]
    rows, cols = (
        axis + field / field.std() * wave / 2 for axis, field in zip((rows, cols), warp, strict=True)
    )
    distance, nearest = cKDTree(points).query(np.stack([rows, cols], axis=-1).reshape(-1, 2), k=2)
    labels = nearest[:, 0] + 1
    labels[distance[:, 1] - distance[:, 0] < case.gap] = 0
    return labels.reshape(case.size, case.size).astype(np.int32)


def see(truth: Labels, tile: Tile, case: Case, rng: np.random.Generator) -> SeenTile:
    """One tile's labels: displaced, with some objects split, and numbered by the tile itself."""
    chip = _displaced(truth, tile.chip, rng.normal(0, case.shift, 2) if case.shift else np.zeros(2))
    for label in np.unique(chip[chip > 0]):
        if rng.random() < case.splits:
            _split(chip, int(label), rng)
    labels, _, n_core = owned_first(regions(chip), core_mask(tile))
    return SeenTile(tile, labels, n_core)


def regions(chip: NDArray[np.integer]) -> Labels:
    """Every 4-connected region of one label gets a label of its own."""
    found = np.zeros(chip.shape, np.int32)
    count = 0
    for label, box in enumerate(ndimage.find_objects(chip), start=1):
        if box is not None:
            parts, n = ndimage.label(chip[box] == label)
            found[box][parts > 0] = parts[parts > 0] + count
            count += n
    return found


def join_tiles(
    seen: list[SeenTile], grid: TileGrid, strategy: str = "overlap", rule: MatchRule | None = None
) -> Components:
    """Compare all neighbours and follow the joins."""
    edges = []
    for one in seen:
        for neighbour in grid.neighbours(one.tile.index):
            joins = join_pair(one, seen[neighbour.index], strategy, rule)
            edges.append(Edges.of(joins, one.tile.index, neighbour.index))
    return components([tile.n_core for tile in seen], Edges.concatenate(edges))


def join_pair(one: SeenTile, other: SeenTile, name: str, thresholds: MatchRule | None) -> Joins:
    """The joins of two neighbours by a strategy, with other thresholds where it has any."""
    strategy, lines, windows = (
        STRATEGIES[name],
        facing_lines(one.tile, other.tile),
        strip(one.tile, other.tile),
    )
    seen = contacts = None
    if "strip" in strategy.evidence and windows:
        seen = strip_evidence(
            *(np.concatenate([tile.look(window).ravel() for window in windows]) for tile in (one, other))
        )
    if "contacts" in strategy.evidence and lines is not None:
        contacts = contact_evidence(one.look(lines[0]), other.look(lines[1]))
    areas = [np.bincount(tile.labels.ravel())[1:] for tile in (one, other)]
    pair = Pair(
        strip=seen,
        contacts=contacts,
        chip_area_a=areas[0],
        chip_area_b=areas[1],
        n_core_a=one.n_core,
        n_core_b=other.n_core,
        at_corner=lines is None,
    )
    rule: Rule = strategy.load()
    return rule(pair) if thresholds is None or name != "overlap" else join_overlap(pair, thresholds)


def assemble(seen: list[SeenTile], grid: TileGrid, joined: Components) -> NDArray[np.int64]:
    """The final ids of the whole scene."""
    final = np.zeros((grid.height, grid.width), np.int64)
    for tile in seen:
        final[tile.tile.core.slices] = np.append(0, joined.lut(tile.tile.index))[tile.look(tile.tile.core)]
    return final


def best_ious(truth: NDArray[np.integer], final: NDArray[np.integer]) -> NDArray[np.float64]:
    """For each true object its IoU with the segment that fits it best."""
    evidence = strip_evidence(truth, final)
    best = np.zeros(int(truth.max()) + 1)
    np.maximum.at(best, evidence.label_a, evidence.iou)
    return best[np.unique(truth[truth > 0])]


def scores(case: Case, seed: int, rule: MatchRule | None = None) -> dict[str, tuple[float, float, int]]:
    """Mean IoU, largest segment's share and refused joins of each strategy on one scene."""
    rng = np.random.default_rng(seed)
    truth = cells(case, rng)
    grid = TileGrid(case.size, case.size, case.tile_size, case.padding)
    seen = [see(truth, tile, case, rng) for tile in grid]
    result = {}
    for strategy in STRATEGIES:
        joined = join_tiles(seen, grid, strategy, rule)
        final = assemble(seen, grid, joined)
        largest = np.bincount(final[final > 0]).max(initial=0) / final.size
        result[strategy] = (float(best_ious(truth, final).mean()), float(largest), joined.refused)
    return result


def _displaced(truth: Labels, window: Window, by: NDArray[np.float64]) -> Labels:
    """The truth in a window, moved; what lies outside the scene repeats its border."""
    rows = np.clip(np.arange(window.row, window.row_stop) + round(float(by[0])), 0, truth.shape[0] - 1)
    cols = np.clip(np.arange(window.col, window.col_stop) + round(float(by[1])), 0, truth.shape[1] - 1)
    return truth[np.ix_(rows, cols)].copy()


def _split(chip: Labels, label: int, rng: np.random.Generator) -> None:
    """Cut an object in two along a random line through one of its pixels."""
    rows, cols = np.nonzero(chip == label)
    middle, angle = rng.integers(len(rows)), rng.uniform(0, np.pi)
    side = (rows - rows[middle]) * np.cos(angle) + (cols - cols[middle]) * np.sin(angle) > 0
    chip[rows[side], cols[side]] = int(chip.max()) + 1


def _strip_speed() -> None:
    """Strip evidence against the plain way of counting, on the strip of two default tiles."""
    rng = np.random.default_rng(1)
    truth = cells(Case(name="", size=1100, cells=900), rng)
    a, b = truth[:100, :1000], truth[1:101, :1000]

    def plain() -> None:
        pairs, _ = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1, return_counts=True)
        assert pairs.size

    def packed() -> None:
        keys, _ = np.unique(a.ravel().astype(np.int64) << 32 | b.ravel(), return_counts=True)
        assert keys.size

    times = []
    for count in (plain, packed, lambda: strip_evidence(a, b)):
        laps = []
        for _ in range(7):
            start = time.perf_counter()
            count()
            laps.append(time.perf_counter() - start)
        times.append(min(laps))
    print(
        f"\nstrip of 100×1000 px: np.unique of rows {times[0] * 1e3:.1f} ms, of packed keys "
        f"{times[1] * 1e3:.1f} ms, strip_evidence {times[2] * 1e3:.1f} ms"
    )


def core_mask(tile: Tile) -> NDArray[np.bool_]:
    """(H, W) of a tile's chip, True = its core."""
    owned = np.zeros(tile.chip.shape, np.bool_)
    owned[tile.core_in_chip.slices] = True
    return owned


def read_tiles(store: RunStore, grid: TileGrid) -> list[SeenTile]:
    """The tiles of a finished run."""
    summaries = (store.get_summary(segments_name(tile.index), UnitSummary) for tile in grid)
    return [
        SeenTile(tile, store.get_labels(labels_name(tile.index)), summary.segments)
        for tile, summary in zip(grid, summaries, strict=True)
    ]


def read_reference(path: Path, raster: str) -> Labels:
    """Polygons burnt into the pixels of a raster, 1..n in the order of the file."""
    with rasterio.open(raster) as dataset:
        shapes = geopandas.read_file(path).to_crs(dataset.crs).geometry
        numbered = ((shape, k) for k, shape in enumerate(shapes, start=1))
        burnt = rasterize(numbered, dataset.shape, transform=dataset.transform, dtype="int32")
    return np.asarray(burnt)


def compare(seen: list[SeenTile], grid: TileGrid, truth: Labels | None) -> None:
    """Print what each strategy makes of given tiles; the IoU is that of objects of 200 px that tiles cut."""
    print(f"{len(seen)} tiles of {grid.tile_size} px, padding {grid.padding}")
    print(f"{'strategy':<14}{'segments':>9}{'largest':>9}{'seam rate':>11}{'refused':>9}{'mean IoU':>10}")
    for strategy in STRATEGIES:
        joined = join_tiles(seen, grid, strategy)
        final = assemble(seen, grid, joined)
        padded = np.pad(final.astype(np.uint32), LEAST_RUN)
        valid = np.pad(np.ones(final.shape, np.bool_), LEAST_RUN)
        rate = seam_count(padded, valid, -LEAST_RUN, -LEAST_RUN, grid.tile_size, 0).rate
        largest = np.bincount(final[final > 0]).max(initial=0) / final.size
        iou = "" if truth is None else f"{best_ious(truth, final)[_cut(truth, grid)].mean():>10.3f}"
        print(f"{strategy:<14}{joined.count:>9}{largest:>9.1%}{rate:>11.1%}{joined.refused:>9}{iou}")


def compare_on_image(path: Path, tile_size: int, padding: int) -> None:
    """Compare the strategies on tiles of a real image that are segmented by colour."""
    from skimage.segmentation import felzenszwalb

    def segment(part: NDArray[np.uint8]) -> Labels:
        return regions(felzenszwalb(part, scale=300, sigma=0.8, min_size=60).astype(np.int32) + 1)

    with rasterio.open(path) as dataset:
        window = rasterio.windows.Window(0, 0, min(dataset.width, 1024), min(dataset.height, 1024))
        image = np.moveaxis(dataset.read([1, 2, 3], window=window), 0, -1)
    if image.dtype != np.uint8:
        image = np.clip(image / np.percentile(image, 98) * 255, 0, 255).astype(np.uint8)
    grid = TileGrid(*image.shape[:2], tile_size, padding)
    seen = []
    for tile in grid:
        labels, _, n_core = owned_first(segment(image[tile.chip.slices]), core_mask(tile))
        seen.append(SeenTile(tile, labels, n_core))
    print(f"{path.name}, first {image.shape[0]}×{image.shape[1]} px: ", end="")
    compare(seen, grid, segment(image))


def _cut(truth: Labels, grid: TileGrid) -> NDArray[np.bool_]:
    """For each object that has pixels: True = it has at least 200, in more than one core."""
    cores = np.zeros(int(truth.max()) + 1, np.int64)
    for tile in grid:
        cores[np.unique(truth[tile.core.slices])] += 1
    area = np.bincount(truth.ravel())
    present = np.unique(truth[truth > 0])
    return (cores[present] > 1) & (area[present] >= 200)


def compare_on_run(directory: Path, reference: Path | None) -> None:
    """Compare the strategies on the tiles of a finished run."""
    store = RunStore(directory)
    manifest = store.manifest()
    config = make_config(manifest.config)
    grid = TileJob(open_for(manifest.source, config), str(directory), config).grid
    print(f"{manifest.source}: ", end="")
    truth = read_reference(reference, manifest.source) if reference else None
    compare(read_tiles(store, grid), grid, truth)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=4, help="scenes per case (seeds 0, 1, …)")
    parser.add_argument("--held-out", type=int, default=6, help="held-out scenes (seeds 100, 101, …)")
    parser.add_argument("--image", type=Path, metavar="FILE", help="compare on this image instead")
    parser.add_argument("--tile-size", type=int, default=200, help="for --image, px")
    parser.add_argument("--padding", type=int, default=32, help="for --image, px")
    parser.add_argument("--run", type=Path, metavar="DIR", help="compare on the tiles of this run instead")
    parser.add_argument("--reference", type=Path, metavar="FILE", help="true polygons, for --run")
    options = parser.parse_args()
    if options.image:
        compare_on_image(options.image, options.tile_size, options.padding)
        return
    if options.run:
        compare_on_run(options.run, options.reference)
        return
    strategies = STRATEGIES
    print("mean IoU, and largest segment's share of the scene in %")
    print(f"{'case':<40}" + "".join(f"{name:>18}" for name in strategies) + f"{'refused':>9}")
    held_out = replace(CASES[3], name="held-out: " + CASES[3].name)
    runs = [(case, range(options.seeds)) for case in CASES]
    for case, seeds in [*runs, (held_out, range(100, 100 + options.held_out))]:
        if not seeds:
            continue
        found = [scores(case, seed) for seed in seeds]
        row = f"{case.name:<40}"
        for name in strategies:
            iou, share = (np.mean([one[name][k] for one in found]) for k in (0, 1))
            row += f"{iou:>11.3f} {100 * share:>5.1f}%"
        print(row + f"{sum(one['overlap'][2] for one in found):>9}", flush=True)
    _strip_speed()


if __name__ == "__main__":
    main()
