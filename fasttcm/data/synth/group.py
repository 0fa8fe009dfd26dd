"""What a sign says and in which letters: one to many words planned as a name board, poster, menu, label or badge."""

from dataclasses import replace

import numpy as np

from fasttcm.data.synth.fonts import FontFace, FontLibrary
from fasttcm.data.synth.layout import TextLine
from fasttcm.data.synth.options import SynthOptions
from fasttcm.data.synth.vocabulary import sample_price, sample_text
from fasttcm.data.synth.word import LetterStyle

__all__ = ["plan_lines"]

TRIES = 6
"""Texts tried before one is reduced to the characters that the font has."""


def _letter_style(rng: np.random.Generator, library: FontLibrary) -> LetterStyle:
    face = library.faces[int(rng.integers(len(library.faces)))]
    return LetterStyle(
        face,
        stretch=float(rng.uniform(0.65, 1.25)) if rng.random() < 0.45 else 1.0,
        slant=float(rng.uniform(0.08, 0.3)) if rng.random() < 0.1 else 0.0,
        tracking=float(rng.uniform(0.02, 0.16)) if rng.random() < 0.2 else 0.0,
        weight=float(rng.uniform(0.01, 0.035)) if rng.random() < 0.25 else 0.0,
    )


def _fitting_text(rng: np.random.Generator, face: FontFace, words: tuple[str, ...], max_length: int) -> str:
    for _ in range(TRIES):
        text = sample_text(rng, words, max_length=max_length)
        if face.covers(text):
            break
    text = "".join(c for c in text if c in face.characters) or "A"
    return text.upper() if face.unicase else text


def _split(rng: np.random.Generator, count: int, most: int) -> list[int]:
    """``count`` words in lines of 1 to ``most`` words."""
    sizes = []
    while count:
        sizes.append(min(count, int(rng.integers(1, most + 1))))
        count -= sizes[-1]
    return sizes


def _heights(rng: np.random.Generator, kind: str, lines: int, options: SynthOptions) -> list[float]:
    low, high = options.word_height
    head = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    if kind == "headline":
        head = max(head, (low * high) ** 0.5)
        small = max(low, head * rng.uniform(0.25, 0.6))
        return [head] + [small] * (lines - 1)
    if kind == "mixed":
        return [float(np.clip(head * rng.uniform(0.6, 1.5), low, high)) for _ in range(lines)]
    return [head] * lines


def _bends(rng: np.random.Generator, lines: list[TextLine], options: SynthOptions) -> list[TextLine]:
    """Set the first line on a curve, of three or more lines also the last one (the other way round, as on a badge)."""
    angle = float(rng.uniform(min(25.0, options.max_bend), options.max_bend)) * (1 if rng.random() < 0.65 else -1)
    wave = float(rng.choice([0.0, 0.0, 0.0, 0.5, 1.0]))
    bent = [replace(lines[0], bend=angle, wave=wave), *lines[1:]]
    if len(lines) >= 3 and rng.random() < 0.6:
        bent[-1] = replace(bent[-1], bend=-angle, wave=0.0)
    return bent


def plan_lines(
    rng: np.random.Generator,
    options: SynthOptions,
    library: FontLibrary,
    words: tuple[str, ...],
    *,
    count: int,
    curved: bool,
) -> list[TextLine]:
    """Think up one sign.

    Args:
        rng: source of randomness.
        options: word heights and bends.
        library: fonts to choose from.
        words: dictionary.
        count: number of words, at least 1.
        curved: set its main line on a curve.

    Returns:
        Lines from top to bottom, ``count`` words altogether.
    """
    kind = str(rng.choice(["even", "headline", "mixed", "menu"], p=[0.36, 0.34, 0.15, 0.15])) if count > 1 else "even"
    if curved and kind == "menu":
        kind = "headline"
    most = 2 if kind == "menu" or curved else int(rng.choice([1, 2, 3, 4], p=[0.25, 0.35, 0.25, 0.15]))
    sizes = [2] * (count // 2) + [1] * (count % 2) if kind == "menu" else _split(rng, count, most)
    heights = _heights(rng, "even" if kind == "menu" else kind, len(sizes), options)
    align = "spread" if kind == "menu" else str(rng.choice(["center", "left", "right"], p=[0.68, 0.27, 0.05]))
    style, second = _letter_style(rng, library), _letter_style(rng, library)
    same_font = rng.random() < 0.6
    capitals, leading = rng.random() < 0.35, float(rng.uniform(0.15, 0.7))
    lines = []
    for number, (size, height) in enumerate(zip(sizes, heights, strict=True)):
        letters = style if number == 0 or same_font else second
        # Big words should be short enough to be set big; small print may say anything.
        longest = 9 if height > 0.6 * options.word_height[1] else 25
        texts = [_fitting_text(rng, letters.face, words, longest) for _ in range(size)]
        if kind == "menu" and size == 2:
            price = sample_price(rng)
            texts[1] = price if letters.face.covers(price) else texts[1]
        if capitals:
            texts = [text.upper() for text in texts]
        lines.append(TextLine(tuple(texts), height, letters, align=align, leading=leading))
    return _bends(rng, lines, options) if curved else lines
