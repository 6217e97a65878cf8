"""Streets, lots, houses and cars: places that people build."""

from __future__ import annotations

import numpy as np

from remotesam.scenes.canvas import Canvas, Colour, Frame, Points, densify, frame_for, rectangle
from remotesam.scenes.land import GROUNDS, ground, shrink
from remotesam.scenes.things import (
    CAR_COLOURS,
    CONTAINER_COLOURS,
    Roof,
    car,
    container,
    pool,
    roof,
    roof_kind,
    scatter_trees,
    species,
)


def settlement(canvas: Canvas, gsd: float) -> None:
    """Streets, blocks, lots; houses of a few shared kinds; yards, trees, pools and cars."""
    rng = canvas.rng
    frame = frame_for(rng, canvas.shape, gsd, float(rng.choice([0, 0, 3, 8])))
    reach = frame.reach(canvas.shape)
    earth = GROUNDS[rng.integers(len(GROUNDS))] + rng.normal(0, 8, 3)
    ground(canvas, earth, rng.uniform(3, 10))
    street = float(rng.uniform(4, 11))
    block = (float(rng.uniform(45, 130)), float(rng.uniform(28, 60)))
    asphalt = np.full(3, rng.uniform(70, 170)) + rng.normal(0, 5, 3) if rng.random() < 0.7 else earth * 1.12
    kinds = [roof_kind(rng) for _ in range(int(rng.integers(1, 5)))]
    trees = [species(rng) for _ in range(int(rng.integers(1, 4)))]
    lawns = [GROUNDS[rng.integers(len(GROUNDS))] + rng.normal(0, 9, 3) for _ in range(3)]
    lot, density = float(rng.uniform(11, 28)), float(rng.uniform(0.6, 1.0))
    if rng.random() < 0.35 and gsd < 0.25:  # roof against roof
        lot, block, density = float(rng.uniform(5, 11)), (block[0], float(rng.uniform(16, 34))), 1.0
    for u in np.arange(-reach, reach, block[0] + street):
        for v in np.arange(-reach, reach, block[1] + street):
            city_block(canvas, frame, (u, v), block, lot, density, kinds, lawns)
    roads = canvas.new("road")
    for u in np.arange(-reach, reach, block[0] + street):
        ring = rectangle(u + block[0] / 2 + street / 2, 0, street, 2.2 * reach)
        road(canvas, frame, ring, roads, asphalt, np.pi / 2, street)
    for v in np.arange(-reach, reach, block[1] + street):
        ring = rectangle(0, v + block[1] / 2 + street / 2, 2.2 * reach, street)
        road(canvas, frame, ring, roads, asphalt, 0.0, street)
    for u in np.arange(-reach, reach, block[0] + street):
        edge = u + block[0] / 2 + street / 2
        cars_along(canvas, frame, edge + rng.choice([-1, 1]) * street * 0.27, reach, np.pi / 2)
    for v in np.arange(-reach, reach, block[1] + street):
        edge = v + block[1] / 2 + street / 2
        cars_along(canvas, frame, edge + rng.choice([-1, 1]) * street * 0.27, reach, 0.0)
    scatter_trees(canvas, frame, trees, reach, rng.uniform(0, 0.0045))


def city_block(
    canvas: Canvas, frame: Frame, at: tuple[float, float], block: tuple[float, float], lot: float,
    density: float, kinds: list[Roof], lawns: list[Points],
) -> None:  # fmt: skip
    """Two rows of lots back to back, each with a yard and one or two buildings."""
    rng = canvas.rng
    corners = frame.pixels(rectangle(*at, block[0] * 1.2, block[1] * 1.2))
    if canvas.window(corners) is None:
        return
    count = max(1, round(block[0] / lot))
    width = block[0] / count
    for side in (-1, 1):
        for k in range(count):
            middle = (at[0] - block[0] / 2 + (k + 0.5) * width, at[1] + side * block[1] / 4)
            yard = rectangle(*middle, width, block[1] / 2)
            if canvas.window(frame.pixels(yard)) is None:
                continue
            if rng.random() < 0.7:
                _yard(canvas, frame, yard, lawns)
            if rng.random() > density:
                continue
            kind = kinds[rng.integers(len(kinds))]
            fill = (0.75, 1.05) if width < 11 else (0.45, 0.9)
            deep, wide = block[1] / 2 * rng.uniform(*fill), width * rng.uniform(*fill)
            front = (middle[0] + rng.normal(0, 0.5), middle[1] + side * rng.uniform(0, 0.12) * block[1])
            turn = rng.normal(0, 0.03)
            size, turn = ((wide, deep), turn) if wide > deep else ((deep, wide), turn + np.pi / 2)
            roof(canvas, frame, kind, front, size, turn)
            if rng.random() < 0.35:
                shed = rng.uniform(2.5, 6, 2)
                back = (middle[0] + rng.uniform(-0.3, 0.3) * width, middle[1] - side * 0.2 * block[1])
                roof(canvas, frame, kinds[rng.integers(len(kinds))], back, (shed.max(), shed.min()), turn)
            elif rng.random() < 0.12:
                pool(canvas, frame, (middle[0], middle[1] - side * 0.19 * block[1]), turn)
            if rng.random() < 0.3:
                drive = (middle[0] + rng.choice([-0.4, 0.4]) * width, middle[1] + side * 0.2 * block[1])
                car(canvas, frame, drive, np.pi / 2 + rng.normal(0, 0.1), car_colour(rng))


