"""Rooms: floor, walls and ceiling with windows, doors, pictures, furniture and plants, seen from inside."""

from __future__ import annotations

import numpy as np

from remotesam.scenes import surfaces
from remotesam.scenes.canopy import crown, foliage
from remotesam.scenes.canvas import Canvas, Points, rectangle
from remotesam.scenes.perspective import (
    FORWARD,
    GROUND,
    RIGHT,
    UP,
    Camera,
    Plane,
    Surface,
    box,
    lay,
    shade_ground,
)
from remotesam.scenes.textures import noise, stripes


def room(canvas: Canvas, _gsd: float) -> None:
    """A room of 3 to 9 m with up to a dozen pieces of furniture; light falls in from one side."""
    rng = canvas.rng
    canvas.shadow_length = 0.0
    canvas.sun = np.array([rng.choice([-0.7, 0.7]), -0.7])
    height, width = canvas.shape
    focal = width / 2 / np.tan(np.radians(rng.uniform(60, 105)) / 2)
    pitch = float(np.clip(rng.normal(-0.22, 0.3), -1.0, 0.8))
    camera = Camera(float(rng.uniform(1.1, 1.8)), pitch, float(focal), (width / 2, height / 2))
    size = (float(rng.uniform(3, 9)), float(rng.uniform(2.4, 3.4)), float(rng.uniform(2.5, 8)))
    off = float(rng.uniform(-0.3, 0.3) * size[0])
    _shell(canvas, camera, size, off)
    for _ in range(int(rng.choice([0, 1, 1, 2]))):
        wide, deep, turn = rng.uniform(0.8, 3.2), rng.uniform(0.8, 3.2), rng.normal(0, 0.2)
        middle = (off + rng.uniform(-0.3, 0.3) * size[0], rng.uniform(1, size[2] - 0.6))
        rug = rectangle(*middle, wide, deep, turn)
        ring = np.clip(rug, (off - size[0] / 2, -3), (off + size[0] / 2, size[2]))
        lay(canvas, camera, GROUND, ring, surfaces.cloth(rng), canvas.new("rug"))
    _sun_patches(canvas, camera, size, off)
    depths = np.sort(rng.uniform(0.8, max(size[2] - 0.5, 1), int(rng.integers(2, 13))))[::-1]
    for z in depths.tolist():
        x = off + rng.uniform(-0.45, 0.45) * size[0]
        if np.hypot(x, z) > 1.2:
            _furnish(canvas, camera, (float(x), float(z)), size[1])
    slow = noise(rng, canvas.shape, width * rng.uniform(0.3, 0.8))[..., 0]
    canvas.light *= np.clip(1 + rng.uniform(0.03, 0.25) * slow, 0.35, 1.6).astype(np.float32)


def _shell(canvas: Canvas, camera: Camera, size: tuple[float, float, float], off: float) -> None:
    """Paint the six sides of the room and what hangs on them."""
    rng = canvas.rng
    wide, high, deep = size
    left, right = off - wide / 2, off + wide / 2
    look = surfaces.wall(rng)
    behind = -3.0
    ring = np.array([[left, behind], [right, behind], [right, deep], [left, deep]])
    lay(canvas, camera, GROUND, ring, surfaces.floor(rng), canvas.new("floor"))
    top = Plane(UP * high, RIGHT, FORWARD)
    white = surfaces.plain(rng, np.full(3, rng.uniform(170, 245)), 1.5)
    lay(canvas, camera, top, ring, white, canvas.new("ceiling"), light=rng.uniform(0.75, 1))
    sides = (
        (Plane(np.array([0, 0, deep]), RIGHT, UP), left, right),
        (Plane(np.array([left, 0, 0]), FORWARD, UP), behind, deep),
        (Plane(np.array([right, 0, 0]), FORWARD, UP), behind, deep),
    )
    for plane, start, stop in sides:
        this = look if rng.random() < 0.75 else surfaces.wall(rng)
        corners = np.array([[start, 0], [stop, 0], [stop, high], [start, high]])
        lay(canvas, camera, plane, corners, this, canvas.new("wall"), light=rng.uniform(0.7, 1.05))
        if rng.random() < 0.6:
            skirting = np.array([[start, 0], [stop, 0], [stop, 0.09], [start, 0.09]])
            lay(
                canvas,
                camera,
                plane,
                skirting,
                surfaces.plain(rng, np.full(3, 225.0)),
                canvas.new("skirting"),
            )
        _hang(canvas, camera, plane, (start, stop), high)


