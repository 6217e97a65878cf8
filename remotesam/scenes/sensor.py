"""What the camera, the sky and the file format do to a scene; labels stay as they are."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from remotesam.scenes.textures import Image, noise


def expose(rng: np.random.Generator, image: Image) -> NDArray[np.uint8]:
    """Turn a painted scene into a photo: colour cast, haze, contrast stretch, blur, noise, sharpening, JPEG.

    Args:
        rng: Source of randomness.
        image: (H, W, 3) float32 RGB, about 0..255; not changed.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    shape = (image.shape[0], image.shape[1])
    out = _blur(image, float(rng.uniform(0.35, 0.75)))
    if rng.random() < 0.3:
        out = _resample(out, float(rng.uniform(1.2, 2.2)))
    out = out * np.exp(rng.normal(0, 0.08, 3)).astype(np.float32)
    if rng.random() < 0.25:
        out = _haze(rng, out, shape)
    if rng.random() < 0.4:
        out = _stretch(rng, out)
    if rng.random() < 0.25:  # colours fade or glow
        grey = out.mean(-1, keepdims=True)
        out = grey + (out - grey) * np.float32(rng.uniform(0.2, 1.5))
    if rng.random() < 0.03:
        out = np.repeat(out.mean(-1, keepdims=True), 3, -1)
    if rng.random() < 0.3:
        out = out + (out - _blur(out, 1.2)) * np.float32(rng.uniform(0.3, 1.5))
    out = out + rng.standard_normal(out.shape, np.float32) * np.float32(
        rng.uniform(0, 7) * (rng.random() < 0.6)
    )
    photo = np.clip(out, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        photo = _jpeg(photo, int(rng.integers(35, 96)))
    return photo


def _blur(image: Image, sigma: float) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)


def _resample(image: Image, factor: float) -> Image:
    small = (max(2, int(image.shape[1] / factor)), max(2, int(image.shape[0] / factor)))
    shrunk = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(shrunk, image.shape[1::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def _haze(rng: np.random.Generator, image: Image, shape: tuple[int, int]) -> Image:
    thick = rng.uniform(0.05, 0.45) * (1 + 0.4 * noise(rng, shape, max(shape) / 3))
    veil = np.clip(thick, 0, 0.75).astype(np.float32)
    hazy: Image = image * (1 - veil) + veil * np.array([205, 214, 224], np.float32)
    return hazy


def _stretch(rng: np.random.Generator, image: Image) -> Image:
    """Stretch between two percentiles and keep few levels, as 16-bit data shown in 8 bits."""
    low, high = np.percentile(image[::4, ::4], (rng.uniform(0, 3), rng.uniform(96, 100)))
    out = (image - np.float32(low)) * np.float32(rng.uniform(215, 260) / max(float(high - low), 1.0))
    levels = np.float32(rng.choice([1, 1, 2, 4]))
    return np.round(out / levels) * levels


def _jpeg(photo: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    _, data = cv2.imencode(
        ".jpg", cv2.cvtColor(photo, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return np.ascontiguousarray(np.asarray(decoded, np.uint8)[..., ::-1])
