"""Tiled polygons against the pixels they come from and against the raster traced in one piece."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from remotesam.grid import TileGrid
from remotesam.polygons.task import parts_from_table, parts_to_table
from remotesam.polygons.tile_polygons import tile_parts
from remotesam.polygons.union import SeamUnion
from remotesam.windows import Window

Labels = NDArray[np.int64]


def vectorise(labels: Labels, tile_size: int, tolerance: float, shuffle: int | None = None) -> dict:
    """Id → geometry, through tiles in row-major or shuffled order."""
    grid = TileGrid(*labels.shape, tile_size, 0)
    ringed = np.pad(labels, 1)
    order = np.arange(len(grid))
    tiles_of: dict[int, int] = {}
    for tile in grid:
        for label in np.unique(labels[tile.core.slices]).tolist():
            tiles_of[label] = tiles_of.get(label, 0) + 1
    if shuffle is not None:
        np.random.default_rng(shuffle).shuffle(order)
    union, found = SeamUnion(tiles_of), {}
    for index in order:
        core = grid[int(index)].core
        ring = ringed[core.row : core.row_stop + 2, core.col : core.col_stop + 2]
        ids, geometries = union.add(tile_parts(ring, core, tolerance=tolerance))
        assert list(ids) == sorted(ids)
        found.update(zip(ids.tolist(), geometries, strict=True))
    assert union.held == 0
    assert len(union.waiting()) == 0
    return found


def stacked(found: dict) -> NDArray[np.object_]:
    return np.array([found[key] for key in sorted(found)], object)


def blobs(height: int, width: int, seeds: int, ids: int, rough: float, seed: int) -> Labels:
    """Cells round random points with wobbly borders; several cells may share an id, 0 included."""
    rng = np.random.default_rng(seed)
    points, owner = rng.random((seeds, 2)) * (height, width), rng.integers(0, ids + 1, seeds)
    rows, cols = np.mgrid[:height, :width]
    wobble = rng.normal(size=(2, height // 3 + 1, width // 3 + 1)).repeat(3, 1).repeat(3, 2) * rough
    rows, cols = rows + wobble[0, :height, :width], cols + wobble[1, :height, :width]
    distance = (rows[..., None] - points[:, 0]) ** 2 + (cols[..., None] - points[:, 1]) ** 2
    return owner[distance.argmin(axis=-1)].astype(np.int64)


@st.composite
def label_maps(draw: st.DrawFn) -> Labels:
    height, width = draw(st.integers(1, 45)), draw(st.integers(1, 45))
    seed = draw(st.integers(0, 10_000))
    kind = draw(st.sampled_from(["noise", "blocks", "blobs"]))
    if kind == "blobs":
        return blobs(height, width, draw(st.integers(1, 25)), draw(st.integers(1, 12)), 1.5, seed)
    scale = 1 if kind == "noise" else draw(st.integers(2, 6))
    cells = np.random.default_rng(seed).integers(0, draw(st.integers(2, 6)), (height, width))
    return cells.repeat(scale, 0).repeat(scale, 1)[:height, :width].astype(np.int64)


@settings(deadline=None, max_examples=30)
@given(label_maps(), st.integers(1, 25))
def test_exact_polygons_are_the_pixels_whatever_the_tiles(labels: Labels, tile_size: int) -> None:
    found = vectorise(labels, tile_size, 0)
    whole = vectorise(labels, 100, 0)
    geometries = stacked(found)
    assert sorted(found) == sorted(set(np.unique(labels).tolist()) - {0})
    assert shapely.is_valid(geometries).all()
    assert shapely.coverage_is_valid(geometries)
    np.testing.assert_array_equal(shapely.area(geometries), np.bincount(labels.ravel())[sorted(found)])
    assert (shapely.to_wkb(geometries) == shapely.to_wkb(stacked(whole))).all()


@settings(deadline=None, max_examples=30)
@given(label_maps(), st.integers(1, 25), st.sampled_from([0.5, 1.0, 1.7, 3.0]), st.integers(0, 99))
def test_simplified_polygons_are_a_coverage_in_any_order(
    labels: Labels, tile_size: int, tolerance: float, shuffle: int
) -> None:
    found = vectorise(labels, tile_size, tolerance)
    geometries = stacked(found)
    assert sorted(found) == sorted(set(np.unique(labels).tolist()) - {0})
    assert shapely.is_valid(geometries).all()
    assert shapely.coverage_is_valid(geometries)
    again = stacked(vectorise(labels, tile_size, tolerance, shuffle))
    assert (shapely.to_wkb(again) == shapely.to_wkb(geometries)).all()


def test_coverage_check_sees_an_overlap() -> None:
    """The oracle of the tests above is not blind."""
    geometries = stacked(vectorise(blobs(40, 40, 9, 9, 1.5, 3), 16, 1.0))
    moved = geometries.copy()
    moved[0] = shapely.transform(moved[0], lambda xy: xy + np.array([0.5, 0]))
    assert shapely.coverage_is_valid(geometries)
    assert not shapely.coverage_is_valid(moved)


@pytest.mark.parametrize("tolerance", [0.0, 1.0])
def test_no_vertex_where_a_straight_edge_crosses_seams(tolerance: float) -> None:
    labels = np.zeros((40, 60), np.int64)
    labels[5:33, 3:57] = 7
    (found,) = vectorise(labels, 10, tolerance).values()
    assert found.equals_exact(shapely.normalize(shapely.box(3, 5, 57, 33)))
    labels[20:] = np.where(labels[20:] == 7, 8, 0)
    halves = vectorise(labels, 10, tolerance)
    assert halves[7].equals_exact(shapely.normalize(shapely.box(3, 5, 57, 20)))
    assert halves[8].equals_exact(shapely.normalize(shapely.box(3, 20, 57, 33)))


def test_simplified_seams_keep_fewer_vertices_than_pixels_cross_them() -> None:
    labels = blobs(240, 240, 40, 40, 1.0, 5)
    found = vectorise(labels, 60, 1.0)
    tiled, whole = stacked(found), stacked(vectorise(labels, 240, 1.0))
    assert shapely.get_num_coordinates(tiled).sum() <= 1.02 * shapely.get_num_coordinates(whole).sum()
    np.testing.assert_allclose(shapely.area(tiled), np.bincount(labels.ravel())[sorted(found)], atol=20)


def test_outer_borders_of_the_background_are_simplified_too() -> None:
    rows, cols = np.mgrid[:80, :80]
    disc = ((rows - 40) ** 2 + (cols - 40) ** 2 < 30**2).astype(np.int64)
    (exact,), (simple,) = vectorise(disc, 33, 0).values(), vectorise(disc, 33, 1.0).values()
    assert shapely.get_num_coordinates(simple) < shapely.get_num_coordinates(exact) * 0.6
    assert simple.area == pytest.approx(disc.sum(), rel=0.02)


def test_holes_pieces_and_diagonals() -> None:
    labels = np.ones((30, 30), np.int64)
    labels[8:22, 8:22] = 2
    labels[12:18, 12:18] = 0
    labels[1, 1] = labels[28, 28] = 3
    found = vectorise(labels, 7, 0)
    hollow = shapely.box(8, 8, 22, 22).difference(shapely.box(12, 12, 18, 18))
    assert found[2].equals_exact(shapely.normalize(hollow))
    assert found[3].geom_type == "MultiPolygon"
    assert found[3].bounds == (1, 1, 29, 29)
    diagonal = vectorise(np.eye(30, dtype=np.int64), 7, 0)[1]
    assert len(diagonal.geoms) == 30
    assert diagonal.is_valid


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_tiny_rasters(shape: tuple[int, int]) -> None:
    labels = np.full(shape, 5, np.int64)
    for tolerance in (0.0, 2.0):
        (found,) = vectorise(labels, 4, tolerance).values()
        assert found.equals_exact(shapely.normalize(shapely.box(0, 0, shape[1], shape[0])))


def test_a_border_at_a_seam_meets_the_neighbours_vertices() -> None:
    """A label edge that lies on the seam has a vertex wherever the tile beyond has a corner."""
    labels = np.array([[1, 2], [1, 3]], np.int64)
    parts = tile_parts(np.pad(labels, 1)[:4, :3], Window(0, 0, 2, 1), tolerance=1.0)
    assert [1.0, 1.0] in shapely.get_coordinates(parts.geometries).tolist()


def test_ids_beyond_32_bits_survive() -> None:
    big = 2**40 + 1
    labels = np.full((6, 6), big, np.int64)
    labels[2:4, 2:4] = big + 5
    assert sorted(vectorise(labels, 3, 0.0)) == [big, big + 5]


def test_memory_holds_only_what_waits() -> None:
    labels = np.arange(16).reshape(4, 4).repeat(10, 0).repeat(10, 1).astype(np.int64) + 1
    grid = TileGrid(40, 40, 10, 0)
    union = SeamUnion(np.ones(17, int))
    ringed = np.pad(labels, 1)
    for tile in grid:
        core = tile.core
        ring = ringed[core.row : core.row_stop + 2, core.col : core.col_stop + 2]
        ids, _ = union.add(tile_parts(ring, core, tolerance=1.0))
        assert len(ids) == 1
    assert union.most_held == 0


def test_more_tiles_than_announced_is_an_error() -> None:
    parts = tile_parts(np.pad(np.ones((3, 3), np.int64), 1), Window(0, 0, 3, 3), tolerance=0.0)
    union = SeamUnion({1: 0})
    with pytest.raises(ValueError, match="more tiles than announced"):
        union.add(parts)


def test_misfitting_labels_and_tolerances_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        tile_parts(np.ones((4, 4), np.int64), Window(0, 0, 3, 3), tolerance=0.0)
    with pytest.raises(ValueError, match="negative"):
        tile_parts(np.ones((5, 5), np.int64), Window(0, 0, 3, 3), tolerance=float("nan"))


def test_parts_survive_their_table() -> None:
    labels = blobs(60, 60, 15, 8, 1.5, 1)
    core = Window(20, 20, 20, 20)
    parts = tile_parts(np.pad(labels, 1)[20:42, 20:42], core, tolerance=1.0)
    assert len(parts.seams) > 0
    again = parts_from_table(parts_to_table(parts))
    np.testing.assert_array_equal(again.ids, parts.ids)
    np.testing.assert_array_equal(again.seams, parts.seams)
    assert (again.geometries == parts.geometries).all()
    empty = tile_parts(np.zeros((22, 22), np.int64), core, tolerance=1.0)
    assert len(parts_from_table(parts_to_table(empty)).ids) == 0


def test_ids_beyond_the_reach_of_float32_and_int32_stay_apart():
    # The reference loses labels above 2²⁴ through float32; GDAL's polygons take int32 at most.
    ids = np.array([2**24, 2**24 + 1, 2**31 + 7, 2**40 + 1, 2**40 + 2], np.int64)
    labels = np.zeros((4, 12), np.int64)
    labels[1:-1, 1:-1] = np.repeat(ids, 2)
    parts = tile_parts(labels, Window(0, 0, 2, 10), tolerance=0)
    assert parts.ids.tolist() == ids.tolist()
    assert shapely.area(parts.geometries).tolist() == [4] * 5
