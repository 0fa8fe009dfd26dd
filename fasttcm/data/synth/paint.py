"""Layers of paint: premultiplied RGBA, letters with outline, shadow and depth.

A layer is (H, W, 4) float32: RGB times alpha, then alpha, all in [0, 1].
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fasttcm.data.synth.colors import Color

__all__ = ["Layer", "Lettering", "empty_layer", "lay_over", "paint_letters", "paint_underlay"]

Layer = npt.NDArray[np.float32]
Mask = npt.NDArray[np.float32]


HOLLOW_RIM = 0.025
"""Width of the rim of hollow letters in word heights."""


@dataclass(frozen=True)
class Lettering:
    """How letters are painted. Lengths are in word heights.

    Attributes:
        color: fill at the top.
        low_color: fill at the bottom (equal to ``color`` for a plain fill).
        outline: width of the outline, 0 for none.
        outline_color: its colour.
        shadow: (dx, dy) of a drop shadow, (0, 0) for none.
        shadow_blur: its softness.
        shadow_color: its colour; also of the sides of raised letters.
        shadow_opacity: in [0, 1].
        raised: the shadow is drawn as the solid side of thick letters.
        glow: the shadow is a halo around the letters, without an offset.
        hollow: only the rim of the letters is painted, in ``color``.
        relief: depth of engraved or embossed letters, which have one bright and one dark edge; 0 for flat ones.
        opacity: of the fill, in [0, 1].
        blur: softness of the letters themselves (illegible words).
    """

    color: Color
    low_color: Color
    outline: float
    outline_color: Color
    shadow: tuple[float, float]
    shadow_blur: float
    shadow_color: Color
    shadow_opacity: float
    raised: bool
    glow: bool = False
    hollow: bool = False
    relief: float = 0.0
    opacity: float = 1.0
    blur: float = 0.0


def empty_layer(height: int, width: int) -> Layer:
    """A transparent layer."""
    return np.zeros((height, width, 4), np.float32)


def _padded(layer: Layer, mask: Mask, x: int, y: int, pad: int) -> tuple[Layer, Mask]:
    """The part of ``layer`` around a mask at (x, y), and the mask on a canvas of the same size."""
    x0, y0 = max(x - pad, 0), max(y - pad, 0)
    x1, y1 = min(x + mask.shape[1] + pad, layer.shape[1]), min(y + mask.shape[0] + pad, layer.shape[0])
    canvas = np.zeros((y1 - y0, x1 - x0), np.float32)
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + mask.shape[1], layer.shape[1]), min(y + mask.shape[0], layer.shape[0])
    canvas[top - y0 : bottom - y0, left - x0 : right - x0] = mask[top - y : bottom - y, left - x : right - x]
    return layer[y0:y1, x0:x1], canvas


def lay_over(layer: Layer, color: npt.NDArray[np.float32], alpha: Mask) -> None:
    """Put paint over a layer, in place.

    Args:
        layer: (h, w, 4) premultiplied.
        color: (3,) or (h, w, 3) RGB, not premultiplied.
        alpha: (h, w) opacity.
    """
    cover = alpha[..., None]
    layer *= 1 - cover
    layer[..., :3] += color * cover
    layer[..., 3] += alpha


def _soft(mask: Mask, sigma: float) -> Mask:
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), sigma) if sigma > 0.2 else mask, np.float32)


def _shifted(mask: Mask, dx: float, dy: float) -> Mask:
    shift = np.array([[1, 0, dx], [0, 1, dy]], np.float64)
    return np.asarray(cv2.warpAffine(mask, shift, mask.shape[::-1], flags=cv2.INTER_LINEAR), np.float32)


def paint_underlay(layer: Layer, mask: Mask, x: int, y: int, look: Lettering, height: float) -> None:
    """Paint what lies below the letters (shadow or solid sides), in place.

    Args:
        layer: (H, W, 4).
        mask: (h, w) coverage with its top-left corner at column ``x``, row ``y``.
        x: column.
        y: row.
        look: how.
        height: word height in pixels, the unit of the lengths in ``look``.
    """
    dx, dy = look.shadow[0] * height, look.shadow[1] * height
    if look.opacity < 1 or look.blur:
        return
    if look.relief:
        depth = max(look.relief * height, 0.7)
        part, canvas = _padded(layer, mask, x, y, int(depth) + 2)
        lay_over(part, np.ones(3, np.float32), _shifted(canvas, depth, depth) * np.float32(0.6))
        lay_over(part, np.zeros(3, np.float32), _shifted(canvas, -depth, -depth) * np.float32(0.6))
    if (dx, dy) == (0, 0) and not look.glow:
        return
    pad = int(max(abs(dx), abs(dy)) + 3 * look.shadow_blur * height) + 3
    part, canvas = _padded(layer, mask, x, y, pad)
    if look.raised:
        steps = max(1, round(max(abs(dx), abs(dy))))
        side = np.max([_shifted(canvas, dx * i / steps, dy * i / steps) for i in range(1, steps + 1)], axis=0)
        lay_over(part, look.shadow_color, side)
    else:
        lay_over(
            part, look.shadow_color, _soft(_shifted(canvas, dx, dy), look.shadow_blur * height) * look.shadow_opacity
        )


def paint_letters(layer: Layer, mask: Mask, x: int, y: int, look: Lettering, height: float) -> None:
    """Paint outline and fill of a word, in place; arguments as for :func:`paint_underlay`."""
    outline = look.outline * height if look.opacity == 1 and not look.blur else 0.0
    part, canvas = _padded(layer, mask, x, y, int(outline + 3 * look.blur * height) + 2)
    if outline > 0.4:
        size = 2 * round(outline) + 1 if outline >= 1 else 3
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
        lay_over(part, look.outline_color, np.minimum(cv2.dilate(canvas, kernel) * min(outline, 1), 1))
    down = np.linspace(0, 1, part.shape[0], dtype=np.float32)[:, None, None]
    fill = look.color + down * (look.low_color - look.color)
    if look.hollow and not look.blur:
        rim = 2 * max(1, round(HOLLOW_RIM * height)) + 1
        canvas = canvas - cv2.erode(canvas, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (rim, rim)))
    lay_over(part, fill, _soft(canvas, look.blur * height) * look.opacity)
