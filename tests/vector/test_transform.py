"""Polygons moved into degrees: what crosses the antimeridian, against its pixels and against a library."""

from __future__ import annotations

import antimeridian
import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from remotesam.vector.transform import place, reproject
from tests.polygons.test_tile_polygons import blobs, vectorise

TO_PDC = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3832", always_xy=True)
LINE = TO_PDC.transform(180, 0)[0]
"""The antimeridian in EPSG:3832, a Mercator whose middle is 150° E, m."""

SIDE = 40
"""Rows and columns of the label maps, px."""

GRIDS = {
    "UTM 60": ("EPSG:32660", (500.0, 0.0, 818_000.0, 0.0, -500.0, 1_010_000.0)),
    "Mercator, pixel edges on the line": (
        "EPSG:3832",
        (1000.0, 0.0, LINE - 20_000, 0.0, -1000.0, 1_000_000.0),
    ),
    "Mercator, pixel edges beside it": ("EPSG:3832", (1000.0, 0.0, LINE - 20_300, 0.0, -1000.0, 1_000_000.0)),
    "degrees beyond 180": ("EPSG:4326", (0.25, 0.0, 175.0, 0.0, -0.25, 10.0)),
    "degrees beyond 180, off the line": ("EPSG:4326", (0.3, 0.0, 174.95, 0.0, -0.3, 10.0)),
    "degrees from 0 to 360": ("EPSG:4326", (9.0, 0.0, 0.0, 0.0, -4.5, 90.0)),
    "degrees of the earth": ("EPSG:4326", (9.0, 0.0, -180.0, 0.0, -4.5, 90.0)),
}


def of_labels(labels: NDArray[np.int64], grid: str) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Outlines of a label map by id, in the grid's CRS and in degrees."""
    crs, transform = GRIDS[grid]
    found = vectorise(labels, SIDE, 0)
    placed = place(np.array([found[key] for key in sorted(found)], object), transform)
    return placed, reproject(placed, crs, "OGC:CRS84")


@settings(deadline=None, max_examples=15)
@given(st.sampled_from(sorted(GRIDS)), st.integers(1, 25), st.integers(1, 12), st.integers(0, 10_000))
def test_what_is_cut_holds_the_same_pixels(grid: str, seeds: int, ids: int, seed: int) -> None:
    labels = blobs(SIDE, SIDE, seeds, ids, 1.5, seed)
    _, cut = of_labels(labels, grid)
    assert shapely.is_valid(cut).all()
    crs, (a, _, c, _, e, f) = GRIDS[grid]
    rows, cols = np.mgrid[:SIDE, :SIDE] + 0.5
    forward = pyproj.Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    lon, lat = forward.transform((a * cols + c).ravel(), (e * rows + f).ravel())
    lon = (lon + 180) % 360 - 180
    for label, geometry in zip(sorted(set(np.unique(labels)) - {0}), cut, strict=True):
        np.testing.assert_array_equal(shapely.contains_xy(geometry, lon, lat), (labels == label).ravel())
        west, _, east, _ = geometry.bounds
        assert -180 <= west <= east <= 180
        assert all(shapely.is_ccw(part.exterior) for part in shapely.get_parts(geometry))


def test_a_library_made_for_footprints_says_the_same_of_plain_rings() -> None:
    compared = 0
    for grid in ("UTM 60", "Mercator, pixel edges beside it"):
        for seed in range(10):
            crs = GRIDS[grid][0]
            placed, _ = of_labels(blobs(SIDE, SIDE, 12, 6, 1.5, seed), grid)
            parts = [part for part in shapely.get_parts(placed) if not part.interiors]
            cut = reproject(np.array(parts), crs, "OGC:CRS84")
            forward = pyproj.Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
            raw = shapely.transform(np.array(parts), forward.transform, interleaved=False)
            for before, ours in zip(raw, cut, strict=True):
                if ours.geom_type != "MultiPolygon":
                    continue
                theirs = antimeridian.fix_polygon(before, fix_winding=True, great_circle=False)
                assert shapely.symmetric_difference(ours, theirs).area < 1e-4 * ours.area
                compared += 1
    assert compared > 20


def test_only_what_crosses_is_cut() -> None:
    """Neighbours in the array, and parts of one polygon, that lie on either side do not cross."""
    crs = GRIDS["UTM 60"][0]
    west, over, east = (shapely.box(x, 900_000, x + 1500, 901_500) for x in (820_000, 830_000, 836_000))
    both = shapely.MultiPolygon([west, east])
    moved = reproject(np.array([west, east, both, over]), crs, "EPSG:4326")
    assert [geometry.geom_type for geometry in moved] == [
        "Polygon",
        "Polygon",
        "MultiPolygon",
        "MultiPolygon",
    ]
    assert [shapely.get_num_coordinates(geometry) for geometry in moved[:3]] == [5, 5, 10]
    assert moved[1].bounds[0] < -179
    assert moved[0].bounds[2] > 179


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:6933"])
def test_long_edges_of_a_map_of_the_world_do_not_cross(crs: str) -> None:
    """A straight edge from one side of the map to the other spans 360° and stays on this side of the line."""
    degrees = np.array(
        [
            shapely.box(-180, -80, 180, 80),
            shapely.box(-180, 60, 180, 80).difference(shapely.box(0, 65, 10, 75)),
            shapely.box(-170, 0, 170, 10),
        ]
    )
    there = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    given = shapely.transform(degrees, there.transform, interleaved=False)
    moved = reproject(given, crs, "OGC:CRS84")
    np.testing.assert_allclose(shapely.area(moved), shapely.area(degrees), rtol=1e-9)
    assert [geometry.geom_type for geometry in moved] == ["Polygon"] * 3


def test_a_triangle_with_one_corner_on_the_line_stays_small() -> None:
    """The library that could do this makes the rest of the earth of it."""
    triangle = shapely.Polygon([(180, 8.5), (180.25, 8.5), (180.25, 9)])
    (moved,) = reproject(np.array([triangle]), "EPSG:4326", "OGC:CRS84")
    assert moved.area == pytest.approx(0.0625)
    assert moved.bounds == (-180, 8.5, -179.75, 9)


def test_a_ring_round_the_south_pole_is_closed_over_it() -> None:
    lon = np.arange(-175, 180, 10.0)
    disc = shapely.Polygon(np.column_stack([lon, np.full(len(lon), -80.0)]))
    annulus = shapely.Polygon(disc.exterior, [np.column_stack([lon, np.full(len(lon), -85.0)])])
    there = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3031", always_xy=True)
    polar = shapely.transform(np.array([disc, annulus]), there.transform, interleaved=False)
    cut = reproject(polar, "EPSG:3031", "EPSG:4326")
    np.testing.assert_allclose(shapely.area(cut), [3600, 1800])
    np.testing.assert_allclose(shapely.total_bounds(cut[1]), [-180, -85, 180, -80])


def test_neighbours_over_the_line_still_share_their_edges() -> None:
    _, cut = of_labels(blobs(SIDE, SIDE, 12, 6, 1.5, 3), "UTM 60")
    assert (shapely.get_type_id(cut) == shapely.GeometryType.MULTIPOLYGON).sum() > 1
    parts = shapely.get_parts(cut)
    overlap = shapely.union_all(parts).area / shapely.area(parts).sum()
    assert overlap == pytest.approx(1, abs=1e-12)
