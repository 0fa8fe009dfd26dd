"""Character sets: text to class numbers and back.

The layout is AdelaiDet's: classes ``0 .. n-1`` are the characters, ``n`` is "unknown" and ``n + 1`` is "end" (also
padding). With the 95 printable ASCII characters that gives the published 97 classes.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from fasttcm.charset_file import read_characters
from fasttcm.errors import ConfigError, DataError

__all__ = [
    "CHARSETS",
    "LISTED",
    "UNKNOWN_CHARACTER",
    "UNLISTED",
    "Charset",
    "TextEncoder",
    "TooLong",
    "collapse_ctc",
    "decode_ctc_adelaidet",
    "named_by_size",
]

_LOG = logging.getLogger(__name__)

TooLong = Literal["cut", "refuse"]
"""What to do with a transcription that has more characters than a model reads."""

UNKNOWN_CHARACTER = "口"
"""How the class "unknown" is written in a decoded text (U+53E3, as published)."""

SPECIAL_CLASSES = 2
"""Unknown and end."""

CHARSETS = {
    "ascii": "".join(chr(code) for code in range(32, 127)),
    "lower36": "abcdefghijklmnopqrstuvwxyz0123456789",
}
"""Named character sets: ``ascii`` (95 printable, ABCNet and TESTR), ``lower36`` (DeepSolo's 37 classes)."""

LISTED = "characters:"
"""Before the characters themselves, as checkpoints of models with a set of their own carry them."""

UNLISTED = "unlisted:"
"""Before the number of characters, for a published checkpoint that does not say which they are."""


@dataclass(frozen=True)
class Charset:
    """An ordered set of characters.

    Attributes:
        characters: every character once; its position is its class. Texts are lower-cased before encoding when the
            set has no upper-case letter.
    """

    characters: str

    def __post_init__(self) -> None:
        twice = sorted(c for c, count in Counter(self.characters).items() if count > 1)
        if twice or not self.characters:
            raise ConfigError(
                f"a charset needs each character once, got {'duplicates ' + repr(twice) if twice else 'none'}"
            )

    @classmethod
    def named(cls, name: str) -> "Charset":
        """The set that ``MODEL.TEXT.CHARSET`` stands for.

        Args:
            name: of :data:`CHARSETS`; a file, see :func:`~fasttcm.charset_file.read_characters`; or :data:`LISTED` and
                the characters themselves.

        Raises:
            ConfigError: none of these, a file that cannot be used, or :data:`UNLISTED`.
        """
        if name in CHARSETS:
            return cls(CHARSETS[name])
        if name.startswith(LISTED):
            return cls(name.removeprefix(LISTED))
        if name.startswith(UNLISTED):
            raise ConfigError(
                f"the checkpoint reads {name.removeprefix(UNLISTED)} characters and does not say which; let "
                "MODEL.TEXT.CHARSET name the file that lists them, one a line"
            )
        if not os.path.isfile(name):  # false also for what cannot be a file's name
            raise ConfigError(f"charset {name!r} is neither a known one ({', '.join(CHARSETS)}) nor a file here")
        characters = read_characters(name)
        try:
            return cls(characters)
        except ConfigError as error:
            raise ConfigError(f"charset file {name!r}: {error}") from error

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
        return len(self.characters) + SPECIAL_CLASSES

    @cached_property
    def _classes(self) -> dict[str, int]:
        return {c: i for i, c in enumerate(self.characters)}

    @cached_property
    def _has_upper_case(self) -> bool:
        return any(c.isupper() for c in self.characters)

    def normalize(self, text: str) -> str:
        """``text`` in the case of the set (lower case when the set has no upper-case letter)."""
        return text if self._has_upper_case else text.lower()

    def foreign(self, text: str) -> list[str]:
        """The characters of ``text`` outside the set, each once, in order."""
        return [c for c in dict.fromkeys(self.normalize(text)) if c not in self._classes]

    def encode(self, text: str, max_length: int) -> list[int]:
        """``max_length`` classes: the text cut to ``max_length`` characters, then padded with :attr:`end`."""
        classes = [self._classes.get(c, self.unknown) for c in self.normalize(text)[:max_length]]
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


def named_by_size(num_classes: int) -> str:
    """What ``MODEL.TEXT.CHARSET`` is for a published model that tells only its number of classes.

    Returns:
        The name of the set of :data:`CHARSETS` with as many classes, or :data:`UNLISTED` and the number of characters.
    """
    for name in CHARSETS:
        if Charset.named(name).num_classes == num_classes:
            return name
    return f"{UNLISTED}{num_classes - SPECIAL_CLASSES}"


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

    def summary(self) -> str:
        """What did not fit so far, as one line; "" when everything did."""
        parts = []
        if self.cut:
            parts.append(f"{self.cut} texts were longer than {self.max_length} characters and were cut")
        if self.foreign:
            parts.append(f'{self.foreign} texts had characters outside the charset, which became "unknown"')
        return "; ".join(parts)

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
