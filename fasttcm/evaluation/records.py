"""The scorer's input: words of images as plain JSON, read, checked and written.

``{"images": [{"id": 1, "width": W, "height": H, "words": [{"points": [[x, y], ...], "text": "...", "score": 0.9}]}]}``;
points are (x, y) pixels of the original image in either direction of travel, the order of the words is kept. A
predicted word may have ``char_scores``, which TESTR's weighted lexicon search needs.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttcm.errors import DataError
from fasttcm.evaluation.edit_distance import read_char_scores
from fasttcm.evaluation.polygons import MIN_POINTS
from fasttcm.structures import ILLEGIBLE, TextPredictions, TextTargets

__all__ = ["ImageWords", "Source", "Word", "load_json", "predictions_to_json", "read_images", "targets_to_json"]

LARGEST_COORDINATE = 1e9
"""Pixels; areas of larger polygons would leave the range in which the arithmetic is exact enough."""

Source = Mapping[str, Any] | str | Path
"""The JSON document, or the path of a file that holds it."""


@dataclass(frozen=True)
class Word:
    """One word.

    Attributes:
        points: (p, 2) float64 pixels.
        text: its transcription.
        score: detection score in [0, 1].
        char_scores: (rows, 97) float32 score of every class per character of the text, or ``None``; see
            :func:`~fasttcm.evaluation.edit_distance.read_char_scores`.
    """

    points: npt.NDArray[np.float64]
    text: str
    score: float = 1.0
    char_scores: npt.NDArray[np.floating] | None = None


@dataclass(frozen=True)
class ImageWords:
    """The words of one image, in file order, and its (height, width) in pixels where the document has them."""

    id: int | str
    words: list[Word]
    size: tuple[int, int] | None = None


def read_images(source: Source, *, role: str, text_required: bool) -> dict[str, ImageWords]:
    """Read and check a document.

    Args:
        source: the document or its path; a document's key ``source`` is what messages call it.
        role: ``"ground truth"`` or ``"predictions"``, for messages.
        text_required: whether a word without ``text`` is an error; otherwise it reads as an empty text.

    Returns:
        Images by ``str(id)``: ids 1 and "1" are the same image.

    Raises:
        DataError: for a file that is no JSON, a missing field, an image id that occurs twice, a number that is not
            finite, or an outline of fewer than three points (ground truth only).
    """
    document = source if isinstance(source, Mapping) else load_json(Path(source), role)
    where = str(source.get("source", role)) if isinstance(source, Mapping) else str(source)
    entries = document.get("images") if isinstance(document, Mapping) else None
    if not isinstance(entries, list):
        raise DataError(f'{where}: expected {{"images": [...]}} with one entry per image')
    images: dict[str, ImageWords] = {}
    for position, entry in enumerate(entries):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("id"), (int, str)):
            raise DataError(f"{where}: image number {position + 1} has no 'id' (a whole number or a text)")
        key = str(entry["id"])
        if key in images:
            raise DataError(f"{where}: image id {key} occurs twice; give each image one entry")
        words = entry.get("words")
        if not isinstance(words, list):
            raise DataError(f"{where}: image {key} has no list 'words' (an empty list when there is no text)")
        place = f"{where}: image {key}, word"
        checked = [_word(w, f"{place} {i}", text_required) for i, w in enumerate(words, 1)]
        _refuse_wild(checked, place)
        images[key] = ImageWords(entry["id"], checked, _size(entry))
    return images


def predictions_to_json(predictions: Iterable[tuple[int | str, TextPredictions]], *, digits: int = 2) -> dict[str, Any]:
    """The document of what a model found: pairs of image id and predictions, points rounded to ``digits``."""
    return {"images": [found.to_json(image_id=image_id, digits=digits) for image_id, found in predictions]}


def targets_to_json(
    targets: TextTargets, *, image_id: int | str, height: int, width: int, file_name: str = ""
) -> dict[str, Any]:
    """One ground-truth entry of ``{"images": [...]}``; words to be ignored get the text ``###``."""
    words = [
        {"points": np.asarray(polygon, np.float64).tolist(), "text": ILLEGIBLE if ignore else text}
        for polygon, text, ignore in zip(targets.polygons, targets.texts, targets.ignore.tolist(), strict=True)
    ]
    return {"id": image_id, "file_name": file_name, "width": width, "height": height, "words": words}


def load_json(path: Path, role: str) -> Any:
    """Parse a JSON file (a byte-order mark is dropped); DataError when it cannot be read or is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot read the {role} ({error.strerror})") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path}: the {role} is no valid JSON ({error})") from error


def _size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    """(height, width) when both are whole numbers above 0."""
    height, width = entry.get("height"), entry.get("width")
    if isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0:
        return height, width
    return None


def _refuse_wild(words: Sequence[Word], place: str) -> None:
    """Raise for a coordinate that is not finite or too large; one check per word would cost half the reading."""
    if not words or (np.abs(np.concatenate([word.points for word in words])) < LARGEST_COORDINATE).all():
        return
    number = next(i for i, word in enumerate(words, 1) if not (np.abs(word.points) < LARGEST_COORDINATE).all())
    raise DataError(f"{place} {number}: a coordinate or the score is not a finite number of reasonable size")


def _word(entry: Any, place: str, text_required: bool) -> Word:
    """Check one word."""
    if not isinstance(entry, Mapping):
        raise DataError(f"{place}: expected an object with 'points' and 'text', got {type(entry).__name__}")
    try:
        points = np.asarray(entry.get("points"), np.float64)
        score = float(entry.get("score", 1.0))
    except (TypeError, ValueError) as error:
        raise DataError(f"{place}: 'points' must be [[x, y], ...] and 'score' a number") from error
    if points.ndim != 2 or points.shape[1] != 2:
        raise DataError(f"{place}: 'points' must be [[x, y], ...], got shape {points.shape}")
    if not math.isfinite(score):
        raise DataError(f"{place}: a coordinate or the score is not a finite number of reasonable size")
    if text_required and len(points) < MIN_POINTS:
        raise DataError(f"{place}: an outline needs at least {MIN_POINTS} points, got {len(points)}")
    text = entry.get("text", None if text_required else "")
    if not isinstance(text, str):
        raise DataError(f"{place}: 'text' must be a text, got {text!r}")
    char_scores = entry.get("char_scores")
    return Word(points, text, score, None if char_scores is None else read_char_scores(char_scores, place))
