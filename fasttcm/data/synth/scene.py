"""One synthetic image with its words: background, signs, light and camera."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fasttcm.data.synth.background import plain_background, random_background
from fasttcm.data.synth.distractors import add_distractors
from fasttcm.data.synth.effects import Camera, photograph
from fasttcm.data.synth.legibility import readable
from fasttcm.data.synth.occlusion import covered_share, occlude
from fasttcm.data.synth.options import SynthOptions
from fasttcm.data.synth.placement import Occupancy
from fasttcm.data.synth.staging import PaintedWord, make_group, paint_group, view_group
from fasttcm.structures import ILLEGIBLE

__all__ = ["Scene", "SynthWord", "draw_kind", "render_scene", "take_photograph"]

FloatArray = npt.NDArray[np.floating]
Picture = npt.NDArray[np.float32]

POLYGON_POINTS_PER_SIDE = 7
"""Points a side of a curved word's polygon, as CTW1500 annotates."""

PLACE_TRIES = 12
"""Random positions tried for a sign before it is left out."""

GROUPS_PER_WORD = 2
"""Signs tried for every word aimed at."""


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


def draw_kind(rng: np.random.Generator, options: SynthOptions) -> str:
    """The kind of the next group: "dense", "plate" or "sign"."""
    draw = rng.random()
    if draw < options.dense_probability:
        return "dense"
    return "plate" if draw < options.dense_probability + options.plate_probability else "sign"


def _group_size(rng: np.random.Generator, remaining: int, kind: str, lonely: bool) -> int:
    if kind == "dense":
        return min(int(rng.integers(6, 25)), remaining)
    if kind == "plate":
        return min(int(rng.choice([1, 1, 2, 3, 4])), remaining)
    most = 3 if lonely and rng.random() < 0.75 else 9
    size = 1 + int(rng.geometric(0.45 if lonely else 0.3)) if rng.random() < 0.75 else 1
    return min(size, remaining, most)


def _add_group(
    rng: np.random.Generator, options: SynthOptions, picture: Picture, occupancy: Occupancy, remaining: int
) -> list[PaintedWord]:
    """Add one sign of at most ``remaining`` words, in place."""
    height, width = picture.shape[:2]
    kind = draw_kind(rng, options)
    lonely = kind != "plate" and rng.random() < options.lonely_probability
    curved = kind == "sign" and rng.random() < options.curved_probability
    count = _group_size(rng, remaining, kind, lonely)
    share = float(np.clip(1.3 * count / max(remaining, 1), 0.35, 0.9))
    sign = make_group(
        rng,
        options,
        kind=kind,
        count=count,
        lonely=lonely,
        curved=curved,
        max_width=width * rng.uniform(0.5, 0.92),
        max_height=height * share,
    )
    if sign is None:
        return []
    view = view_group(rng, options, sign, height, width)
    placed = occupancy.find_place(rng, view, sign.outline, sign.strips, PLACE_TRIES)
    if placed is None:
        return []
    words = paint_group(rng, options, picture, sign, placed)
    occupancy.take(cv2.perspectiveTransform(sign.outline[None], placed)[0])
    return words


def take_photograph(
    rng: np.random.Generator, options: SynthOptions, picture: Picture, painted: list[PaintedWord]
) -> Scene:
    """The finished picture of a painted scene, with what can still be read in it."""
    height, width = picture.shape[:2]
    cover = (
        occlude(rng, picture) if rng.random() < options.occlusion_probability else np.zeros((height, width), np.uint8)
    )
    heights = [word.strip.height() for word in painted if not word.spoiled]
    heights = [value for value in heights if value >= options.min_legible_height] or list(options.word_height[:1])
    camera = Camera(
        strength=options.effect_strength,
        considerate_height=min(heights),
        blur=options.camera_blur,
        harsh=rng.random() < options.harsh_light_probability,
        compression=options.compression,
    )
    image, blur = photograph(rng, picture, camera)
    words = []
    for word in painted:
        legible = not word.spoiled and readable(
            picture,
            image,
            word.strip,
            blur=float(np.hypot(blur, word.blur)),
            covered=covered_share(cover, word.strip),
            least_height=options.min_legible_height,
        )
        text = word.text if legible else ILLEGIBLE
        words.append(SynthWord(word.strip.polygon(POLYGON_POINTS_PER_SIDE), word.strip.bezier(), text, legible))
    return Scene(image, words)


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
    sizes = (options.image_height or options.image_size, options.image_size)
    height, width = (int(rng.integers(least, most + 1)) for least, most in sizes)
    wanted = int(rng.integers(options.words_per_image[0], options.words_per_image[1] + 1))
    picture = (random_background if options.clutter > 0 else plain_background)(rng, height, width)
    if options.distractors[1]:
        add_distractors(rng, picture, int(rng.integers(options.distractors[0], options.distractors[1] + 1)))
    occupancy = Occupancy(height, width)
    painted: list[PaintedWord] = []
    for _ in range(GROUPS_PER_WORD * wanted):
        if len(painted) >= wanted:
            break
        painted += _add_group(rng, options, picture, occupancy, wanted - len(painted))
    return take_photograph(rng, options, picture, painted)
