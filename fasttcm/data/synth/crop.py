"""One word cut out of a scene that is drawn around it alone: what a recogniser is trained on without a detector."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fasttcm.data.synth.background import plain_background
from fasttcm.data.synth.options import SynthOptions
from fasttcm.data.synth.placement import translation
from fasttcm.data.synth.scene import SynthWord, draw_kind, take_photograph
from fasttcm.data.synth.staging import make_group, paint_group, view_group
from fasttcm.data.synth.textures import random_texture
from fasttcm.errors import DataError

__all__ = ["WordCrop", "render_word_crop"]

HIGHEST = 48.0
"""Word height in pixels that is enough for any recogniser; larger words only cost time."""

ROOM = (720.0, 260.0)
"""Width and height in pixels of the imagined scene into which a group must fit."""

MARGIN = (0.15, 0.6)
"""Range of the space around the word in word heights, on each side on its own."""

TRIES = 40
"""Groups drawn until one has a readable word."""


@dataclass(frozen=True)
class WordCrop:
    """A word with a little of what surrounds it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        bezier: (16,) float64 control points in pixels of ``image``: top left to right, then bottom right to left.
        text: transcription, never ``###``.
    """

    image: npt.NDArray[np.uint8]
    bezier: npt.NDArray[np.float64]
    text: str


def _try_crop(rng: np.random.Generator, options: SynthOptions) -> tuple[npt.NDArray[np.uint8], SynthWord] | None:
    """One group, drawn only where one of its words is; ``None`` when that word cannot be read."""
    kind = draw_kind(rng, options)
    curved = kind == "sign" and rng.random() < options.curved_probability
    lonely = kind != "plate" and rng.random() < options.lonely_probability
    count = int(rng.integers(2, 5)) if kind == "dense" else int(rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1]))
    sign = make_group(
        rng, options, kind=kind, count=count, lonely=lonely, curved=curved, max_width=ROOM[0], max_height=ROOM[1]
    )
    if sign is None:
        return None
    view = view_group(rng, options, sign, int(ROOM[1]) * 2, int(ROOM[0]))
    chosen = int(rng.integers(len(sign.strips)))
    strip = sign.strips[chosen].mapped(view)
    if strip.height() < options.min_legible_height:
        return None
    outline = strip.polygon(13)
    space = rng.uniform(*MARGIN, 4) * strip.height() + 1
    low, high = np.floor(outline.min(0) - space[:2]), np.ceil(outline.max(0) + space[2:])
    width, height = (high - low).astype(int).tolist()
    # Some grounds are cut from a larger surface, so that its pattern is not always scaled to the word.
    scale = float(rng.choice([1.0, 2.0]))
    ground = plain_background if options.clutter == 0 or rng.random() < 0.3 else random_texture
    picture = ground(rng, max(int(height * scale), 48), max(int(width * scale), 48))[:height, :width]
    picture = np.ascontiguousarray(picture, np.float32)
    painted = paint_group(rng, options, picture, sign, translation(*-low) @ view)
    scene = take_photograph(rng, options, picture, painted[chosen : chosen + 1])
    word = scene.words[0]
    return (scene.image, word) if word.legible else None


def render_word_crop(options: SynthOptions, seed: np.random.SeedSequence | np.random.Generator | int) -> WordCrop:
    """Draw one readable word with a margin, as it would look in a scene of the same options.

    Words, fonts, letterings, boards, views, light and blur are those of :func:`render_scene`; neighbours of the same
    sign may show at the edges. Image and text counts of the options have no meaning here.

    Args:
        options: knobs.
        seed: a seed, or a generator that is then advanced; the same options and seed give the same pixels.

    Raises:
        DataError: when fonts or vocabulary cannot be used, or the options leave no word readable.
    """
    rng = np.random.default_rng(seed)
    low, high = options.word_height
    options = replace(options, word_height=(low, max(low, min(high, HIGHEST))))
    for _ in range(TRIES):
        found = _try_crop(rng, options)
        if found is not None:
            image, word = found
            return WordCrop(image, np.asarray(word.bezier, np.float64), word.text)
    raise DataError(f"no readable word in {TRIES} tries: lower min_legible_height or illegible_probability")
