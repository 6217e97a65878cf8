"""Areas and lengths on the ground against pyproj's geodesics."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import shapely

from remotesam.vector.measures import measure
from remotesam.vector.transform import reproject

GEOD = pyproj.Geod(ellps="WGS84")
FIELD = shapely.box(24.30, 58.20, 24.33, 58.21).difference(shapely.box(24.31, 58.203, 24.315, 58.206))
FINE = shapely.orient_polygons(shapely.segmentize(FIELD, 1e-4))
TRUTH = GEOD.geometry_area_perimeter(FINE)[0], GEOD.geometry_length(FINE.boundary)


@pytest.mark.parametrize(
    ("crs", "tolerance"),
    [
        ("EPSG:4326", 1e-7),
        ("EPSG:3857", 1e-7),
        ("EPSG:3395", 1e-7),
        ("EPSG:3413", 1e-5),
        ("EPSG:3301", 2e-4),
        ("EPSG:32635", 1e-3),
        ("EPSG:3035", 1e-5),
        ("EPSG:25835+5717", 1e-3),
        ("+proj=utm +zone=35 +units=us-ft +type=crs", 1e-3),
    ],
)
def test_one_field_has_one_area_in_every_crs(crs: str, tolerance: float) -> None:
    fine = shapely.segmentize(FIELD, 1e-3)
    (area,), (perimeter,) = measure(reproject(np.array([fine]), "EPSG:4326", crs), crs)
    assert area == pytest.approx(TRUTH[0], rel=tolerance)
    assert perimeter == pytest.approx(TRUTH[1], rel=max(tolerance, 2e-3 if crs == "EPSG:3035" else 1e-6))


def test_planar_area_of_web_mercator_would_be_far_off() -> None:
    """What the test above would let through if it were blind: the plain area is 3.6 times too large."""
    mercator = reproject(np.array([FIELD]), "EPSG:4326", "EPSG:3857")
    assert shapely.area(mercator)[0] > 3.5 * TRUTH[0]


def test_feet_become_metres() -> None:
    square = np.array([shapely.box(980_000, 190_000, 981_000, 191_000)])
    (area,), (perimeter,) = measure(square, "EPSG:2263")
    assert area == pytest.approx((1000 * 1200 / 3937) ** 2)
    assert perimeter == pytest.approx(4000 * 1200 / 3937)


def test_without_crs_there_are_no_metres() -> None:
    area, perimeter = measure(np.array([FIELD, FIELD]), None)
    assert np.isnan([*area, *perimeter]).all()
    assert len(area) == 2


def test_pole_caps_and_date_line_have_the_right_size() -> None:
    cap = shapely.segmentize(shapely.Point(0, 0).buffer(1e6, 128), 1000)
    polar = np.array([cap])
    expected, _ = measure(reproject(polar, "EPSG:3413", "EPSG:6931"), "EPSG:6931")
    around, _ = measure(polar, "EPSG:3413")
    cut, _ = measure(reproject(polar, "EPSG:3413", "EPSG:4326"), "EPSG:4326")
    np.testing.assert_allclose([around[0], cut[0]], expected[0], rtol=1e-5)
    over = np.array([shapely.box(820_000, 1_000_000, 900_000, 1_100_000)])
    planar = shapely.area(over)
    geographic, _ = measure(reproject(over, "EPSG:32660", "EPSG:4326"), "EPSG:4326")
    np.testing.assert_allclose(geographic, planar, rtol=5e-3)


def test_the_moon_has_its_own_size() -> None:
    moon = "+proj=longlat +R=1737400 +type=crs"
    (area,), _ = measure(np.array([shapely.box(0, 0, 90, 90)]), moon)
    assert area == pytest.approx(np.pi * 1_737_400**2 / 2, rel=1e-9)
