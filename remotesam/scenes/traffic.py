"""Streets from above with cars that hardly differ from the asphalt; large roofs with what stands on them."""

from __future__ import annotations

import numpy as np

from remotesam.scenes.canvas import Canvas, Colour, Frame, chamfered, frame_for, rectangle
from remotesam.scenes.disturbances import building_shadow, tree_shadow
from remotesam.scenes.land import ground
from remotesam.scenes.settlement import car_colour, cars_along
from remotesam.scenes.things import roof_kind, scatter_trees, species


def dark_cars(canvas: Canvas, gsd: float) -> None:
    """Two to six lanes between pavements and long roofs; most cars are nearly as dark as the street."""
    rng = canvas.rng
    frame = frame_for(rng, canvas.shape, float(np.clip(gsd, 0.06, 0.25)), float(rng.choice([0, 0, 4])))
    reach = frame.reach(canvas.shape)
    asphalt = np.full(3, rng.uniform(48, 120)) + rng.normal(0, 4, 3)
    street = ground(canvas, asphalt, rng.uniform(1, 5))
    lane, lanes = float(rng.uniform(2.8, 3.6)), int(rng.integers(2, 7))
    width = lane * lanes + rng.choice([0, 2.4, 4.8])
    step = width + rng.uniform(18, 40)
    for v in np.arange(-reach, reach, step):
        _block(canvas, frame, v + step / 2, step - width, reach)
        _lanes(canvas, frame, street, asphalt, (float(v), lane, lanes), reach)
        for k in range(lanes):
            _queue(canvas, frame, asphalt, float(v + (k - (lanes - 1) / 2) * lane), reach)
        if rng.random() < 0.5:
            cars_along(canvas, frame, v + width / 2 - 1.1, reach, 0.0)
    scatter_trees(canvas, frame, [species(rng)], reach, rng.uniform(0, 0.003))
    for _ in range(int(rng.choice([0, 1, 1, 2]))):
        (building_shadow, tree_shadow)[rng.integers(2)](canvas)


def _block(canvas: Canvas, frame: Frame, v: float, depth: float, reach: float) -> None:
    """Paint pavement and a row of houses wall to wall between two streets."""
    rng = canvas.rng
    paving = np.full(3, rng.uniform(95, 190)) + rng.normal(0, 7, 3)
    ring = frame.pixels(rectangle(0, v, 2.2 * reach, depth))
    canvas.fill(ring, canvas.new("paving"), paving, rough=rng.uniform(2, 6), patches=4)
    kind, at = roof_kind(rng), -reach
    deep = depth - 2 * rng.uniform(1.5, 4)
    while at < reach:
        length = float(rng.uniform(10, 45))
        _long_roof(canvas, frame, kind.colour * rng.normal(1, 0.08), (at + length / 2, v), (length, deep))
        at += length + float(rng.choice([0, 0, 0, 6]))


def _long_roof(
    canvas: Canvas, frame: Frame, colour: Colour, at: tuple[float, float], size: tuple[float, float]
) -> None:
    """Paint two slopes with dormers, roof lights and chimneys, all one object."""
    rng = canvas.rng
    label = canvas.new("roof")
    outline = rectangle(*at, *size)
    canvas.cast(frame.pixels(outline), rng.uniform(6, 18) / frame.gsd)
    contrast = rng.uniform(0.04, 0.3)
    for side in (-1, 1):
        slope = rectangle(at[0], at[1] + side * size[1] / 4, size[0], size[1] / 2)
        tone = colour * (1 + side * contrast)
        canvas.fill(frame.pixels(slope), label, tone, rough=rng.uniform(3, 9), patches=4)
        pitch = rng.uniform(2, 5)
        things = rng.uniform(0, 1) * (rng.random() < 0.75)
        for u in np.arange(at[0] - size[0] / 2 + 1.2, at[0] + size[0] / 2 - 1.2, pitch):
            if rng.random() > things:
                continue
            ring = frame.pixels(rectangle(u, at[1] + side * size[1] * 0.3, *rng.uniform(0.7, 1.8, 2)))
            tone = np.full(3, rng.choice([60.0, 110, 190, 220])) + rng.normal(0, 8, 3)
            canvas.fill(ring, label, tone, rough=2, inside=label)


