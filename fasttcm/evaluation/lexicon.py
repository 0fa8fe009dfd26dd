"""Replace what was read by the nearest word of a lexicon (SPEC ``evaluation`` section 6).

The published search measures every entry: 0.08 s a detection for 90 000 words. Where only the distances 0 and 1 can
be accepted, two hash tables give the same word in microseconds; TESTR's rules search the list, with bounds.
"""

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from fasttcm.errors import ConfigError, DataError
from fasttcm.evaluation.edit_distance import PrefixTree

__all__ = ["LEXICON_RULES", "Lexicon", "LexiconRule"]

FARTHEST = 100.0
"""Distance from which on the published searches see no entry at all."""

CLOSE_LIMIT = 2.0
"""Limit up to which only the distances 0 and 1 can be accepted."""


@dataclass(frozen=True)
class LexiconRule:
    """When a text is replaced by a lexicon word; the entry of the smallest distance is asked first.

    Attributes:
        name: key in :data:`LEXICON_RULES`.
        limit: the distance has to be below this.
        weighted: edits weigh less where the model was unsure, which needs its scores per character.
        always: every text is replaced, by the empty text when no entry is below ``limit``; otherwise such a
            prediction is left out.
    """

    name: str
    limit: float
    weighted: bool = False
    always: bool = False


LEXICON_RULES = {
    rule.name: rule
    for rule in (
        LexiconRule("adelaidet", 1.5),
        LexiconRule("deepsolo", 1.5),
        LexiconRule("testr", 2.5),
        LexiconRule("testr_nearest", FARTHEST, always=True),
        LexiconRule("testr_weighted", 2.5, weighted=True),
        LexiconRule("testr_weighted_nearest", FARTHEST, weighted=True, always=True),
    )
}
"""Rules by name. TESTR replaces every text on Total-Text, CTW1500 and with ICDAR 2015's generic list ("nearest"), and
measures weighted distances on ICDAR 2015 in its published figures."""

ANY_CHARACTER = "\0"
"""Stands for one arbitrary character in a table key; it cannot occur in an entry."""


