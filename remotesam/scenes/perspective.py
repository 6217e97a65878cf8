"""A camera near the ground: textured planes and boxes in perspective, painted farthest first.

Scene axes in metres: x right, y up, z forward; the camera stands above the origin.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from remotesam.scenes.canvas import Canvas, Points
from remotesam.scenes.textures import Image

NEAR = 0.25
"""Nearest distance in metres that is painted."""
RIGHT, UP, FORWARD = np.eye(3)


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole."""

    height: float
    """Metres above the ground."""
    pitch: float
    """Radians that it looks up."""
    focal: float
    """Focal length in pixels."""
    centre: tuple[float, float]
    """(x, y) pixel of the optical axis."""

    def seen(self, points: Points) -> Points:
        """Turn (N, 3) metres into the camera's own axes: right, up, forward."""
        x, y, z = points[:, 0], points[:, 1] - self.height, points[:, 2]
        c, s = np.cos(self.pitch), np.sin(self.pitch)
        return np.stack([x, c * y - s * z, s * y + c * z], 1)

    def pixels(self, points: Points) -> Points:
        """Project a (N, 3) closed ring to (M, 2) pixels, cut off in front of the camera; M may be 0."""
        ring = _in_front(self.seen(points))
        return ring[:, :2] / ring[:, 2:] * (self.focal, -self.focal) + self.centre

    def scale(self, point: Points) -> float:
        """Give pixels per metre at one (3,) place; 0 behind the camera."""
        depth = float(self.seen(point[None])[0, 2])
        return self.focal / depth if depth > NEAR else 0.0

    def rays(self, where: tuple[slice, slice]) -> Points:
        """Give (H, W, 3) directions in scene axes through the pixels of a window, each of depth 1."""
        y, x = np.mgrid[where].astype(np.float64)
        across, up = (x + 0.5 - self.centre[0]) / self.focal, -(y + 0.5 - self.centre[1]) / self.focal
        c, s = np.cos(self.pitch), np.sin(self.pitch)
        return np.stack([across, c * up + s, c - s * up], -1)


def _in_front(ring: Points) -> Points:
    """Cut a (N, 3) ring in camera axes at the distance `NEAR`."""
    kept: list[Points] = []
    for a, b in zip(ring, np.roll(ring, -1, 0), strict=True):
        if a[2] >= NEAR:
            kept.append(a)
        if (a[2] >= NEAR) != (b[2] >= NEAR):
            kept.append(a + (b - a) * ((NEAR - a[2]) / (b[2] - a[2])))
    return np.array(kept).reshape(-1, 3)


@dataclass(frozen=True, slots=True)
class Plane:
    """A flat surface in space."""

    origin: Points
    """(3,) metres."""
    u: Points
    """(3,) unit vector."""
    v: Points
    """(3,) unit vector, at right angles to `u`."""

    def points(self, ring: Points) -> Points:
        """Turn (N, 2) metres on the plane into (N, 3)."""
        return np.asarray(self.origin + ring[:, :1] * self.u + ring[:, 1:] * self.v)


GROUND = Plane(np.zeros(3), RIGHT, FORWARD)


@dataclass(frozen=True, slots=True)
class Surface:
    """A texture that repeats mirrored."""

    tile: Image
    """(T, T, 3) RGB."""
    texel: float
    """Metres per pixel of the tile."""


def lay(
    canvas: Canvas,
    camera: Camera,
    plane: Plane,
    ring: Points,
    surface: Surface,
    label: int,
    *,
    light: float = 1.0,
    inside: int | None = None,
) -> None:
    """Paint a polygon of a plane with a texture.

    Args:
        canvas: Where to paint.
        camera: Who looks.
        plane: Where the polygon lies.
        ring: (N, 2) outline in metres on the plane.
        surface: Texture.
        label: Instance that owns the pixels from now on.
        light: Factor on the brightness.
        inside: Paint only pixels of this label.
    """
    outline = camera.pixels(plane.points(ring))
    if len(outline) < 3:
        return
    outline = np.clip(outline, -4000, 6000)
    where = canvas.window(outline)
    if where is None:
        return
    mask = canvas.cover(outline, where)
    if inside is not None:
        mask &= canvas.labels[where] == inside
    if not mask.any():
        return
    rays = camera.rays(where)[mask]
    normal = np.cross(plane.u, plane.v)
    start = plane.origin - (0, camera.height, 0)
    fall = rays @ normal
    distance = (start @ normal) / np.where(np.abs(fall) < 1e-6, 1e-6, fall)
    hit = rays * distance[:, None] - start
    slant = np.abs(fall) / np.linalg.norm(rays, axis=1)
    grain = distance / camera.focal / np.sqrt(np.clip(slant, 0.05, 1)) / surface.texel
    found = looked_up(surface.tile, hit @ plane.u / surface.texel, hit @ plane.v / surface.texel, grain)
    canvas.image[where][mask] = found * np.float32(light)
    canvas.labels[where][mask] = label
    canvas.light[where][mask] = 1.0


