"""Areas and boxes of polygons in longitude and latitude (docs/algorithms.md#outlines-on-the-sphere)."""

import math

import numpy as np
import pytest
import shapely
from shapely.geometry import MultiPolygon, Polygon, box, mapping, shape

from remotesam.sphere.geometry import areas_sr, bbox_rfc7946, column_span, unwrapped


def one_area(geometry):
    return areas_sr(np.array([geometry], object))[0]


def test_areas_that_are_known_exactly():
    sphere, cap = box(-180, -90, 180, 90), box(-180, 60, 180, 90)
    hole = Polygon(cap.exterior, [box(10, 70, 20, 75).exterior])
    octant = box(0, 0, 90, 90)
    assert one_area(sphere) == pytest.approx(4 * math.pi, rel=1e-12)
    assert one_area(cap) == pytest.approx(2 * math.pi * (1 - math.sin(math.radians(60))), rel=1e-12)
    assert one_area(octant) == pytest.approx(math.pi / 2, rel=1e-12)
    window = math.radians(10) * (math.sin(math.radians(75)) - math.sin(math.radians(70)))
    assert one_area(hole) == pytest.approx(one_area(cap) - window, rel=1e-12)
    assert one_area(MultiPolygon([octant, box(100, -30, 110, -20)])) > one_area(octant)


def test_area_of_a_slanted_edge_is_the_integral_under_a_straight_line():
    """Edges are straight in lon/lat: compare with quadrature of sin φ(λ), not with great circles."""
    triangle = Polygon([(0, 0), (60, 0), (0, 60)])
    lam = np.radians(np.linspace(0, 60, 200_001))
    assert one_area(triangle) == pytest.approx(np.trapezoid(np.sin(np.radians(60) - lam), lam), rel=1e-9)


def test_areas_of_many_do_not_mix():
    rng = np.random.default_rng(0)
    shapes = [
        shapely.affinity.translate(shapely.Point(0, 0).buffer(r), x, y)
        for r, x, y in rng.uniform(1, 20, (50, 3))
    ]
    together = areas_sr(np.array(shapes, object))
    assert np.allclose(together, [one_area(g) for g in shapes], rtol=1e-12)
    assert areas_sr(np.array([], object)).shape == (0,)


def test_column_span_over_the_seam():
    seam = MultiPolygon([box(989, 193, 1024, 262), box(0, 200, 35, 250)])
    assert column_span(seam, 1024) == (989, 1059)
    assert column_span(box(10, 0, 30, 5), 1024) == (10, 30)
    assert column_span(box(0, 0, 1024, 5), 1024) == (0, 1024)
    scattered = MultiPolygon([box(0, 0, 10, 1), box(300, 0, 310, 1), box(900, 0, 1024, 1)])
    assert column_span(scattered, 1024) == (900, 1334)


def test_bboxes_of_rfc_7946():
    seam = MultiPolygon([box(177, -20, 180, -16), box(-180, -20, -178, -16)])
    assert bbox_rfc7946(seam, "") == (177, -20, -178, -16)
    assert bbox_rfc7946(box(-180, 60, 180, 90), "north") == (-180, 60, 180, 90)
    assert bbox_rfc7946(box(-180, -90, 180, -70), "south") == (-180, -90, 180, -70)
    assert bbox_rfc7946(box(-180, -10, 180, 10), "") == (-180, -10, 180, 10)
    assert bbox_rfc7946(box(-10, 3, 20, 10), "") == (-10, 3, 20, 10)


def test_unwrapped_makes_one_piece_of_a_seam_object():
    disc = shapely.Point(1020, 100).buffer(30)
    halves = shapely.union_all(
        [
            disc & box(0, 0, 1024, 512),
            shapely.transform(disc & box(1024, 0, 2048, 512), lambda p: p - [1024, 0]),
        ]
    )
    whole = unwrapped(halves, 1024)
    assert whole.geom_type == "Polygon"
    assert whole.area == pytest.approx(disc.area)
    assert whole.symmetric_difference(disc).area < 1e-6
    band = box(0, 10, 1024, 20)
    assert unwrapped(band, 1024).equals(band)


@pytest.mark.parametrize(
    "geometry",
    [
        MultiPolygon([box(170, -5, 180, 5), box(-180, -5, -170, 5)]),
        Polygon(box(-180, 60, 180, 90).exterior, [box(10, 70, 20, 75).exterior]),
        box(-180, -80, 180, -60),
    ],
)
def test_what_we_draw_needs_no_repair(geometry):
    """The antimeridian package, which repairs other people's polygons, leaves ours as they are."""
    antimeridian = pytest.importorskip("antimeridian")
    fixed = antimeridian.fix_shape(mapping(geometry), great_circle=False, fix_winding=True)
    assert shape(fixed).normalize().equals(geometry.normalize())
