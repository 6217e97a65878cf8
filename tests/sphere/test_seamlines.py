"""Seamlines of views follow borders of segments: inside the band of the two, in any order of windows."""

import numpy as np
import pytest

from benchmarks.view_borders import ViewBorders
from remotesam.merge.components import Edges, components
from remotesam.merge.joins import Joins, Pair, join_overlap
from remotesam.sphere import Equirect, views
from remotesam.sphere.equirect import direction
from remotesam.sphere.evidence import label_solid_angles, view_evidence
from remotesam.sphere.mosaic import assemble, assemble_window
from remotesam.sphere.ownership import owners_in_view, owners_on_grid
from remotesam.sphere.seamlines import MARGIN, ViewSeamline, beyond, find_seamline
from remotesam.windows import Window

WIDTH = 512
LAYOUT = views(WIDTH)
GRID = Equirect.whole(WIDTH)
NO_JOINS = Joins(**dict.fromkeys(("label_a", "label_b", "score", "area", "kind"), np.zeros(0, np.int64)))


def rays(view):
    centre = np.arange(view.size) + 0.5
    x, y = np.meshgrid(centre, centre)
    return view.rays(np.stack([x.ravel(), y.ravel()], 1)).reshape(view.size, view.size, 3)


def compact(labels):
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32) + 1


class TwoCuts:
    """A sphere of objects; every other view splits them in one way, the rest in another."""

    def __init__(self, seed=0, objects=40, pieces=120):
        rng = np.random.default_rng(seed)
        centres, *splits = (
            normals / np.linalg.norm(normals, axis=1, keepdims=True)
            for normals in (rng.normal(size=(count, 3)) for count in (objects, pieces, pieces))
        )
        self.labels = []
        for view in LAYOUT.views:
            seen = rays(view)
            piece = (seen @ splits[view.index % 2].T).argmax(axis=2)
            self.labels.append(compact((seen @ centres.T).argmax(axis=2) * pieces + piece))
        self.counts = [int(labels.max()) for labels in self.labels]
        areas = [
            label_solid_angles(view, labels, count)
            for view, labels, count in zip(LAYOUT.views, self.labels, self.counts, strict=True)
        ]
        edges, self.lines = [], []
        for one in LAYOUT.views:
            owners = owners_in_view(LAYOUT, one.index)
            for other in LAYOUT.neighbours(one.index):
                i, j = one.index, other.index
                if j < i:
                    continue
                evidence = view_evidence(one, other, self.labels[i], self.labels[j], owners)
                joins = join_overlap(
                    Pair(
                        strip=evidence,
                        chip_area_a=areas[i],
                        chip_area_b=areas[j],
                        n_core_a=self.counts[i],
                        n_core_b=self.counts[j],
                    )
                )
                edges.append(Edges.of(joins, i, j))
                labels, counts = (self.labels[i], self.labels[j]), (self.counts[i], self.counts[j])
                line = find_seamline(LAYOUT, one, other, labels, counts, joins)
                self.lines += [] if line is None else [line]
        self.joined = components(self.counts, Edges.concatenate(edges))

    def labels_of(self, index):
        return np.concatenate([[0], self.joined.lut(index)]).astype(np.int32)[self.labels[index]]


@pytest.fixture(scope="module")
def cuts():
    return TwoCuts()


def test_views_that_cut_differently_leave_no_straight_borders(cuts):
    borders = ViewBorders(LAYOUT, GRID)
    before = borders.rate(assemble(LAYOUT.views, GRID, cuts.labels_of)).at_borders
    after = borders.rate(assemble(LAYOUT.views, GRID, cuts.labels_of, cuts.lines)).at_borders
    assert before > 0.1
    assert after < before / 3


