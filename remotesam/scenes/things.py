"""Things that stand on the ground: roofs, cars, trees, pools, containers. Sizes in metres, in a `Frame`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from remotesam.scenes.canvas import Canvas, Colour, Frame, Points, blob, chamfered, rectangle

ROOF_COLOURS = np.array(
    [
        [168, 82, 58], [186, 104, 74], [142, 66, 52], [120, 60, 56], [204, 132, 96], [150, 150, 150],
        [190, 190, 188], [110, 112, 116], [72, 74, 80], [96, 88, 80], [206, 198, 184], [226, 226, 224],
        [92, 128, 168], [80, 110, 92], [160, 62, 70], [130, 116, 104], [176, 156, 128], [60, 90, 140],
    ],
    float,
)  # fmt: skip
CAR_COLOURS = np.array(
    [
        [232, 232, 234], [236, 236, 236], [186, 188, 192], [150, 152, 156], [96, 98, 102], [44, 46, 50],
        [30, 30, 34], [150, 30, 32], [40, 62, 120], [190, 180, 160], [60, 90, 70], [200, 160, 40],
    ],
    float,
)  # fmt: skip
CONTAINER_COLOURS = np.array(
    [[160, 60, 44], [40, 84, 140], [48, 110, 84], [196, 196, 190], [210, 140, 50], [110, 70, 60]], float
)


@dataclass(frozen=True, slots=True)
class Roof:
    """A kind of roof that the houses of a neighbourhood share."""

    colour: Colour
    """(3,) RGB."""
    form: str
    """"gable", "hip" or "flat"."""
    contrast: float
    """How much brighter the sunny slope is, as a share."""
    rough: float
    """Noise in grey levels."""
    ribs: float
    """Distance of ribs or tile rows in metres; 0 = none."""
    sheets: float = 0.0
    """How much single metal sheets differ from the rest (rust, repairs), as a share; 0 = none."""


def roof_kind(rng: np.random.Generator) -> Roof:
    """Draw a kind of roof."""
    return Roof(
        colour=ROOF_COLOURS[rng.integers(len(ROOF_COLOURS))] + rng.normal(0, 8, 3),
        form=str(rng.choice(["gable", "gable", "hip", "hip", "flat"])),
        contrast=float(rng.uniform(0.06, 0.42)),
        rough=float(rng.uniform(2, 13)),
        ribs=float(rng.choice([0, 0.3, 0.9])),
        sheets=float(rng.choice([0, 0, 0.1, 0.3])),
    )


def roof(
    canvas: Canvas, frame: Frame, kind: Roof, at: tuple[float, float], size: tuple[float, float], angle: float
) -> None:
    """Paint a house: shadow, slopes, and sometimes a wing, chimney, solar panels or roof lights.

    Args:
        canvas: Where to paint.
        frame: Metres to pixels.
        kind: Looks.
        at: Middle (u, v) in metres.
        size: Length and width in metres, length >= width.
        angle: Direction of the length in ground radians.
    """
    rng = canvas.rng
    label = canvas.new("roof")
    height = rng.uniform(2.5, 7.0) / frame.gsd
    colour = kind.colour * rng.normal(1, 0.05) + rng.normal(0, 4, 3)
    bodies = [(at, size, angle)]
    if rng.random() < 0.3 and size[0] > 8:
        side, along = rng.choice([-1, 1]), rng.uniform(-0.3, 0.3) * size[0]
        wing = (size[1] * rng.uniform(0.8, 1.3), size[1] * rng.uniform(0.5, 0.85))
        off = side * (size[1] / 2 + wing[0] / 2 - size[1] * 0.3)
        c, s = np.cos(angle), np.sin(angle)
        middle = (at[0] + c * along - s * off, at[1] + s * along + c * off)
        bodies.insert(0, (middle, wing, angle + np.pi / 2))
    for middle, (length, width), turn in bodies:
        canvas.cast(frame.pixels(rectangle(*middle, length, width, turn)), height)
    for middle, (length, width), turn in bodies:
        _slopes(canvas, frame, kind, label, colour, middle, (length, width), turn)
    _roof_parts(canvas, frame, label, at, size, angle)


def _slopes(
    canvas: Canvas, frame: Frame, kind: Roof, label: int, colour: Colour,
    at: tuple[float, float], size: tuple[float, float], angle: float,
) -> None:  # fmt: skip
    """Paint the faces of one body; each face's tone follows the angle between its fall and the sun."""
    rng = canvas.rng
    length, width = size
    outline = rectangle(*at, length, width, angle)
    ribs = None
    if kind.ribs and kind.ribs / frame.gsd > 2.2:
        ribs = (kind.ribs / frame.gsd, angle + frame.angle + np.pi / 2, kind.rough * 0.8)
    if kind.form == "flat":
        ring = frame.pixels(outline)
        canvas.fill(ring, label, np.clip(colour * 1.2 + 8, 0, 245), rough=2)
        inner = frame.pixels(rectangle(*at, length - 0.6, width - 0.6, angle))
        if min(length, width) / frame.gsd > 8:
            canvas.fill(inner, label, colour, rough=kind.rough, grain=2, patches=kind.rough, inside=label)
        else:
            canvas.fill(ring, label, colour, rough=kind.rough)
        return
    inset = 0.0 if kind.form == "gable" else min(width / 2, length / 2 - 0.2)
    ridge = rectangle(*at, max(length - 2 * inset, 0.2), 0.0, angle)[:2]
    a, b = ridge
    faces = [np.array([outline[0], outline[1], b, a]), np.array([outline[2], outline[3], a, b])]
    if inset:
        faces += [np.array([outline[1], outline[2], b]), np.array([outline[3], outline[0], a])]
    middle = frame.pixels(np.array([at]))[0]
    fade = rng.uniform(-1, 1, 2) * rng.uniform(0, 25) / max(length / frame.gsd, 4)
    for face in faces:
        ring = frame.pixels(face)
        fall = ring[:2].mean(0) - middle
        facing = float(fall @ canvas.sun) / max(float(np.hypot(*fall)), 1e-6)
        tone = colour * (1 + kind.contrast * facing)
        canvas.fill(ring, label, tone, rough=kind.rough, patches=kind.rough * 0.6, rows=ribs, shade=fade)
    if kind.sheets:
        _sheets(canvas, frame, kind, label, colour, at, size, angle)
    if rng.random() < 0.5 and 0.3 / frame.gsd > 0.6:
        ends = frame.pixels(rectangle(*at, max(length - 2 * inset, 0.4), 0.35, angle))
        canvas.fill(ends, label, colour * rng.uniform(0.75, 1.35), rough=2, inside=label)