def _lanes(
    canvas: Canvas, frame: Frame, street: int, asphalt: Colour, at: tuple[float, float, int], reach: float
) -> None:
    rng = canvas.rng
    v, lane, lanes = at
    white = np.clip(asphalt + rng.uniform(35, 110), 0, 235)
    for k in range(lanes + 1):
        across = v + (k - lanes / 2) * lane
        solid = k in (0, lanes) or rng.random() < 0.15
        period, dash = (reach * 2.2, reach * 2.2) if solid else (9.0, 3.0)
        for u in np.arange(0 if solid else -reach, reach, period):
            canvas.fill(frame.pixels(rectangle(u, across, dash, 0.15)), street, white, rough=3, inside=street)
        if solid:
            continue
    for _ in range(int(rng.integers(0, 10))):  # repairs, covers, oil: all street
        u, w = rng.uniform(-0.6, 0.6) * reach, v + rng.uniform(-0.5, 0.5) * lane * lanes
        ring = frame.pixels(rectangle(u, w, rng.uniform(0.6, 9), rng.uniform(0.6, 2.5)))
        canvas.fill(ring, street, asphalt * rng.uniform(0.78, 1.2), rough=3, inside=street)


def _queue(canvas: Canvas, frame: Frame, asphalt: Colour, v: float, reach: float) -> None:
    """Put cars on one lane, from traffic jam to empty."""
    rng = canvas.rng
    gap = float(rng.choice([5.6, 7, 14, 40, 90]))
    for u in np.arange(-reach, reach, gap) + rng.uniform(0, gap):
        if rng.random() < 0.8:
            dark = asphalt * rng.uniform(0.4, 1.25) + rng.normal(0, 6, 3)
            colour = dark if rng.random() < 0.65 else car_colour(rng)
            plain_car(canvas, frame, (float(u), v + rng.normal(0, 0.15)), rng.normal(0, 0.02), colour)


def plain_car(canvas: Canvas, frame: Frame, at: tuple[float, float], angle: float, colour: Colour) -> None:
    """Paint a car whose roof mirrors the sky and whose shadow may be darker than itself."""
    rng = canvas.rng
    label = canvas.new("car")
    length, width = 4.5 * rng.normal(1, 0.07), 1.82 * rng.normal(1, 0.04)
    if rng.random() < 0.08:
        length, width = length * rng.uniform(1.4, 2.6), width * 1.3
    body = rectangle(*at, length, width, angle)
    canvas.cast(frame.pixels(body), rng.uniform(0.8, 1.6) / frame.gsd)
    canvas.fill(frame.pixels(chamfered(body, 0.24 * width)), label, colour, rough=3)
    c, s = np.cos(angle), np.sin(angle)
    glass = colour * 0.35 + rng.uniform(8, 30)
    for along, share, wide in ((0.16, 0.13, 0.82), (-0.3, 0.1, 0.8), (-0.06, 0.3, 0.66)):
        middle = (at[0] + c * along * length, at[1] + s * along * length)
        top = share == 0.3
        tone = np.clip(colour * rng.uniform(1, 1.4) + rng.uniform(0, 16), 0, 250) if top else glass
        ring = frame.pixels(rectangle(*middle, share * length, wide * width, angle))
        canvas.fill(ring, label, tone, rough=2, inside=label)
    if rng.random() < 0.4:
        glint = frame.pixels(rectangle(at[0] + c * 0.36 * length, at[1] + s * 0.36 * length, 0.5, 0.5, angle))
        canvas.fill(glint, label, np.full(3, 235.0), rough=0, inside=label)
