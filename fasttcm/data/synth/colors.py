"""Colours of boards and letters: familiar pairs, and a measured contrast between any two.

A colour is a (3,) float32 array, RGB in [0, 1].
"""

import colorsys

import numpy as np
import numpy.typing as npt

__all__ = ["Color", "contrast_ratio", "contrasting_color", "hsv", "random_color", "sign_colors"]

Color = npt.NDArray[np.float32]

READABLE_CONTRAST = 3.0
"""Least contrast ratio of large text (WCAG 2.1, success criterion 1.4.3)."""

WEAK_CONTRAST = (1.7, 2.6)
"""Contrast ratios that a person still reads, with effort."""

SIGN_PAIRS = (
    ("f4f4f0", "1a1a1a"), ("f4f4f0", "b01217"), ("f4f4f0", "12408c"), ("f4f4f0", "0d6b38"), ("1b4f9c", "ffffff"),
    ("0e6b3a", "ffffff"), ("b5161c", "ffffff"), ("b5161c", "ffe14a"), ("ffd21f", "151515"), ("ff7f1e", "1c1208"),
    ("161616", "ffffff"), ("161616", "f0c648"), ("3b2416", "f3e3c0"), ("f0e2c2", "5a2d14"), ("12302a", "e2c477"),
    ("2a2f45", "f2f2f2"), ("f6c5cf", "7c1d3a"), ("c9e4ee", "123c5a"), ("5c2a83", "ffffff"), ("00827f", "fdf6dc"),
    ("d9d9d6", "20242b"), ("8c8f93", "ffffff"), ("8a1a2b", "f7e7c6"), ("f7f06d", "8d1016"), ("20506e", "ffcf4d"),
)  # fmt: skip
"""(board, letters) as hexadecimal RGB: road signs, shop fronts, labels."""

PAIR_SPREAD = 0.035
"""Standard deviation of the paint's deviation from a familiar colour."""


def _from_hex(code: str) -> Color:
    return np.array([int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)], np.float32)


def hsv(hue: float, saturation: float, value: float) -> Color:
    """The RGB colour of hue (turns), saturation and value in [0, 1]."""
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value), np.float32)


def random_color(
    rng: np.random.Generator, *, saturation: tuple[float, float] = (0.0, 0.7), value: tuple[float, float] = (0.1, 0.95)
) -> Color:
    """A colour of any hue with saturation and value in the given ranges."""
    return hsv(rng.random(), rng.uniform(*saturation), rng.uniform(*value))


def _luminance(color: Color) -> Color:
    """Relative luminance (...) of colours (..., 3)."""
    linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear @ np.array([0.2126, 0.7152, 0.0722], np.float32), np.float32)


def _contrast_ratios(colors: Color, other: Color) -> Color:
    first, second = _luminance(colors) + 0.05, _luminance(other) + 0.05
    return np.maximum(first, second) / np.minimum(first, second)


def contrast_ratio(first: Color, second: Color) -> float:
    """Contrast ratio of two colours, 1 (same) to 21 (black and white), as WCAG 2.1 defines it."""
    return float(_contrast_ratios(first, second))


def contrasting_color(rng: np.random.Generator, background: Color, *, weak: bool = False) -> Color:
    """A letter colour for ``background``: well readable, or (``weak``) near the limit of readability."""
    candidates = [random_color(rng, saturation=(0.2, 0.95), value=(0.05, 1.0)) for _ in range(12)]
    candidates += [hsv(rng.random(), rng.uniform(0, 0.12), v) for v in (0.03, 0.1, 0.92, 1.0)] * 3
    ratios = _contrast_ratios(np.stack(candidates), background)
    if weak:
        target = rng.uniform(*WEAK_CONTRAST)
        return candidates[int(np.abs(ratios - target).argmin())]
    good = np.flatnonzero(ratios >= READABLE_CONTRAST)
    return candidates[int(rng.choice(good)) if len(good) else int(ratios.argmax())]


def sign_colors(rng: np.random.Generator, *, weak: bool = False) -> tuple[Color, Color]:
    """(board, letters): mostly a familiar pair with a little spread, sometimes any two that contrast."""
    if not weak and rng.random() < 0.65:
        pair = [_from_hex(code) for code in SIGN_PAIRS[rng.integers(len(SIGN_PAIRS))]]
        board, letters = (np.clip(c + rng.normal(0, PAIR_SPREAD, 3), 0, 1).astype(np.float32) for c in pair)
        return board, letters
    board = random_color(rng, saturation=(0.0, 0.85), value=(0.08, 1.0))
    return board, contrasting_color(rng, board, weak=weak)
