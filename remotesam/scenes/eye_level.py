"""Gardens, streets and rooms as a person sees them: views of panoramas are of this kind."""

from __future__ import annotations

import numpy as np

from remotesam.scenes import surfaces
from remotesam.scenes.canopy import crown, foliage
from remotesam.scenes.canvas import Canvas, Points, blob, rectangle
from remotesam.scenes.perspective import (
    GROUND,
    UP,
    Camera,
    Plane,
    Surface,
    box,
    lay,
    shade_ground,
)
from remotesam.scenes.textures import Image, noise

FAR = 220.0
"""Metres to which the ground reaches."""


def garden(canvas: Canvas, _gsd: float) -> None:
    """Lawn, sand or gravel with paths and beds; hedges, shrubs, trees, stones, benches; a house or hills."""
    rng = canvas.rng
    camera = _outdoors(canvas)
    _sky(canvas, camera)
    if rng.random() < 0.6:
        _hills(canvas, camera)
    _ground(canvas, camera, int(rng.integers(0, 5)))
    leaves = [foliage(canvas, float(np.exp(rng.uniform(np.log(2), np.log(11))))) for _ in range(3)]
    if rng.random() < 0.5:
        _house(canvas, camera, (rng.uniform(-15, 15), rng.uniform(12, 40)), float(rng.normal(0, 0.5)))
    for x, z in _places(canvas, int(rng.integers(3, 26)), rng.uniform(8, 45)):
        kind = rng.random()
        look = leaves[rng.integers(3)]
        if kind < 0.45:
            shrub(canvas, camera, (x, z), rng.uniform(0.2, 1.5), look)
        elif kind < 0.7:
            standing_tree(canvas, camera, (x, z), rng.uniform(2.5, 9), look)
        elif kind < 0.85:
            _stone(canvas, camera, (x, z), rng.uniform(0.1, 1.2))
        else:
            _bench(canvas, camera, (x, z))
    _falling_light(canvas)


def street(canvas: Canvas, _gsd: float) -> None:
    """A paved square or street: fronts with windows and doors, posts, tubs with plants, parked cars."""
    rng = canvas.rng
    camera = _outdoors(canvas)
    _sky(canvas, camera)
    _ground(canvas, camera, int(rng.integers(0, 3)), surfaces.paving(rng) if rng.random() < 0.8 else None)
    deep, side = rng.uniform(10, 35), rng.uniform(5, 16)
    at = -30.0
    while at < 30:
        wide = float(rng.uniform(6, 16))
        _house(canvas, camera, (at + wide / 2, deep + rng.uniform(0, 2) + 5), 0.0, (wide, 10.0))
        at += wide + float(rng.choice([0, 0, 0, 3]))
    for sign in (-1, 1):
        if rng.random() < 0.6:
            for z in np.arange(deep - 6, -4, -12):
                _house(canvas, camera, (sign * (side + 5), float(z)), 0.0, (10.0, 12.0))
    leaves = foliage(canvas, float(rng.uniform(2, 6)))
    for x, z in _places(canvas, int(rng.integers(2, 16)), deep - 1):
        kind = rng.random()
        if abs(x) > side - 1:
            continue
        if kind < 0.35:
            _post(canvas, camera, (x, z))
        elif kind < 0.6:
            _tub(canvas, camera, (x, z), leaves)
        elif kind < 0.75:
            standing_tree(canvas, camera, (x, z), rng.uniform(3, 8), leaves)
        elif z > 4:
            _parked_car(canvas, camera, (x, z))
    _falling_light(canvas)


def _outdoors(canvas: Canvas) -> Camera:
    """Set the light of a scene seen from the ground and draw the camera."""
    rng = canvas.rng
    canvas.shadow_length = 0.0
    side = rng.uniform(-0.8, 0.8)
    canvas.sun = np.array([side, -np.sqrt(1 - side**2)])
    height, width = canvas.shape
    focal = width / 2 / np.tan(np.radians(rng.uniform(55, 100)) / 2)
    pitch = float(np.clip(rng.normal(0, 0.25), -0.9, 0.6))
    return Camera(float(rng.uniform(1.2, 2.6)), pitch, float(focal), (width / 2, height / 2))


