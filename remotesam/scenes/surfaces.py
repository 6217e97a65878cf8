"""Textures of floors, walls, cloth and ground as tiles of `SIDE` pixels, for scenes in perspective."""

from __future__ import annotations

import numpy as np

from remotesam.scenes.canvas import Colour
from remotesam.scenes.perspective import Surface
from remotesam.scenes.textures import Image, mottled, stripes
from remotesam.scenes.vegetation import soil, sward

SIDE = 256
_SHAPE = (SIDE, SIDE)

WALLS = np.array(
    [[226, 222, 212], [206, 196, 178], [188, 196, 200], [214, 190, 160], [170, 176, 160], [236, 234, 230],
     [150, 120, 104], [196, 170, 140], [120, 136, 150]], float
)  # fmt: skip
WOODS = np.array([[150, 108, 70], [186, 146, 100], [104, 72, 48], [206, 178, 140], [78, 60, 50]], float)
STONES = np.array([[150, 144, 136], [120, 112, 108], [178, 168, 152], [140, 110, 98], [100, 100, 104]], float)
BRICKS = np.array([[156, 84, 64], [178, 110, 84], [132, 76, 66], [190, 160, 120]], float)
CLOTHS = np.array(
    [[90, 96, 110], [160, 60, 56], [60, 80, 120], [120, 130, 96], [196, 186, 170], [54, 52, 56],
     [180, 140, 80], [110, 80, 100]], float
)  # fmt: skip