def _hang(canvas: Canvas, camera: Camera, plane: Plane, ends: tuple[float, float], high: float) -> None:
    """Windows, doors, pictures and curtains along one wall."""
    rng = canvas.rng
    at = ends[0] + rng.uniform(0.2, 1)
    while at < ends[1] - 0.6:
        wide = float(rng.uniform(0.4, 1.6))
        kind = rng.random()
        middle = at + wide / 2
        if at + wide > ends[1] - 0.1:
            break
        if kind < 0.3:
            _window(canvas, camera, plane, middle, (wide, high))
        elif kind < 0.45:
            lay(canvas, camera, plane, rectangle(middle, 1.02, min(wide, 1), 2.04), surfaces.wood(rng),
                canvas.new("door"))  # fmt: skip
        elif kind < 0.75:
            _picture(
                canvas, camera, plane, (middle, rng.uniform(1.3, 1.8)), (wide * 0.7, rng.uniform(0.3, 1))
            )
        at += wide + float(rng.uniform(0.2, 1.5))


def _window(canvas: Canvas, camera: Camera, plane: Plane, middle: float, size: tuple[float, float]) -> None:
    """Frame and panes are one instance; curtains are others."""
    rng = canvas.rng
    wide, low, top = size[0], rng.uniform(0.3, 1), size[1] - rng.uniform(0.15, 0.5)
    label = canvas.new("window")
    v, tall = (low + top) / 2, top - low
    frame = surfaces.plain(rng, np.full(3, rng.choice([236.0, 228, 110])))
    lay(canvas, camera, plane, rectangle(middle, v, wide, tall), frame, label)
    sky = surfaces.plain(rng, np.array([222.0, 232, 244]) * rng.uniform(0.75, 1.05), 6)
    for side in (-0.24, 0.24):
        lay(canvas, camera, plane, rectangle(middle + side * wide, v, 0.42 * wide, tall - 0.14), sky, label)
    if rng.random() < 0.4:
        cloth = surfaces.cloth(rng)
        folds = Surface(cloth.tile + stripes(rng, cloth.tile.shape[:2], 9, np.pi / 2, 2) * 14, cloth.texel)
        for side in (-1, 1):
            ring = rectangle(middle + side * wide * 0.52, v - 0.05, 0.3 * wide, tall + 0.3)
            lay(canvas, camera, plane, ring, folds, canvas.new("curtain"))


def _picture(
    canvas: Canvas, camera: Camera, plane: Plane, at: tuple[float, float], size: tuple[float, float]
) -> None:
    rng = canvas.rng
    label = canvas.new("picture")
    edge = surfaces.plain(rng, np.full(3, rng.choice([30.0, 90, 235])))
    lay(canvas, camera, plane, rectangle(*at, *size), edge, label)
    print_ = surfaces.outdoors(rng) if rng.random() < 0.4 else surfaces.cloth(rng)
    lay(canvas, camera, plane, rectangle(*at, size[0] * 0.86, size[1] * 0.84), print_, label)


def _sun_patches(canvas: Canvas, camera: Camera, size: tuple[float, float, float], off: float) -> None:
    """Light that falls through windows on the floor: a brighter patch, the same floor."""
    rng = canvas.rng
    for _ in range(int(rng.choice([0, 0, 1, 2]))):
        middle = np.array([off + rng.uniform(-0.4, 0.4) * size[0], rng.uniform(0.8, size[2] - 0.3)])
        ring: Points = rectangle(0, 0, *rng.uniform(0.5, 1.8, 2)) @ np.array(
            [[1, 0], [rng.normal(0, 0.6), 1]]
        )
        shade_ground(canvas, camera, ring + middle, -rng.uniform(0.2, 0.7))


