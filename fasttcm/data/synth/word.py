"""One flat word: glyphs of a font as a coverage mask, cropped to the ink."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from fasttcm.data.synth.fonts import FontFace, open_font

__all__ = ["FlatWord", "LetterStyle", "render_word"]

SUPERSAMPLING = 2
"""Glyphs are drawn this many times larger and averaged down, which also makes room for fractional sizes."""

INK = 0.12
"""Coverage from which a pixel counts as ink when the crop is measured."""

MARGIN = 0.04
"""Free space around the ink inside the annotation, in word heights."""

LEAST_MARGIN = 1
"""The same in pixels, at the least."""


@dataclass(frozen=True)
class LetterStyle:
    """How the letters of a line look.

    Attributes:
        face: the font.
        stretch: width factor (below 1 is condensed).
        slant: horizontal shift per unit of height, to the right at the top (a made-up italic).
        tracking: extra space between letters in word heights.
        weight: extra stroke thickness in word heights.
    """

    face: FontFace
    stretch: float = 1.0
    slant: float = 0.0
    tracking: float = 0.0
    weight: float = 0.0


@dataclass(frozen=True)
class FlatWord:
    """A rendered word.

    Attributes:
        mask: (h, w) float32 coverage in [0, 1]; the ink plus a margin, so the outline of the array is the annotation.
        ascent: pixels from the top of the mask down to the baseline (may exceed h for a raised mark).
        text: what it says.
    """

    mask: npt.NDArray[np.float32]
    ascent: float
    text: str


def _draw(text: str, style: LetterStyle, size: int, height: float) -> tuple[npt.NDArray[np.uint8], int]:
    """The supersampled glyphs and the row of the baseline."""
    font = open_font(style.face.path, size)
    stroke = round(style.weight * height * SUPERSAMPLING)
    gap = style.tracking * height * SUPERSAMPLING
    if abs(gap) < 0.5:
        pieces = [(text, 0.0)]
        advance = font.getlength(text)
    else:
        pieces, advance = [], 0.0
        for character in text:
            pieces.append((character, advance))
            advance += font.getlength(character) + gap
    pad = size // 2 + stroke
    baseline = size + pad
    canvas = Image.new("L", (int(advance) + 2 * pad + 1, baseline + size + pad))
    draw = ImageDraw.Draw(canvas)
    for piece, x in pieces:
        draw.text((pad + x, baseline), piece, fill=255, font=font, anchor="ls", stroke_width=stroke)
    return np.asarray(canvas), baseline


def _reduce(glyphs: npt.NDArray[np.uint8], scale: float, style: LetterStyle) -> npt.NDArray[np.float32]:
    """The supersampled glyphs as float coverage at their final size, stretched and slanted."""
    height = max(round(glyphs.shape[0] * scale), 1)
    width = max(round(glyphs.shape[1] * scale * style.stretch), 1)
    small = cv2.resize(glyphs.astype(np.float32) / 255, (width, height), interpolation=cv2.INTER_AREA)
    if style.slant:
        # Row y moves right by slant * (rows below it); a backward slant starts from the top row instead.
        lean = style.slant * height
        shear = np.array([[1, -style.slant, max(lean, 0.0)], [0, 1, 0]], np.float64)
        small = cv2.warpAffine(small, shear, (width + int(abs(lean)) + 1, height), flags=cv2.INTER_LINEAR)
    return np.asarray(small, np.float32)


def render_word(text: str, style: LetterStyle, height: float) -> FlatWord:
    """Draw a word at a given size.

    Args:
        text: characters that the face covers, no spaces.
        style: font and its modifications.
        height: pixels from the top of ``H`` to the bottom of ``p``; a word of x-height letters comes out lower.

    Returns:
        The word, cropped to its ink plus a margin of :data:`MARGIN` word heights.
    """
    size = max(round(height * SUPERSAMPLING / style.face.height_ratio), SUPERSAMPLING)
    glyphs, baseline = _draw(text, style, size, height)
    scale = height / (size * style.face.height_ratio)
    rows, columns = np.flatnonzero(glyphs.max(1)), np.flatnonzero(glyphs.max(0))
    if not len(rows):
        rows, columns = np.array([baseline - 1]), np.array([0])
    glyphs = glyphs[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    mask = _reduce(glyphs, scale, style)
    inked_rows, inked_columns = np.flatnonzero(mask.max(1) > INK), np.flatnonzero(mask.max(0) > INK)
    if len(inked_rows):
        mask = mask[inked_rows[0] : inked_rows[-1] + 1, inked_columns[0] : inked_columns[-1] + 1]
    cut = int(inked_rows[0]) if len(inked_rows) else 0
    pad = max(round(MARGIN * height), LEAST_MARGIN)
    return FlatWord(np.pad(mask, pad), float(baseline - rows[0]) * scale - cut + pad, text)
