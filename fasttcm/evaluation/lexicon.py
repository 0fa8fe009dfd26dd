"""Replace what was read by the nearest word of a lexicon (SPEC ``evaluation`` section 6).

The published search measures every entry: 0.08 s a detection for 90 000 words. Only the distances 0 and 1 can be
accepted, so two hash tables give the same word in microseconds.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from fasttcm.errors import DataError

__all__ = ["Lexicon"]

ANY_CHARACTER = "\0"
"""Stands for one arbitrary character in a table key; it cannot occur in an entry."""


class Lexicon:
    """A list of words and the spelling each stands for.

    A text is replaced by the entry with the smallest edit distance (upper case, unit costs), the first in list order
    among equals, and only when that distance is 0 or 1: AdelaiDet's and DeepSolo's rule.
    """

    def __init__(self, words: Sequence[str], spellings: Sequence[str] | None = None) -> None:
        """Index the words.

        Args:
            words: entries in list order; case does not matter.
            spellings: what each entry is replaced by; the entries themselves when not given.

        Raises:
            DataError: when the two differ in length, or an entry holds a NUL character.
        """
        self.spellings = list(words if spellings is None else spellings)
        if len(self.spellings) != len(words):
            raise DataError(f"a lexicon of {len(words)} words needs as many spellings, got {len(self.spellings)}")
        self._exact: dict[str, int] = {}
        self._one_open: dict[str, int] = {}
        for row, word in enumerate(words):
            entry = word.upper()
            if ANY_CHARACTER in entry:
                raise DataError(f"lexicon entry {row + 1} holds a NUL character; is the file a text file?")
            if self._exact.setdefault(entry, row) == row:
                for i in range(len(entry)):
                    self._one_open.setdefault(f"{entry[:i]}{ANY_CHARACTER}{entry[i + 1 :]}", row)

    def __len__(self) -> int:
        return len(self.spellings)

    @classmethod
    def from_pairs(cls, words: Sequence[str], pairs: Iterable[tuple[str, str]], *, where: str = "lexicon") -> "Lexicon":
        """A lexicon whose spellings stand in a pair list.

        Args:
            words: entries in list order.
            pairs: (key, spelling); keys are compared in upper case and a later pair replaces an earlier one.
            where: name for messages.

        Raises:
            DataError: when an entry has no pair.
        """
        table = {key.upper(): spelling for key, spelling in pairs}
        missing = [word for word in words if word.upper() not in table]
        if missing:
            raise DataError(
                f"{where}: {len(missing)} of {len(words)} entries have no line in the pair list, the first is "
                f"{missing[0]!r}; add 'KEY spelling' lines or leave the pair list out"
            )
        return cls(words, [table[word.upper()] for word in words])

    @classmethod
    def from_files(cls, words: str | Path, pairs: str | Path | None = None) -> "Lexicon":
        """Read the published files.

        Args:
            words: one entry per line; white space around it and empty lines are ignored.
            pairs: ``KEY spelling`` lines: the key ends at the first space, the rest of the line is the spelling.

        Raises:
            DataError: when a file cannot be read as UTF-8 text, or an entry has no pair.
        """
        entries = _lines(words)
        if pairs is None:
            return cls(entries)
        return cls.from_pairs(entries, (_split_pair(line) for line in _lines(pairs)), where=str(words))

    def match(self, text: str) -> str | None:
        """The spelling of the entry that ``text`` stands for, or ``None`` when every entry is two edits away."""
        read = text.upper()
        row = self._exact.get(read)
        if row is None:
            row = min(self._at_distance_one(read), default=None)
        return None if row is None else self.spellings[row]

    def _at_distance_one(self, read: str) -> Iterable[int]:
        """Rows of entries that one insertion, replacement or deletion turns into ``read``."""
        for i in range(len(read) + 1):
            head, tail = read[:i], read[i + 1 :]
            candidates = [self._one_open.get(head + ANY_CHARACTER + read[i:])]
            if i < len(read):
                candidates += [self._one_open.get(head + ANY_CHARACTER + tail), self._exact.get(head + tail)]
            yield from (row for row in candidates if row is not None)


def _lines(path: str | Path) -> list[str]:
    """Stripped lines of a UTF-8 file (a byte-order mark is dropped) without the empty ones."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a UTF-8 lexicon ({error})") from error
    return [stripped for line in text.split("\n") if (stripped := line.strip())]


def _split_pair(line: str) -> tuple[str, str]:
    """(key, spelling) of one line; the spelling starts after as many characters as the upper-cased key has."""
    key = line.split(" ", 1)[0].upper()
    return key, line[len(key) + 1 :]
