"""Surfaces that fill a rectangle: plaster, brick, tiles, planks, metal, leaves, paper, asphalt.

Every function takes (rng, height, width) in pixels and returns (height, width, 3) float32, RGB in [0, 1] up to a little
overshoot that :func:`random_texture` clips.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fasttcm.data.synth.colors import Color, hsv, random_color
from fasttcm.data.synth.noise import Field, fractal_noise, grain

__all__ = ["Picture", "brick", "plaster", "random_texture", "street_floor"]

Picture = npt.NDArray[np.float32]


def _shade(color: Color, field: Field, amount: float) -> Picture:
    """``color`` made brighter and darker by a field in [0, 1]: up to ``amount`` to either side."""
    return color * (1 + amount * (2 * field - 1))[..., None]


def plaster(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Painted or raw wall: stains and fine grain."""
    color = random_color(rng, saturation=(0.0, 0.45), value=(0.35, 0.95))
    stains = fractal_noise(
        rng, height, width, cell=rng.uniform(0.1, 0.5) * width, octaves=6, gain=rng.uniform(0.45, 0.7)
    )
    wall = _shade(color, stains, rng.uniform(0.03, 0.18))
    return wall + rng.uniform(0.0, 0.03) * grain(rng, height, width)[..., None]


def _courses(
    rng: np.random.Generator, height: int, width: int, size: tuple[int, int], joint: int, offset: float
) -> tuple[Field, Field]:
    """A wall of equal stones: (random number of the stone, 1 in joints) for every pixel."""
    stone_h, stone_w = size
    y, x = np.arange(height)[:, None], np.arange(width)[None]
    row = y // stone_h
    x = x + (row * offset * stone_w).astype(np.int64)
    column = x // stone_w
    table = rng.random((height // stone_h + 1, int(column.max()) + 1), dtype=np.float32)
    joints = ((y % stone_h < joint) | (x % stone_w < joint)).astype(np.float32)
    return table[np.broadcast_to(row, column.shape), column], joints


def brick(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Brickwork: reddish, yellow, grey or painted."""
    stone = int(rng.integers(8, max(10, height // 12)))
    stones, joints = _courses(rng, height, width, (stone, int(stone * rng.uniform(2.2, 3.6))), max(1, stone // 8), 0.5)
    hue = float(rng.choice([0.02, 0.04, 0.09, 0.6]))
    color = hsv(hue, rng.uniform(0.1, 0.65), rng.uniform(0.35, 0.85))
    mortar = hsv(0.1, rng.uniform(0, 0.15), rng.uniform(0.45, 0.9))
    rough = fractal_noise(rng, height, width, cell=stone, octaves=3, gain=0.7)
    wall = _shade(color, 0.6 * stones + 0.4 * rough, rng.uniform(0.1, 0.3))
    return wall + joints[..., None] * (mortar - wall) * np.float32(rng.uniform(0.5, 1.0))


def tiles(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Square or oblong tiles with thin joints, sometimes in two colours."""
    size = int(rng.integers(12, max(14, height // 6)))
    stones, joints = _courses(
        rng,
        height,
        width,
        (size, int(size * rng.choice([1.0, 1.0, 2.0]))),
        max(1, size // 16),
        float(rng.choice([0.0, 0.0, 0.5])),
    )
    color = random_color(rng, saturation=(0.0, 0.5), value=(0.4, 0.97))
    wall = _shade(color, stones, rng.uniform(0.02, 0.12))
    if rng.random() < 0.3:
        other = random_color(rng, saturation=(0.0, 0.7), value=(0.2, 0.9))
        wall = np.where((stones < rng.uniform(0.1, 0.5))[..., None], other, wall)
    gloss = fractal_noise(rng, height, width, cell=width / 3, octaves=2)
    wall = wall * (0.94 + 0.12 * gloss)[..., None]
    return wall * (1 - joints * rng.uniform(0.15, 0.5))[..., None]


def planks(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Wooden boards, upright or lying."""
    upright = rng.random() < 0.5
    h, w = (width, height) if upright else (height, width)
    board = int(rng.integers(14, max(16, h // 4)))
    fibre = fractal_noise(rng, h, w, cell=rng.uniform(5, 14), octaves=3, gain=0.6, aspect=rng.uniform(10, 30))
    rows = np.arange(h) // board
    tone = rng.random(int(rows[-1]) + 1, dtype=np.float32)[rows][:, None]
    gaps = (np.arange(h) % board < max(1, board // 20)).astype(np.float32)[:, None]
    color = hsv(rng.uniform(0.04, 0.11), rng.uniform(0.15, 0.65), rng.uniform(0.25, 0.85))
    wood = _shade(color, 0.6 * fibre + 0.4 * tone, rng.uniform(0.15, 0.35)) * (1 - 0.6 * gaps)[..., None]
    return np.ascontiguousarray(wood.transpose(1, 0, 2)) if upright else wood


def metal(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Brushed sheet or a corrugated shutter."""
    color = hsv(rng.uniform(0.5, 0.65), rng.uniform(0, 0.25), rng.uniform(0.3, 0.85))
    if rng.random() < 0.5:
        period = rng.uniform(6, 24)
        wave = 0.5 + 0.5 * np.sin(np.arange(height, dtype=np.float32) * np.float32(2 * np.pi / period))
        field = np.broadcast_to(wave[:, None], (height, width)).astype(np.float32)
        return _shade(color, field, rng.uniform(0.08, 0.25)) + 0.01 * grain(rng, height, width)[..., None]
    brushed = fractal_noise(rng, height, width, cell=4, octaves=2, aspect=60)
    sheen = fractal_noise(rng, height, width, cell=width / 2, octaves=2)
    return _shade(color, 0.35 * brushed + 0.65 * sheen, rng.uniform(0.1, 0.3))


def leaves(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Hedge or lawn: green at several scales."""
    clumps = fractal_noise(rng, height, width, cell=width / 6, octaves=6, gain=0.75)
    tint = fractal_noise(rng, height, width, cell=width / 3, octaves=3)
    dark, light = (
        hsv(rng.uniform(0.2, 0.38), 0.7, 0.16),
        hsv(rng.uniform(0.16, 0.33), rng.uniform(0.4, 0.75), rng.uniform(0.5, 0.8)),
    )
    green = dark + (clumps**1.4)[..., None] * (light - dark)
    return green * (0.85 + 0.3 * tint)[..., None]


def paper(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Paper or cloth: bright, faint fibres, sometimes stripes."""
    color = random_color(rng, saturation=(0.0, 0.3), value=(0.7, 1.0))
    sheet = _shade(
        color, fractal_noise(rng, height, width, cell=width / 3, octaves=7, gain=0.7), rng.uniform(0.02, 0.08)
    )
    if rng.random() < 0.25:
        period = rng.uniform(8, 60)
        stripes = (np.arange(width) % period < period / 2).astype(np.float32)[None, :, None]
        sheet = sheet + stripes * (random_color(rng, value=(0.5, 1.0)) - sheet) * np.float32(rng.uniform(0.1, 0.5))
    return sheet


def street_floor(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Asphalt or paving."""
    if rng.random() < 0.3:
        return tiles(rng, height, width) * np.float32(0.75)
    color = hsv(rng.uniform(0, 1), rng.uniform(0, 0.1), rng.uniform(0.2, 0.55))
    floor = _shade(
        color, fractal_noise(rng, height, width, cell=width / 4, octaves=6, gain=0.6), rng.uniform(0.08, 0.2)
    )
    return floor + rng.uniform(0.01, 0.05) * grain(rng, height, width)[..., None]


TEXTURES: tuple[Callable[[np.random.Generator, int, int], Picture], ...] = (
    plaster, plaster, brick, brick, tiles, planks, metal, leaves, paper, street_floor,
)  # fmt: skip


def random_texture(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Any of the surfaces, clipped to [0, 1]."""
    return np.clip(TEXTURES[int(rng.integers(len(TEXTURES)))](rng, height, width), 0, 1).astype(np.float32)