def _sheets(
    canvas: Canvas, frame: Frame, kind: Roof, label: int, colour: Colour,
    at: tuple[float, float], size: tuple[float, float], angle: float,
) -> None:  # fmt: skip
    """Replace some metal sheets, side by side across the roof, by rusty or newer ones."""
    rng = canvas.rng
    length, width = size
    pitch = max(rng.uniform(0.8, 2.5), 2.5 * frame.gsd)
    rust, steel = np.array([132.0, 84, 62]), np.array([188.0, 188, 190])
    c, s = np.cos(angle), np.sin(angle)
    for along in np.arange(-length / 2 + pitch / 2, length / 2, pitch):
        if rng.random() < 0.5:
            continue
        other = rust if rng.random() < 0.6 else steel
        tone = colour + (other - colour) * min(kind.sheets * rng.uniform(0.3, 2.5), 0.9)
        deep = width * rng.choice([1.0, 0.5])
        off = 0.0 if deep == width else width / 4 * rng.choice([-1, 1])
        ring = rectangle(at[0] + c * along - s * off, at[1] + s * along + c * off, pitch, deep, angle)
        canvas.fill(frame.pixels(ring), label, tone, rough=kind.rough, inside=label)


def _roof_parts(
    canvas: Canvas, frame: Frame, label: int, at: tuple[float, float], size: tuple[float, float], angle: float
) -> None:
    """Paint small things on a roof; they stay part of it."""
    rng = canvas.rng
    c, s = np.cos(angle), np.sin(angle)

    def spot(a: float, b: float, length: float, width: float, tone: Colour, *, rows: bool = False) -> None:
        ring = frame.pixels(rectangle(at[0] + c * a - s * b, at[1] + s * a + c * b, length, width, angle))
        lines = (1.0 / frame.gsd, angle + frame.angle, 10.0) if rows and 1.0 / frame.gsd > 2.5 else None
        canvas.fill(ring, label, tone, rough=2, inside=label, rows=lines)

    if rng.random() < 0.25:
        spot(rng.uniform(-0.3, 0.3) * size[0], rng.choice([-0.25, 0.25]) * size[1],
             size[0] * rng.uniform(0.2, 0.5), size[1] * 0.3, np.array([34.0, 40, 62]), rows=True)  # fmt: skip
    for _ in range(int(rng.integers(0, 4))):
        tone = np.array([60.0, 58, 56]) if rng.random() < 0.5 else np.array([215.0, 218, 222])
        side = rng.uniform(0.4, 1.3)
        spot(rng.uniform(-0.42, 0.42) * size[0], rng.uniform(-0.4, 0.4) * size[1], side, side, tone)


def car(canvas: Canvas, frame: Frame, at: tuple[float, float], angle: float, colour: Colour) -> None:
    """Paint a car: body, dark front and rear windows, shadow; sometimes a van or lorry."""
    rng = canvas.rng
    label = canvas.new("car")
    length, width = 4.4 * rng.normal(1, 0.06), 1.8 * rng.normal(1, 0.04)
    if rng.random() < 0.06:
        length, width = length * rng.uniform(1.5, 2.6), width * 1.35
    body = rectangle(*at, length, width, angle)
    canvas.cast(frame.pixels(body), 1.5 / frame.gsd)
    ring = chamfered(body, 0.22 * width)
    canvas.fill(frame.pixels(ring), label, colour, rough=3)
    c, s = np.cos(angle), np.sin(angle)
    for along, share in ((0.17, 0.13), (-0.28, 0.09)):
        middle = (at[0] + c * along * length, at[1] + s * along * length)
        glass = rectangle(*middle, share * length, 0.8 * width, angle)
        canvas.fill(frame.pixels(glass), label, colour * 0.25 + 12, rough=2, inside=label)


