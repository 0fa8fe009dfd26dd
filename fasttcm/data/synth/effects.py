"""What a camera does to a finished scene: light, colour cast, blur, sensor noise, sharpening, JPEG blocks."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fasttcm.data.synth.noise import fractal_noise, grain, ramp

__all__ = ["Camera", "motion_kernel", "photograph", "to_uint8"]

Picture = npt.NDArray[np.float32]

BLUR_PER_WORD_HEIGHT = 0.045
"""Largest standard deviation of a considerate blur as a share of the smallest readable word's height."""

FULL_EFFECT = 1.5
"""Strength beyond which shadows do not get darker: they would be black."""


@dataclass(frozen=True)
class Camera:
    """How a picture is taken.

    Attributes:
        strength: 0 changes nothing, 1 is usual.
        considerate_height: height in pixels of the smallest word that blur must leave readable.
        blur: instead, the largest standard deviation in pixels of a blur that spares nobody; 0 for none.
        harsh: dark, lit from behind, hazy or overexposed.
        compression: (least, most) JPEG quality the picture may suffer, ``None`` for a mild one now and then.
    """

    strength: float
    considerate_height: float
    blur: float = 0.0
    harsh: bool = False
    compression: tuple[int, int] | None = None


def to_uint8(picture: Picture) -> npt.NDArray[np.uint8]:
    """RGB in [0, 1] to whole numbers in [0, 255]."""
    return np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)


def motion_kernel(length: int, angle: float) -> Picture:
    """Square kernel, sum 1, that smears by ``length`` pixels along ``angle`` (radians)."""
    size = 2 * length + 1
    kernel = np.zeros((size, size), np.float32)
    dx, dy = round(length / 2 * np.cos(angle)), round(length / 2 * np.sin(angle))
    cv2.line(kernel, (length - dx, length - dy), (length + dx, length + dy), 1.0)
    return kernel / kernel.sum()


def _cast_shadow(rng: np.random.Generator, height: int, width: int) -> Picture:
    """(height, width) in [0, 1]: 1 where something outside the picture keeps the sun away."""
    shade = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        centre, turn = rng.random(2) * [width, height], rng.uniform(0, np.pi)
        along = np.array([np.cos(turn), np.sin(turn)]) * (width + height)
        across = np.array([-np.sin(turn), np.cos(turn)]) * rng.uniform(0.02, 0.35) * max(height, width)
        corners = centre + np.array([-along - across, along - across, along + across, -along + across])
        cv2.fillConvexPoly(shade, np.round(corners).astype(np.int32), 255, cv2.LINE_AA)
    soft = cv2.GaussianBlur(shade, (0, 0), float(np.exp(rng.uniform(np.log(0.8), np.log(12)))))
    return soft.astype(np.float32) / np.float32(255)


def _light(rng: np.random.Generator, picture: Picture, strength: float) -> Picture:
    """Multiply by a smooth field (sun, lamp, passing shadow) and a vignette."""
    height, width = picture.shape[:2]
    field = np.ones((height, width), np.float32)
    if rng.random() < 0.6:
        field += np.float32(rng.uniform(0.1, 0.5) * strength) * (ramp(height, width, rng.uniform(0, 2 * np.pi)) - 0.5)
    if rng.random() < 0.3:
        shade = fractal_noise(rng, height, width, cell=max(8.0, width / 2), octaves=3)
        soft = np.clip((shade - 0.5) * rng.uniform(2, 12) + 0.5, 0, 1)
        field *= 1 - np.float32(rng.uniform(0.1, 0.4) * min(strength, FULL_EFFECT)) * soft
    if rng.random() < 0.15:
        darkness = rng.uniform(0.15, 0.45) * min(strength, FULL_EFFECT)
        field *= 1 - np.float32(darkness) * _cast_shadow(rng, height, width)
    if rng.random() < 0.3:
        y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)[None]
        field *= 1 - np.float32(rng.uniform(0.05, 0.3)) * (x**2 + y**2) / 2
    cast = (1 + rng.normal(0, 0.03 * strength, 3)).astype(np.float32)
    return picture * field[..., None] * cast


def _glare(rng: np.random.Generator, height: int, width: int) -> Picture:
    """(height, width) in [0, 1]: the halo of a lamp, a window or the sun."""
    x0, y0 = rng.uniform(-0.1, 1.1) * width, rng.uniform(-0.2, 0.9) * height
    reach = rng.uniform(0.15, 0.6) * max(height, width)
    x, y = np.arange(width, dtype=np.float32) - np.float32(x0), np.arange(height, dtype=np.float32) - np.float32(y0)
    return np.exp(-((x**2)[None] + (y**2)[:, None]) / np.float32(2 * reach**2)).astype(np.float32)


