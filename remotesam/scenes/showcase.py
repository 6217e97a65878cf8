"""`showcase`: the large scene of `remotesam demo`, a village between its fields at 15 cm per pixel."""

from __future__ import annotations

import cv2
import numpy as np

from remotesam.scenes.canvas import Canvas, Frame, Points, densify, rectangle
from remotesam.scenes.countryside import farm, long_side, tree_row
from remotesam.scenes.land import Crop, field, ground, shrink, split, water
from remotesam.scenes.scene import Scene, finished
from remotesam.scenes.settlement import car_colour, cars_along, city_block, road
from remotesam.scenes.things import Roof, Species, car, roof, tree

GSD = 0.15
"""Metres per pixel of the showcase."""

_CROPS = tuple(
    Crop(np.array(colour, float), rough, patches, row, ridge)
    for colour, rough, patches, row, ridge in (
        ((118, 142, 76), 4, 6, 0.75, 6),
        ((186, 172, 118), 5, 8, 3.0, 5),
        ((92, 116, 62), 6, 10, 0.0, 0),
        ((142, 118, 90), 5, 8, 1.5, 6),
        ((204, 190, 132), 4, 5, 12.0, 6),
        ((132, 150, 88), 5, 9, 0.0, 0),
    )
)
_ROOFS = (
    Roof(np.array([172.0, 92, 66]), "gable", 0.25, 7, 0.3),
    Roof(np.array([150.0, 78, 60]), "hip", 0.22, 7, 0.3),
    Roof(np.array([112.0, 110, 112]), "gable", 0.28, 5, 0.9),
)
_TREES = (
    Species(np.array([82.0, 112, 58]), 3.6, 0.5, 15, 0.2),
    Species(np.array([64.0, 96, 50]), 2.6, 0.55, 14, 0.15),
    Species(np.array([104.0, 124, 66]), 2.0, 0.45, 12, 0.25),
)
_LAWNS = [np.array(c, float) for c in ((116, 136, 78), (128, 140, 88), (108, 126, 72), (156, 146, 116))]
_ASPHALT = np.array([128.0, 127, 126])


def showcase(shape: tuple[int, int] = (2000, 2400), *, seed: int = 7) -> Scene:
    """Make the demo scene: fields, a river with trees, a village with houses, pools and cars.

    Args:
        shape: (height, width) in pixels of `GSD` metres.
        seed: Another seed gives another village.
    """
    rng = np.random.default_rng(seed)
    canvas = Canvas(rng, shape)
    canvas.mess = 1.0
    canvas.sun, canvas.shadow_length, canvas.shadow_light = np.array([0.83, -0.56]), 0.8, 0.5
    frame = Frame(GSD, -0.22, (shape[1] * 0.5, shape[0] * 0.47), 5.0, 420.0)
    ground(canvas, np.array([122.0, 132, 84]), 6)
    _fields(canvas, frame)
    _river(canvas)
    _village(canvas, frame)
    soft = cv2.GaussianBlur(canvas.finish(), (0, 0), 0.6)
    grainy = soft + rng.standard_normal(soft.shape, np.float32) * 2
    return finished(np.clip(grainy, 0, 255).astype(np.uint8), canvas.labels, canvas.classes)


def _fields(canvas: Canvas, frame: Frame) -> None:
    rng = canvas.rng
    reach = frame.reach(canvas.shape)
    for leaf in split(rng, rectangle(0, 0, 2 * reach, 2 * reach), 46, 3):
        field(canvas, frame, shrink(leaf, 1.2), _CROPS[rng.integers(len(_CROPS))], long_side(leaf))
        if rng.random() < 0.3:
            tree_row(canvas, frame, leaf[0], leaf[1] - leaf[0], int(np.hypot(*(leaf[1] - leaf[0])) / 6))
    farm(canvas, frame, np.array([-0.36, 0.33]) * reach, 5)


