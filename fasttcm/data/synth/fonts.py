"""Which fonts there are, which characters each of them really has, and whether a person can read them."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ImageFont

from fasttcm.charset import CHARSETS
from fasttcm.data.synth.split import Split, in_split
from fasttcm.errors import DataError

__all__ = ["FontFace", "FontLibrary", "load_fonts", "open_font", "remember_fonts"]

FONT_SUFFIXES = (".ttf", ".otf")

NOT_FOR_WORDS = re.compile(
    r"cmex|cmsy|cmmi|stixsiz|stixnonuni|math|symbol|emoji|dingbat|icons?\b|lastresort|barcode", re.I
)
"""File names of fonts made of symbols or formula letters."""

TEX_ENCODED = re.compile(r"^cm[a-z]+\d+$", re.I)
"""Computer Modern: letters and digits sit at their ASCII codes, some punctuation does not."""

TEX_SAFE_PUNCTUATION = "!#%&'()*+,-./:;=?@[]"

PROBE_SIZE = 40
"""Pixel size at which glyphs are compared; large enough to tell any two letters apart."""

MISSING = "\uffff"
"""A code point that is no character, so that every font draws its replacement glyph for it."""

UPPER, LOWER, DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "0123456789"
ALPHANUMERIC = UPPER + LOWER + DIGITS

TWO_SHAPES = "abdefghnqrt"
"""Letters whose two cases differ in more than size."""

ONE_CASE = 0.93
"""Mean likeness of the two cases of :data:`TWO_SHAPES` from which a face has small capitals or only one case."""

READABLE = 0.1
"""Least share of letters and digits that look most like the same character of a plain sans-serif, whatever the case.

