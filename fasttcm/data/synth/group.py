"""What a sign says and in which letters: one to many words planned as a name board, poster, menu, label or badge."""

from dataclasses import replace

import numpy as np

from fasttcm.data.synth.fonts import FontFace, FontLibrary
from fasttcm.data.synth.layout import TextLine
from fasttcm.data.synth.options import SynthOptions
from fasttcm.data.synth.vocabulary import Vocabulary, sample_code, sample_price, sample_text
from fasttcm.data.synth.word import LetterStyle

__all__ = ["plan_lines"]

TRIES = 6
"""Texts tried before one is reduced to the characters that the font has."""


def _letter_style(rng: np.random.Generator, library: FontLibrary) -> LetterStyle:
    face = library.pick(rng)
    return LetterStyle(
        face,
        stretch=float(rng.uniform(0.65, 1.25)) if rng.random() < 0.45 else 1.0,
        slant=float(rng.uniform(0.08, 0.3)) if rng.random() < 0.1 else 0.0,
        tracking=float(rng.uniform(0.02, 0.16)) if rng.random() < 0.2 else 0.0,
        weight=float(rng.uniform(0.01, 0.035)) if rng.random() < 0.25 else 0.0,
    )


def _fitting_text(rng: np.random.Generator, face: FontFace, words: Vocabulary, max_length: int) -> str:
    for _ in range(TRIES):
        text = sample_text(rng, words, max_length=max_length)
        if face.covers(text):
            break
    text = "".join(c for c in text if c in face.characters) or "A"
    return face.seen(text)


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


def _dense_lines(
    rng: np.random.Generator, options: SynthOptions, library: FontLibrary, words: Vocabulary, count: int
) -> list[TextLine]:
    """A block of small print: a notice, an address, a directory, a list of ingredients."""
    low, high = options.word_height
    height = float(min(low * np.exp(rng.uniform(0, 0.6)), high))
    style = replace(_letter_style(rng, library), weight=0.0, tracking=0.0)
    align, leading = str(rng.choice(["left", "center", "spread"], p=[0.6, 0.25, 0.15])), float(rng.uniform(0.08, 0.6))
    case = str(rng.choice(["any", "upper", "lower"], p=[0.3, 0.25, 0.45]))
    head = 1.0 if rng.random() < 0.6 else float(rng.uniform(1.2, 2.0))
    lines = []
    for number, size in enumerate(_split(rng, count, int(rng.integers(2, 7)))):
        texts = [_fitting_text(rng, style.face, words, 16) for _ in range(size)]
        if case != "any":
            texts = [style.face.seen(text.upper() if case == "upper" else text.lower()) for text in texts]
        tall = min(height * head, high) if number == 0 else height
        lines.append(TextLine(tuple(texts), tall, style, align=align, leading=leading))
    return lines


def _plate_lines(
    rng: np.random.Generator, options: SynthOptions, library: FontLibrary, words: Vocabulary, count: int
) -> list[TextLine]:
    """A number plate, a door number, a bus line, or (with more than one word) a price tag."""
    low, high = options.word_height
    height, style = float(np.exp(rng.uniform(np.log(low), np.log(high)))), _letter_style(rng, library)
    make = sample_price if count > 1 and rng.random() < 0.6 else sample_code
    text = next((t for t in (make(rng) for _ in range(TRIES)) if style.face.covers(t)), "A1")
    lines = [TextLine((style.face.seen(text),), height, style)]
    if count > 1:
        small = max(low, height * float(rng.uniform(0.25, 0.5)))
        texts = tuple(_fitting_text(rng, style.face, words, 12) for _ in range(count - 1))
        lines.insert(int(rng.integers(2)), TextLine(texts, small, style, leading=float(rng.uniform(0.1, 0.4))))
    return lines


def plan_lines(
    rng: np.random.Generator,
    options: SynthOptions,
    library: FontLibrary,
    words: Vocabulary,
    *,
    count: int,
    curved: bool,
    kind: str = "sign",
) -> list[TextLine]:
    """Think up one sign.

    Args:
        rng: source of randomness.
        options: word heights and bends.
        library: fonts to choose from.
        words: dictionary.
        count: number of words, at least 1.
        curved: set its main line on a curve; only of a "sign".
        kind: "sign", "dense" (a block of small print) or "plate" (a number, or a price and a few words).

    Returns:
        Lines from top to bottom, ``count`` words altogether.
    """
    if kind == "dense":
        return _dense_lines(rng, options, library, words, count)
    if kind == "plate":
        return _plate_lines(rng, options, library, words, count)
    return _sign_lines(rng, options, library, words, count=count, curved=curved)


def _sign_lines(
    rng: np.random.Generator,
    options: SynthOptions,
    library: FontLibrary,
    words: Vocabulary,
    *,
    count: int,
    curved: bool,
) -> list[TextLine]:
    """A name board, poster, menu, label or badge."""
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