def test_windows_and_the_order_of_lines_do_not_matter(cuts):
    whole = assemble(LAYOUT.views, GRID, cuts.labels_of, cuts.lines)
    again = np.zeros_like(whole)
    for row in reversed(range(0, GRID.height, 60)):
        for col in reversed(range(0, GRID.width, 110)):
            window = Window(row, col, 60, 110).clip(GRID.height, GRID.width)
            again[window.slices] = assemble_window(
                LAYOUT.views, GRID, window, cuts.labels_of, cuts.lines[::-1]
            )
    assert np.array_equal(whole, again)


def test_handing_over_is_the_same_over_the_seam_and_the_poles(cuts):
    """A picture whose columns are rolled by a quarter turn shows the same objects, rolled."""
    turned = Equirect(width=WIDTH, height=WIDTH // 2, full_width=WIDTH, full_height=WIDTH // 2, centre=90.0)
    straight = assemble(LAYOUT.views, GRID, cuts.labels_of, cuts.lines)
    rolled = assemble(LAYOUT.views, turned, cuts.labels_of, cuts.lines)
    assert (np.roll(straight, -WIDTH // 4, axis=1) == rolled).mean() > 0.999  # ties of rounding


def test_only_the_band_of_two_views_changes_hands(cuts):
    """Where a view writes beyond its border, no third view is as near and its own border is not near."""
    by_index = {view.index: view for view in LAYOUT.views}
    owned = owners_on_grid(LAYOUT.views, GRID, GRID_WINDOW)
    lon, lat = GRID.lonlat(np.arange(WIDTH) + 0.5, np.arange(WIDTH // 2)[:, None] + 0.5)
    directions = direction(lon, lat)
    moved = 0
    for line in cuts.lines:
        one, other = by_index[line.one], by_index[line.other]
        flips = beyond(line, one, other, directions.reshape(-1, 3).astype(np.float32))
        for writer, loser, flipped in zip((one, other), (other, one), flips, strict=True):
            there = flipped.reshape(owned.owner.shape) & (owned.owner == loser.index)
            moved += int(there.sum())
            # A pixel of slack: the band is found on the views' pixels, not on the picture's.
            assert (owned.second[there] == writer.index).mean() > 0.9 if there.sum() > 20 else True
            points, seen = writer.project(directions[there])
            assert seen.all()
            inside = np.abs(points - writer.size / 2).max(axis=1, initial=0)
            assert (inside <= writer.size * (0.5 - MARGIN) + 1).all()
    assert moved > 500


GRID_WINDOW = Window(0, 0, GRID.height, GRID.width)


def test_where_two_views_agree_they_hand_over_at_their_border():
    one, other = LAYOUT.views[1], LAYOUT.views[2]
    same = np.ones((one.size, one.size), np.int32)
    joined = Joins(
        label_a=np.array([1]),
        label_b=np.array([1]),
        score=np.array([1.0]),
        area=np.array([1.0]),
        kind=np.array([2], np.int8),
    )
    assert find_seamline(LAYOUT, one, other, (same, same), (1, 1), joined) is None
    assert find_seamline(LAYOUT, LAYOUT.views[0], LAYOUT.views[-1], (same, same), (1, 1), NO_JOINS) is None


def test_a_line_takes_the_border_that_both_views_see():
    """Two halves of the sphere, cut a few degrees from the border of the views and never joined."""
    one, other = LAYOUT.views[1], LAYOUT.views[2]
    cut = np.radians((one.lon + other.lon) / 2 + 3)
    normal = np.array([-np.sin(cut), np.cos(cut), 0])
    halves = tuple((rays(view) @ normal > 0).astype(np.int32) + 1 for view in (one, other))
    line = find_seamline(LAYOUT, one, other, halves, (2, 2), NO_JOINS)
    assert isinstance(line, ViewSeamline)
    away = np.radians(3) * np.cos(np.radians(one.lat)) * one.focal
    middle = len(line.offset) // 2
    assert np.abs(line.offset[middle - 20 : middle + 20] - away).max() < 0.4 * away
    assert line.offset[0] == line.offset[-1] == 0
