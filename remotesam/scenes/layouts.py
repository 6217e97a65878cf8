"""Where things go: each layout fills a canvas the way one kind of place looks from above."""

from __future__ import annotations

import numpy as np

from remotesam.scenes.canvas import Canvas, Frame, Points, blob, densify, rectangle
from remotesam.scenes.land import (
    GROUNDS,
    Crop,
    crop,
    field,
    ground,
    pivot,
    plots,
    river,
    shrink,
    split,
    water,
)
from remotesam.scenes.things import (
    CAR_COLOURS,
    CONTAINER_COLOURS,
    Roof,
    Species,
    car,
    container,
    pool,
    roof,
    roof_kind,
    species,
    tree,
)

ASPHALT = np.array([104.0, 104, 106])


def frame_for(rng: np.random.Generator, shape: tuple[int, int], gsd: float, bend: float = 0.0) -> Frame:
    """Draw a turned frame whose origin is somewhere near the canvas' middle."""
    centre = rng.uniform(0.3, 0.7, 2) * (shape[1], shape[0])
    return Frame(gsd, float(rng.uniform(0, 2 * np.pi)), (float(centre[0]), float(centre[1])), bend,
                 float(rng.uniform(120, 400)))  # fmt: skip


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
    if rng.random() < 0.35 and gsd < 0.4:  # roof against roof
        lot, block, density = float(rng.uniform(5, 11)), (block[0], float(rng.uniform(16, 34))), 1.0
    for u in np.arange(-reach, reach, block[0] + street):
        for v in np.arange(-reach, reach, block[1] + street):
            _block(canvas, frame, (u, v), block, lot, density, kinds, lawns)
    roads = canvas.new("road")
    for u in np.arange(-reach, reach, block[0] + street):
        ring = rectangle(u + block[0] / 2 + street / 2, 0, street, 2.2 * reach)
        _road(canvas, frame, ring, roads, asphalt, np.pi / 2, street)
    for v in np.arange(-reach, reach, block[1] + street):
        ring = rectangle(0, v + block[1] / 2 + street / 2, 2.2 * reach, street)
        _road(canvas, frame, ring, roads, asphalt, 0.0, street)
    for u in np.arange(-reach, reach, block[0] + street):
        edge = u + block[0] / 2 + street / 2
        _cars_along(canvas, frame, edge + rng.choice([-1, 1]) * street * 0.27, reach, np.pi / 2)
    for v in np.arange(-reach, reach, block[1] + street):
        edge = v + block[1] / 2 + street / 2
        _cars_along(canvas, frame, edge + rng.choice([-1, 1]) * street * 0.27, reach, 0.0)
    _trees_at_random(canvas, frame, trees, reach, rng.uniform(0, 0.0045))


