"""Which fonts there are, and which characters each of them really has."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

from fasttcm.charset import CHARSETS
from fasttcm.errors import DataError

__all__ = ["FontFace", "FontLibrary", "load_fonts", "open_font"]

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

ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True)
class FontFace:
    """One usable font file.

    Attributes:
        path: the file.
        characters: the printable ASCII characters with a glyph of their own.
        unicase: lower-case letters look exactly like capitals.
        height_ratio: pixels from the top of ``H`` to the bottom of ``p`` at font size 1.
    """

    path: Path
    characters: frozenset[str]
    unicase: bool
    height_ratio: float

    def covers(self, text: str) -> bool:
        """Whether every character of ``text`` has a glyph."""
        return self.characters.issuperset(text)


@dataclass(frozen=True)
class FontLibrary:
    """The usable fonts, sorted by path, and the number of files left out (broken, or without letters and digits)."""

    faces: tuple[FontFace, ...]
    skipped: int


@lru_cache(maxsize=512)
def open_font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    """The font at ``size`` pixels an em, from a cache; raises OSError for a file FreeType cannot read."""
    return ImageFont.truetype(str(path), size)


def _examine(path: Path) -> FontFace | None:
    """The face of a font file, or ``None`` when it is broken or cannot write words."""
    try:
        font = ImageFont.truetype(str(path), PROBE_SIZE)
        glyphs = {c: (mask.size, bytes(mask)) for c in CHARSETS["ascii"] + MISSING for mask in [font.getmask(c)]}
    except (OSError, ValueError, SyntaxError):
        return None
    replacement = glyphs.pop(MISSING)
    present = {c for c, glyph in glyphs.items() if c != " " and any(glyph[1]) and glyph != replacement}
    lower = [glyphs[c] for c in "abcdefghijklmnopqrstuvwxyz"]
    if not present.issuperset(ALPHANUMERIC) or len(set(lower)) < len(lower):
        return None
    if TEX_ENCODED.match(path.stem):
        present &= set(ALPHANUMERIC + TEX_SAFE_PUNCTUATION)
    _, top, _, bottom = font.getbbox("Hp", anchor="ls")
    return FontFace(path, frozenset(present), glyphs["a"] == glyphs["A"], (bottom - top) / PROBE_SIZE)


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


@lru_cache(maxsize=4)
def load_fonts(places: tuple[Path, ...] = ()) -> FontLibrary:
    """Find and examine fonts.

    Args:
        places: font files or folders (searched recursively for ``.ttf`` and ``.otf``); empty for matplotlib's.

    Returns:
        Every font that has all ASCII letters and digits; symbol and formula fonts are left out by name.

    Raises:
        DataError: when a place does not exist, when no usable font is found, or when matplotlib is needed and missing.
    """
    files = _files(places or (_matplotlib_folder(),))
    faces = [
        face for path in files if not NOT_FOR_WORDS.search(path.stem) for face in [_examine(path)] if face is not None
    ]
    if not faces:
        where = ", ".join(str(p) for p in places) or "matplotlib's fonts"
        raise DataError(
            f"fonts: {where}: none of {len(files)} .ttf or .otf files has all letters and digits; "
            "name another folder with --fonts DIR"
        )
    return FontLibrary(tuple(faces), len(files) - len(faces))
