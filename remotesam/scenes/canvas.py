"""The sheet that scenes are painted on: colours, instance labels and light, one polygon at a time."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from remotesam.scenes.textures import Image, noise

Points = NDArray[np.float64]
Colour = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Frame:
    """From metres on the ground to pixels: scale, turn, and a gentle bend so that streets curve."""

    gsd: float
    """Metres per pixel."""
    angle: float
    """Turn of the ground axes in radians."""
    centre: tuple[float, float]
    """(x, y) pixel that the origin falls on."""
    bend: float = 0.0
    """Sideways wander in metres; 0 = straight."""
    wave: float = 200.0
    """Length of one wander in metres."""

    def pixels(self, ground: Points) -> Points:
        """Turn (N, 2) metres (u, v) into (N, 2) pixels (x, y)."""
        u, v = ground[:, 0], ground[:, 1]
        k = 2 * np.pi / self.wave
        u, v = u + self.bend * np.sin(k * v), v + self.bend * np.sin(k * u + 1.0)
        c, s = np.cos(self.angle), np.sin(self.angle)
        return np.stack([c * u - s * v, s * u + c * v], 1) / self.gsd + self.centre

    def reach(self, shape: tuple[int, int]) -> float:
        """Give half the side in metres of a square round the origin that covers the whole (height, width)."""
        return float(np.hypot(*shape)) * self.gsd * 0.55 + 2 * self.bend


def frame_for(rng: np.random.Generator, shape: tuple[int, int], gsd: float, bend: float = 0.0) -> Frame:
    """Draw a turned frame whose origin is somewhere near the canvas' middle."""
    centre = rng.uniform(0.3, 0.7, 2) * (shape[1], shape[0])
    return Frame(gsd, float(rng.uniform(0, 2 * np.pi)), (float(centre[0]), float(centre[1])), bend,
                 float(rng.uniform(120, 400)))  # fmt: skip


def rectangle(u: float, v: float, length: float, width: float, angle: float = 0.0) -> Points:
    """Give the (4, 2) corners of a rectangle round (u, v), its length along `angle` in radians."""
    half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (length / 2, width / 2)
    c, s = np.cos(angle), np.sin(angle)
    return np.asarray(half @ np.array([[c, s], [-s, c]]) + (u, v))


def chamfered(ring: Points, cut: float) -> Points:
    """Cut the corners of a (N, 2) closed ring; `cut` is the distance from the corner along both edges."""
    corners = []
    for before, at, after in zip(np.roll(ring, 1, 0), ring, np.roll(ring, -1, 0), strict=True):
        for other in (before, after):
            way = other - at
            corners.append(at + way * (cut / max(float(np.hypot(*way)), 1e-9)))
    return np.array(corners)


def densify(ring: Points, step: float) -> Points:
    """Insert points along the edges of a closed ring, so that a bent frame bends them too."""
    parts = []
    for a, b in zip(ring, np.roll(ring, -1, 0), strict=True):
        count = max(1, int(np.hypot(*(b - a)) / step))
        parts.append(a + (b - a) * np.linspace(0, 1, count, endpoint=False)[:, None])
    return np.concatenate(parts)


def blob(rng: np.random.Generator, radius: float, roughness: float, count: int = 22) -> Points:
    """Give a (count, 2) closed ring round the origin that wavers about `radius`."""
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
    wave = np.zeros(count)
    for k in range(2, 7):
        wave += rng.normal(0, roughness / k) * np.cos(k * turn + rng.uniform(0, 2 * np.pi))
    reach = radius * np.exp(np.clip(wave, -1.0, 0.7))
    return np.stack([reach * np.cos(turn), reach * np.sin(turn)], 1)


