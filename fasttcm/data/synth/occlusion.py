"""What stands between the camera and the words: posts, wires, twigs with leaves."""

import cv2
import numpy as np
import numpy.typing as npt

from fasttcm.data.synth.colors import hsv, random_color
from fasttcm.data.synth.curves import Strip

__all__ = ["covered_share", "occlude"]

Picture = npt.NDArray[np.float32]
Mask = npt.NDArray[np.uint8]


def _post(rng: np.random.Generator, cover: Mask) -> None:
    height, width = cover.shape
    x, lean = rng.uniform(0, width), rng.normal(0, 0.03) * height
    if rng.random() < 0.8:
        ends = (int(x), 0), (int(x + lean), height)
    else:
        y = rng.uniform(0, height)
        ends = (0, int(y)), (width, int(y + lean))
    cv2.line(cover, *ends, 255, int(rng.uniform(0.004, 0.03) * width) + 1, cv2.LINE_AA)


def _wire(rng: np.random.Generator, cover: Mask) -> None:
    height, width = cover.shape
    u = np.linspace(0, 1, 24)
    left, right, sag = rng.uniform(0, height, 3) * [1, 1, 0.2]
    y = left + u * (right - left) + 4 * sag * u * (1 - u)
    cv2.polylines(
        cover, [np.stack([u * width, y], 1).astype(np.int32)], False, 255, int(rng.integers(1, 4)), cv2.LINE_AA
    )


def _twig(rng: np.random.Generator, cover: Mask) -> None:
    height, width = cover.shape
    at, heading = rng.random(2) * [width, height], rng.uniform(0, 2 * np.pi)
    step, leaf = rng.uniform(0.01, 0.03) * width, rng.uniform(0.004, 0.02) * width
    for _ in range(int(rng.integers(5, 22))):
        heading += rng.normal(0, 0.35)
        after = at + step * np.array([np.cos(heading), np.sin(heading)])
        cv2.line(cover, at.astype(int).tolist(), after.astype(int).tolist(), 255, max(1, int(leaf / 4)), cv2.LINE_AA)
        at = after
        size = (max(1, int(leaf * rng.uniform(0.6, 1.5))), max(1, int(leaf * rng.uniform(0.25, 0.6))))
        cv2.ellipse(cover, at.astype(int).tolist(), size, float(rng.uniform(0, 360)), 0, 360, 255, -1, cv2.LINE_AA)


def occlude(rng: np.random.Generator, picture: Picture) -> Mask:
    """Draw one to three obstacles over a picture, in place.

    Returns:
        (H, W) uint8: how much of every pixel they cover, 0 to 255.
    """
    total = np.zeros(picture.shape[:2], np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        cover = np.zeros(picture.shape[:2], np.uint8)
        kind = int(rng.choice(3, p=[0.35, 0.35, 0.3]))
        (_post, _wire, _twig)[kind](rng, cover)
        color = (
            hsv(rng.uniform(0.15, 0.4), rng.uniform(0.3, 0.8), rng.uniform(0.1, 0.6))
            if kind == 2
            else random_color(rng, saturation=(0, 0.5), value=(0.03, 0.8))
        )
        x, y, w, h = cv2.boundingRect(cover)
        alpha = cover[y : y + h, x : x + w, None].astype(np.float32) / np.float32(255)
        part = picture[y : y + h, x : x + w]
        part += alpha * (color - part)
        total = np.maximum(total, cover)
    return total


def covered_share(cover: Mask, strip: Strip) -> float:
    """Share of a word's area that is covered."""
    outline = strip.polygon(13)
    x0, y0 = np.maximum(np.floor(outline.min(0)).astype(int), 0)
    x1, y1 = np.ceil(outline.max(0)).astype(int) + 1
    part = cover[y0:y1, x0:x1]
    if not part.any():
        return 0.0
    inside = np.zeros(part.shape, np.uint8)
    cv2.fillPoly(inside, [np.round(outline - [x0, y0]).astype(np.int32)], 1)
    return float(part[inside > 0].mean()) / 255 if inside.any() else 0.0
