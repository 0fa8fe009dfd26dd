"""One group of words from idea to paint: planned, laid out, viewed, and put into a picture."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fasttcm.data.synth.curves import Strip
from fasttcm.data.synth.effects import motion_kernel
from fasttcm.data.synth.fonts import load_fonts
from fasttcm.data.synth.group import plan_lines
from fasttcm.data.synth.layout import arrange
from fasttcm.data.synth.options import SynthOptions
from fasttcm.data.synth.placement import random_view, translation, warp_layer
from fasttcm.data.synth.sign import Sign, make_sign
from fasttcm.data.synth.vocabulary import load_words

__all__ = ["PaintedWord", "make_group", "paint_group", "view_group"]

FloatArray = npt.NDArray[np.floating]
Picture = npt.NDArray[np.float32]

SMALLEST_SHRINK = 0.55
"""A sign whose view has to be shrunk below this to fit into the image is shown from the front instead."""

LEAST_WEAK_HEIGHT = 14.0
"""Pixels below which words always have good contrast: small and pale together cannot be read."""

BUSY = 0.13
"""Standard deviation of the brightness (0 to 1) from which a background needs letters with an outline."""

GROUP_BLUR = (0.02, 0.14)
"""Range of the standard deviation of a group's own blur in heights of its lowest word."""


@dataclass(frozen=True)
class PaintedWord:
    """A word in the picture.

    Attributes:
        strip: where, in pixels of the picture.
        text: what it says.
        spoiled: painted so that nobody can read it.
        blur: standard deviation in pixels of the blur of its group.
    """

    strip: Strip
    text: str
    spoiled: bool
    blur: float


def make_group(
    rng: np.random.Generator,
    options: SynthOptions,
    *,
    kind: str,
    count: int,
    lonely: bool,
    curved: bool,
    max_width: float,
    max_height: float,
) -> Sign | None:
    """Plan and lay out a group of at most ``count`` words; ``None`` when not one of them fits."""
    library, vocabulary = load_fonts(options.fonts, options.split), load_words(options.vocabulary, options.split)
    lines = plan_lines(rng, options, library, vocabulary, count=count, curved=curved, kind=kind)
    layout = arrange(lines, max_width=max_width, max_height=max_height, least_height=options.word_height[0])
    return None if layout is None else make_sign(rng, layout, lonely=lonely, clutter=options.clutter)


def view_group(rng: np.random.Generator, options: SynthOptions, sign: Sign, height: int, width: int) -> FloatArray:
    """A homography that shows the sign within a (height, width) image, still without position."""
    rotated = rng.random() < options.rotated_probability
    # A projective map does not keep Bezier curves; an affine one does.
    straight = all(strip.straight for strip in sign.strips)
    oblique = straight and rng.random() < options.perspective_probability
    frontal = translation(-(sign.width // 2), -(sign.height // 2))
    if not rotated and not oblique:
        return frontal
    view = random_view(
        rng, width=sign.width, height=sign.height, max_rotation=options.max_rotation, rotated=rotated, oblique=oblique
    )
    words = np.concatenate([strip.mapped(view).polygon(13) for strip in sign.strips])
    extent = words.max(0) - words.min(0)
    shrink = min(1.0, float((np.array([width, height]) * 0.97 / np.maximum(extent, 1)).min()))
    return frontal if shrink < SMALLEST_SHRINK else np.diag([shrink, shrink, 1.0]) @ view


def _background(picture: Picture, strips: list[Strip]) -> tuple[Picture, bool]:
    """Mean colour (3,) behind some words, and whether it varies so much that plain letters would get lost."""
    points = np.concatenate([strip.polygon() for strip in strips])
    (x0, y0), (x1, y1) = np.maximum(points.min(0).astype(int), 0), np.ceil(points.max(0)).astype(int)
    part = picture[y0 : y1 + 1, x0 : x1 + 1]
    return part.mean((0, 1)).astype(np.float32), float(part.mean(2).std()) > BUSY


def _smear(rng: np.random.Generator, layer: Picture, sigma: float) -> Picture:
    """A layer out of focus, or moving, with a blur of standard deviation ``sigma`` pixels."""
    length = round(sigma * 12**0.5)
    if length >= 2 and rng.random() < 0.4:
        return np.asarray(cv2.filter2D(layer, -1, motion_kernel(length, rng.uniform(0, np.pi))), np.float32)
    return np.asarray(cv2.GaussianBlur(layer, (0, 0), sigma), np.float32)


def _blend(rng: np.random.Generator, picture: Picture, layer: Picture, view: FloatArray, blur: float) -> None:
    """Lay a premultiplied layer over the picture, in place."""
    warped = warp_layer(layer, view, *picture.shape[:2])
    if warped is None:
        return
    part, x, y = warped
    if blur:
        part = _smear(rng, part, blur)
    target = picture[y : y + part.shape[0], x : x + part.shape[1]]
    target *= 1 - part[..., 3:]
    target += part[..., :3]


def paint_group(
    rng: np.random.Generator, options: SynthOptions, picture: Picture, sign: Sign, view: FloatArray
) -> list[PaintedWord]:
    """Paint a sign into a picture, in place.

    Args:
        rng: source of randomness.
        options: shares of weak colours, decorations, spoiled and blurred words.
        picture: (H, W, 3) float32 RGB in [0, 1].
        sign: what to paint.
        view: (3, 3) homography from the sign into the picture.

    Returns:
        Its words, in reading order.
    """
    strips = [strip.mapped(view) for strip in sign.strips]
    spoiled = [rng.random() < options.illegible_probability for _ in strips]
    lowest = min(strip.height() for strip in strips)
    weak = rng.random() < options.low_contrast_probability and lowest >= LEAST_WEAK_HEIGHT
    decorated = rng.random() < options.decorated_probability
    blur = lowest * rng.uniform(*GROUP_BLUR) if rng.random() < options.group_blur_probability else 0.0
    blur = blur if blur > 0.3 else 0.0
    behind, busy = _background(picture, strips)
    layer = sign.paint(rng, behind, busy=busy, decorated=decorated, weak=weak, legible=[not bad for bad in spoiled])
    _blend(rng, picture, layer, view, blur)
    return [
        PaintedWord(strip, word.text, bad, blur)
        for strip, word, bad in zip(strips, sign.layout.words, spoiled, strict=True)
    ]