class Lexicon:
    """A list of words and the spelling each stands for.

    A text is replaced by the entry with the smallest edit distance (upper case, unit costs), the first in list order
    among equals. How far it may be is the rule's: with AdelaiDet's and DeepSolo's the distance has to be 0 or 1.
    """

    def __init__(
        self, words: Sequence[str], spellings: Sequence[str] | None = None, *, rule: str | None = None
    ) -> None:
        """Index the words.

        Args:
            words: entries in list order; case does not matter.
            spellings: what each entry is replaced by; the entries themselves when not given.
            rule: a name of :data:`LEXICON_RULES`; ``None``: the rule of the flavour it is used under.

        Raises:
            DataError: when the two differ in length, or an entry holds a NUL character.
            ConfigError: for an unknown rule.
        """
        self.rule = None if rule is None else _find_rule(rule)
        self._entries = [word.upper() for word in words]
        self.spellings = list(words if spellings is None else spellings)
        if len(self.spellings) != len(words):
            raise DataError(f"a lexicon of {len(words)} words needs as many spellings, got {len(self.spellings)}")
        for row, entry in enumerate(self._entries):
            if ANY_CHARACTER in entry:
                raise DataError(f"lexicon entry {row + 1} holds a NUL character; is the file a text file?")

    def __len__(self) -> int:
        return len(self.spellings)

    @classmethod
    def from_pairs(
        cls,
        words: Sequence[str],
        pairs: Iterable[tuple[str, str]],
        *,
        where: str = "lexicon",
        rule: str | None = None,
    ) -> "Lexicon":
        """A lexicon whose spellings stand in a pair list.

        Args:
            words: entries in list order.
            pairs: (key, spelling); keys are compared in upper case and a later pair replaces an earlier one.
            where: name for messages.
            rule: as for the constructor.

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
        return cls(words, [table[word.upper()] for word in words], rule=rule)

    @classmethod
    def from_files(
        cls,
        words: str | Path,
        pairs: str | Path | None = None,
        *,
        rule: str | None = None,
        keys_with_spaces: bool = False,
    ) -> "Lexicon":
        """Read the published files.

        Args:
            words: one entry per line; white space around it and empty lines are ignored.
            pairs: ``KEY spelling`` lines: the key ends at the first space, the rest of the line is the spelling.
            rule: as for the constructor.
            keys_with_spaces: the key is the first half of the line's pieces instead: TESTR's lists of Total-Text and
                CTW1500, whose keys may hold spaces.

        Raises:
            DataError: when a file cannot be read as UTF-8 text, or an entry has no pair.
        """
        entries = _lines(words)
        if pairs is None:
            return cls(entries, rule=rule)
        table = (_split_pair(line, keys_with_spaces=keys_with_spaces) for line in _lines(pairs))
        return cls.from_pairs(entries, table, where=str(words), rule=rule)

    def match(
        self, text: str, *, rule: str | None = None, char_scores: npt.NDArray[np.floating] | None = None
    ) -> str | None:
        """The spelling of the entry that ``text`` stands for, or ``None`` when every entry is too far away.

        Args:
            text: what was read.
            rule: the rule when the lexicon has none of its own; AdelaiDet's when that is ``None`` too.
            char_scores: (rows, 97) float32 scores per character of the text, for the weighted rules.

        Raises:
            DataError: when a weighted rule has no scores, or a character has none.
        """
        chosen = self.rule or _find_rule(rule or "adelaidet")
        row = self._nearest(text.upper(), chosen, char_scores)
        if row is None:
            return "" if chosen.always else None
        return self.spellings[row]

    def _nearest(self, read: str, rule: LexiconRule, char_scores: npt.NDArray[np.floating] | None) -> int | None:
        """Row of the first entry of the smallest distance, ``None`` when that is not below the rule's limit."""
        if rule.weighted:
            if char_scores is None:
                raise DataError(
                    f"the lexicon rule {rule.name} needs 'char_scores' of {read!r}; add them, or choose a rule "
                    "without 'weighted'"
                )
            nearest = self._tree.nearest(read, char_scores, limit=rule.limit)
            return None if nearest is None else nearest[0]
        if rule.limit <= CLOSE_LIMIT:
            return self._index.nearest(read)
        found = process.extractOne(
            read, self._entries, scorer=Levenshtein.distance, score_cutoff=math.ceil(rule.limit) - 1
        )
        return None if found is None else int(found[2])

    @functools.cached_property
    def _index(self) -> "_CloseIndex":
        return _CloseIndex(self._entries)

    @functools.cached_property
    def _tree(self) -> PrefixTree:
        return PrefixTree(self._entries)


class _CloseIndex:
    """Entries by what they read, and by what they read with one character open: finds the distances 0 and 1."""

    def __init__(self, entries: Sequence[str]) -> None:
        """Index upper-case entries in list order."""
        self._exact: dict[str, int] = {}
        self._one_open: dict[str, int] = {}
        for row, entry in enumerate(entries):
            if self._exact.setdefault(entry, row) == row:
                for i in range(len(entry)):
                    self._one_open.setdefault(f"{entry[:i]}{ANY_CHARACTER}{entry[i + 1 :]}", row)

    def nearest(self, read: str) -> int | None:
        """Row of the first entry of the smallest distance when that is 0 or 1."""
        row = self._exact.get(read)
        return min(self._at_distance_one(read), default=None) if row is None else row

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


def _split_pair(line: str, *, keys_with_spaces: bool) -> tuple[str, str]:
    """(key, spelling) of one line; the spelling starts after as many characters as the upper-cased key has."""
    pieces = line.split(" ")
    key = " ".join(pieces[: len(pieces) // 2 if keys_with_spaces else 1]).upper()
    return key, line[len(key) + 1 :]


def _find_rule(name: str) -> LexiconRule:
    """The rule of that name; raises ConfigError with the known names otherwise."""
    if name not in LEXICON_RULES:
        raise ConfigError(f"unknown lexicon rule {name!r}; known: {', '.join(LEXICON_RULES)}")
    return LEXICON_RULES[name]
