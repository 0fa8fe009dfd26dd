"""What lies behind the text: streets, walls, out-of-focus lights, plain grounds. No external picture is used.

Every scene function takes (rng, height, width) in pixels and returns (height, width, 3) float32, RGB in [0, 1].
"""

from collections.abc import Callable

import cv2
import numpy as np

from fasttcm.data.synth.colors import hsv, random_color
from fasttcm.data.synth.noise import fractal_noise, ramp
from fasttcm.data.synth.textures import Picture, random_texture, street_floor

__all__ = ["plain_background", "random_background"]


def plain_background(rng: np.random.Generator, height: int, width: int) -> Picture:
    """One colour, nothing else."""
    return np.full((height, width, 3), random_color(rng, saturation=(0, 0.5), value=(0.2, 0.95)), np.float32)


def _gradient(rng: np.random.Generator, height: int, width: int) -> Picture:
    field = ramp(height, width, rng.uniform(0, 2 * np.pi))[..., None]
    first, second = random_color(rng), random_color(rng)
    noise = fractal_noise(rng, height, width, cell=width / rng.uniform(1.5, 8), octaves=5, gain=0.6)[..., None]
    return first + field * (second - first) + (noise - 0.5) * np.float32(rng.uniform(0, 0.2))


def _wall(rng: np.random.Generator, height: int, width: int) -> Picture:
    wall = random_texture(rng, height, width)
    if rng.random() < 0.4:
        edge = int(height * rng.uniform(0.65, 0.9))
        wall[edge:] = street_floor(rng, height - edge, width)
        wall[edge : edge + max(1, height // 100)] *= 0.5
    if rng.random() < 0.35:
        _windows(rng, wall, (0, 0, width, int(height * 0.8)))
    return wall


def _blurred(picture: Picture, sigma: float) -> Picture:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32)


def _bokeh(rng: np.random.Generator, height: int, width: int) -> Picture:
    night = rng.random() < 0.6
    base = random_color(rng, saturation=(0.1, 0.6), value=(0.03, 0.2) if night else (0.4, 0.9))
    picture = np.full((height, width, 3), base, np.float32)
    picture *= (0.6 + 0.8 * fractal_noise(rng, height, width, cell=width / 2, octaves=3))[..., None]
    for _ in range(int(rng.integers(6, 28))):
        radius = int(rng.uniform(0.02, 0.13) * width) + 1
        center = (int(rng.integers(width)), int(rng.integers(height)))
        layer = picture.copy()
        color = random_color(rng, saturation=(0.2, 0.95), value=(0.5, 1.0))
        cv2.circle(layer, center, radius, color.tolist(), -1, cv2.LINE_AA)
        picture = (0.45 * layer + 0.55 * picture).astype(np.float32)
    return _blurred(picture, max(1.0, width * rng.uniform(0.006, 0.03)))


def _windows(rng: np.random.Generator, picture: Picture, box: tuple[int, int, int, int]) -> None:
    """Draw a regular grid of windows into ``box`` (x0, y0, x1, y1) of ``picture``, in place."""
    x0, y0, x1, y1 = box
    cell_w, cell_h = rng.uniform(0.06, 0.22) * picture.shape[1], rng.uniform(0.08, 0.26) * picture.shape[0]
    share_w, share_h = rng.uniform(0.35, 0.75), rng.uniform(0.4, 0.75)
    glass = hsv(rng.uniform(0.5, 0.65), rng.uniform(0.05, 0.5), rng.uniform(0.1, 0.6))
    frame = random_color(rng, saturation=(0, 0.3), value=(0.3, 1.0))
    thick = max(1, int(cell_w * 0.05))
    for y in np.arange(y0 + cell_h * 0.2, y1 - cell_h * share_h, cell_h):
        for x in np.arange(x0 + cell_w * 0.15, x1 - cell_w * share_w, cell_w):
            a, b = (int(x), int(y)), (int(x + cell_w * share_w), int(y + cell_h * share_h))
            tone = glass * rng.uniform(0.6, 1.4) if rng.random() < 0.85 else hsv(0.12, 0.4, 0.95)
            cv2.rectangle(picture, a, b, np.clip(tone, 0, 1).tolist(), -1)
            cv2.rectangle(picture, a, b, frame.tolist(), thick)
            cv2.line(picture, ((a[0] + b[0]) // 2, a[1]), ((a[0] + b[0]) // 2, b[1]), frame.tolist(), thick)


def _sky(rng: np.random.Generator, height: int, width: int) -> Picture:
    top, bottom = (
        hsv(rng.uniform(0.55, 0.63), rng.uniform(0.1, 0.65), rng.uniform(0.45, 0.95)),
        hsv(rng.uniform(0.05, 0.6), rng.uniform(0, 0.3), rng.uniform(0.7, 1)),
    )
    sky = top + np.linspace(0, 1, height, dtype=np.float32)[:, None, None] * (bottom - top)
    clouds = fractal_noise(rng, height, width, cell=width / 3, octaves=5, aspect=1.8)
    cover = np.clip((clouds - rng.uniform(0.35, 0.7)) * 3, 0, 1)[..., None]
    return sky + cover * (np.float32(0.95) - sky) * np.float32(rng.uniform(0.2, 0.9))


def _street(rng: np.random.Generator, height: int, width: int) -> Picture:
    picture = np.ascontiguousarray(np.broadcast_to(_sky(rng, height, width), (height, width, 3))).astype(np.float32)
    ground = int(height * rng.uniform(0.6, 0.92))
    x = -int(rng.uniform(0, 0.2) * width)
    while x < width:
        house_w = int(rng.uniform(0.18, 0.6) * width) + 4
        roof = int(rng.uniform(-0.2, 0.5) * height)
        x0, x1, y0 = max(x, 0), min(x + house_w, width), max(roof, 0)
        if x1 - x0 > 3 and ground - y0 > 3:
            picture[y0:ground, x0:x1] = random_texture(rng, ground - y0, x1 - x0)
            front = picture[y0:ground, x0:x1]
            _windows(rng, front, (0, 0, x1 - x0, int((ground - y0) * rng.uniform(0.5, 1.0))))
            if rng.random() < 0.5:
                _shop_front(rng, front)
        x += house_w + (int(rng.uniform(0, 0.1) * width) if rng.random() < 0.3 else 0)
    picture[ground:] = street_floor(rng, height - ground, width)
    picture[ground : ground + max(1, height // 80)] *= np.float32(rng.uniform(0.5, 1.2))
    return _blurred(picture, rng.uniform(0.6, 3.0)) if rng.random() < 0.7 else picture


def _shop_front(rng: np.random.Generator, front: Picture) -> None:
    """Shop window, door and striped awning on the lower part of a house front, in place."""
    height, width = front.shape[:2]
    top = int(height * rng.uniform(0.5, 0.7))
    front[top:] = random_color(rng, saturation=(0.1, 0.8), value=(0.15, 0.6))
    pane = hsv(rng.uniform(0.08, 0.6), rng.uniform(0.05, 0.35), rng.uniform(0.15, 0.8))
    pad = max(1, width // 14)
    cv2.rectangle(front, (pad, top + pad), (width * 3 // 5, height - pad), pane.tolist(), -1)
    cv2.rectangle(front, (width * 3 // 5 + pad, top + pad), (width - pad, height), (pane * 0.6).tolist(), -1)
    if rng.random() < 0.6:
        stripes = (np.arange(width) // max(2, width // 16)) % 2
        cloth = np.stack([random_color(rng, saturation=(0.4, 0.9), value=(0.3, 0.9)), hsv(0, 0, rng.uniform(0.8, 1.0))])
        drop = max(2, int(height * rng.uniform(0.06, 0.12)))
        front[max(top - drop // 2, 0) : top + drop] = cloth[stripes][None]


SCENES: tuple[tuple[Callable[[np.random.Generator, int, int], Picture], float], ...] = (
    (_wall, 0.36),
    (_street, 0.34),
    (_gradient, 0.16),
    (_bokeh, 0.14),
)
"""(scene, its share)."""


def random_background(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Any scene, clipped to [0, 1]."""
    shares = [share for _, share in SCENES]
    scene = SCENES[int(rng.choice(len(SCENES), p=shares))][0]
    return np.clip(scene(rng, height, width), 0, 1).astype(np.float32)
