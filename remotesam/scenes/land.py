"""Land: fields, strips, pivots, plots, water and the ground between things. Sizes in metres, in a `Frame`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from remotesam.scenes.canvas import Canvas, Colour, Frame, Points, blob, densify, rectangle

CROPS = np.array(
    [
        [92, 118, 58], [116, 140, 72], [70, 98, 48], [150, 158, 92], [186, 172, 116], [206, 190, 138],
        [148, 124, 92], [120, 98, 74], [168, 146, 114], [96, 82, 66], [196, 186, 84], [132, 132, 100],
        [58, 84, 46], [176, 160, 130],
    ],
    float,
)  # fmt: skip
GROUNDS = np.array(
    [
        [104, 122, 70],
        [124, 136, 86],
        [150, 138, 104],
        [176, 128, 92],
        [164, 116, 80],
        [186, 168, 138],
        [132, 126, 114],
    ],
    float,
)
WATERS = np.array(
    [[40, 62, 66], [58, 84, 88], [30, 44, 52], [92, 104, 84], [60, 96, 116], [24, 36, 48]], float
)


@dataclass(frozen=True, slots=True)
class Crop:
    """What grows on a field; several fields of a scene share one."""

    colour: Colour
    """(3,) RGB."""
    rough: float
    """Fine noise in grey levels."""
    patches: float
    """Unevenness within the field in grey levels."""
    row: float
    """Distance of rows in metres; 0 = none visible."""
    ridge: float
    """Strength of the rows in grey levels."""


def crop(rng: np.random.Generator) -> Crop:
    """Draw a crop."""
    return Crop(
        colour=CROPS[rng.integers(len(CROPS))] * rng.normal(1, 0.12) + rng.normal(0, 7, 3),
        rough=float(rng.uniform(1.5, 10)),
        patches=float(rng.choice([0, 2, 5, 10, 18])),
        row=float(rng.choice([0, 0, 0.75, 3, 12, 24])),
        ridge=float(rng.uniform(2, 12)),
    )


def field(canvas: Canvas, frame: Frame, ring: Points, kind: Crop, angle: float, name: str = "field") -> int:
    """Paint one field.

    Args:
        canvas: Where to paint.
        frame: Metres to pixels.
        ring: (N, 2) outline in metres.
        kind: What grows on it.
        angle: Direction of the rows in ground radians.
        name: Class.

    Returns:
        Its label.
    """
    rng = canvas.rng
    label = canvas.new(name)
    rows = None
    if kind.row / frame.gsd > 2.2:
        rows = (kind.row / frame.gsd, angle + frame.angle, kind.ridge)
    extent = max(float(np.ptp(ring, axis=0).max()) / frame.gsd, 8.0)
    canvas.fill(
        frame.pixels(densify(ring, max(extent * frame.gsd / 6, 1))),
        label,
        kind.colour * rng.normal(1, 0.035) + rng.normal(0, 2.0, 3),
        rough=kind.rough,
        grain=int(rng.integers(0, 3)),
        patches=kind.patches,
        rows=rows,
        shade=rng.normal(0, 8, 2) / extent if rng.random() < 0.4 else None,
    )
    if rng.random() < 0.12:  # a wet or bare patch that belongs to the field
        middle = ring.mean(0) + rng.uniform(-0.25, 0.25, 2) * np.ptp(ring, axis=0)
        spot = frame.pixels(middle + blob(rng, 0.12 * extent * frame.gsd, 0.3))
        canvas.fill(spot, label, kind.colour * rng.uniform(0.8, 1.18), rough=kind.rough, inside=label)
    return label


def split(rng: np.random.Generator, box: Points, least: float, slender: float) -> list[Points]:
    """Divide a quadrilateral again and again.

    Args:
        rng: Source of randomness.
        box: (4, 2) corners in metres.
        least: Stop below this side in metres.
        slender: Above this ratio of sides only the long side is cut; large values give strips.

    Returns:
        (4, 2) quadrilaterals that tile the box.
    """
    todo, done = [box], []
    while todo:
        q = todo.pop()
        a, b = float(np.hypot(*(q[1] - q[0]))), float(np.hypot(*(q[2] - q[1])))
        if min(a, b) < least or (max(a, b) < 3 * least and rng.random() < 0.35):
            done.append(q)
            continue
        if rng.random() < 0.12 * (max(a, b) < 8 * least):
            done.append(q)
            continue
        if (a > b) != (rng.random() < (0.12 if max(a, b) < slender * min(a, b) else 0)):
            s, t = rng.uniform(0.3, 0.7), rng.normal(0, 0.02)
            m, n = q[0] + (q[1] - q[0]) * s, q[3] + (q[2] - q[3]) * (s + t)
            todo += [np.array([q[0], m, n, q[3]]), np.array([m, q[1], q[2], n])]
        else:
            s, t = rng.uniform(0.3, 0.7), rng.normal(0, 0.02)
            m, n = q[1] + (q[2] - q[1]) * s, q[0] + (q[3] - q[0]) * (s + t)
            todo += [np.array([q[0], q[1], m, n]), np.array([n, m, q[2], q[3]])]
    return done


def shrink(ring: Points, by: float) -> Points:
    """Move the corners of a convex (N, 2) ring towards its middle, each edge by roughly `by`."""
    middle = ring.mean(0)
    way = middle - ring
    length = np.hypot(way[:, 0], way[:, 1])[:, None]
    return np.asarray(ring + way / np.maximum(length, 1e-9) * np.minimum(by * 1.41, 0.45 * length))


def pivot(canvas: Canvas, frame: Frame, at: tuple[float, float], radius: float, kinds: list[Crop]) -> None:
    """Paint a circular irrigated field, often cut into sectors with crops of their own."""
    rng = canvas.rng
    turn = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    ring = np.stack([np.cos(turn), np.sin(turn)], 1) * radius + at
    field(canvas, frame, ring, kinds[rng.integers(len(kinds))], rng.uniform(0, 3), "pivot")
    for _ in range(int(rng.choice([0, 0, 1, 2]))):
        start, width = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 3.2)
        arc = np.linspace(start, start + width, 40)
        sector = np.concatenate([[at], np.stack([np.cos(arc), np.sin(arc)], 1) * radius + at])
        field(canvas, frame, sector, kinds[rng.integers(len(kinds))], rng.uniform(0, 3), "pivot")


def plots(canvas: Canvas, frame: Frame, kinds: list[Crop], size: tuple[float, float], gap: float) -> None:
    """Paint a trial field: like plots in rows, with alleys between."""
    rng = canvas.rng
    reach = frame.reach(canvas.shape)
    kind = kinds[0]
    for u in np.arange(-reach, reach, size[0] + gap):
        for v in np.arange(-reach, reach, size[1] + gap * rng.uniform(0.3, 1)):
            if rng.random() < 0.03:
                continue
            this = kind if rng.random() < 0.8 else kinds[rng.integers(len(kinds))]
            ring = densify(rectangle(u, v, *size), max(size) / 8) + rng.normal(0, 0.018 * min(size), 2)
            ring = ring + rng.normal(0, 0.02 * min(size), ring.shape)
            field(canvas, frame, ring, this, 0.0, "plot")


def water(canvas: Canvas, ring: Points) -> None:
    """Paint a lake or river given in pixels: dark, smooth, sometimes with a sandy rim."""
    rng = canvas.rng
    if rng.random() < 0.4:
        middle = ring.mean(0)
        shore = middle + (ring - middle) * (1 + rng.uniform(0.02, 0.1))
        canvas.fill(shore, canvas.new("shore"), np.array([190.0, 176, 146]) * rng.uniform(0.7, 1.1), rough=6)
    colour = WATERS[rng.integers(len(WATERS))] * rng.uniform(0.8, 1.4) + rng.normal(0, 5, 3)
    extent = max(float(np.ptp(ring, axis=0).max()), 8.0)
    canvas.fill(ring, canvas.new("water"), colour, rough=rng.uniform(0.5, 5), grain=int(rng.integers(0, 3)),
                patches=rng.uniform(0, 4), shade=rng.normal(0, 8, 2) / extent)  # fmt: skip


def river(canvas: Canvas, width: float) -> None:
    """Paint a river of a width in pixels across the whole canvas."""
    rng = canvas.rng
    height, across = canvas.shape
    t = np.linspace(-0.1, 1.1, 40)
    size = float(np.hypot(height, across))
    turn = rng.uniform(0, 2 * np.pi)
    line = np.stack([(t - 0.5) * size * 1.1, np.zeros(40)], 1)
    for k in (1, 2, 3):
        line[:, 1] += rng.normal(0, size * 0.07 / k) * np.sin(k * 2 * np.pi * t + rng.uniform(0, 6.28))
    edge = width / 2 * (1 + 0.25 * np.sin(7 * t + rng.uniform(0, 6.28)))
    band = np.concatenate([line + np.stack([0 * t, edge], 1), (line - np.stack([0 * t, edge], 1))[::-1]])
    c, s = np.cos(turn), np.sin(turn)
    offset = rng.uniform(0.3, 0.7, 2) * (across, height)
    water(canvas, band @ np.array([[c, s], [-s, c]]) + offset)


def ground(canvas: Canvas, colour: Colour, rough: float) -> int:
    """Cover the whole canvas with one patchy ground; returns its label."""
    height, width = canvas.shape
    everything = np.array([[-2.0, -2], [width + 2, -2], [width + 2, height + 2], [-2, height + 2]])
    label = canvas.new("ground")
    canvas.fill(everything, label, colour, rough=rough, grain=int(canvas.rng.integers(0, 3)), patches=rough)
    return label