Guessing gives 0.03. Ornamental, boxed and wrongly encoded faces stay below, slanted scripts above.
"""

SANE_HEIGHT = (0.3, 2.0)
"""Range of ``height_ratio``; outside, the metrics of the file are wrong."""

FINGERPRINT = 20
"""Side in pixels of the square into which a glyph is fitted for comparison; a margin of 4 surrounds it."""

FIRST_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
"""The first word of a family name: "Roboto" of "RobotoBold" and of "Roboto Condensed", "OCR" of "OCRA"."""

Glyph = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FontFace:
    """One usable font file.

    Attributes:
        path: the file.
        family: first word of the family name in lower case: what is split into training and validation, so that
            relatives (sans and serif, condensed, mono) stay together.
        characters: the printable ASCII characters with a glyph of their own.
        case: "upper" or "lower" when both cases of a letter look like this one (small capitals count), else "both".
        height_ratio: pixels from the top of ``H`` to the bottom of ``p`` at font size 1.
    """

    path: Path
    family: str
    characters: frozenset[str]
    case: Literal["both", "upper", "lower"]
    height_ratio: float

    def covers(self, text: str) -> bool:
        """Whether every character of ``text`` has a glyph."""
        return self.characters.issuperset(text)

    def seen(self, text: str) -> str:
        """``text`` in the case in which a reader sees it."""
        return text if self.case == "both" else text.upper() if self.case == "upper" else text.lower()


class FontLibrary:
    """Usable fonts, by family.

    Args:
        faces: sorted by path.
        skipped: number of files left out: broken, unreadable, or without all letters and digits.

    Attributes:
        families: the faces of every family.
    """

    def __init__(self, faces: Sequence[FontFace], skipped: int) -> None:
        self.faces, self.skipped = tuple(faces), skipped
        grouped: dict[str, list[FontFace]] = {}
        for face in faces:
            grouped.setdefault(face.family, []).append(face)
        self.families = [tuple(grouped[name]) for name in sorted(grouped)]
        # A family of twenty weights is met more often than a lonely display face, but not twenty times as often.
        shares = np.sqrt([len(family) for family in self.families])
        self._shares = np.cumsum(shares) / shares.sum()

    def pick(self, rng: np.random.Generator) -> FontFace:
        """Any face: first a family, large ones a little more often, then one of its faces."""
        family = self.families[min(int(np.searchsorted(self._shares, rng.random())), len(self.families) - 1)]
        return family[int(rng.integers(len(family)))]

    def digest(self) -> str:
        """SHA-256 over names and contents of the files: two libraries of equal digest draw equal pictures."""
        total = hashlib.sha256()
        for face in self.faces:
            total.update(face.path.name.encode() + hashlib.sha256(face.path.read_bytes()).digest())
        return total.hexdigest()


@lru_cache(maxsize=512)
def open_font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    """The font at ``size`` pixels an em, from a cache; raises OSError for a file FreeType cannot read."""
    return ImageFont.truetype(str(path), size)


def _crop(width: int, height: int, coverage: bytes) -> Glyph | None:
    """The inked part of a glyph, ``None`` for none."""
    if not width or not height:
        return None
    glyph = np.frombuffer(coverage, np.uint8).reshape(height, width)
    rows, columns = np.flatnonzero(glyph.max(1) > 60), np.flatnonzero(glyph.max(0) > 60)
    if not len(rows):
        return None
    return glyph[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)


def _fingerprints(glyphs: dict[str, tuple[tuple[int, int], bytes]], aspect: float | None) -> tuple[Glyph, float] | None:
    """Letters and digits, each blurred to a unit vector, and their median width over height.

    Args:
        glyphs: (width, height) and coverage of every character.
        aspect: stretch all letters so that their median width over height becomes this; ``None`` leaves them.
    """
    crops = [_crop(*glyphs[c][0], glyphs[c][1]) for c in ALPHANUMERIC]
    if any(crop is None for crop in crops):
        return None
    inked = [crop for crop in crops if crop is not None]
    own = float(np.median([crop.shape[1] / crop.shape[0] for crop in inked]))
    stretch = 1.0 if aspect is None else aspect / own
    prints = np.zeros((len(inked), FINGERPRINT + 8, FINGERPRINT + 8), np.float32)
    for sheet, crop in zip(prints, inked, strict=True):
        scale = FINGERPRINT / max(crop.shape[0], crop.shape[1] * stretch)
        h, w = max(1, round(crop.shape[0] * scale)), max(1, round(crop.shape[1] * stretch * scale))
        y, x = (sheet.shape[0] - h) // 2, (sheet.shape[1] - w) // 2
        sheet[y : y + h, x : x + w] = cv2.resize(crop, (w, h), interpolation=cv2.INTER_AREA)
        sheet[:] = cv2.GaussianBlur(sheet, (0, 0), 2.0)
    flat = prints.reshape(len(inked), -1)
    flat -= flat.mean(1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6), own


def _glyphs(font: ImageFont.FreeTypeFont) -> dict[str, tuple[tuple[int, int], bytes]]:
    masks = {c: font.getmask(c) for c in CHARSETS["ascii"] + MISSING}
    return {c: (mask.size, bytes(mask)) for c, mask in masks.items()}


@cache
def _plain() -> tuple[Glyph, float]:
    """Fingerprints of the sans-serif that comes with Pillow: the measure of what a letter looks like."""
    font = ImageFont.load_default(PROBE_SIZE)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow is built without FreeType"
    prints = _fingerprints(_glyphs(font), None)
    assert prints is not None
    return prints


def _likeness(prints: Glyph) -> tuple[float, float, Literal["upper", "lower"]]:
    """(share of characters recognised, likeness of the two cases, the case that the capitals look like)."""
    scores = prints @ _plain()[0].T
    names = np.array([c.lower() for c in ALPHANUMERIC])
    recognised = float((names[scores.argmax(1)] == names).mean())
    upper, lower = ([ALPHANUMERIC.index(c) for c in letters] for letters in (TWO_SHAPES.upper(), TWO_SHAPES))
    alike = float((prints[upper] * prints[lower]).sum(1).mean())
    return recognised, alike, "upper" if scores[upper, upper].sum() >= scores[upper, lower].sum() else "lower"


def _examine(path: Path) -> FontFace | None:
    """The face of a font file, or ``None`` when it is broken, cannot write words, or nobody could read them."""
    try:
        font = ImageFont.truetype(str(path), PROBE_SIZE)
        glyphs = _glyphs(font)
        family, _ = font.getname()
        _, top, _, bottom = font.getbbox("Hp", anchor="ls")
    except (OSError, ValueError, SyntaxError):
        return None
    replacement = glyphs.pop(MISSING)
    present = {c for c, glyph in glyphs.items() if c != " " and any(glyph[1]) and glyph != replacement}
    if not present.issuperset(ALPHANUMERIC) or len({glyphs[c] for c in LOWER}) < len(LOWER):
        return None
    prints = _fingerprints(glyphs, _plain()[1])
    ratio = (bottom - top) / PROBE_SIZE
    if prints is None or not SANE_HEIGHT[0] <= ratio <= SANE_HEIGHT[1]:
        return None
    recognised, alike, case = _likeness(prints[0])
    if recognised < READABLE:
        return None
    if TEX_ENCODED.match(path.stem):
        present &= set(ALPHANUMERIC + TEX_SAFE_PUNCTUATION)
    word = FIRST_WORD.search(family or "") or FIRST_WORD.search(path.stem)
    name = word.group().lower() if word else path.stem.lower()
    return FontFace(path, name, frozenset(present), case if alike >= ONE_CASE else "both", ratio)


def _matplotlib_folder() -> Path:
    try:
        import matplotlib
    except ImportError as error:
        raise DataError(
            "no fonts: install the extra fasttcm[eval] (matplotlib brings fonts) or name a folder with --fonts DIR"
        ) from error
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def _files(places: Sequence[Path]) -> list[Path]:
    files: set[Path] = set()
    for place in places:
        if place.is_dir():
            files.update(p for p in place.rglob("*") if p.suffix.lower() in FONT_SUFFIXES and p.is_file())
        elif place.is_file():
            files.add(place)
        else:
            raise DataError(f"fonts: {place} does not exist; give a font file or a folder with .ttf or .otf files")
    return sorted(files)


_LIBRARIES: dict[tuple[tuple[Path, ...], Split], FontLibrary] = {}
"""Libraries of this process: examining a thousand files takes many seconds."""


def remember_fonts(places: tuple[Path, ...], split: Split, library: FontLibrary) -> None:
    """Let :func:`load_fonts` return a library that another process has examined."""
    _LIBRARIES[places, split] = library


def load_fonts(places: tuple[Path, ...] = (), split: Split = "all") -> FontLibrary:
    """Find and examine fonts.

    Args:
        places: font files or folders (searched recursively for ``.ttf`` and ``.otf``); empty for matplotlib's.
        split: only the families of this split; a family's side is decided by its name alone.

    Returns:
        Every readable font that has all ASCII letters and digits; symbol and formula fonts are left out by name.

    Raises:
        DataError: when a place does not exist, when no usable font is found, or when matplotlib is needed and missing.
    """
    known = _LIBRARIES.get((places, split))
    if known is not None:
        return known
    files = _files(places or (_matplotlib_folder(),))
    faces = [
        face for path in files if not NOT_FOR_WORDS.search(path.stem) for face in [_examine(path)] if face is not None
    ]
    where = ", ".join(str(p) for p in places) or "matplotlib's fonts"
    if not faces:
        raise DataError(
            f"fonts: {where}: none of {len(files)} .ttf or .otf files has all letters and digits; "
            "name another folder with --fonts DIR"
        )
    chosen = [face for face in faces if in_split(face.family, split)]
    if not chosen:
        raise DataError(f"fonts: {where}: no family of {len(faces)} faces falls into the split {split!r}; add fonts")
    library = FontLibrary(chosen, len(files) - len(faces))
    remember_fonts(places, split, library)
    return library