def _yard(canvas: Canvas, frame: Frame, yard: Points, lawns: list[Points]) -> None:
    rng = canvas.rng
    colour = lawns[rng.integers(len(lawns))] * rng.normal(1, 0.06)
    ring = frame.pixels(densify(yard, 6))
    if rng.random() < 0.3 and 0.3 / frame.gsd > 0.8:  # a wall or hedge round it
        tone = colour * 0.6 if rng.random() < 0.5 else np.array([178.0, 170, 160])
        canvas.fill(ring, canvas.new("wall"), tone, rough=5)
        ring = frame.pixels(densify(shrink(yard, 0.35), 6))
    canvas.fill(ring, canvas.new("yard"), colour, rough=rng.uniform(2, 10), grain=int(rng.integers(0, 3)),
                patches=rng.uniform(0, 10))  # fmt: skip


def road(
    canvas: Canvas, frame: Frame, ring: Points, label: int, colour: Points, angle: float, width: float
) -> None:
    """One street of the network; markings belong to it."""
    rng = canvas.rng
    canvas.fill(
        frame.pixels(densify(ring, 8)), label, colour, rough=rng.uniform(1, 4), patches=rng.uniform(0, 5)
    )
    if 0.15 / frame.gsd < 0.35 or rng.random() < 0.4:
        return
    middle, length = ring.mean(0), float(np.ptp(ring, axis=0).max())
    white = np.clip(colour + rng.uniform(40, 110), 0, 235)
    along = np.array([np.cos(angle), np.sin(angle)])
    for t in np.arange(-length / 2, length / 2, 6.0):
        at = (float(middle[0] + along[0] * t), float(middle[1] + along[1] * t))
        dash = frame.pixels(rectangle(*at, 3.0, 0.15 * max(1, width / 7), angle))
        canvas.fill(dash, label, white, rough=2, inside=label)


def cars_along(canvas: Canvas, frame: Frame, across: float, reach: float, angle: float) -> None:
    """Parked or driving cars along a straight street.

    Args:
        canvas: Where to paint.
        frame: Metres to pixels.
        across: v of the line of cars, or its u when `angle` is not 0.
        reach: Cars stand from -reach to reach metres.
        angle: Direction of the street in ground radians, 0 or pi / 2.
    """
    rng = canvas.rng
    if 4.4 / frame.gsd < 3:
        return
    gap = rng.choice([5.6, 8, 30, 80])
    for t in np.arange(-reach, reach, gap) + rng.uniform(0, 5):
        if rng.random() < 0.55:
            at = (across, t) if angle else (t, across)
            car(canvas, frame, at, angle + rng.normal(0, 0.02), car_colour(rng))


def car_colour(rng: np.random.Generator) -> Colour:
    """Draw a paint, mostly white, silver and grey."""
    return np.asarray(CAR_COLOURS[min(int(rng.exponential(3.2)), len(CAR_COLOURS) - 1)] + rng.normal(0, 5, 3))


def parking(canvas: Canvas, gsd: float) -> None:
    """A car park or container yard: rows of like things with lanes between, one large roof, a few trees."""
    rng = canvas.rng
    frame = frame_for(rng, canvas.shape, gsd)
    reach = frame.reach(canvas.shape)
    asphalt = np.full(3, rng.uniform(70, 180)) + rng.normal(0, 5, 3)
    lot = ground(canvas, asphalt, rng.uniform(1, 5))
    goods = rng.random() < 0.3
    step, pitch = (13.0, 2.55) if goods else (float(rng.uniform(10, 16)), float(rng.uniform(2.4, 3.2)))
    full = rng.uniform(0.3, 0.98)
    for v in np.arange(-reach, reach, step * 1.2 if goods else step):
        turn = np.pi / 2 + (0 if goods else rng.choice([0, 0, 0.5]))
        for u in np.arange(-reach, reach, pitch):
            if not goods and 0.12 / gsd > 0.3:
                line = rectangle(u - pitch / 2, v, 5.0, 0.12, turn)
                canvas.fill(frame.pixels(line), lot, np.clip(asphalt + 70, 0, 235), rough=2, inside=lot)
            if rng.random() > full:
                continue
            if goods:
                container(canvas, frame, (u, v), np.pi / 2, CONTAINER_COLOURS[rng.integers(6)])
            else:
                car(canvas, frame, (u, v + rng.normal(0, 0.25)), turn + rng.normal(0, 0.03), car_colour(rng))
    if rng.random() < 0.6:
        at = rng.uniform(-0.5, 0.5, 2) * reach
        roof(
            canvas,
            frame,
            roof_kind(rng),
            (float(at[0]), float(at[1])),
            (60.0, 28.0),
            rng.choice([0, np.pi / 2]),
        )
    scatter_trees(canvas, frame, [species(rng)], reach, rng.uniform(0, 0.002))
