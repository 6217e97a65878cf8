"""What lies across objects without being one: wet spots, rills, wheel tracks, shadows; labels stay."""

from __future__ import annotations

import cv2
import numpy as np

from remotesam.scenes.canvas import Canvas, Points, blob
from remotesam.scenes.countryside import countryside, woodland
from remotesam.scenes.settlement import parking, settlement
from remotesam.scenes.textures import noise
from remotesam.scenes.vegetation import SOILS, Plane

LAND = ("field", "pivot", "plot", "meadow", "ground", "yard", "strip")
"""Classes of land that is wet, bare and driven over."""


def uneven_fields(canvas: Canvas, gsd: float) -> None:
    """Fields at 0.3 to 6 m per pixel with what water, soil and machines leave in them."""
    metres = float(gsd * canvas.rng.uniform(4, 14))
    countryside(canvas, metres)
    for label, name in enumerate(canvas.classes, 1):
        if name in LAND and canvas.rng.random() < 0.8:
            unsettle(canvas, label)
    if canvas.rng.random() < 0.4:
        cloud_shadows(canvas)


def shadowed(canvas: Canvas, gsd: float) -> None:
    """Houses, cars, trees or fields with shadows of things outside the picture on them."""
    rng = canvas.rng
    (settlement, settlement, parking, woodland, countryside)[rng.integers(5)](canvas, gsd)
    for _ in range(int(rng.integers(1, 4))):
        (building_shadow, tree_shadow, tree_shadow, cloud_shadows)[rng.integers(4)](canvas)


def unsettle(canvas: Canvas, label: int) -> None:
    """Let water, soil and machines leave their marks on one object; its outline stays."""
    rng = canvas.rng
    mask = canvas.labels == label
    ys, xs = np.nonzero(mask)
    if len(ys) < 400:
        return
    where = (slice(int(ys.min()), int(ys.max()) + 1), slice(int(xs.min()), int(xs.max()) + 1))
    mask = mask[where]
    size = float(np.sqrt(len(ys)))
    image = canvas.image[where]
    colour = image[mask].mean(0)
    bare = SOILS[rng.integers(len(SOILS))].astype(np.float32) * np.float32(rng.uniform(0.75, 1.1))
    other = colour * np.float32(rng.uniform(0.6, 0.85)) if rng.random() < 0.5 else 0.4 * colour + 0.6 * bare
    share = np.zeros(mask.shape, np.float32)
    if rng.random() < 0.7:
        share += spots(canvas, mask.shape, size)
    if rng.random() < 0.4:
        share += rills(canvas, mask.shape, size)
    if rng.random() < 0.4:
        share += tracks(canvas, mask.shape)
    share = np.clip(share, 0, 1) * np.float32(rng.uniform(0.25, 0.95))
    shown = image + share[..., None] * (other - colour)
    image[mask] = shown[mask]


def spots(canvas: Canvas, shape: tuple[int, int], size: float) -> Plane:
    """Give (H, W) shares 0..1 of patches that are wetter, barer or weedier, with soft or firm borders."""
    rng = canvas.rng
    plane = noise(rng, shape, max(size * rng.uniform(0.06, 0.35), 2))[..., 0]
    plane = plane + 0.4 * noise(rng, shape, max(size * 0.05, 1.5))[..., 0]
    return np.asarray(np.clip((plane - rng.uniform(0.3, 1.6)) * rng.uniform(0.8, 5), 0, 1), np.float32)


def rills(canvas: Canvas, shape: tuple[int, int], size: float) -> Plane:
    """Give (H, W) shares 0..1 of winding lines along which water runs: the zero lines of smooth noise."""
    rng = canvas.rng
    plane = noise(rng, shape, max(size * rng.uniform(0.15, 0.5), 3))[..., 0]
    plane = plane + 0.15 * noise(rng, shape, max(size * 0.05, 1.5))[..., 0]
    steep = np.hypot(*np.gradient(plane)) + np.float32(1e-3)
    wide = rng.uniform(0.7, 3.0)
    only = noise(rng, shape, max(size * 0.4, 3))[..., 0] > rng.uniform(-0.5, 1)
    line = np.exp(-((plane / steep / wide) ** 2)).astype(np.float32)
    return np.where(only, line, np.float32(0))