def _furnish(canvas: Canvas, camera: Camera, at: tuple[float, float], high: float) -> None:
    """Put one piece of furniture, or a plant, on the floor."""
    rng = canvas.rng
    turn = float(rng.choice([0, 0, np.pi / 2]) + rng.normal(0, 0.12))
    kind = rng.integers(6)
    if kind == 0:
        _sofa(canvas, camera, at, turn)
    elif kind == 1:
        _table(canvas, camera, at, turn)
    elif kind == 2:
        _shelf(canvas, camera, at, turn, float(rng.uniform(0.7, high - 0.3)))
    elif kind == 3:
        _pot_plant(canvas, camera, at)
    elif kind == 4:
        side = rng.uniform(0.3, 0.9, 3)
        shade_ground(canvas, camera, rectangle(*at, side[0] * 1.3, side[1] * 1.3, turn), 0.4)
        look = (surfaces.wood, surfaces.cloth)[rng.integers(2)](rng)
        box(canvas, camera, (at[0], 0.0, at[1]), (side[0], side[1], side[2]), turn, look, canvas.new("chest"))
    else:
        _lamp(canvas, camera, at)


def _parts(
    canvas: Canvas,
    camera: Camera,
    at: tuple[float, float],
    turn: float,
    parts: list[tuple[tuple[float, float, float], tuple[float, float, float]]],
    look: Surface,
    label: int,
) -> None:
    """Paint boxes given relative to a turned piece of furniture, farthest first, as one instance."""
    c, s = np.cos(turn), np.sin(turn)
    placed = [((at[0] + c * u - s * w, v, at[1] + s * u + c * w), size) for (u, v, w), size in parts]
    eye = np.array([0, camera.height, 0])
    for middle, size in sorted(placed, key=lambda part: -float(np.linalg.norm(np.array(part[0]) - eye))):
        box(canvas, camera, middle, size, turn, look, label)


def _sofa(canvas: Canvas, camera: Camera, at: tuple[float, float], turn: float) -> None:
    """Seat, back and arms are one instance, cushions others."""
    rng = canvas.rng
    wide, deep, seat = rng.uniform(0.7, 2.4), rng.uniform(0.7, 1), rng.uniform(0.35, 0.5)
    turn += float(rng.choice([0, np.pi]))
    shade_ground(canvas, camera, rectangle(*at, wide * 1.15, deep * 1.2, turn), 0.5)
    parts = [((0.0, 0.05, 0.0), (wide, deep, seat)), ((0.0, seat, deep / 2 - 0.1), (wide, 0.22, 0.45))]
    parts += [((side * wide / 2, 0.05, 0.0), (0.2, deep, seat + 0.2)) for side in (-1, 1)]
    look = surfaces.cloth(rng)
    _parts(canvas, camera, at, turn, parts, look, canvas.new("sofa"))
    if np.cos(turn) > 0.3:
        for u in rng.uniform(-0.35, 0.35, int(rng.integers(0, 4))) * wide:
            part = [((float(u), seat + 0.05, deep / 2 - 0.3), (0.4, 0.14, 0.36))]
            _parts(canvas, camera, at, turn, part, surfaces.cloth(rng), canvas.new("cushion"))


