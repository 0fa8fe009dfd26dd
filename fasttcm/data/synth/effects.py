"""What a camera does to a finished scene: uneven light, colour cast, blur, sensor noise, JPEG blocks."""

import cv2
import numpy as np
import numpy.typing as npt

from fasttcm.data.synth.noise import fractal_noise, grain, ramp

__all__ = ["photograph", "to_uint8"]

Picture = npt.NDArray[np.float32]

BLUR_PER_WORD_HEIGHT = 0.045
"""Largest standard deviation of the blur as a share of the smallest readable word's height."""


def to_uint8(picture: Picture) -> npt.NDArray[np.uint8]:
    """RGB in [0, 1] to whole numbers in [0, 255]."""
    return np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)


def _light(rng: np.random.Generator, picture: Picture, strength: float) -> Picture:
    """Multiply by a smooth field (sun, lamp, passing shadow) and a vignette."""
    height, width = picture.shape[:2]
    field = np.ones((height, width), np.float32)
    if rng.random() < 0.6:
        field += np.float32(rng.uniform(0.1, 0.5) * strength) * (ramp(height, width, rng.uniform(0, 2 * np.pi)) - 0.5)
    if rng.random() < 0.3:
        shade = fractal_noise(rng, height, width, cell=max(8.0, width / 2), octaves=3)
        soft = np.clip((shade - 0.5) * rng.uniform(2, 12) + 0.5, 0, 1)
        field *= 1 - np.float32(rng.uniform(0.1, 0.4) * min(strength, 1.5)) * soft
    if rng.random() < 0.3:
        y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)[None]
        field *= 1 - np.float32(rng.uniform(0.05, 0.3)) * (x**2 + y**2) / 2
    cast = (1 + rng.normal(0, 0.03 * strength, 3)).astype(np.float32)
    return picture * field[..., None] * cast


def _lens(rng: np.random.Generator, picture: Picture, strength: float, least_height: float) -> Picture:
    """Defocus, or rarely motion blur, that leaves words of ``least_height`` pixels readable."""
    largest = BLUR_PER_WORD_HEIGHT * least_height * strength
    if rng.random() < 0.55:
        sigma = rng.uniform(0.2, 1.0) * largest
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma) if sigma > 0.25 else picture, np.float32)
    length = int(rng.uniform(1, 2.5) * largest * 2)
    if rng.random() < 0.25 and length >= 2:
        size = 2 * length + 1
        kernel = np.zeros((size, size), np.float32)
        angle = rng.uniform(0, np.pi)
        dx, dy = round(length / 2 * np.cos(angle)), round(length / 2 * np.sin(angle))
        cv2.line(kernel, (length - dx, length - dy), (length + dx, length + dy), 1.0)
        return np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum()), np.float32)
    return picture


def photograph(
    rng: np.random.Generator, picture: Picture, *, strength: float, least_height: float
) -> npt.NDArray[np.uint8]:
    """Turn a drawn scene into a picture as a camera delivers it.

    Args:
        rng: source of randomness.
        picture: (H, W, 3) float32, RGB in [0, 1].
        strength: 0 changes nothing, 1 is usual.
        least_height: height in pixels of the smallest word that must stay readable.

    Returns:
        (H, W, 3) uint8 RGB. Geometry is unchanged.
    """
    if strength <= 0:
        return to_uint8(picture)
    picture = _lens(rng, _light(rng, picture, strength), strength, least_height)
    if rng.random() < 0.3:
        contrast, offset = rng.uniform(1 - 0.3 * min(strength, 2), 1.1), rng.uniform(-0.06, 0.06)
        picture = (picture - 0.5) * np.float32(contrast) + np.float32(0.5 + offset)
    if rng.random() < 0.6:
        height, width = picture.shape[:2]
        picture = picture + np.float32(rng.uniform(0.004, 0.03) * strength) * grain(rng, height, width)[..., None]
    pixels = to_uint8(picture)
    if rng.random() < 0.25:
        quality = int(np.clip(rng.uniform(35, 75) - 15 * (strength - 1), 10, 95))
        _, code = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        decoded = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
        pixels = np.ascontiguousarray(decoded[..., ::-1])
    return pixels