def _sky(canvas: Canvas, camera: Camera) -> None:
    """Fill the canvas with one sky, from clear to overcast."""
    rng = canvas.rng
    height, width = canvas.shape
    rays = camera.rays((slice(0, height), slice(0, width)))
    up = np.clip(rays[..., 1] / np.linalg.norm(rays, axis=-1), 0, 1)[..., None].astype(np.float32)
    zenith = np.array([70.0, 120, 200]) * rng.uniform(0.7, 1.2)
    rim = np.array([200.0, 216, 232]) * rng.uniform(0.85, 1.05)
    if rng.random() < 0.35:
        zenith = rim = np.full(3, rng.uniform(150, 240))
    canvas.image[:] = rim + (zenith - rim) * up ** rng.uniform(0.4, 1)
    clouds = sum(noise(rng, canvas.shape, width / k) / k**0.7 for k in rng.uniform(2, 14, 3))
    share = np.clip((clouds - rng.uniform(0, 1.6)) * rng.uniform(0.3, 1.5), 0, 0.9).astype(np.float32)
    canvas.image += share * (np.float32(244) - canvas.image)
    canvas.labels[:] = canvas.new("sky")


def _hills(canvas: Canvas, camera: Camera) -> None:
    """One to three ridges, the farther the paler."""
    rng = canvas.rng
    horizon = camera.centre[1] + camera.focal * np.tan(camera.pitch)
    width = canvas.shape[1]
    x = np.linspace(-20, width + 20, 60)
    green = np.array([70.0, 92, 60]) * rng.uniform(0.7, 1.3)
    for k in range(int(rng.integers(1, 4))):
        haze = 0.7 - 0.25 * k
        y = horizon - canvas.shape[0] * rng.uniform(0.01, 0.14) * (1 - 0.2 * k)
        y = y + sum(
            rng.normal(0, 14 / j) * np.sin(j * x / width * 4 + rng.uniform(0, 6.3)) for j in (1, 2, 3, 5, 9)
        )
        ring = np.concatenate([np.stack([x, y], 1), [[width + 20, horizon + 400], [-20, horizon + 400]]])
        tone = green + (np.array([168.0, 186, 204]) - green) * haze
        canvas.fill(ring, canvas.new("hill"), tone, rough=10 * (1 - haze), grain=1, patches=5)


def _ground(canvas: Canvas, camera: Camera, count: int, surface: Surface | None = None) -> None:
    """Lay the ground and `count` beds, paths or ponds on it."""
    rng = canvas.rng
    all_of_it = rectangle(0, FAR / 2 - 10, 3 * FAR, FAR + 20)
    lay(canvas, camera, GROUND, all_of_it, surface or surfaces.outdoors(rng), canvas.new("ground"))
    for _ in range(count):
        middle = np.array([rng.uniform(-9, 9), rng.uniform(1, 22)])
        if rng.random() < 0.4:
            ring = rectangle(
                float(middle[0]), float(middle[1]), 60, rng.uniform(0.8, 3), rng.uniform(0, np.pi)
            )
        else:
            ring = middle + blob(rng, float(np.exp(rng.uniform(np.log(0.5), np.log(6)))), 0.35)
        lay(canvas, camera, GROUND, ring, surfaces.outdoors(rng), canvas.new("bed"))


def _places(canvas: Canvas, count: int, far: float) -> list[tuple[float, float]]:
    """Draw (x, z) places on the ground in metres, farthest first."""
    rng = canvas.rng
    z = np.sort(rng.uniform(1.6, np.sqrt(max(far, 4)), count) ** 2)[::-1]
    return [(float(x), float(d)) for x, d in zip(rng.uniform(-1, 1, count) * (0.8 * z + 1.5), z, strict=True)]


def _on_image(camera: Camera, at: Points) -> tuple[Points, float]:
    """Give the pixel of a (3,) place and the pixels per metre there; 0 where it is not seen."""
    scale = camera.scale(at)
    if scale <= 0:
        return np.zeros(2), 0.0
    seen = camera.seen(at[None])[0]
    return np.array(camera.centre) + seen[:2] * (scale, -scale), scale


def shrub(canvas: Canvas, camera: Camera, at: tuple[float, float], radius: float, look: Image) -> None:
    """Paint a bush or tuft of one to five domes as one instance, with its shadow on the ground."""
    rng = canvas.rng
    label = canvas.new("shrub")
    shade_ground(canvas, camera, np.array(at) + blob(rng, radius * 1.2, 0.2), rng.uniform(0.2, 0.6))
    domes = int(rng.choice([1, 1, 2, 3, 5]))
    ragged = rng.uniform(0.05, 0.4)
    for k in range(domes):
        x = at[0] + (k - (domes - 1) / 2) * radius * 0.9
        middle, scale = _on_image(camera, np.array([x, 0.6 * radius * rng.uniform(0.8, 1.2), at[1]]))
        if scale > 0 and radius * scale < 700:
            size = radius * scale * rng.uniform(0.75, 1.2)
            crown(canvas, middle, size, look, rng.uniform(0.2, 0.6), ragged, label)