def _exposure(rng: np.random.Generator, picture: Picture) -> tuple[Picture, float]:
    """Bad light, and the noise that goes with it."""
    kind = int(rng.choice(4, p=[0.4, 0.25, 0.2, 0.15]))
    if kind == 0:
        lamp = np.clip(1 + rng.uniform(-0.25, 0.25) * np.array([1, 0.2, -1]), 0.6, 1.4).astype(np.float32)
        gain, noise = rng.uniform(0.18, 0.55), rng.uniform(0.005, 0.025)
        return np.clip(picture, 0, 1) ** np.float32(rng.uniform(0.9, 1.3)) * lamp * np.float32(gain), noise
    if kind == 1:
        glare = _glare(rng, *picture.shape[:2])[..., None] * np.float32(rng.uniform(0.4, 1.3))
        return picture * np.float32(rng.uniform(0.35, 0.8)) + glare, 0.01
    if kind == 2:
        clear, veil = np.float32(rng.uniform(0.3, 0.65)), np.float32(rng.uniform(0.4, 0.9))
        return picture * clear + (1 - clear) * veil, 0.005
    return picture * np.float32(rng.uniform(1.15, 1.6)) + np.float32(rng.uniform(0, 0.1)), 0.0


def _considerate_blur(rng: np.random.Generator, picture: Picture, largest: float) -> tuple[Picture, float]:
    """Defocus, or rarely motion blur, of a standard deviation up to ``largest`` pixels."""
    if rng.random() < 0.55:
        sigma = rng.uniform(0.2, 1.0) * largest
        if sigma > 0.25:
            return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32), sigma
        return picture, 0.0
    length = int(rng.uniform(1, 2.5) * largest * 2)
    if rng.random() < 0.25 and length >= 2:
        kernel = motion_kernel(length, rng.uniform(0, np.pi))
        return np.asarray(cv2.filter2D(picture, -1, kernel), np.float32), length / 12**0.5
    return picture, 0.0


def _ruthless_blur(rng: np.random.Generator, picture: Picture, largest: float) -> tuple[Picture, float]:
    """Defocus, a shaken hand, or too few pixels; strong ones are rare."""
    sigma, kind = float(largest * rng.random() ** 2), rng.random()
    if sigma < 0.3:
        return picture, 0.0
    if kind < 0.5:
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32), sigma
    if kind < 0.75:
        length = max(2, round(sigma * 12**0.5))
        kernel = motion_kernel(length, rng.uniform(0, np.pi))
        return np.asarray(cv2.filter2D(picture, -1, kernel), np.float32), length / 12**0.5
    # A pixel of side s smears as much as a standard deviation of s / sqrt(12), twice: going down and coming back.
    factor = min(1 + sigma, 2.5)
    height, width = picture.shape[:2]
    size = (max(8, round(width / factor)), max(8, round(height / factor)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.float32), factor / 6**0.5


def _compress(pixels: npt.NDArray[np.uint8], quality: int) -> npt.NDArray[np.uint8]:
    _, code = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])


def photograph(rng: np.random.Generator, picture: Picture, camera: Camera) -> tuple[npt.NDArray[np.uint8], float]:
    """Turn a drawn scene into a picture as a camera delivers it.

    Args:
        rng: source of randomness.
        picture: (H, W, 3) float32, RGB in [0, 1].
        camera: how.

    Returns:
        (H, W, 3) uint8 RGB with unchanged geometry, and the standard deviation of its blur in pixels.
    """
    strength = camera.strength
    if strength <= 0:
        return to_uint8(picture), 0.0
    picture, noise = _light(rng, picture, strength), 0.0
    if camera.harsh:
        picture, noise = _exposure(rng, picture)
    if camera.blur:
        picture, blur = _ruthless_blur(rng, np.clip(picture, 0, 1), camera.blur)
    else:
        largest = BLUR_PER_WORD_HEIGHT * camera.considerate_height * strength
        picture, blur = _considerate_blur(rng, picture, largest)
    if rng.random() < 0.3:
        contrast, offset = rng.uniform(1 - 0.3 * min(strength, 2), 1.1), rng.uniform(-0.06, 0.06)
        picture = (picture - 0.5) * np.float32(contrast) + np.float32(0.5 + offset)
    if rng.random() < 0.3 * strength:
        grey = picture.mean(2, keepdims=True)
        picture = grey + (picture - grey) * np.float32(rng.uniform(0.15, 1.15))
    if rng.random() < 0.6 or noise:
        height, width = picture.shape[:2]
        amount = np.float32(rng.uniform(0.004, 0.03) * strength + noise)
        picture = picture + amount * grain(rng, height, width)[..., None]
        if noise:
            picture += np.float32(noise) * (rng.random(picture.shape, dtype=np.float32) - np.float32(0.5))
    if rng.random() < 0.15 * strength:
        amount = np.float32(rng.uniform(0.3, 1.3))
        picture = picture + amount * (picture - cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.8, 2.0))))
    pixels = to_uint8(picture)
    if camera.compression is not None:
        if rng.random() < 0.5:
            pixels = _compress(pixels, int(rng.integers(camera.compression[0], camera.compression[1] + 1)))
    elif rng.random() < 0.25:
        pixels = _compress(pixels, int(np.clip(rng.uniform(35, 75) - 15 * (strength - 1), 10, 95)))
    return pixels, blur
