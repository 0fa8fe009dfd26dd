"""What a synthetic scene looks like: the knobs of the generator, with their units, checked once."""

from dataclasses import dataclass, fields
from pathlib import Path

from fasttcm.errors import ConfigError

__all__ = ["MAX_TEXT_LENGTH", "SynthOptions"]

MAX_TEXT_LENGTH = 25
"""Longest transcription in characters: the length of ``rec`` in AdelaiDet's JSON."""

SMALLEST_SIDE = 32
"""Smallest image side in pixels that still holds one small word."""

SMALLEST_WORD = 4
"""Smallest word height in pixels at which a font can be rasterised with visible ink."""


@dataclass(frozen=True)
class SynthOptions:
    """Knobs of :func:`fasttcm.data.synth.render_scene`.

    Every pair is (least, most), both included. Probabilities and shares are in [0, 1].

    Attributes:
        image_size: range of the image height and, drawn on its own, of the width, in pixels; ``(256, 256)`` gives
            256 x 256 images only.
        words_per_image: number of words aimed at; a crowded or small image may hold fewer, never more.
        word_height: height of a word from cap line to descender line before perspective, in pixels. A word without
            descenders is lower.
        curved_probability: share of the text groups that are set on a curve.
        rotated_probability: share of the groups that are turned in the image plane.
        perspective_probability: share of the straight groups that are seen obliquely.
        max_rotation: largest rotation in the image plane in degrees, to either side.
        max_bend: largest change of direction along one curved line in degrees.
        lonely_probability: share of the groups that lie directly on the background, without a board.
        illegible_probability: share of the words that are made unreadable and annotated ``###``.
        low_contrast_probability: share of the groups with weak, still readable colours.
        decorated_probability: share of the groups whose letters have an outline, a shadow or depth; words on a busy
            background have an outline anyway.
        min_legible_height: words lower than this many pixels in the final image are annotated ``###``.
        effect_strength: 0 switches blur, noise, JPEG artefacts and uneven light off; 1 is usual; more is harder.
        clutter: 0 gives plain background colours without text-like distractors; 1 is usual.
        fonts: font files, or folders searched recursively for ``.ttf`` and ``.otf``; empty for the fonts in
            matplotlib's wheel.
        vocabulary: text file of whitespace-separated words (``#`` starts a comment); ``None`` for the built-in list.
    """

    image_size: tuple[int, int] = (480, 720)
    words_per_image: tuple[int, int] = (3, 14)
    word_height: tuple[float, float] = (14.0, 90.0)
    curved_probability: float = 0.22
    rotated_probability: float = 0.35
    perspective_probability: float = 0.35
    max_rotation: float = 25.0
    max_bend: float = 130.0
    lonely_probability: float = 0.3
    illegible_probability: float = 0.03
    low_contrast_probability: float = 0.08
    decorated_probability: float = 0.35
    min_legible_height: float = 6.0
    effect_strength: float = 1.0
    clutter: float = 1.0
    fonts: tuple[Path, ...] = ()
    vocabulary: Path | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_probability") and not 0 <= value <= 1:
                raise ConfigError(f"{field.name} must lie in [0, 1], got {value}")
            if field.name in ("image_size", "words_per_image", "word_height") and not value[0] <= value[1]:
                raise ConfigError(f"{field.name} is (least, most), got {value}")
        least = {"image_size": SMALLEST_SIDE, "words_per_image": 0, "word_height": SMALLEST_WORD}
        for name, bound in least.items():
            if getattr(self, name)[0] < bound:
                raise ConfigError(f"{name} starts at {bound} at the least, got {getattr(self, name)}")
        if not 0 <= self.max_rotation <= 180 or not 0 <= self.max_bend <= 180:
            raise ConfigError(
                f"angles lie in [0, 180] degrees, got rotation {self.max_rotation} and bend {self.max_bend}"
            )
        if min(self.effect_strength, self.clutter, self.min_legible_height) < 0:
            raise ConfigError("effect_strength, clutter and min_legible_height must not be negative")
