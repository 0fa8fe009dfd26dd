"""TESTR's weighted edit distance: an edit costs little where the model was unsure (SPEC ``evaluation`` section 6.3).

The published search fills one table per lexicon entry: 4.8 s a detection for 90 000 words. Here the entries share
one tree of prefixes, a level of the tree is filled at once, and branches that cannot come closer than the best entry
so far are cut. Every cost is at least 0, so the smallest value of a table row only grows towards longer prefixes and
the result is the same, bit for bit.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fasttcm.charset import CHARSETS, UNKNOWN_CHARACTER
from fasttcm.errors import DataError

__all__ = ["NUM_CLASSES", "PrefixTree", "read_char_scores", "weighted_distance"]

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.intp]

LABELS = CHARSETS["ascii"] + UNKNOWN_CHARACTER
"""Character of each column of a score matrix."""

NUM_CLASSES = len(LABELS) + 1
"""Columns of a score matrix: the characters, "unknown" and "end"."""

OUTPUT_STEPS = 25
"""Rows of the published score matrices: characters a word can have at most."""

REPLACEMENT_SLOPE = 5.0
"""A replacement costs nothing once the other character has a fifth of the score of the one that was read."""

_CLASS_OF = {character: number for number, character in enumerate(LABELS)}


class _Level(NamedTuple):
    """Nodes of one depth: their parents, their letters, and the entries that end here (node, row of the list)."""

    parents: IntArray
    letters: IntArray
    end_nodes: IntArray
    end_rows: IntArray


class PrefixTree:
    """Lexicon entries as a tree of prefixes, level by level."""

    def __init__(self, entries: Sequence[str]) -> None:
        """Build the tree.

        Args:
            entries: upper-case words in list order.

        Raises:
            DataError: when an entry holds a character that a score matrix has no column for.
        """
        lengths = np.array([len(entry) for entry in entries], np.intp)
        codes = np.full((len(entries), int(lengths.max(initial=0))), -1, np.intp)
        for row, entry in enumerate(entries):
            codes[row, : len(entry)] = _classes(entry, f"lexicon entry {row + 1}")
        self._empty_row = next((row for row, entry in enumerate(entries) if not entry), None)
        self._levels: list[_Level] = []
        node = np.zeros(len(entries), np.intp)
        for depth in range(codes.shape[1]):
            rows = np.flatnonzero(lengths > depth)
            keys, node[rows] = np.unique(node[rows] * NUM_CLASSES + codes[rows, depth], return_inverse=True)
            # np.unique names the first row of each word: an entry that occurs twice is the earlier one.
            ended = rows[lengths[rows] == depth + 1]
            end_nodes, first = np.unique(node[ended], return_index=True)
            self._levels.append(_Level(keys // NUM_CLASSES, keys % NUM_CLASSES, end_nodes, ended[first]))

    def nearest(self, text: str, scores: FloatArray, *, limit: float) -> tuple[int, float] | None:
        """The entry of the smallest distance, the first in list order among equals.

        Args:
            text: what was read, upper case.
            scores: (rows, NUM_CLASSES) float32 score of each class per character of the text.
            limit: distances from here on do not count.

        Returns:
            Its row and distance, or ``None`` when no entry is below the limit.

        Raises:
            DataError: when the text holds a character without a column, or more characters than the scores have rows.
        """
        deletions, insertions, replacements = _costs(text, scores)
        best, best_row = np.float32(limit), None
        tables = np.arange(len(text) + 1, dtype=np.float32)[:, None]
        if self._empty_row is not None and tables[-1, 0] < best:
            best, best_row = tables[-1, 0], self._empty_row
        alive = np.zeros(1, np.intp)
        for depth, level in enumerate(self._levels, 1):
            place = np.full(int(level.parents.max()) + 1, -1, np.intp)
            alive = alive[alive < len(place)]
            place[alive] = np.arange(len(alive))
            nodes = np.flatnonzero(place[level.parents] >= 0)
            if not len(nodes):
                break
            before = tables[:, place[level.parents[nodes]]]
            tables = _next_row(before, depth, deletions, insertions, replacements[:, level.letters[nodes]])
            ended = np.flatnonzero(np.isin(level.end_nodes, nodes, assume_unique=True))
            if len(ended):
                distances = tables[-1, np.searchsorted(nodes, level.end_nodes[ended])]
                winner = min(zip(distances.tolist(), level.end_rows[ended].tolist(), strict=True))
                if winner[0] < best or (winner[0] == best and best_row is not None and winner[1] < best_row):
                    best, best_row = np.float32(winner[0]), winner[1]
            lowest = tables.min(axis=0)
            hopeful = lowest < best if best_row is None else lowest <= best
            alive, tables = nodes[hopeful], tables[:, hopeful]
        return None if best_row is None else (best_row, float(best))


def weighted_distance(text: str, entry: str, scores: FloatArray) -> float:
    """Distance of one pair; see :meth:`PrefixTree.nearest`, case does not matter."""
    found = PrefixTree([entry.upper()]).nearest(text.upper(), scores, limit=float("inf"))
    assert found is not None  # every distance is below infinity
    return found[1]


def read_char_scores(value: Any, place: str) -> FloatArray:
    """The field ``char_scores`` of a predicted word.

    Two forms are read, position by position of the text:

    * dense: ``[[s, s, ...], ...]``, NUM_CLASSES (97) numbers per position in the order of the classes: the 95
      printable ASCII characters from the space on, "unknown", "end";
    * sparse: ``{"rest": r, "rows": [[["K", s], ["3", s]], ...]}``: characters with their scores, ``r`` for every
      other class and every position that is not listed. A character that occurs twice has its last score.

    Args:
        value: the field.
        place: the word, for messages.

    Returns:
        (rows, NUM_CLASSES) float32; a sparse matrix has at least :data:`OUTPUT_STEPS` rows.

    Raises:
        DataError: for another shape, an unknown character, or a score that is negative or not finite.
    """
    try:
        scores = _from_sparse(value) if isinstance(value, Mapping) else np.asarray(value, np.float32)
    except (TypeError, ValueError, KeyError) as error:
        raise DataError(
            f"{place}: 'char_scores' must be rows of {NUM_CLASSES} numbers, or "
            f'{{"rest": number, "rows": [[["A", number], ...], ...]}}'
        ) from error
    if scores.ndim != 2 or scores.shape[1] != NUM_CLASSES:
        raise DataError(f"{place}: 'char_scores' must have {NUM_CLASSES} numbers per row, got shape {scores.shape}")
    if not (np.isfinite(scores).all() and (scores >= 0).all()):
        raise DataError(f"{place}: 'char_scores' holds a number that is negative or not finite")
    return scores


def _from_sparse(value: Mapping[str, Any]) -> FloatArray:
    """(max(OUTPUT_STEPS, rows), NUM_CLASSES) float32; raises KeyError for a character without a column."""
    rows = value["rows"]
    scores = np.full((max(OUTPUT_STEPS, len(rows)), NUM_CLASSES), value["rest"], np.float32)
    for position, row in enumerate(rows):
        for character, score in row:
            scores[position, _CLASS_OF[character]] = score
    return scores


def _classes(text: str, what: str) -> list[int]:
    """Columns of the characters of an upper-case text."""
    foreign = [character for character in text if character not in _CLASS_OF]
    if foreign:
        raise DataError(
            f"{what}: {text!r} holds {foreign[0]!r}, for which there are no character scores (printable ASCII only); "
            "leave it out or use an unweighted rule"
        )
    return [_CLASS_OF[character] for character in text]


def _costs(text: str, scores: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Deletion (m,), insertion (m,) and replacement (m, NUM_CLASSES) costs per position, all float64.

    Scores, their sums and ratios are float32 and everything after is float64, as published.
    """
    classes = _classes(text, "prediction")
    if len(text) > len(scores):
        raise DataError(f"prediction {text!r} has {len(text)} characters but 'char_scores' only {len(scores)} rows")
    either_case = np.asarray(scores[: len(text)], np.float32).copy()
    for character in LABELS:
        if character.lower() != character:
            both = [_CLASS_OF[character], _CLASS_OF[character.lower()]]
            either_case[:, both] = either_case[:, both].max(axis=1, keepdims=True)
    positions = np.arange(len(text))
    own = either_case[positions, classes]
    pairs = own.copy()
    pairs[:-1] = own[:-1] + own[1:]
    insertions = pairs.astype(np.float64)
    insertions[:-1] /= 2
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratios = either_case / own[:, None]
    # Neither character was likely at all: an ordinary replacement. The published code divides by zero.
    ratios[np.isnan(ratios)] = 0
    replacements = np.maximum(1 - REPLACEMENT_SLOPE * ratios.astype(np.float64), 0)
    replacements[positions, classes] = 0
    return own.astype(np.float64), insertions, replacements


def _next_row(
    before: FloatArray, depth: int, deletions: FloatArray, insertions: FloatArray, replacements: FloatArray
) -> FloatArray:
    """One more letter of k entries.

    Args:
        before: (m + 1, k) float32 distances of the prefixes of the text to the entries' prefixes without the letter.
        depth: letters of the prefixes with it.
        deletions: (m,) cost of leaving out a character of the text.
        insertions: (m,) cost of an extra letter of the entry.
        replacements: (m, k) cost of the letter in place of each character.

    Returns:
        (m + 1, k) float32.
    """
    either = np.minimum(before[1:] + insertions[:, None], before[:-1] + replacements)
    after = np.empty_like(before)
    after[0] = depth
    for j, cost in enumerate(deletions[:, None]):  # arrays of one: NumPy 1 adds a float64 scalar in float32
        after[j + 1] = np.minimum(either[j], after[j] + cost)
    return after
