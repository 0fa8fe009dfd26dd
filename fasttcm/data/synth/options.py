"""What a synthetic scene looks like: the knobs of the generator, with their units, checked once."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fasttcm.data.synth.split import SPLITS, Split
from fasttcm.errors import ConfigError

__all__ = ["MAX_TEXT_LENGTH", "PRESETS", "SynthOptions"]

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
        image_height: range of the height where it differs from that of the width; ``None`` for ``image_size``.
        words_per_image: number of words aimed at; a crowded or small image may hold fewer, never more.
        word_height: height of a word from cap line to descender line before perspective, in pixels. A word without
            descenders is lower.
        curved_probability: share of the text groups that are set on a curve.
        rotated_probability: share of the groups that are turned in the image plane.
        perspective_probability: share of the straight groups that are seen obliquely.
        max_rotation: largest rotation in the image plane in degrees, to either side.
        max_bend: largest change of direction along one curved line in degrees.
        dense_probability: share of the groups that are blocks of small print: many lines of many words (notices,
            directories, ingredients), near the least word height.
        plate_probability: share of the groups that are a number plate, a room number or a price tag.
        lonely_probability: share of the groups that lie directly on the background, without a board.
        illegible_probability: share of the words that are made unreadable and annotated ``###``.
        low_contrast_probability: share of the groups with weak, still readable colours.
        decorated_probability: share of the groups whose letters have an outline, a shadow or depth; words on a busy
            background have an outline anyway.
        min_legible_height: words lower than this many pixels in the final image are annotated ``###``.
        effect_strength: 0 switches blur, noise, JPEG artefacts and uneven light off; 1 is usual; more is harder.
        camera_blur: largest standard deviation in pixels of a blur of the whole picture that spares nobody: words too
            small for it become ``###``. 0 for only as much blur as the smallest word bears.
        group_blur_probability: share of the groups that are out of focus or moving on their own.
        harsh_light_probability: share of the images that are dark, lit from behind, hazy or overexposed.
        compression: (least, most) JPEG quality that the image has suffered already, 1 to 100, for half of the images;
            ``None`` for now and then a mild one.
        occlusion_probability: share of the images in which posts, wires or twigs hide parts of some words.
        distractors: textless things that look a little like text, per image: fences, vents, barcodes, windows.
        clutter: 0 gives plain background colours without text-like distractors; 1 is usual.
        fonts: font files, or folders searched recursively for ``.ttf`` and ``.otf``; empty for the fonts in
            matplotlib's wheel.
        vocabulary: text file of whitespace-separated words (``#`` starts a comment) beside the built-in list.
        split: "train" and "validation" have no font family and no word of more than three letters in common.
    """

    image_size: tuple[int, int] = (480, 720)
    image_height: tuple[int, int] | None = None
    words_per_image: tuple[int, int] = (3, 14)
    word_height: tuple[float, float] = (14.0, 90.0)
    curved_probability: float = 0.22
    rotated_probability: float = 0.35
    perspective_probability: float = 0.35
    max_rotation: float = 25.0
    max_bend: float = 130.0
    dense_probability: float = 0.0
    plate_probability: float = 0.0
    lonely_probability: float = 0.3
    illegible_probability: float = 0.03
    low_contrast_probability: float = 0.08
    decorated_probability: float = 0.35
    min_legible_height: float = 6.0
    effect_strength: float = 1.0
    camera_blur: float = 0.0
    group_blur_probability: float = 0.0
    harsh_light_probability: float = 0.0
    compression: tuple[int, int] | None = None
    occlusion_probability: float = 0.0
    distractors: tuple[int, int] = (0, 0)
    clutter: float = 1.0
    fonts: tuple[Path, ...] = ()
    vocabulary: Path | None = None
    split: Split = "all"

    @classmethod
    def preset(cls, name: str, **changes: Any) -> "SynthOptions":
        """The options of a preset, some of them changed.

        Args:
            name: "signs" (the defaults: clear signs, easy to learn from) or "photo" (what a camera meets in a street:
                small print, harsh light, blur, occlusion, strong JPEG artefacts).
            **changes: fields to set to something else.
        """
        if name not in PRESETS:
            raise ConfigError(f"no preset {name!r}; choose from {', '.join(PRESETS)}")
        return cls(**{**PRESETS[name], **changes})

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_probability") and not 0 <= value <= 1:
                raise ConfigError(f"{field.name} must lie in [0, 1], got {value}")
            if (
                field.name in ("image_size", "words_per_image", "word_height", "distractors")
                and not value[0] <= value[1]
            ):
                raise ConfigError(f"{field.name} is (least, most), got {value}")
        height = self.image_height or self.image_size
        if not SMALLEST_SIDE <= height[0] <= height[1]:
            raise ConfigError(f"image_height is (least, most) from {SMALLEST_SIDE}, got {height}")
        if self.compression is not None and not 1 <= self.compression[0] <= self.compression[1] <= 100:
            raise ConfigError(f"compression is (least, most) within 1 to 100, got {self.compression}")
        if self.split not in SPLITS:
            raise ConfigError(f"split is one of {', '.join(SPLITS)}, got {self.split!r}")
        least = {"image_size": SMALLEST_SIDE, "words_per_image": 0, "word_height": SMALLEST_WORD, "distractors": 0}
        for name, bound in least.items():
            if getattr(self, name)[0] < bound:
                raise ConfigError(f"{name} starts at {bound} at the least, got {getattr(self, name)}")
        if not 0 <= self.max_rotation <= 180 or not 0 <= self.max_bend <= 180:
            raise ConfigError(
                f"angles lie in [0, 180] degrees, got rotation {self.max_rotation} and bend {self.max_bend}"
            )
        if min(self.effect_strength, self.clutter, self.min_legible_height, self.camera_blur) < 0:
            raise ConfigError("effect_strength, clutter, min_legible_height and camera_blur must not be negative")


PRESETS: dict[str, dict[str, Any]] = {
    "signs": {},
    "photo": {
        "image_size": (512, 1280),
        "image_height": (448, 736),
        "words_per_image": (4, 32),
        "word_height": (10.0, 110.0),
        "curved_probability": 0.1,
        "rotated_probability": 0.4,
        "perspective_probability": 0.5,
        "dense_probability": 0.3,
        "lonely_probability": 0.22,
        "plate_probability": 0.08,
        "low_contrast_probability": 0.15,
        "illegible_probability": 0.02,
        "min_legible_height": 7.0,
        "effect_strength": 1.2,
        "camera_blur": 1.6,
        "group_blur_probability": 0.12,
        "harsh_light_probability": 0.3,
        "compression": (18, 70),
        "occlusion_probability": 0.2,
        "distractors": (0, 6),
    },
}
"""What :meth:`SynthOptions.preset` changes in the defaults."""