@dataclass(frozen=True, slots=True)
class Species:
    """A kind of tree."""

    colour: Colour
    """(3,) RGB of the lit crown."""
    radius: float
    """Mean crown radius in metres."""
    depth: float
    """How dark its own shadow side is, as a share."""
    rough: float
    """Strength of the leaf texture in grey levels."""
    outline: float
    """How ragged the crown's outline is."""


def species(rng: np.random.Generator) -> Species:
    """Draw a kind of tree."""
    green = np.array([rng.uniform(40, 120), rng.uniform(70, 140), rng.uniform(30, 80)])
    if rng.random() < 0.1:
        green = np.array([rng.uniform(110, 170), rng.uniform(90, 130), rng.uniform(50, 90)])
    return Species(green, float(np.exp(rng.uniform(np.log(1.2), np.log(6)))), float(rng.uniform(0.2, 0.65)),
                   float(rng.uniform(6, 26)), float(rng.uniform(0.05, 0.35)))  # fmt: skip


def tree(
    canvas: Canvas, frame: Frame, kind: Species, at: tuple[float, float], radius: float | None = None
) -> None:
    """Paint a crown: dark base, light on the sunny side, clumps of leaves, its shadow on the ground."""
    rng = canvas.rng
    label = canvas.new("tree")
    size = radius or kind.radius * float(np.exp(rng.normal(0, 0.25)))
    pixels = size / frame.gsd
    middle = frame.pixels(np.array([at]))[0]
    ring = middle + blob(rng, pixels, kind.outline, 22 if pixels > 5 else 10)
    canvas.cast(ring, 1.6 * pixels)
    tone = kind.colour * rng.normal(1, 0.07) + rng.normal(0, 4, 3)
    lift = canvas.sun * (kind.depth * float(tone.mean()) / max(pixels, 1))
    fine = 1 if pixels < 12 else 2
    canvas.fill(ring, label, tone * (1 - 0.4 * kind.depth), rough=kind.rough, grain=fine, shade=lift)
    if pixels < 7:
        return
    for _ in range(int(rng.integers(4, 12))):
        turn, out = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random()) * 0.85 * pixels
        where = np.array([np.cos(turn), np.sin(turn)]) * out
        light = 1 + kind.depth * 0.6 * float(where @ canvas.sun) / pixels + rng.normal(0, 0.07)
        clump = middle + where + blob(rng, pixels * rng.uniform(0.18, 0.4), 0.3, 12)
        canvas.fill(clump, label, tone * light, rough=kind.rough, grain=fine, inside=label, shade=lift)


def pool(canvas: Canvas, frame: Frame, at: tuple[float, float], angle: float) -> None:
    """Paint a swimming pool with its rim (the rim is paving, the water an instance)."""
    rng = canvas.rng
    length, width = rng.uniform(6, 12), rng.uniform(3, 5.5)
    paving = canvas.new("paving")
    canvas.fill(frame.pixels(rectangle(*at, length + 1.6, width + 1.6, angle)), paving,
                np.array([196.0, 188, 176]) + rng.normal(0, 8, 3), rough=4)  # fmt: skip
    water = np.array([70.0, 178, 204]) + rng.normal(0, 14, 3)
    label = canvas.new("pool")
    if rng.random() < 0.4:
        ring = blob(rng, width * 0.65, 0.3) / frame.gsd + frame.pixels(np.array([at]))
    else:
        ring = frame.pixels(rectangle(*at, length, width, angle))
    canvas.fill(ring, label, water, rough=4, grain=2, shade=rng.normal(0, 12, 2) / max(length / frame.gsd, 3))


def container(canvas: Canvas, frame: Frame, at: tuple[float, float], angle: float, colour: Colour) -> None:
    """Paint a shipping container with its ribs."""
    rng = canvas.rng
    length = 12.2 if rng.random() < 0.7 else 6.1
    ring: Points = frame.pixels(rectangle(*at, length, 2.44, angle))
    canvas.cast(ring, 2.6 * float(rng.integers(1, 4)) / frame.gsd)
    ribs = (0.6 / frame.gsd, angle + frame.angle + np.pi / 2, 8.0) if 0.6 / frame.gsd > 2.2 else None
    canvas.fill(ring, canvas.new("container"), colour + rng.normal(0, 8, 3), rough=5, rows=ribs)


def scatter_trees(canvas: Canvas, frame: Frame, kinds: list[Species], reach: float, per_m2: float) -> None:
    """Plant trees of some kinds anywhere within `reach` metres of the frame's origin, at most 400."""
    rng = canvas.rng
    count = min(int(per_m2 * (2 * reach) ** 2), 400)
    for at in rng.uniform(-reach, reach, (count, 2)):
        kind = kinds[rng.integers(len(kinds))]
        if kind.radius / frame.gsd > 2:
            tree(canvas, frame, kind, (float(at[0]), float(at[1])))
