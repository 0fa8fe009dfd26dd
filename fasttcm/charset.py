"""Character sets: text to class numbers and back.

The layout is AdelaiDet's: classes ``0 .. n-1`` are the characters, ``n`` is "unknown" and ``n + 1`` is "end" (also
padding). With the 95 printable ASCII characters that gives the published 97 classes.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from fasttcm.errors import ConfigError, DataError

__all__ = [
    "CHARSETS",
    "UNKNOWN_CHARACTER",
    "Charset",
    "TextEncoder",
    "TooLong",
    "collapse_ctc",
    "decode_ctc_adelaidet",
]

_LOG = logging.getLogger(__name__)

TooLong = Literal["cut", "refuse"]
"""What to do with a transcription that has more characters than a model reads."""

UNKNOWN_CHARACTER = "口"
"""How the class "unknown" is written in a decoded text (U+53E3, as published)."""

CHARSETS = {
    "ascii": "".join(chr(code) for code in range(32, 127)),
    "lower36": "abcdefghijklmnopqrstuvwxyz0123456789",
}
"""Named character sets: ``ascii`` (95 printable, ABCNet and TESTR), ``lower36`` (DeepSolo's 37 classes)."""


@dataclass(frozen=True)
class Charset:
    """An ordered set of characters.

    Attributes:
        characters: every character once; its position is its class. Texts are lower-cased before encoding when the
            set has no upper-case letter.
    """

    characters: str

    def __post_init__(self) -> None:
        twice = sorted({c for c in self.characters if self.characters.count(c) > 1})
        if twice or not self.characters:
            raise ConfigError(
                f"a charset needs each character once, got {'duplicates ' + repr(twice) if twice else 'none'}"
            )

    @classmethod
    def named(cls, name: str) -> "Charset":
        """A set of :data:`CHARSETS`; raises ConfigError with the known names otherwise."""
        if name not in CHARSETS:
            raise ConfigError(f"unknown charset {name!r}; known: {', '.join(CHARSETS)}")
        return cls(CHARSETS[name])

    @property
    def unknown(self) -> int:
        """Class of a character outside the set."""
        return len(self.characters)

    @property
    def end(self) -> int:
        """Class after the last character, also padding."""
        return len(self.characters) + 1

    @property
    def num_classes(self) -> int:
        """Characters, unknown and end."""
        return len(self.characters) + 2

    def normalize(self, text: str) -> str:
        """``text`` in the case of the set (lower case when the set has no upper-case letter)."""
        return text if any(c.isupper() for c in self.characters) else text.lower()

    def foreign(self, text: str) -> list[str]:
        """The characters of ``text`` outside the set, each once, in order."""
        return [c for c in dict.fromkeys(self.normalize(text)) if c not in self.characters]

    def encode(self, text: str, max_length: int) -> list[int]:
        """``max_length`` classes: the text cut to ``max_length`` characters, then padded with :attr:`end`."""
        index = {c: i for i, c in enumerate(self.characters)}
        classes = [index.get(c, self.unknown) for c in self.normalize(text)[:max_length]]
        return classes + [self.end] * (max_length - len(classes))

    def decode(self, classes: Iterable[int], *, stop_at_end: bool = False) -> str:
        """The text of a row of classes.

        Args:
            classes: class numbers; unknown becomes :data:`UNKNOWN_CHARACTER`, ends are left out.
            stop_at_end: drop what follows the first end. AdelaiDet keeps it (the default).
        """
        pieces = []
        for number in classes:
            number = int(number)
            if number < self.unknown:
                pieces.append(self.characters[number])
            elif number == self.unknown:
                pieces.append(UNKNOWN_CHARACTER)
            elif stop_at_end:
                break
        return "".join(pieces)


class TextEncoder:
    """Transcriptions to rows of classes; what does not fit is reported once and counted.

    Args:
        charset: the classes.
        max_length: classes in a row.
        too_long: ``cut`` keeps the first ``max_length`` characters, ``refuse`` raises.

    Attributes:
        cut: texts so far that were longer than ``max_length``.
        foreign: texts so far with characters outside the charset, which become the class "unknown".

    Raises:
        ConfigError: another word than ``cut`` and ``refuse``.
    """

    def __init__(self, charset: Charset, *, max_length: int, too_long: TooLong = "cut") -> None:
        if too_long not in get_args(TooLong):
            raise ConfigError(f"too long texts can be {' or '.join(get_args(TooLong))}, not {too_long!r}")
        self.charset = charset
        self.max_length = max_length
        self.too_long = too_long
        self.cut = 0
        self.foreign = 0

    def __call__(self, texts: Iterable[str], source: object = "") -> list[list[int]]:
        """One row of ``max_length`` classes a text, padded with :attr:`Charset.end`.

        Args:
            texts: transcriptions.
            source: where they come from (file or image), for messages.

        Raises:
            DataError: a text is too long and ``too_long`` is ``refuse``; names text, source and limit.
        """
        where = f"{source}: " if str(source) else ""
        return [self._row(text, where) for text in texts]

    def _row(self, text: str, where: str) -> list[int]:
        length = len(self.charset.normalize(text))
        if length > self.max_length:
            problem = f"{where}text {text!r} has {length} characters, the model reads at most {self.max_length}"
            if self.too_long == "refuse":
                raise DataError(f"{problem}; raise MODEL.TEXT.MAX_LENGTH, or set MODEL.TEXT.TOO_LONG to cut")
            if self.cut == 0:
                _LOG.warning("%s: it is cut, as others may be", problem)
            self.cut += 1
        foreign = self.charset.foreign(text)
        if foreign:
            if self.foreign == 0:
                _LOG.warning(
                    '%stext %r has characters outside the charset (%s): they become "unknown", as others may',
                    where,
                    text,
                    "".join(foreign),
                )
            self.foreign += 1
        return self.charset.encode(text, self.max_length)


def collapse_ctc(classes: Sequence[int], blank: int) -> list[int]:
    """Best-path CTC: merge repeats, then drop blanks."""
    merged = [c for i, c in enumerate(classes) if i == 0 or c != classes[i - 1]]
    return [c for c in merged if c != blank]


def decode_ctc_adelaidet(classes: Iterable[int], charset: Charset) -> str:
    """Best-path CTC as AdelaiDet's evaluator reads it, with its two accidents.

    "Unknown" is written each time and does not separate repeats of the character before it, and the first character
    of the set (the space) is lost at the start and after a blank: the mark for "no character yet" equals its class.

    Args:
        classes: class numbers; everything above ``charset.unknown`` is a blank.
        charset: the characters.
    """
    pieces = []
    last = 0
    for number in map(int, classes):
        if number == charset.unknown:
            pieces.append(UNKNOWN_CHARACTER)
        elif number > charset.unknown:
            last = 0
        else:
            if number != last:
                pieces.append(charset.characters[number])
            last = number
    return "".join(pieces)
