"""The scorer's input: words of images as plain JSON, read, checked and written.

``{"images": [{"id": 1, "width": W, "height": H, "words": [{"points": [[x, y], ...], "text": "...", "score": 0.9}]}]}``;
points are (x, y) pixels of the original image in either direction of travel, the order of the words is kept.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttcm.errors import DataError
from fasttcm.evaluation.polygons import MIN_POINTS
from fasttcm.structures import ILLEGIBLE, TextPredictions, TextTargets

__all__ = ["ImageWords", "Source", "Word", "predictions_to_json", "read_images", "targets_to_json"]

LARGEST_COORDINATE = 1e9
"""Pixels; areas of larger polygons would leave the range in which the arithmetic is exact enough."""

Source = Mapping[str, Any] | str | Path
"""The JSON document, or the path of a file that holds it."""


@dataclass(frozen=True)
class Word:
    """One word: ``points`` (p, 2) float64 pixels, its transcription, and a detection score in [0, 1]."""

    points: npt.NDArray[np.float64]
    text: str
    score: float = 1.0


@dataclass(frozen=True)
class ImageWords:
    """The words of one image, in file order."""

    id: int | str
    words: list[Word]


def read_images(source: Source, *, role: str, text_required: bool) -> dict[str, ImageWords]:
    """Read and check a document.

    Args:
        source: the document or its path.
        role: ``"ground truth"`` or ``"predictions"``, for messages.
        text_required: whether a word without ``text`` is an error; otherwise it reads as an empty text.

    Returns:
        Images by ``str(id)``: ids 1 and "1" are the same image.

    Raises:
        DataError: for a file that is no JSON, a missing field, an image id that occurs twice, a number that is not
            finite, or an outline of fewer than three points (ground truth only).
    """
    where = role if isinstance(source, Mapping) else str(source)
    document = source if isinstance(source, Mapping) else _load(Path(source), role)
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
        images[key] = ImageWords(entry["id"], [_word(w, f"{place} {i}", text_required) for i, w in enumerate(words, 1)])
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


def _load(path: Path, role: str) -> Any:
    """Parse a JSON file; a byte-order mark is dropped."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot read the {role} ({error.strerror})") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: the {role} is no valid JSON ({error})") from error


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
    if not ((np.abs(points) < LARGEST_COORDINATE).all() and np.isfinite(score)):
        raise DataError(f"{place}: a coordinate or the score is not a finite number of reasonable size")
    if text_required and len(points) < MIN_POINTS:
        raise DataError(f"{place}: an outline needs at least {MIN_POINTS} points, got {len(points)}")
    text = entry.get("text", None if text_required else "")
    if not isinstance(text, str):
        raise DataError(f"{place}: 'text' must be a text, got {text!r}")
    return Word(points, text, score)
