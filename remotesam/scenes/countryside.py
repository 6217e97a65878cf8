"""Fields, woods and trial plots: places that people farm."""

from __future__ import annotations

import numpy as np

from remotesam.scenes.canvas import Canvas, Frame, Points, blob, densify, frame_for, rectangle
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
from remotesam.scenes.things import roof, roof_kind, species, tree


def woodland(canvas: Canvas, gsd: float) -> None:
    """Crowns at random or in orchard rows, from sparse to touching, on grass or soil."""
    rng = canvas.rng
    frame = frame_for(rng, canvas.shape, gsd)
    reach = frame.reach(canvas.shape)
    ground(canvas, GROUNDS[rng.integers(len(GROUNDS))] + rng.normal(0, 12, 3), rng.uniform(4, 14))
    kinds = [species(rng) for _ in range(int(rng.integers(1, 4)))]
    spacing = max(kinds[0].radius * rng.uniform(1.3, 3.2), 14 * gsd)
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
    least = reach * float(np.exp(rng.uniform(np.log(0.06), np.log(0.45))))
    if rng.random() < 0.15:
        _pivots(canvas, frame, kinds, reach, max(2 * least, 12 * gsd))
    else:
        slender = float(rng.choice([2, 2, 6, 20]))
        gap = float(rng.choice([0, 0, 0.6, 1.5, 3])) * gsd
        for leaf in split(rng, rectangle(0, 0, 2.2 * reach, 2.2 * reach), max(least, 18 * gsd), slender):
            if canvas.window(frame.pixels(leaf)) is not None:
                field(canvas, frame, shrink(leaf, gap / 2), kinds[rng.integers(len(kinds))], long_side(leaf))
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
    """Water, woods, tracks, farms and hedges on top of the fields."""
    rng = canvas.rng
    size = float(min(canvas.shape))
    if rng.random() < 0.2:
        river(canvas, size * rng.uniform(0.02, 0.15))
    for _ in range(int(rng.choice([0, 0, 1, 2]))):
        water(canvas, _anywhere(canvas) + blob(rng, size * rng.uniform(0.02, 0.14), 0.3))
    for _ in range(int(rng.choice([0, 1, 2, 4]))):
        wood(canvas, frame, _anywhere(canvas) + blob(rng, size * rng.uniform(0.03, 0.2), 0.5, 30))
    track = canvas.new("road")
    colour = np.array([172.0, 164, 150]) * rng.uniform(0.6, 1.2)
    for _ in range(int(rng.choice([0, 1, 1, 2]))):
        width = max(rng.uniform(4, 9), 2.2 * frame.gsd)
        turn = float(rng.choice([0, np.pi / 2]) + rng.normal(0, 0.1))
        u, v = rng.uniform(-0.5, 0.5, 2) * reach
        ring = rectangle(float(u), float(v), 3 * reach, width, turn)
        canvas.fill(frame.pixels(densify(ring, reach / 8)), track, colour, rough=4)
    if 10 / frame.gsd > 4 and rng.random() < 0.6:
        farm(canvas, frame, rng.uniform(-0.4, 0.4, 2) * reach, int(rng.integers(1, 7)))
    for _ in range(int(rng.choice([0, 0, 1, 2]))):
        start, way = rng.uniform(-0.6, 0.6, 2) * reach, rng.normal(0, 1, 2)
        tree_row(canvas, frame, start, way, int(rng.integers(5, 40)))


def _anywhere(canvas: Canvas) -> Points:
    return np.asarray(canvas.rng.uniform(0, 1, 2) * (canvas.shape[1], canvas.shape[0]))


def long_side(ring: Points) -> float:
    """Give the direction, in radians, of the longer of the first two sides of a quadrilateral."""
    first, second = ring[1] - ring[0], ring[2] - ring[1]
    way = first if np.hypot(*first) > np.hypot(*second) else second
    return float(np.arctan2(way[1], way[0]))


def wood(canvas: Canvas, frame: Frame, ring: Points) -> None:
    """Paint a wood, given in pixels, as one instance: dark, rough, with the shadow of its edge."""
    rng = canvas.rng
    dark = np.array([54.0, 74, 44]) * rng.uniform(0.7, 1.4)
    canvas.cast(ring, 8 / frame.gsd)
    label, grain = canvas.new("wood"), int(rng.integers(1, 3))
    canvas.fill(ring, label, dark, rough=rng.uniform(6, 20), grain=grain, patches=5)


def farm(canvas: Canvas, frame: Frame, home: Points, count: int) -> None:
    """Paint barns and houses of one kind round a spot in metres."""
    rng = canvas.rng
    kind = roof_kind(rng)
    for u, v in home + rng.normal(0, 22, (count, 2)):
        width = float(rng.uniform(8, 16))
        size = (width * float(rng.uniform(1.2, 3)), width)
        roof(canvas, frame, kind, (float(u), float(v)), size, float(rng.choice([0, np.pi / 2])))


def tree_row(canvas: Canvas, frame: Frame, start: Points, way: Points, count: int) -> None:
    """Plant like trees in a row from a spot in metres; a kind too small to see is left out."""
    rng = canvas.rng
    kind = species(rng)
    if kind.radius / frame.gsd <= 2:
        return
    step = way * (kind.radius * rng.uniform(1.4, 2.5) / np.hypot(*way))
    for k in range(count):
        u, v = start + k * step
        tree(canvas, frame, kind, (float(u), float(v)))


def trial_field(canvas: Canvas, gsd: float) -> None:
    """Like plots in rows on soil."""
    rng = canvas.rng
    frame = frame_for(rng, canvas.shape, gsd)
    ground(canvas, GROUNDS[rng.integers(len(GROUNDS))] * rng.uniform(0.6, 1.2), rng.uniform(4, 12))
    length = float(np.exp(rng.uniform(np.log(18), np.log(120)))) * gsd
    size = (length, length * float(rng.uniform(0.3, 1.0)))
    plots(canvas, frame, [crop(rng) for _ in range(4)], size, length * float(rng.uniform(0.06, 0.6)))