def _block(
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
                car(canvas, frame, drive, np.pi / 2 + rng.normal(0, 0.1), _car_colour(rng))


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


def _road(
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
        dash = frame.pixels(rectangle(*(middle + along * t), 3.0, 0.15 * max(1, width / 7), angle))
        canvas.fill(dash, label, white, rough=2, inside=label)


def _cars_along(canvas: Canvas, frame: Frame, across: float, reach: float, angle: float) -> None:
    rng = canvas.rng
    if 4.4 / frame.gsd < 3:
        return
    gap = rng.choice([5.6, 8, 30, 80])
    for t in np.arange(-reach, reach, gap) + rng.uniform(0, 5):
        if rng.random() < 0.55:
            at = (across, t) if angle else (t, across)
            car(canvas, frame, at, angle + rng.normal(0, 0.02), _car_colour(rng))


def _car_colour(rng: np.random.Generator) -> Points:
    return np.asarray(CAR_COLOURS[min(int(rng.exponential(3.2)), len(CAR_COLOURS) - 1)] + rng.normal(0, 5, 3))


def _trees_at_random(canvas: Canvas, frame: Frame, kinds: list[Species], reach: float, per_m2: float) -> None:
    rng = canvas.rng
    count = min(int(per_m2 * (2 * reach) ** 2), 400)
    for at in rng.uniform(-reach, reach, (count, 2)):
        kind = kinds[rng.integers(len(kinds))]
        if kind.radius / frame.gsd > 2:
            tree(canvas, frame, kind, (float(at[0]), float(at[1])))


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
                car(canvas, frame, (u, v + rng.normal(0, 0.25)), turn + rng.normal(0, 0.03), _car_colour(rng))
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
    _trees_at_random(canvas, frame, [species(rng)], reach, rng.uniform(0, 0.002))


def woodland(canvas: Canvas, gsd: float) -> None:
    """Crowns at random or in orchard rows, from sparse to touching, on grass or soil."""
    rng = canvas.rng
    frame = frame_for(rng, canvas.shape, gsd)
    reach = frame.reach(canvas.shape)
    ground(canvas, GROUNDS[rng.integers(len(GROUNDS))] + rng.normal(0, 12, 3), rng.uniform(4, 14))
    kinds = [species(rng) for _ in range(int(rng.integers(1, 4)))]
    spacing = max(kinds[0].radius * rng.uniform(1.3, 3.2), 11 * gsd)
    orchard = rng.random() < 0.35
    row = spacing * (rng.uniform(1, 1.8) if orchard else 1)
    for u in np.arange(-reach, reach, spacing):
        for v in np.arange(-reach, reach, row):
            wander = 0.04 if orchard else 0.4
            at = np.array([u, v]) + rng.normal(0, wander, 2) * spacing
            if rng.random() < (0.05 if orchard else 0.25):
                continue
            kind = kinds[0] if orchard else kinds[rng.integers(len(kinds))]
            middle = frame.pixels(at[None])[0]
            margin = 3 * kind.radius / gsd
            if not (
                -margin < middle[0] < canvas.shape[1] + margin
                and -margin < middle[1] < canvas.shape[0] + margin
            ):
                continue
            size = kinds[0].radius * float(np.exp(rng.normal(0, 0.1))) if orchard else None
            tree(canvas, frame, kind, (float(at[0]), float(at[1])), size)


def countryside(canvas: Canvas, gsd: float) -> None:
    """Fields divided again and again, or strips, or pivots; tracks, hedges, woods, ponds, farms."""
    rng = canvas.rng
    frame = frame_for(rng, canvas.shape, gsd)
    reach = frame.reach(canvas.shape)
    frame = Frame(
        gsd,
        frame.angle,
        frame.centre,
        reach * float(rng.choice([0, 0, 0.01, 0.03])),
        reach * rng.uniform(1, 3),
    )
    between = GROUNDS[rng.integers(3)] * rng.uniform(0.6, 1.1)
    ground(canvas, between, rng.uniform(3, 9))
    kinds = [crop(rng) for _ in range(int(rng.integers(3, 8)))]
    kinds.append(_nearly(rng, kinds[0]))
    least = reach * float(np.exp(rng.uniform(np.log(0.035), np.log(0.35))))
    if rng.random() < 0.15:
        _pivots(canvas, frame, kinds, reach, max(2 * least, 12 * gsd))
    else:
        slender = float(rng.choice([2, 2, 6, 20]))
        gap = float(rng.choice([0, 0, 0.6, 1.5, 3])) * gsd
        for leaf in split(rng, rectangle(0, 0, 2.2 * reach, 2.2 * reach), max(least, 13 * gsd), slender):
            long = (
                leaf[1] - leaf[0]
                if np.hypot(*(leaf[1] - leaf[0])) > np.hypot(*(leaf[2] - leaf[1]))
                else leaf[2] - leaf[1]
            )
            if canvas.window(frame.pixels(leaf)) is not None:
                angle = float(np.arctan2(long[1], long[0]))
                field(canvas, frame, shrink(leaf, gap / 2), kinds[rng.integers(len(kinds))], angle)
    _landmarks(canvas, frame, reach)


def _nearly(rng: np.random.Generator, kind: Crop) -> Crop:
    """Give a crop that hardly differs from another: neighbours that only a fine eye parts."""
    return Crop(kind.colour + rng.normal(0, 5, 3), kind.rough * 1.3, kind.patches, kind.row, kind.ridge)


def _pivots(canvas: Canvas, frame: Frame, kinds: list[Crop], reach: float, cell: float) -> None:
    rng = canvas.rng
    for u in np.arange(-reach, reach, cell):
        for v in np.arange(-reach, reach, cell):
            if rng.random() < 0.6:
                field(canvas, frame, rectangle(u, v, cell, cell), kinds[rng.integers(len(kinds))], 0.0)
            if rng.random() < 0.85:
                pivot(canvas, frame, (u, v), cell * rng.uniform(0.42, 0.5), kinds)


def _landmarks(canvas: Canvas, frame: Frame, reach: float) -> None:
    """Water, woods, tracks and farms on top of the fields."""
    rng = canvas.rng
    size = float(min(canvas.shape))
    if rng.random() < 0.2:
        river(canvas, size * rng.uniform(0.02, 0.15))
    for _ in range(int(rng.choice([0, 0, 1, 2]))):
        at = rng.uniform(0, 1, 2) * (canvas.shape[1], canvas.shape[0])
        water(canvas, at + blob(rng, size * rng.uniform(0.02, 0.14), 0.3))
    for _ in range(int(rng.choice([0, 1, 2, 4]))):
        at = rng.uniform(0, 1, 2) * (canvas.shape[1], canvas.shape[0])
        ring = at + blob(rng, size * rng.uniform(0.03, 0.2), 0.5, 30)
        dark = np.array([54.0, 74, 44]) * rng.uniform(0.7, 1.4)
        canvas.cast(ring, 8 / frame.gsd)
        canvas.fill(
            ring, canvas.new("wood"), dark, rough=rng.uniform(6, 20), grain=int(rng.integers(1, 3)), patches=5
        )
    track = canvas.new("road")
    colour = np.array([172.0, 164, 150]) * rng.uniform(0.6, 1.2)
    for _ in range(int(rng.choice([0, 1, 1, 2]))):
        width = max(rng.uniform(4, 9), 2.2 * frame.gsd)
        turn = rng.choice([0, np.pi / 2]) + rng.normal(0, 0.1)
        ring = rectangle(*(rng.uniform(-0.5, 0.5, 2) * reach), 3 * reach, width, turn)
        canvas.fill(frame.pixels(densify(ring, reach / 8)), track, colour, rough=4)
    if 10 / frame.gsd > 4 and rng.random() < 0.6:
        kind = roof_kind(rng)
        home = rng.uniform(-0.4, 0.4, 2) * reach
        for _ in range(int(rng.integers(1, 7))):
            at, width = home + rng.normal(0, 22, 2), rng.uniform(8, 16)
            roof(
                canvas,
                frame,
                kind,
                (float(at[0]), float(at[1])),
                (width * rng.uniform(1.2, 3), width),
                rng.choice([0, 1.57]),
            )
    kinds = [species(rng)]
    if kinds[0].radius / frame.gsd > 2:
        for _ in range(int(rng.choice([0, 0, 1, 2]))):
            start, way = rng.uniform(-0.6, 0.6, 2) * reach, rng.normal(0, 1, 2)
            way *= kinds[0].radius * rng.uniform(1.4, 2.5) / np.hypot(*way)
            for k in range(int(rng.integers(5, 40))):
                at = start + k * way
                tree(canvas, frame, kinds[0], (float(at[0]), float(at[1])))


def trial_field(canvas: Canvas, gsd: float) -> None:
    """Like plots in rows on soil."""
    rng = canvas.rng
    frame = frame_for(rng, canvas.shape, gsd)
    ground(canvas, GROUNDS[rng.integers(len(GROUNDS))] * rng.uniform(0.6, 1.2), rng.uniform(4, 12))
    length = float(np.exp(rng.uniform(np.log(14), np.log(90)))) * gsd
    size = (length, length * float(rng.uniform(0.3, 1.0)))
    plots(canvas, frame, [crop(rng) for _ in range(4)], size, length * float(rng.uniform(0.06, 0.6)))
