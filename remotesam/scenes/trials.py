"""Breeding plots and rows of crops at about a centimetre per pixel; a plot is one object, soil and all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from remotesam.scenes.canvas import Canvas, Frame, Points, blob, densify, rectangle
from remotesam.scenes.textures import Image, noise
from remotesam.scenes.vegetation import (
    GREENS,
    STRAWS,
    Plane,
    coloured,
    mixed,
    soil,
    strokes,
    sward,
)


@dataclass(frozen=True, slots=True)
class Stand:
    """What grows on the plots of a trial."""

    picture: Image
    """(H, W, 3) RGB of the closed canopy over the whole canvas."""
    rows: Plane
    """(H, W) share of the canopy, 0..1; below 1 the soil between rows or plants shows."""
    height: float
    """Height over the ground in pixels."""


def breeding(canvas: Canvas, _gsd: float) -> None:
    """Plots in columns, aisles of soil between these; grass, weeds or soil between the plots of one."""
    rng = canvas.rng
    length = float(np.exp(rng.uniform(np.log(70), np.log(620))))
    width = length * float(rng.uniform(0.18, 0.7))
    leaf = float(np.clip(length * rng.uniform(0.015, 0.07), 2.5, 26))
    middle = (canvas.shape[1] * rng.uniform(0.2, 0.8), canvas.shape[0] * rng.uniform(0.2, 0.8))
    turn = (
        float(rng.choice([0, np.pi / 2]) + rng.normal(0, 0.15)) if rng.random() < 0.6 else rng.uniform(0, 6.3)
    )
    frame = Frame(1.0, float(turn), middle)
    earth = soil(rng, canvas.shape, rng.uniform(1, 4))
    ground = canvas.new("aisle")
    canvas.paint(_everything(canvas), ground, _weedy(canvas, earth, leaf))
    aisle, strip = length * rng.uniform(0.12, 0.9), width * rng.uniform(0.08, 0.5)
    between = _between(canvas, leaf, earth)
    stands = [_stand(canvas, frame, width, leaf, earth) for _ in range(int(rng.choice([1, 1, 2, 3])))]
    reach = float(np.hypot(*canvas.shape)) * 0.6
    for u in np.arange(-reach, reach, length + aisle):
        if between is not None:
            column = densify(rectangle(u, 0, length * rng.uniform(0.98, 1.1), 2.2 * reach), 40)
            ring = frame.pixels(column + rng.normal(0, 0.08 * strip, column.shape))
            canvas.paint(ring, canvas.new("strip"), between)
        for v in np.arange(-reach, reach, width + strip):
            _plot(canvas, frame, stands, (u, v + rng.normal(0, 0.03 * strip)), (length, width))


def _plot(
    canvas: Canvas, frame: Frame, stands: list[Stand], at: tuple[float, float], size: tuple[float, float]
) -> None:
    rng = canvas.rng
    outline = rectangle(*at, *size) + rng.normal(0, 0.012 * size[1], (4, 2))
    outline = densify(outline, max(size[1] / 8, 5))
    ring = frame.pixels(outline + rng.normal(0, 0.012 * size[1], outline.shape))
    if rng.random() < 0.04 or canvas.window(ring) is None:
        return
    stand = stands[rng.integers(len(stands))]
    canvas.cast(ring, stand.height)
    tone = np.exp(rng.normal(0, 0.06) + rng.normal(0, 0.025, 3)).astype(np.float32)
    label = canvas.new("plot")
    canvas.paint(ring, label, stand.picture * tone)
    if rng.random() < 0.2:  # plants that lie down, or are missing: still the plot
        where = frame.pixels(np.array([at]) + rng.uniform(-0.3, 0.3, 2) * size)[0]
        patch = where + blob(rng, size[1] * rng.uniform(0.15, 0.4), 0.3)
        canvas.paint(patch, label, stand.picture * tone * np.float32(rng.uniform(0.7, 1.25)), inside=label)


def _stand(canvas: Canvas, frame: Frame, width: float, leaf: float, earth: Image) -> Stand:
    rng, shape = canvas.rng, canvas.shape
    ripe = rng.random() < 0.45
    colour = (STRAWS if ripe else GREENS)[rng.integers(4)] * rng.uniform(0.85, 1.1) + rng.normal(0, 6, 3)
    lying = rng.uniform(0, np.pi)
    light = strokes(rng, shape, leaf, max(leaf * rng.uniform(0.14, 0.4), 1), angle=lying,
                    spread=rng.uniform(0.4, 1.6), cover=rng.uniform(1.5, 3.5))  # fmt: skip
    picture = coloured(light, colour * rng.uniform(0.25, 0.6), colour * rng.uniform(1.1, 1.3))
    picture *= 1 + rng.uniform(0, 0.08) * noise(rng, shape, max(width * rng.uniform(0.2, 0.6), 4))
    rows = np.ones(shape, np.float32)
    if rng.random() < 0.65:
        count = int(rng.integers(2, 9))
        rows = _rows(canvas, frame.angle + rng.choice([0, np.pi / 2]), max(width / count, 5), light)
    return Stand(
        mixed(earth * np.float32(rng.uniform(0.7, 1)), picture, rows), rows, leaf * rng.uniform(0.3, 2)
    )


def _rows(canvas: Canvas, angle: float, pitch: float, light: Plane) -> Plane:
    """Give the share of plants across rows of a pitch in pixels, ragged by the leaves themselves."""
    rng = canvas.rng
    y, x = np.mgrid[: canvas.shape[0], : canvas.shape[1]].astype(np.float32)
    across = y * np.float32(np.cos(angle)) - x * np.float32(np.sin(angle))
    along = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    across = across + noise(rng, canvas.shape, max(2 * pitch, 4))[..., 0] * np.float32(0.06 * pitch)
    wave = np.cos(across * np.float32(2 * np.pi / pitch))
    if rng.random() < 0.35:  # single plants
        wave = 0.6 * wave + 0.4 * np.cos(along * np.float32(2 * np.pi / (pitch * rng.uniform(0.4, 1.2))))
    edge = np.float32(rng.uniform(-0.7, 0.5))
    return np.asarray(np.clip((wave - edge + 0.9 * (light - 0.45)) * 3, 0, 1), np.float32)


def _between(canvas: Canvas, leaf: float, earth: Image) -> Image | None:
    """Give what covers the strips between the plots of a column; None = the soil of the aisles."""
    rng = canvas.rng
    if rng.random() < 0.35:
        return None
    green = sward(rng, canvas.shape, max(leaf * rng.uniform(0.5, 1.3), 2.5)) * np.float32(
        rng.uniform(0.45, 1)
    )
    if rng.random() < 0.4:
        return mixed(earth, green, 0.8 + noise(canvas.rng, canvas.shape, 3 * leaf)[..., 0])
    return green


def _weedy(canvas: Canvas, earth: Image, leaf: float) -> Image:
    """Let weeds grow in loose groups on bare soil; they belong to it."""
    rng = canvas.rng
    if rng.random() < 0.3:
        return earth
    weeds = sward(rng, canvas.shape, max(leaf, 4))
    groups = noise(rng, canvas.shape, rng.uniform(10, 40))[..., 0]
    groups = (
        groups + noise(rng, canvas.shape, 4)[..., 0] * np.float32(0.5) - np.float32(rng.uniform(0.6, 2.2))
    )
    return mixed(earth, weeds, 2 * groups)


def row_crop(canvas: Canvas, _gsd: float) -> None:
    """Two to five pieces of land with rows in directions of their own, from 6 to 70 px apart, and tracks."""
    rng = canvas.rng
    leaf = float(np.exp(rng.uniform(np.log(3), np.log(24))))
    earth = soil(rng, canvas.shape, rng.uniform(1, 4))
    frame = Frame(1.0, float(rng.uniform(0, 6.3)), (canvas.shape[1] / 2, canvas.shape[0] / 2))
    reach = float(np.hypot(*canvas.shape)) * 0.6
    canvas.paint(_everything(canvas), canvas.new("track"), _weedy(canvas, earth, leaf))
    edge, gap = -reach, float(rng.choice([0, 0, 0.3, 1])) * 3 * leaf
    while edge < reach:
        wide = reach * rng.uniform(0.25, 0.9)
        stand = _stand(canvas, frame, wide, leaf, soil(rng, canvas.shape, rng.uniform(1, 4)))
        if rng.random() < 0.25:
            stand = Stand(sward(rng, canvas.shape, leaf), stand.rows, 1.0)
        strip = densify(rectangle(edge + wide / 2, 0, wide - gap, 2.2 * reach), 30)
        ring = frame.pixels(strip + rng.normal(0, 0.4 * leaf, strip.shape))
        canvas.cast(ring, stand.height)
        canvas.paint(ring, canvas.new("field"), stand.picture)
        edge += wide


def _everything(canvas: Canvas) -> Points:
    height, width = canvas.shape
    return np.array([[-2.0, -2], [width + 2, -2], [width + 2, height + 2], [-2, height + 2]])