def _river(canvas: Canvas) -> None:
    """A river from the upper right to the lower right, with trees on its banks."""
    height, width = canvas.shape
    t = np.linspace(-0.05, 1.05, 60)
    x = width * (0.83 + 0.05 * np.sin(5.2 * t + 0.6) + 0.03 * np.sin(11 * t))
    half = (7 + 1.5 * np.sin(9 * t)) / GSD
    bank = np.concatenate([np.stack([x - half, t * height], 1), np.stack([x + half, t * height], 1)[::-1]])
    meadow = np.concatenate(
        [np.stack([x - 2.4 * half, t * height], 1), np.stack([x + 2.2 * half, t * height], 1)[::-1]]
    )
    canvas.fill(meadow, canvas.new("meadow"), np.array([112.0, 130, 74]), rough=6, grain=2, patches=8)
    canvas.fill(bank, canvas.new("water"), np.array([66.0, 88, 88]), rough=1.5, grain=2, patches=3)
    flat = Frame(GSD, 0.0, (0.0, 0.0))
    for k in canvas.rng.permutation(len(t))[:34]:
        side = canvas.rng.choice([-1, 1]) * canvas.rng.uniform(1.25, 1.9)
        spot = np.array([x[k] + side * half[k], t[k] * height]) * GSD
        tree(canvas, flat, _TREES[canvas.rng.integers(3)], (float(spot[0]), float(spot[1])))
    pond = np.stack([np.cos(t * 5.712), np.sin(t * 5.712)], 1) * (13 / GSD, 8 / GSD)
    water(canvas, np.array([width * 0.09, height * 0.86]) + pond)


def _village(canvas: Canvas, frame: Frame) -> None:
    """Four by three blocks round a main street that goes on across the river."""
    rng = canvas.rng
    reach = frame.reach(canvas.shape)
    size, street = (66.0, 42.0), 6.0
    columns, rows = np.arange(-1.5, 2) * (size[0] + street), np.arange(-1, 2) * (size[1] + street)
    for u in columns - 18:
        for v in rows:
            if (u, v) == (columns[2] - 18, rows[1]):
                _green(canvas, frame, (u, v), size)
            else:
                city_block(canvas, frame, (u, v), size, 17.0, 0.94, list(_ROOFS), _LAWNS)
    streets = canvas.new("road")
    left, right = columns[0] - 18 - size[0] / 2, columns[-1] - 18 + size[0] / 2
    top, bottom = rows[0] - size[1] / 2, rows[-1] + size[1] / 2
    for v in (rows[:-1] + rows[1:]) / 2:
        through = v == (rows[0] + rows[1]) / 2
        ends = (-reach, reach) if through else (left, right)
        _street(canvas, frame, streets, ends, float(v), street + through, along_u=True)
    for u in (columns[:-1] + columns[1:]) / 2 - 18:
        _street(canvas, frame, streets, (top, bottom), float(u), street, along_u=False)
    for u in rng.uniform(left, right, 70):
        v = rng.uniform(top, bottom)
        where = frame.pixels(np.array([[u, v]]))[0].astype(int)
        if canvas.classes[canvas.labels[where[1], where[0]] - 1] in ("yard", "ground"):
            tree(canvas, frame, _TREES[rng.integers(3)], (float(u), float(v)))


def _street(
    canvas: Canvas,
    frame: Frame,
    label: int,
    ends: tuple[float, float],
    across: float,
    width: float,
    *,
    along_u: bool,
) -> None:
    """One street with its markings and cars."""
    middle, length = (ends[0] + ends[1]) / 2, ends[1] - ends[0]
    angle = 0.0 if along_u else np.pi / 2
    at = (middle, across) if along_u else (across, middle)
    road(canvas, frame, rectangle(*at, length, width, angle), label, _ASPHALT, angle, width)
    cars_along(canvas, frame, across + 0.3 * width, min(abs(ends[0]), abs(ends[1])), angle)


def _green(canvas: Canvas, frame: Frame, at: tuple[float, float], size: tuple[float, float]) -> None:
    """The middle of the village: a car park, a hall with a flat roof, and a park."""
    rng = canvas.rng
    lawn = densify(rectangle(*at, *size), 6)
    canvas.fill(frame.pixels(lawn), canvas.new("yard"), _LAWNS[0], rough=5, patches=8)
    lot = canvas.new("parking")
    canvas.fill(frame.pixels(rectangle(at[0] - 14, at[1] + 8, 34, 22)), lot, _ASPHALT * 1.12, rough=3)
    for row in (2.4, 13.6):
        for k in range(12):
            u, v = at[0] - 29 + 2.7 * k, at[1] + row
            line = rectangle(u - 1.35, v, 4.8, 0.12, np.pi / 2)
            canvas.fill(frame.pixels(line), lot, np.array([220.0, 220, 216]), rough=2, inside=lot)
            if rng.random() < 0.75:
                car(canvas, frame, (u, v), np.pi / 2 + rng.normal(0, 0.02), car_colour(rng))
    hall = Roof(np.array([176.0, 176, 174]), "flat", 0.1, 4, 0.0)
    roof(canvas, frame, hall, (at[0] - 14, at[1] - 12), (30.0, 13.0), 0.0)
    spots: Points = rng.uniform(-0.46, 0.46, (26, 2)) * (26, size[1]) + (at[0] + 18, at[1])
    for u, v in spots:
        tree(canvas, frame, _TREES[rng.integers(3)], (float(u), float(v)))
