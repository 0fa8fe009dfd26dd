"""What readers of annotation files have in common: JSON, finite numbers, transcriptions, splits."""

import json
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from fasttcm.data.annotations import AnnotationError
from fasttcm.data.prepare.picture import Word
from fasttcm.data.prepare.source import MissingSplitError, Source, decode_text
from fasttcm.data.problems import Problems
from fasttcm.errors import DataError
from fasttcm.structures import ILLEGIBLE, FloatArray

__all__ = [
    "IGNORE_FLAGS",
    "OWN_SPLITS",
    "annotation_files",
    "box_corners",
    "is_true",
    "numbers",
    "outline",
    "parse_json",
    "read_json",
    "size_of",
    "split_of",
    "text_of",
    "words_of",
]

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Words in the names of a split's folders and files."""

MIN_POINTS = 4
"""Points of the shortest outline that has a top and a bottom side."""

LARGEST_COORDINATE = 1e7
"""Pixels; no picture is as wide, so the number is a mistake."""

OWN_SPLITS = ("train", "val", "test", "")
"""Splits of a format of one's own: those that its files or folders are named after, else one set without splits."""

IGNORE_FLAGS = ("ignore", "illegible", "difficult")
"""What people call an attribute that says do not care."""

ParseWord = Callable[[Any, str, Problems], Word | None]
"""Entry, its place, notes -> word; ``None`` for an entry that is none. An AnnotationError has it skipped."""


def split_of(name: str, *, folders_only: bool = False) -> str:
    """The split that a name in a source belongs to by its words, ``""`` if they tell none.

    The file's name counts before its folders, the innermost first: ``train/annotations/ic15_test.json`` is ``test``.

    Args:
        name: with ``/`` between folders.
        folders_only: leave out the file's name, where files are named by chance (``test_me.json``).
    """
    parts = name.lower().split("/")
    for part in reversed(parts[:-1] if folders_only else parts):
        for word in re.split("[^a-z]+", part):
            if word in SPLIT_WORDS:
                return SPLIT_WORDS[word]
    return ""


def annotation_files(
    source: Source, pattern: str, split: str, *, chosen: str | None = None, folders_only: bool = False
) -> list[str]:
    """The files of a split among those that match a pattern.

    Args:
        source: where they are.
        pattern: see :meth:`Source.find`.
        split: one of :data:`OWN_SPLITS`.
        chosen: the one file to read, whatever its name says; it makes a set without splits.
        folders_only: see :func:`split_of`.

    Raises:
        MissingSplitError: there is none.
    """
    if chosen is not None:
        found = [chosen] if source.has(chosen) else source.find(chosen)
        names = found if split == "" else []
    else:
        names = [name for name in source.find(pattern) if split_of(name, folders_only=folders_only) == split]
    if not names:
        of_split = f" of the split {split!r}" if split else ""
        raise MissingSplitError(f"no file {chosen or pattern}{of_split}")
    return names


def read_json(source: Source, name: str, problems: Problems) -> Any:
    """Parse a JSON file of the source; arguments and errors as :func:`parse_json`."""
    return parse_json(decode_text(source.read(name)), name, problems)


def parse_json(text: str, place: str, problems: Problems) -> Any:
    """Parse JSON, line by line of its own if it comes from a larger file.

    A key that occurs twice in an object is reported, and its first value kept: published files are objects by image
    id, where Python's parser would drop a picture without a word.

    Args:
        text: the JSON.
        place: where it stands, for messages.
        problems: takes keys that occur twice.

    Raises:
        DataError: it is no JSON (with line and column), or nested beyond reason.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            content = {}
            for key, value in pairs:
                if key in content:
                    problems.add("JSON key used twice (the later one skipped)", place, key[:80])
                else:
                    content[key] = value
        return content

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise DataError(f"{place}: JSON nested too deeply to be an annotation file") from error
    except ValueError as error:  # a number of thousands of digits
        raise DataError(f"{place}: not usable JSON: {error}") from error


def numbers(value: Any, what: str) -> FloatArray:
    """A flat float64 array of the finite numbers in a list, nested or not.

    Raises:
        AnnotationError: something in it is no number, or not finite.
    """
    try:
        flat = np.asarray(value, np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError) as error:
        raise AnnotationError(f"{what} is not a list of numbers (skipped)", value) from error
    if value is None or not np.isfinite(flat).all():
        raise AnnotationError(f"{what} holds NaN, infinity or nothing (skipped)", value)
    if len(flat) and np.abs(flat).max() > LARGEST_COORDINATE:
        raise AnnotationError(f"{what} holds a number beyond {LARGEST_COORDINATE:g} (skipped)", value)
    return flat


def outline(value: Any, what: str = "points") -> FloatArray:
    """(p, 2) points of ``[[x, y], ...]`` or ``[x, y, ...]``, p at least 4.

    Raises:
        AnnotationError: as :func:`numbers`; an odd number of coordinates; fewer than four points.
    """
    flat = numbers(value, what)
    if len(flat) % 2:
        raise AnnotationError(f"{what} has an odd number of coordinates (skipped)", value)
    if len(flat) < 2 * MIN_POINTS:
        raise AnnotationError(f"fewer than {MIN_POINTS} points (skipped)", value)
    return flat.reshape(-1, 2)


def box_corners(x0: float, y0: float, x1: float, y1: float, *, degrees: float = 0.0) -> FloatArray:
    """(4, 2) corners of a box given by two opposite ones, turned clockwise as seen about its middle."""
    (x0, x1), (y0, y1) = sorted((x0, x1)), sorted((y0, y1))
    corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64)
    if degrees:
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        middle = corners.mean(0)
        corners = middle + (corners - middle) @ np.array([[cos, sin], [-sin, cos]])
    return corners


def size_of(width: Any, height: Any) -> tuple[int, int] | None:
    """(width, height) where both are whole numbers, as an annotation file states them."""
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def is_true(value: Any) -> bool:
    """Whether a flag is set, as a JSON value or as text (``true``, ``1``, ``yes``)."""
    return value.strip().lower() in ("true", "1", "yes") if isinstance(value, str) else bool(value)


def text_of(value: Any, place: str, problems: Problems) -> str:
    """A transcription; a missing one, or one that is no text (a number has lost its zeros), is illegible."""
    if isinstance(value, str):
        return value
    what = "missing" if value is None else "not a text"
    problems.add(f"transcription {what} (taken as illegible)", place, "" if value is None else str(value)[:80])
    return ILLEGIBLE


def words_of(entries: Any, parse: ParseWord, place: str, problems: Problems, *, unit: str = "word") -> list[Word]:
    """The usable words of a list; the others are counted with their place, ``<place>, <unit> <number from 1>``."""
    if not isinstance(entries, list):
        problems.add("words are not a list (image kept without them)", place, str(entries)[:80])
        return []
    words = []
    for number, entry in enumerate(entries, 1):
        where = f"{place}, {unit} {number}"
        try:
            word = parse(entry, where, problems)
        except AnnotationError as error:
            problems.add(error.reason, where, error.detail)
            continue
        if word is not None:
            words.append(word)
    return words