def masonry(
    rng: np.random.Generator,
    colour: Colour,
    size: tuple[int, int],
    *,
    jitter: float,
    gap: float,
    shift: float,
) -> Image:
    """Give boards, tiles, bricks or cobbles: courses of pieces whose tones differ a little, with joints.

    Args:
        rng: Source of randomness.
        colour: (3,) RGB.
        size: Width and height of a piece in pixels of the tile.
        jitter: How much the tones of pieces differ, as a share.
        gap: How much darker (or, below 0, lighter) joints are, as a share.
        shift: By how much of a piece each course is moved; below 0 = any.
    """
    picture = mottled(rng, _SHAPE, colour, rng.uniform(2, 9))
    y, x = np.mgrid[:SIDE, :SIDE]
    course = y // size[1]
    count = SIDE // size[1] + 1
    moved = (
        rng.integers(0, size[0], count) if shift < 0 else (np.arange(count) * int(shift * size[0])) % size[0]
    )
    piece = (x + moved[course]) // size[0]
    tones = np.exp(rng.normal(0, jitter, (count, SIDE // size[0] + 2, 1)) + rng.normal(0, jitter / 4, 3))
    picture *= tones[course, piece].astype(np.float32)
    joint = ((x + moved[course]) % size[0] < max(1, size[0] // 24)) | (y % size[1] < max(1, size[1] // 12))
    picture[joint] *= np.float32(1 - gap)
    return picture


def floor(rng: np.random.Generator) -> Surface:
    """Draw a floor of boards, tiles, carpet or stone."""
    kind = rng.integers(4)
    if kind == 0:
        wood = WOODS[rng.integers(len(WOODS))] * rng.uniform(0.8, 1.15)
        board = (int(rng.integers(64, 200)), int(rng.integers(10, 26)))
        return Surface(masonry(rng, wood, board, jitter=rng.uniform(0.03, 0.16), gap=0.4, shift=-1), 0.008)
    if kind == 1:
        side = int(rng.integers(24, 80))
        tone = (WALLS if rng.random() < 0.5 else STONES)[rng.integers(5)] * rng.uniform(0.7, 1.05)
        joints = rng.uniform(-0.2, 0.35)
        return Surface(
            masonry(rng, tone, (side, side), jitter=rng.uniform(0, 0.1), gap=joints, shift=0), 0.01
        )
    return cloth(rng) if kind == 2 else paving(rng)


def paving(rng: np.random.Generator) -> Surface:
    """Draw cobbles, slabs or bricks laid on the ground."""
    wide = int(rng.integers(8, 50))
    tone = (STONES if rng.random() < 0.7 else BRICKS)[rng.integers(4)] * rng.uniform(0.7, 1.15)
    size = (wide, max(6, int(wide * rng.uniform(0.4, 1))))
    tile = masonry(rng, tone, size, jitter=rng.uniform(0.04, 0.2), gap=rng.uniform(-0.15, 0.5), shift=0.5)
    return Surface(tile, rng.uniform(0.006, 0.014))


def outdoors(rng: np.random.Generator) -> Surface:
    """Draw ground: grass, weeds, sand, gravel, earth or paving."""
    kind = rng.random()
    if kind < 0.45:
        return Surface(sward(rng, _SHAPE, rng.uniform(6, 26)), rng.uniform(0.006, 0.02))
    if kind < 0.8:
        return Surface(soil(rng, _SHAPE, rng.uniform(1, 14)), rng.uniform(0.01, 0.03))
    return paving(rng)


def wall(rng: np.random.Generator) -> Surface:
    """Draw plaster, wallpaper, bricks or boards."""
    kind = rng.random()
    if kind < 0.6:
        colour = WALLS[rng.integers(len(WALLS))] * rng.uniform(0.75, 1.05) + rng.normal(0, 6, 3)
        picture = mottled(rng, _SHAPE, colour, rng.uniform(0.8, 5))
        if rng.random() < 0.2:
            turn = float(rng.choice([0, np.pi / 2]))
            picture = picture + stripes(rng, _SHAPE, rng.uniform(6, 40), turn) * np.float32(
                rng.uniform(2, 14)
            )
        return Surface(picture, 0.012)
    if kind < 0.8:
        brick = BRICKS[rng.integers(len(BRICKS))] * rng.uniform(0.75, 1.15)
        size = (int(rng.integers(20, 30)), int(rng.integers(7, 12)))
        joints = rng.uniform(-0.35, 0.35)
        return Surface(masonry(rng, brick, size, jitter=rng.uniform(0.04, 0.15), gap=joints, shift=0.5), 0.01)
    wood = (WOODS if rng.random() < 0.6 else WALLS)[rng.integers(5)]
    return Surface(masonry(rng, wood, (250, int(rng.integers(8, 24))), jitter=0.07, gap=0.4, shift=0), 0.01)


def wood(rng: np.random.Generator) -> Surface:
    """Draw timber of furniture: a grain along one side."""
    colour = (WOODS if rng.random() < 0.7 else WALLS)[rng.integers(5)] * rng.uniform(0.8, 1.15)
    picture = mottled(rng, _SHAPE, colour, rng.uniform(1, 5))
    lines = stripes(rng, _SHAPE, rng.uniform(3, 12), 0.0, rng.uniform(1, 6))
    return Surface(picture + lines * np.float32(rng.uniform(0, 9)), 0.006)


def cloth(rng: np.random.Generator) -> Surface:
    """Draw cloth: plain, striped or checked."""
    colour = CLOTHS[rng.integers(len(CLOTHS))] * rng.uniform(0.7, 1.2) + rng.normal(0, 8, 3)
    picture = mottled(rng, _SHAPE, colour, rng.uniform(2, 12))
    for turn in (0.0, np.pi / 2):
        if rng.random() < 0.3:
            wave = stripes(rng, _SHAPE, rng.uniform(6, 50), turn)
            picture = picture + np.sign(wave) * rng.normal(0, 14, 3).astype(np.float32)
    return Surface(picture, rng.uniform(0.004, 0.012))


def plain(rng: np.random.Generator, colour: Colour, rough: float = 2.0) -> Surface:
    """Give a nearly even surface of a colour."""
    return Surface(mottled(rng, _SHAPE, colour, rough), 0.01)
