"""Smoothing and right angles through the libraries that do them."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from remotesam.polygons.tile_polygons import tile_parts
from remotesam.vector.outline_styles import regularize, smooth
from remotesam.windows import Window


def traced(turn: float) -> np.ndarray:
    """A turned rectangle and a disc with a hole, as they come from pixels."""
    rows, cols = np.mgrid[:200, :200]
    angle = np.radians(turn)
    along, across = cols * np.cos(angle) + rows * np.sin(angle), rows * np.cos(angle) - cols * np.sin(angle)
    labels = ((along > 70) & (along < 170) & (across > 10) & (across < 60)).astype(np.int64)
    radius = (cols - 40) ** 2 + (rows - 150) ** 2
    labels[(radius < 900) & (radius >= 100)] = 2
    return tile_parts(np.pad(labels, 1), Window(0, 0, 200, 200), tolerance=1.0).geometries


def test_smooth_outlines_turn_gently_and_keep_their_area() -> None:
    pytest.importorskip("smoothify")
    rough = traced(20)
    soft = smooth(rough)
    np.testing.assert_allclose(shapely.area(soft), shapely.area(rough), rtol=0.02)
    assert shapely.is_valid(soft).all()
    assert (shapely.length(soft) < shapely.length(rough)).all()
    assert len(soft[1].interiors) == 1
    assert len(smooth(rough[:0])) == 0


def test_a_turned_rectangle_gets_its_right_angles() -> None:
    pytest.importorskip("buildingregulariser")
    rough = traced(20)
    regular = regularize(rough)
    steps = np.diff(shapely.get_coordinates(regular[0]), axis=0)
    turns = np.degrees(np.diff(np.arctan2(steps[:, 1], steps[:, 0]))) % 45
    assert np.minimum(turns, 45 - turns).max() < 1e-3
    assert len(steps) < shapely.get_num_coordinates(rough[0]) / 5
    assert regular[0].area == pytest.approx(rough[0].area, rel=0.05)
    assert shapely.area(shapely.intersection(regular[0], rough[0])) > 0.95 * rough[0].area
    assert len(regularize(rough[:0])) == 0