def standing_tree(
    canvas: Canvas, camera: Camera, at: tuple[float, float], height: float, look: Image
) -> None:
    """Paint stem and crown as one instance."""
    rng = canvas.rng
    foot, scale = _on_image(camera, np.array([at[0], 0.0, at[1]]))
    top, _ = _on_image(camera, np.array([at[0], height, at[1]]))
    if scale <= 0 or height * scale > 2500:
        return
    label = canvas.new("tree")
    shade_ground(canvas, camera, np.array(at) + blob(rng, 0.3 * height, 0.25), rng.uniform(0.2, 0.6))
    thick = max(0.03 * height * scale * rng.uniform(0.7, 2), 1.5)
    lean = np.array([rng.normal(0, 0.08) * height * scale, 0])
    side = np.array([thick, 0.0])
    stem = np.array([foot - side, foot + side, top + lean + side / 3, top + lean - side / 3])
    bark = np.array([96.0, 82, 70]) * rng.uniform(0.5, 1.3)
    canvas.fill(stem, label, bark, rough=9, grain=1, shade=np.array([rng.normal(0, 10) / thick, 0]))
    radius = height * scale * rng.uniform(0.16, 0.32)
    ragged = rng.uniform(0.1, 0.5)
    for _ in range(int(rng.integers(1, 6))):
        middle = top + lean + rng.normal(0, 0.45, 2) * radius
        crown(canvas, middle, radius * rng.uniform(0.6, 1.1), look, rng.uniform(0.3, 0.7), ragged, label)


def _stone(canvas: Canvas, camera: Camera, at: tuple[float, float], radius: float) -> None:
    rng = canvas.rng
    middle, scale = _on_image(camera, np.array([at[0], 0.4 * radius, at[1]]))
    if scale <= 0 or radius * scale > 600:
        return
    shade_ground(canvas, camera, np.array(at) + blob(rng, radius * 1.2, 0.2), rng.uniform(0.2, 0.5))
    ring = middle + blob(rng, radius * scale, 0.3) * (1.25, 0.75)
    tone = np.full(3, rng.uniform(100, 205)) + rng.normal(0, 8, 3)
    lift = canvas.sun * tone.mean() * rng.uniform(0.1, 0.4) / max(radius * scale, 2)
    canvas.fill(
        ring, canvas.new("stone"), tone, rough=10, grain=int(rng.integers(1, 4)), patches=10, shade=lift
    )


def _bench(canvas: Canvas, camera: Camera, at: tuple[float, float]) -> None:
    """A bench or table: boards on legs."""
    rng = canvas.rng
    label, look = canvas.new("bench"), surfaces.wood(rng)
    wide, deep, high = rng.uniform(0.9, 2), rng.uniform(0.4, 0.9), rng.uniform(0.4, 0.8)
    shade_ground(canvas, camera, rectangle(*at, wide * 1.1, deep * 1.3), 0.4)
    for x in (-wide / 2 + 0.06, wide / 2 - 0.06):
        box(canvas, camera, (at[0] + x, 0.0, at[1]), (0.09, deep * 0.9, high), 0.0, look, label)
    box(canvas, camera, (at[0], high, at[1]), (wide, deep, 0.07), 0.0, look, label)
    if rng.random() < 0.5:
        box(canvas, camera, (at[0], high, at[1] + deep / 2), (wide, 0.06, 0.5), 0.0, look, label)


def _post(canvas: Canvas, camera: Camera, at: tuple[float, float]) -> None:
    rng = canvas.rng
    thick, high = rng.uniform(0.06, 0.2), float(rng.choice([0.9, 1.0, 3.5, 5]))
    look = surfaces.plain(rng, np.full(3, rng.uniform(25, 190)) + rng.normal(0, 8, 3))
    box(
        canvas, camera, (at[0], 0.0, at[1]), (thick, thick, high), rng.uniform(0, 1), look, canvas.new("post")
    )


def _tub(canvas: Canvas, camera: Camera, at: tuple[float, float], leaves: Image) -> None:
    rng = canvas.rng
    wide, high = rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.8)
    tone = np.array([[170.0, 96, 66], [220, 218, 212], [90, 88, 88]])[rng.integers(3)]
    shade_ground(canvas, camera, rectangle(*at, wide * 1.3, wide * 1.3), 0.4)
    clay, turn = surfaces.plain(rng, tone, 5), rng.uniform(0, 1)
    box(canvas, camera, (at[0], 0.0, at[1]), (wide, wide, high), turn, clay, canvas.new("tub"))
    middle, scale = _on_image(camera, np.array([at[0], high + 0.4 * wide, at[1]]))
    if 0 < scale < 900:
        crown(canvas, middle, wide * scale * rng.uniform(0.6, 1.2), leaves, 0.5, rng.uniform(0.1, 0.4))