class Canvas:
    """Image, labels and light of one scene while it is painted, lowest things first."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int]) -> None:
        """Start empty.

        Args:
            rng: Source of randomness.
            shape: (height, width) in pixels.
        """
        self.rng = rng
        self.shape = shape
        self.image: Image = np.zeros((*shape, 3), np.float32)
        self.labels: NDArray[np.int32] = np.zeros(shape, np.int32)
        self.light: NDArray[np.float32] = np.ones(shape, np.float32)
        self.classes: list[str] = []
        self.grain = [noise(rng, shape, scale)[..., 0] for scale in (1, 1.7, 3.5, 8, 20, 55)]
        turn = rng.uniform(0, 2 * np.pi)
        self.sun = np.array([np.cos(turn), np.sin(turn)])
        self.mess = float(np.exp(np.clip(rng.normal(0, 0.65), -1.2, 1.3)))
        self.shadow_length = float(rng.uniform(0.3, 1.8))
        self.shadow_light = float(rng.uniform(0.3, 0.65))

    def new(self, name: str) -> int:
        """Start an instance of a class; returns its label."""
        self.classes.append(name)
        return len(self.classes)

    def window(self, ring: Points) -> tuple[slice, slice] | None:
        """Give the part of the canvas that a ring of pixels can touch, None if there is none."""
        x0, y0 = np.floor(ring.min(0)).astype(int)
        x1, y1 = np.ceil(ring.max(0)).astype(int) + 1
        rows = slice(max(y0, 0), min(y1, self.shape[0]))
        cols = slice(max(x0, 0), min(x1, self.shape[1]))
        return (rows, cols) if rows.start < rows.stop and cols.start < cols.stop else None

    def cover(self, ring: Points, where: tuple[slice, slice]) -> NDArray[np.bool_]:
        """Give which pixels of a window lie inside a ring (pixel edges at integers)."""
        mask = np.zeros((where[0].stop - where[0].start, where[1].stop - where[1].start), np.uint8)
        shifted = (ring - (where[1].start + 0.5, where[0].start + 0.5)) * 16
        cv2.fillPoly(mask, [np.round(shifted).astype(np.int32)], 1, shift=4)
        return mask > 0

    def fill(  # noqa: PLR0913 (the brush: each is a property of the paint)
        self,
        ring: Points,
        label: int,
        colour: Colour,
        *,
        rough: float = 4.0,
        grain: int = 1,
        patches: float = 0.0,
        inside: int | None = None,
        rows: tuple[float, float, float] | None = None,
        shade: Points | None = None,
    ) -> None:
        """Paint a polygon and claim its pixels.

        Args:
            ring: (N, 2) pixels (x, y).
            label: Instance that owns the pixels from now on.
            colour: (3,) RGB 0..255.
            rough: Strength of fine noise in grey levels.
            grain: Which noise plane is the fine one, 0 finest to 5 coarsest.
            patches: Strength of coarse noise in grey levels.
            inside: Paint only pixels of this label.
            rows: Period in pixels, angle in radians and strength in grey levels of parallel stripes.
            shade: (2,) vector; brightness in grey levels grows along it from the ring's middle.
        """
        where = self.window(ring)
        if where is None:
            return
        mask = self.cover(ring, where)
        if inside is not None:
            mask &= self.labels[where] == inside
        if not mask.any():
            return
        tone = self.grain[grain][where] * (rough * self.mess)
        if self.mess > 1:  # clumps with dark gaps between them, as leaves, ears and rubble have
            tone = tone - np.abs(self.grain[min(grain + 1, 5)][where]) * (rough * (self.mess - 1))
        if patches:
            tone = tone + self.grain[5][where] * (0.7 * patches) + self.grain[4][where] * (0.5 * patches)
        if rows is not None or shade is not None:
            y, x = np.mgrid[where].astype(np.float32)
            if rows is not None:
                across = y * np.float32(np.cos(rows[1])) - x * np.float32(np.sin(rows[1]))
                tone = tone + np.sin(across * np.float32(2 * np.pi / max(rows[0], 2.2))) * np.float32(rows[2])
            if shade is not None:
                middle = ring.mean(0)
                tone = tone + (x - middle[0]) * np.float32(shade[0]) + (y - middle[1]) * np.float32(shade[1])
        image = self.image[where]
        image[mask] = colour.astype(np.float32) + tone[mask][:, None]
        self.labels[where][mask] = label
        self.light[where][mask] = 1.0

    def paint(self, ring: Points, label: int, picture: Image, *, inside: int | None = None) -> None:
        """Claim a polygon's pixels and show a picture of the whole canvas through it.

        Args:
            ring: (N, 2) pixels (x, y).
            label: Instance that owns the pixels from now on.
            picture: (H, W, 3) RGB 0..255.
            inside: Paint only pixels of this label.
        """
        where = self.window(ring)
        if where is None:
            return
        mask = self.cover(ring, where)
        if inside is not None:
            mask &= self.labels[where] == inside
        self.image[where][mask] = picture[where][mask]
        self.labels[where][mask] = label
        self.light[where][mask] = 1.0

    def cast(self, ring: Points, height: float) -> None:
        """Darken where an object of this outline and height in pixels keeps the sun off the ground."""
        reach = height * self.shadow_length
        if reach < 0.7:
            return
        for part in np.linspace(0, 1, int(np.clip(reach / 2, 2, 12))):
            moved = ring - self.sun * (reach * part)
            where = self.window(moved)
            if where is not None:
                self.light[where][self.cover(moved, where)] = self.shadow_light

    def finish(self) -> Image:
        """Give the lit image: shadows are soft at their rim and a little blue."""
        soft = cv2.GaussianBlur(self.light, (0, 0), 0.8)[..., None]
        return self.image * (soft + (1 - soft) * np.array([-0.05, 0.0, 0.08], np.float32))