def looked_up(
    tile: Image, x: NDArray[np.float64], y: NDArray[np.float64], grain: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Read a mirrored tile at (N,) places in its pixels, averaged over about `grain` of them; (N, 3)."""
    level = np.clip(np.round(np.log2(np.maximum(grain, 1e-6))), 0, 6).astype(int)
    out = np.empty((len(x), 3), np.float32)
    for k in range(int(level.max()) + 1):
        if k:
            small = (max(tile.shape[1] // 2, 1), max(tile.shape[0] // 2, 1))
            tile = np.asarray(cv2.resize(tile, small, interpolation=cv2.INTER_AREA), np.float32)
        at = level == k
        if at.any():
            rows, columns = (_folded(a[at] / 2**k, n) for a, n in zip((y, x), tile.shape, strict=False))
            out[at] = tile[rows, columns]
    return out


def _folded(at: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Turn places on an endless axis into indices of a tile that repeats mirrored."""
    index = np.floor(at).astype(np.int64) % (2 * count)
    return np.where(index < count, index, 2 * count - 1 - index)


def box(
    canvas: Canvas,
    camera: Camera,
    at: tuple[float, float, float],
    size: tuple[float, float, float],
    angle: float,
    surface: Surface,
    label: int,
) -> None:
    """Paint an upright box as one instance; every face has the light of its direction.

    Args:
        canvas: Where to paint.
        camera: Who looks.
        at: Middle of its base in metres.
        size: Width, depth and height in metres.
        angle: Turn about the vertical in radians.
        surface: Texture of all faces.
        label: Instance.
    """
    base = np.array(at)
    c, s = np.cos(angle), np.sin(angle)
    along, across = np.array([c, 0, s]), np.array([-s, 0, c])
    half = np.array(size) / 2
    eye = np.array([0, camera.height, 0])
    middle = base + UP * half[2]
    faces = [
        (along, across, half[1], half[0]), (-along, across, half[1], half[0]),
        (across, along, half[0], half[1]), (-across, along, half[0], half[1]),
    ]  # fmt: skip
    for normal, side, wide, off in faces:
        origin = base + normal * off
        if (eye - origin) @ normal > 0:
            light = 0.82 + 0.16 * float(normal @ (0.6, 0, -0.8)) * np.sign(canvas.sun[0])
            ring = np.array([[-wide, 0], [wide, 0], [wide, size[2]], [-wide, size[2]]])
            lay(canvas, camera, Plane(origin, side, UP), ring, surface, label, light=light)
    for level, shown in ((middle[1] + half[2], camera.height > middle[1] + half[2]),
                         (middle[1] - half[2], camera.height < middle[1] - half[2])):  # fmt: skip
        if shown:
            origin = np.array([base[0], level, base[2]])
            ring = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half[:2]
            light = 1.12 if level > middle[1] else 0.55
            lay(canvas, camera, Plane(origin, along, across), ring, surface, label, light=light)


def shade_ground(canvas: Canvas, camera: Camera, ring: Points, depth: float, *, level: float = 0.0) -> None:
    """Darken (or, with negative depth, brighten) a polygon of the ground with a soft rim; labels stay."""
    outline = camera.pixels(Plane(np.array([0, level, 0.0]), RIGHT, FORWARD).points(ring))
    if len(outline) < 3:
        return
    outline = np.clip(outline, -4000, 6000)
    where = canvas.window(outline)
    if where is None:
        return
    share = np.zeros(canvas.shape, np.float32)
    share[where][canvas.cover(outline, where)] = 1
    share = np.asarray(cv2.GaussianBlur(share, (0, 0), float(canvas.rng.uniform(0.7, 6))), np.float32)
    canvas.light *= 1 - np.float32(depth) * share
