"""Where the words of one sign stand: lines of words, aligned, spaced, scaled to fit, some of them on a curve."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fasttcm.data.synth.curves import LineCurve, Strip, bend, rectangle_strip
from fasttcm.data.synth.word import FlatWord, LetterStyle, render_word

__all__ = ["LaidWord", "Layout", "TextLine", "arrange"]

WORD_GAP = 0.32
"""Space between two words of a line in word heights, before stretch."""

MOST_CURVED = 0.85
"""Largest bend in radians of a line as a share of its length over its height; beyond, the inner side folds up."""

LEAST_CURVED_LENGTH = 1.6
"""A line shorter than this many heights stays straight: its bend could not be seen."""

LEAST_CURVED_HEIGHT = 12.0
"""Pixels below which a line stays straight: bending blurs letters, and smaller ones could not be read any more."""


@dataclass(frozen=True)
class TextLine:
    """One line before it is measured.

    Attributes:
        texts: the words, left to right.
        height: word height in pixels (cap line to descender line).
        style: letters.
        align: "left", "center", "right" or "spread" (last word at the right edge, as prices on a menu).
        bend: degrees, 0 for straight; see :class:`~fasttcm.data.synth.curves.LineCurve`.
        wave: 0 arc to 1 S-curve.
        leading: empty space above the line in word heights.
    """

    texts: tuple[str, ...]
    height: float
    style: LetterStyle
    align: str = "center"
    bend: float = 0.0
    wave: float = 0.0
    leading: float = 0.35


@dataclass(frozen=True)
class LaidWord:
    """A word in its place.

    Attributes:
        mask: (h, w) float32 coverage, bent if the line is.
        x: column of the mask's left edge in the layout, whole pixels.
        y: row of its top edge.
        strip: its annotation in layout pixels.
        text: what it says.
        line: number of its line.
    """

    mask: npt.NDArray[np.float32]
    x: int
    y: int
    strip: Strip
    text: str
    line: int


@dataclass(frozen=True)
class Layout:
    """Words of one sign.

    Attributes:
        width: pixels.
        height: pixels.
        words: every word in its place.
        rows: (top, bottom) of every line.
        lines: the lines as they were set: some shrunk, some with fewer words than asked for.
    """

    width: int
    height: int
    words: list[LaidWord]
    rows: list[tuple[int, int]]
    lines: list[TextLine]


@dataclass(frozen=True)
class _SetLine:
    """A measured line: its words with their left edges, and its extent above and below the baseline, pixels."""

    words: list[FlatWord]
    lefts: list[float]
    width: float
    above: float
    below: float


def _set_line(line: TextLine) -> _SetLine:
    words = [render_word(text, line.style, line.height) for text in line.texts]
    gap = max(WORD_GAP * line.height * (0.5 + 0.5 * line.style.stretch) + 2 * line.style.tracking * line.height, 2.0)
    lefts, x = [], 0.0
    for word in words:
        lefts.append(x)
        x += round(word.mask.shape[1] + gap)
    above = max(word.ascent for word in words)
    below = max(word.mask.shape[0] - word.ascent for word in words)
    return _SetLine(words, lefts, x - round(gap), above, below)


def _bent(line: TextLine, row: _SetLine) -> list[tuple[npt.NDArray[np.float32], Strip]]:
    """The words of a curved line as (mask, strip), in a frame whose origin is the left end of the path."""
    # A wave bends pi times as sharply as an arc of the same angle where it is sharpest.
    sharpness = 1 + (np.pi - 1) * line.wave
    most = np.rad2deg(MOST_CURVED * row.width / max(row.above + row.below, 1.0) / sharpness)
    curve = LineCurve(length=row.width, bend=float(np.clip(line.bend, -most, most)), wave=line.wave)
    middle = (row.below - row.above) / 2
    bent = []
    for word, left in zip(row.words, row.lefts, strict=True):
        h, w = word.mask.shape
        strip = curve.strip(left, left + w, -word.ascent - middle, h - word.ascent - middle)
        outline = strip.polygon(17)
        x0, y0 = np.floor(outline.min(0)) - 1
        x1, y1 = np.ceil(outline.max(0)) + 1
        mask = bend(word.mask, strip.moved(-x0, -y0), height=int(y1 - y0), width=int(x1 - x0))
        bent.append((mask, strip))
    return bent


def _place_line(line: TextLine, row: _SetLine, number: int, top: int, width: int) -> tuple[list[LaidWord], int]:
    """The words of one line below row ``top`` of a column ``width`` pixels wide, and the row where it ends."""
    long_enough = row.width >= LEAST_CURVED_LENGTH * (row.above + row.below)
    if line.bend and long_enough and line.height >= LEAST_CURVED_HEIGHT:
        bent = _bent(line, row)
        outline = np.concatenate([strip.polygon(17) for _, strip in bent])
        low, high = np.floor(outline.min(0)), np.ceil(outline.max(0))
        dx, dy = round((width - (high[0] - low[0])) / 2 - low[0]), top - int(low[1])
        words = []
        for (mask, strip), word in zip(bent, row.words, strict=True):
            corner = np.floor(strip.polygon(17).min(0)) - 1
            words.append(
                LaidWord(mask, int(corner[0]) + dx, int(corner[1]) + dy, strip.moved(dx, dy), word.text, number)
            )
        return words, top + int(high[1] - low[1])
    free = width - row.width
    start = {"left": 0.0, "spread": 0.0, "center": free / 2, "right": free}[line.align]
    words = []
    for i, (word, left) in enumerate(zip(row.words, row.lefts, strict=True)):
        h, w = word.mask.shape
        last = line.align == "spread" and i == len(row.words) - 1 and i > 0
        x, y = round(start + left + (free if last else 0)), round(top + row.above - word.ascent)
        words.append(LaidWord(word.mask, x, y, rectangle_strip(x, y, w, h), word.text, number))
    return words, top + int(np.ceil(row.above + row.below))


def _stack(lines: Sequence[TextLine], rows: Sequence[_SetLine]) -> Layout:
    width = int(np.ceil(max(row.width for row in rows)))
    words: list[LaidWord] = []
    extents: list[tuple[int, int]] = []
    y = 0
    for number, (line, row) in enumerate(zip(lines, rows, strict=True)):
        top = y + (max(2, round(line.leading * line.height)) if number else 0)
        placed, y = _place_line(line, row, number, top, width)
        words += placed
        extents.append((top, y))
    # A curved line may be wider than its flat length suggests only when it bulges: keep everything at x >= 0.
    left = min([0] + [word.x for word in words])
    right = max([width] + [word.x + word.mask.shape[1] for word in words])
    if left < 0:
        words = [replace(word, x=word.x - left, strip=word.strip.moved(-left, 0)) for word in words]
    return Layout(right - left, max(y, 1), words, extents, list(lines))


def arrange(lines: Sequence[TextLine], *, max_width: float, max_height: float, least_height: float) -> Layout | None:
    """Set lines of text into the space there is.

    Args:
        lines: from top to bottom, each with at least one word.
        max_width: pixels available.
        max_height: pixels available.
        least_height: word height in pixels below which lines are not shrunk; words, then lines, are dropped instead.

    Returns:
        The layout, or ``None`` when not even one word fits.
    """
    lines = list(lines)
    while lines:
        rows = [_set_line(line) for line in lines]
        layout = _stack(lines, rows)
        scale = min(1.0, max_width / layout.width, max_height / layout.height)
        if scale >= 1:
            return layout
        smaller = [replace(line, height=max(line.height * scale * 0.98, least_height)) for line in lines]
        if any(new.height < old.height - 0.01 for new, old in zip(smaller, lines, strict=True)):
            lines = smaller
            continue
        widest = max(range(len(rows)), key=lambda i: rows[i].width)
        if max_width < layout.width and len(lines[widest].texts) > 1:
            lines[widest] = replace(lines[widest], texts=lines[widest].texts[:-1])
        elif max_width < layout.width:
            del lines[widest]
        else:
            del lines[-1]
    return None