def _parked_car(canvas: Canvas, camera: Camera, at: tuple[float, float]) -> None:
    """Body and cabin; glass and wheels belong to it."""
    rng = canvas.rng
    label, turn = canvas.new("car"), float(rng.choice([0, np.pi / 2]) + rng.normal(0, 0.1))
    paint = surfaces.plain(rng, np.full(3, rng.uniform(25, 230)) + rng.normal(0, 24, 3), 3)
    shade_ground(canvas, camera, rectangle(*at, 4.6, 2, turn), 0.7)
    box(canvas, camera, (at[0], 0.25, at[1]), (4.3, 1.75, 0.6), turn, paint, label)
    glass = surfaces.plain(rng, np.array([44.0, 50, 58]), 4)
    box(canvas, camera, (at[0], 0.85, at[1]), (2.3, 1.5, 0.5), turn, glass, label)
    box(canvas, camera, (at[0], 1.35, at[1]), (2.2, 1.45, 0.08), turn, paint, label)


def _house(
    canvas: Canvas, camera: Camera, at: tuple[float, float], angle: float,
    size: tuple[float, float] | None = None,
) -> None:  # fmt: skip
    """Walls, a roof of two slopes, windows and a door on the front that faces the camera."""
    rng = canvas.rng
    wide, deep = size or (float(rng.uniform(6, 14)), float(rng.uniform(6, 10)))
    storeys, storey = int(rng.integers(1, 4)), float(rng.uniform(2.5, 3.2))
    high = storeys * storey
    box(
        canvas,
        camera,
        (at[0], 0.0, at[1]),
        (wide, deep, high),
        angle,
        surfaces.wall(rng),
        canvas.new("front"),
    )
    c, s = np.cos(angle), np.sin(angle)
    along, across = np.array([c, 0, s]), np.array([-s, 0, c])
    base = np.array([at[0], 0.0, at[1]])
    if rng.random() < 0.75:
        rise, out = rng.uniform(1.5, 4), 0.4
        slope = np.hypot(rise, deep / 2)
        way = (across * deep / 2 + UP * rise) / slope
        tile = surfaces.masonry(rng, surfaces.BRICKS[rng.integers(4)] * rng.uniform(0.6, 1.1), (16, 14),
                                jitter=0.06, gap=0.3, shift=0.5)  # fmt: skip
        eaves = Plane(base - across * deep / 2 + UP * high, along, way)
        ring = np.array(
            [
                [-wide / 2 - out, -out],
                [wide / 2 + out, -out],
                [wide / 2 + out, slope],
                [-wide / 2 - out, slope],
            ]
        )
        lay(
            canvas, camera, eaves, ring, Surface(tile, 0.018), canvas.new("roof"), light=rng.uniform(0.8, 1.1)
        )
    front = Plane(base - across * (deep / 2 + 0.01), along, UP)
    if (np.array([0, camera.height, 0]) - front.origin) @ -across > 0:
        _openings(canvas, camera, front, wide, (storeys, storey))


def _openings(canvas: Canvas, camera: Camera, front: Plane, wide: float, storeys: tuple[int, float]) -> None:
    """Windows in a grid, each with frame and bars one instance; one of the ground floor is a door."""
    rng = canvas.rng
    count = max(1, int(wide / rng.uniform(1.8, 3.6)))
    size = (float(rng.uniform(0.7, 1.3)), float(rng.uniform(1.0, 1.7)))
    frame = surfaces.plain(rng, np.full(3, rng.choice([235.0, 225, 90, 60])) + rng.normal(0, 6, 3))
    glass = surfaces.plain(rng, np.array([62.0, 72, 84]) * rng.uniform(0.5, 1.9), 10)
    door = int(rng.integers(count))
    for row in range(storeys[0]):
        for k in range(count):
            u, v = (k + 0.5) * wide / count - wide / 2, (row + 0.55) * storeys[1]
            if row == 0 and k == door:
                ring = rectangle(u, 1.05, 1.0, 2.1)
                lay(canvas, camera, front, ring, surfaces.wood(rng), canvas.new("door"))
                continue
            label = canvas.new("window")
            lay(canvas, camera, front, rectangle(u, v, *size), frame, label)
            for side in (-0.24, 0.24):
                pane = rectangle(u + side * size[0], v, 0.4 * size[0], 0.88 * size[1])
                lay(canvas, camera, front, pane, glass, label, light=float(rng.uniform(0.6, 1.3)))


def _falling_light(canvas: Canvas) -> None:
    """Let brightness vary over the picture, as it does between sun and shade."""
    rng = canvas.rng
    if rng.random() < 0.6:
        slow = noise(rng, canvas.shape, max(canvas.shape) * rng.uniform(0.3, 0.7))[..., 0]
        canvas.light *= np.clip(1 + rng.uniform(0.03, 0.2) * slow, 0.4, 1.5).astype(np.float32)
