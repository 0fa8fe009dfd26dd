"""One synthetic image with its words: background, signs, light and camera."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fasttcm.data.synth.background import plain_background, random_background
from fasttcm.data.synth.curves import Strip
from fasttcm.data.synth.effects import photograph
from fasttcm.data.synth.fonts import load_fonts
from fasttcm.data.synth.group import plan_lines
from fasttcm.data.synth.layout import arrange
from fasttcm.data.synth.options import SynthOptions
from fasttcm.data.synth.placement import Occupancy, random_view, translation, warp_layer
from fasttcm.data.synth.sign import Sign, make_sign
from fasttcm.data.synth.vocabulary import load_words
from fasttcm.structures import ILLEGIBLE

__all__ = ["Scene", "SynthWord", "render_scene"]

FloatArray = npt.NDArray[np.floating]

POLYGON_POINTS_PER_SIDE = 7
"""Points a side of a curved word's polygon, as CTW1500 annotates."""

PLACE_TRIES = 12
"""Random positions tried for a sign before it is left out."""

GROUPS_PER_WORD = 2
"""Signs tried for every word aimed at."""

SMALLEST_SHRINK = 0.55
"""A sign whose view has to be shrunk below this to fit into the image is shown from the front instead."""


LEAST_WEAK_HEIGHT = 14.0
"""Pixels below which words always have good contrast: small and pale together cannot be read."""

BUSY = 0.13
"""Standard deviation of the brightness (0 to 1) from which a background needs letters with an outline."""


@dataclass(frozen=True)
class SynthWord:
    """One annotated word.

    Attributes:
        polygon: (p, 2) float64 pixels, clockwise from the first character's top-left corner: 4 points for straight
            words, 14 for curved ones (top side left to right, then bottom side right to left).
        bezier: (16,) float64 control points, top left to right then bottom right to left.
        text: transcription, ``###`` when illegible.
        legible: whether a person could read it.
    """

    polygon: FloatArray
    bezier: FloatArray
    text: str
    legible: bool


@dataclass(frozen=True)
class Scene:
    """An image, (H, W, 3) uint8 RGB, and its words."""

    image: npt.NDArray[np.uint8]
    words: list[SynthWord]


def _group_size(rng: np.random.Generator, remaining: int, lonely: bool) -> int:
    most = 3 if lonely and rng.random() < 0.75 else 9
    size = 1 + int(rng.geometric(0.45 if lonely else 0.3)) if rng.random() < 0.75 else 1
    return min(size, remaining, most)


def _view(
    rng: np.random.Generator, options: SynthOptions, sign: Sign, height: int, width: int, *, curved: bool
) -> FloatArray:
    """A homography that shows the sign within a (height, width) image, still without position."""
    rotated = rng.random() < options.rotated_probability
    # A projective map does not keep Bezier curves; an affine one does.
    oblique = not curved and rng.random() < options.perspective_probability
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


def _background(picture: npt.NDArray[np.float32], strips: list[Strip]) -> tuple[npt.NDArray[np.float32], bool]:
    """Mean colour (3,) behind some words, and whether it varies so much that plain letters would get lost."""
    points = np.concatenate([strip.polygon() for strip in strips])
    (x0, y0), (x1, y1) = np.maximum(points.min(0).astype(int), 0), np.ceil(points.max(0)).astype(int)
    part = picture[y0 : y1 + 1, x0 : x1 + 1]
    return part.mean((0, 1)).astype(np.float32), float(part.mean(2).std()) > BUSY


def _blend(picture: npt.NDArray[np.float32], layer: npt.NDArray[np.float32], view: FloatArray) -> None:
    """Lay a premultiplied layer over the picture, in place."""
    warped = warp_layer(layer, view, *picture.shape[:2])
    if warped is None:
        return
    part, x, y = warped
    target = picture[y : y + part.shape[0], x : x + part.shape[1]]
    target *= 1 - part[..., 3:]
    target += part[..., :3]


def _add_group(
    rng: np.random.Generator,
    options: SynthOptions,
    picture: npt.NDArray[np.float32],
    occupancy: Occupancy,
    remaining: int,
) -> list[tuple[SynthWord, float]]:
    """Add one sign of at most ``remaining`` words, in place; returns its words with their heights in pixels."""
    height, width = picture.shape[:2]
    library, vocabulary = load_fonts(options.fonts), load_words(options.vocabulary)
    lonely, curved = rng.random() < options.lonely_probability, rng.random() < options.curved_probability
    count = _group_size(rng, remaining, lonely)
    share = float(np.clip(1.3 * count / max(remaining, 1), 0.35, 0.9))
    lines = plan_lines(rng, options, library, vocabulary, count=count, curved=curved)
    layout = arrange(
        lines, max_width=width * rng.uniform(0.5, 0.92), max_height=height * share, least_height=options.word_height[0]
    )
    if layout is None:
        return []
    sign = make_sign(rng, layout, lonely=lonely, clutter=options.clutter)
    view = _view(rng, options, sign, height, width, curved=any(not strip.straight for strip in sign.strips))
    placed = occupancy.find_place(rng, view, sign.outline, sign.strips, PLACE_TRIES)
    if placed is None:
        return []
    strips = [strip.mapped(placed) for strip in sign.strips]
    legible = [rng.random() >= options.illegible_probability for _ in strips]
    large = min(strip.height() for strip in strips) >= LEAST_WEAK_HEIGHT
    weak = rng.random() < options.low_contrast_probability and large
    decorated = rng.random() < options.decorated_probability
    behind, busy = _background(picture, strips)
    layer = sign.paint(rng, behind, busy=busy, decorated=decorated, weak=weak, legible=legible)
    _blend(picture, layer, placed)
    occupancy.take(cv2.perspectiveTransform(sign.outline[None], placed)[0])
    words = []
    for strip, word, readable in zip(strips, layout.words, legible, strict=True):
        readable = readable and strip.height() >= options.min_legible_height
        text = word.text if readable else ILLEGIBLE
        words.append(
            (SynthWord(strip.polygon(POLYGON_POINTS_PER_SIDE), strip.bezier(), text, readable), strip.height())
        )
    return words


def render_scene(options: SynthOptions, seed: np.random.SeedSequence | np.random.Generator | int) -> Scene:
    """Draw one scene.

    Args:
        options: knobs.
        seed: a seed, or a generator that is then advanced; the same options and seed give the same pixels.

    Returns:
        The image and its words. Words lie inside the image and do not overlap.

    Raises:
        DataError: when fonts or vocabulary cannot be used.
    """
    rng = np.random.default_rng(seed)
    height, width = (int(rng.integers(options.image_size[0], options.image_size[1] + 1)) for _ in range(2))
    wanted = int(rng.integers(options.words_per_image[0], options.words_per_image[1] + 1))
    ground = random_background if options.clutter > 0 else plain_background
    picture = ground(rng, height, width)
    occupancy = Occupancy(height, width)
    found: list[tuple[SynthWord, float]] = []
    for _ in range(GROUPS_PER_WORD * wanted):
        if len(found) >= wanted:
            break
        found += _add_group(rng, options, picture, occupancy, wanted - len(found))
    heights = [word_height for word, word_height in found if word.legible]
    least = min(heights, default=float(options.word_height[0]))
    image = photograph(rng, picture, strength=options.effect_strength, least_height=least)
    return Scene(image, [word for word, _ in found])
