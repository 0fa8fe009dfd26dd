"""Things that look a little like text and are none: fences, vents, barcodes, meshes, windows, rows of bolts or dots.

They lie on the background, below every sign.
"""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from fasttcm.data.synth.colors import random_color
from fasttcm.data.synth.textures import random_texture

__all__ = ["add_distractors"]

Picture = npt.NDArray[np.float32]


def _bars(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Fence, radiator, blinds: equal bars."""
    upright = rng.random() < 0.6
    length = width if upright else height
    period = max(3.0, float(np.exp(rng.uniform(np.log(4), np.log(max(8, length / 4))))))
    on = (np.arange(length) % period < period * rng.uniform(0.2, 0.7)).astype(np.float32)
    return np.broadcast_to(on[None] if upright else on[:, None], (height, width)).astype(np.float32)


def _barcode(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Upright bars of random widths."""
    widths = rng.integers(1, 5, width)
    on = np.repeat(np.arange(len(widths)) % 2, widths)[:width].astype(np.float32)
    return np.broadcast_to(on[None], (height, width)).astype(np.float32)


def _mesh(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Wire fence or window lattice, straight or diagonal."""
    period, thick = max(5.0, rng.uniform(0.03, 0.25) * max(height, width)), rng.uniform(0.06, 0.25)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    if rng.random() < 0.5:
        x, y = x + y, x - y
    return ((x % period < thick * period) | (y % period < thick * period)).astype(np.float32)


def _dots(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Bolts, lamps, holes: circles on a grid."""
    canvas = np.zeros((height, width), np.uint8)
    step = max(6, int(rng.uniform(0.05, 0.3) * max(height, width)))
    radius = max(1, int(step * rng.uniform(0.1, 0.45)))
    line = -1 if rng.random() < 0.6 else max(1, radius // 3)
    for y in range(step // 2, height, step):
        for x in range(step // 2, width, step):
            cv2.circle(canvas, (x, y), radius, 255, line, cv2.LINE_AA)
    return canvas.astype(np.float32) / np.float32(255)


def _panes(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Oblong windows or drawers in rows, each a little different."""
    canvas = np.zeros((height, width), np.float32)
    rows, columns = int(rng.integers(1, 5)), int(rng.integers(1, 8))
    h, w, share = height / rows, width / columns, rng.uniform(0.5, 0.85)
    for i in range(rows):
        for j in range(columns):
            y, x = int((i + 0.1) * h), int((j + 0.1) * w)
            canvas[y : y + max(1, int(share * h)), x : x + max(1, int(share * w))] = rng.uniform(0.5, 1)
    return canvas


def _scribble(rng: np.random.Generator, height: int, width: int) -> Picture:
    """A loose tangle of strokes: cracks, cables, graffiti that says nothing."""
    canvas = np.zeros((height, width), np.uint8)
    thick = max(1, int(rng.uniform(0.01, 0.06) * height))
    for _ in range(int(rng.integers(1, 5))):
        steps = rng.normal(0, 0.12, (int(rng.integers(5, 24)), 2)).cumsum(0) + rng.random(2)
        path = cv2.GaussianBlur(steps.astype(np.float32), (1, 5), 0) * np.array([width, height], np.float32)
        cv2.polylines(canvas, [path.astype(np.int32)], False, 255, thick, cv2.LINE_AA)
    return canvas.astype(np.float32) / np.float32(255)


SHAPES: tuple[Callable[[np.random.Generator, int, int], Picture], ...] = (
    _bars, _bars, _barcode, _mesh, _dots, _panes, _panes, _scribble,
)  # fmt: skip


def add_distractors(rng: np.random.Generator, picture: Picture, count: int) -> None:
    """Draw ``count`` distractors over a background (H, W, 3), in place."""
    height, width = picture.shape[:2]
    for _ in range(count):
        h = max(8, int(height * np.exp(rng.uniform(np.log(0.04), np.log(0.5)))))
        w = max(8, int(min(h * np.exp(rng.uniform(np.log(0.5), np.log(5))), 0.7 * width)))
        x, y = int(rng.integers(-w // 3, width - w // 2)), int(rng.integers(-h // 3, height - h // 2))
        shape = SHAPES[int(rng.integers(len(SHAPES)))](rng, h, w)
        x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
        part = picture[y0:y1, x0:x1]
        if rng.random() < 0.6:
            ground = random_texture(rng, h, w) if rng.random() < 0.4 else random_color(rng)
            part[:] = ground[y0 - y : y1 - y, x0 - x : x1 - x] if ground.ndim == 3 else ground
        alpha = shape[y0 - y : y1 - y, x0 - x : x1 - x, None] * np.float32(rng.uniform(0.3, 1.0))
        part += alpha * (random_color(rng, value=(0.02, 1.0)) - part)