def _table(canvas: Canvas, camera: Camera, at: tuple[float, float], turn: float) -> None:
    """A table or chair, with things on top that are instances of their own."""
    rng = canvas.rng
    wide, deep, high = rng.uniform(0.4, 1.8), rng.uniform(0.4, 0.9), rng.uniform(0.4, 0.78)
    shade_ground(canvas, camera, rectangle(*at, wide * 1.1, deep * 1.1, turn), 0.4)
    look, label = surfaces.wood(rng), canvas.new("table")
    legs = [
        ((u * (wide / 2 - 0.05), 0.0, w * (deep / 2 - 0.05)), (0.06, 0.06, high))
        for u in (-1, 1) for w in (-1, 1)
    ]  # fmt: skip
    if rng.random() < 0.3:
        legs.append(((0.0, high, deep / 2), (wide, 0.05, 0.5)))
    _parts(canvas, camera, at, turn, legs, look, label)
    _parts(canvas, camera, at, turn, [((0.0, high, 0.0), (wide, deep, 0.05))], look, label)
    for _ in range(int(rng.integers(0, 4))):
        side = rng.uniform(0.08, 0.35, 3)
        spot = (rng.uniform(-0.35, 0.35) * wide, high + 0.05, rng.uniform(-0.35, 0.35) * deep)
        tone = surfaces.plain(rng, rng.uniform(20, 235, 3), 4)
        _parts(canvas, camera, at, turn, [(spot, (side[0], side[1], side[2]))], tone, canvas.new("thing"))


def _shelf(canvas: Canvas, camera: Camera, at: tuple[float, float], turn: float, high: float) -> None:
    """A shelf with books, or a cupboard: one instance with a busy front."""
    rng = canvas.rng
    wide, deep = rng.uniform(0.6, 2), rng.uniform(0.3, 0.5)
    shade_ground(canvas, camera, rectangle(*at, wide * 1.1, deep * 1.4, turn), 0.4)
    look = surfaces.wood(rng)
    if rng.random() < 0.6:
        piece = (int(rng.integers(5, 14)), int(rng.integers(30, 60)))
        tile = surfaces.masonry(
            rng, rng.uniform(70, 170, 3), piece, jitter=rng.uniform(0.2, 0.6), gap=0.5, shift=-1
        )
        look = Surface(tile, 0.008)
    box(canvas, camera, (at[0], 0.0, at[1]), (wide, deep, high), turn, look, canvas.new("shelf"))


def _pot_plant(canvas: Canvas, camera: Camera, at: tuple[float, float]) -> None:
    """Pot and leaves are two instances."""
    rng = canvas.rng
    wide, high = rng.uniform(0.2, 0.5), rng.uniform(0.2, 0.5)
    shade_ground(canvas, camera, rectangle(*at, wide * 1.4, wide * 1.4), 0.4)
    tone = np.array([[170.0, 96, 66], [224, 222, 216], [70, 70, 74]])[rng.integers(3)]
    clay, turn = surfaces.plain(rng, tone, 5), rng.uniform(0, 1)
    box(canvas, camera, (at[0], 0.0, at[1]), (wide, wide, high), turn, clay, canvas.new("pot"))
    place = np.array([at[0], high + wide * rng.uniform(0.4, 1.2), at[1]])
    scale = camera.scale(place)
    if 0 < scale < 900:
        seen = camera.seen(place[None])[0]
        middle = np.array(camera.centre) + seen[:2] * (scale, -scale)
        leaves = foliage(canvas, float(np.clip(0.09 * scale, 2, 26)))
        crown(canvas, middle, wide * scale * rng.uniform(0.7, 1.6), leaves, 0.5, rng.uniform(0.2, 0.6))


def _lamp(canvas: Canvas, camera: Camera, at: tuple[float, float]) -> None:
    """Foot, stem and shade are one instance."""
    rng = canvas.rng
    label, high = canvas.new("lamp"), rng.uniform(0.9, 1.7)
    metal = surfaces.plain(rng, np.full(3, rng.uniform(30, 200)))
    box(canvas, camera, (at[0], 0.0, at[1]), (0.3, 0.3, 0.03), 0.0, metal, label)
    box(canvas, camera, (at[0], 0.0, at[1]), (0.04, 0.04, high), 0.0, metal, label)
    shade = surfaces.plain(rng, np.array([240.0, 226, 196]) * rng.uniform(0.7, 1.05))
    box(canvas, camera, (at[0], high - 0.15, at[1]), (0.36, 0.36, 0.28), rng.uniform(0, 1), shade, label)