def tracks(canvas: Canvas, shape: tuple[int, int]) -> Plane:
    """Give (H, W) shares 0..1 of pairs of wheel tracks, parallel or criss-cross."""
    rng = canvas.rng
    plane = np.zeros(shape, np.uint8)
    turn, step = rng.uniform(0, np.pi), rng.uniform(14, 90)
    reach = float(np.hypot(*shape))
    gauge, width = rng.uniform(2.5, 7), int(rng.integers(1, 3))
    for off in np.arange(-reach / 2, reach / 2, step):
        along = np.array([np.cos(turn), np.sin(turn)])
        for side in (-gauge / 2, gauge / 2):
            middle = np.array(shape[::-1]) / 2 + np.array([-along[1], along[0]]) * (off + side)
            a, b = middle - along * reach, middle + along * reach
            cv2.line(plane, a.astype(int).tolist(), b.astype(int).tolist(), 255, width, cv2.LINE_AA)
        if rng.random() < 0.1:
            turn += rng.normal(0, 0.6)
    return plane.astype(np.float32) / np.float32(255)


def darken(canvas: Canvas, share: Plane) -> None:
    """Take light away: share 1 is full shadow."""
    dark = 1 - np.clip(share, 0, 1) * np.float32(1 - canvas.shadow_light)
    np.minimum(canvas.light, dark, out=canvas.light)


def building_shadow(canvas: Canvas) -> None:
    """The shadow of a building beside the picture, or of several: straight, with steps and gables."""
    rng = canvas.rng
    side = float(np.hypot(*canvas.shape))
    edge = np.sort(rng.uniform(-0.6, 0.6, int(rng.integers(2, 7)))) * side
    turn = np.arctan2(*canvas.sun[::-1]) + np.pi / 2 + rng.normal(0, 0.2)
    depth = rng.uniform(-0.35, 0.25) * side
    ring = [(-side, -side), (-side, depth)]
    for at in edge:
        ring.append((at, depth))
        depth = float(np.clip(depth + rng.normal(0, 0.12) * side, -0.4 * side, 0.35 * side))
        ring.append((at + rng.choice([0, 0, 0.05]) * side, depth))
    ring += [(side, depth), (side, -side)]
    _throw(canvas, _turned(np.array(ring), turn) + np.array(canvas.shape[::-1]) / 2)


def tree_shadow(canvas: Canvas) -> None:
    """Shadows of one to six crowns beside or above: lobed, with flecks of light in them."""
    rng = canvas.rng
    share = np.zeros(canvas.shape, np.float32)
    radius = float(np.exp(rng.uniform(np.log(0.04), np.log(0.25)))) * min(canvas.shape)
    for _ in range(int(rng.integers(1, 7))):
        middle = rng.uniform(0, 1, 2) * canvas.shape[::-1]
        for _ in range(int(rng.integers(3, 9))):
            ring = middle + rng.normal(0, 0.55 * radius, 2) + blob(rng, radius * rng.uniform(0.3, 0.8), 0.35)
            where = canvas.window(ring)
            if where is not None:
                share[where][canvas.cover(ring, where)] = 1
    flecks = noise(rng, canvas.shape, max(radius * rng.uniform(0.06, 0.2), 1.5))[..., 0]
    darken(canvas, share * (flecks < rng.uniform(0.7, 2.5)))


def cloud_shadows(canvas: Canvas) -> None:
    """Soft large shadows."""
    rng = canvas.rng
    plane = noise(rng, canvas.shape, max(canvas.shape) * rng.uniform(0.25, 0.6))[..., 0]
    soft = rng.uniform(0.8, 4)
    darken(canvas, np.asarray(np.clip((plane - rng.uniform(-0.2, 0.8)) * soft, 0, 1), np.float32))


def _turned(ring: Points, turn: float) -> Points:
    c, s = np.cos(turn), np.sin(turn)
    return np.asarray(ring @ np.array([[c, s], [-s, c]]))


def _throw(canvas: Canvas, ring: Points) -> None:
    where = canvas.window(ring)
    if where is None:
        return
    share = np.zeros(canvas.shape, np.float32)
    share[where][canvas.cover(ring, where)] = 1
    darken(canvas, cv2.GaussianBlur(share, (0, 0), float(canvas.rng.uniform(0.5, 2))).astype(np.float32))
