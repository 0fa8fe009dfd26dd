"""From a model's predictions to the detections that are scored: our own path, and that of published projects.

The published evaluators write text archives and read them back; thresholds, truncation to whole pixels, dropped
outlines and cut transcriptions on that way change the figures (SPEC ``evaluation`` section 5).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from fasttcm.errors import ConfigError
from fasttcm.evaluation.polygons import valid_outlines
from fasttcm.evaluation.protocol import Protocol
from fasttcm.evaluation.records import Word

__all__ = ["FLAVOURS", "OWN", "Flavour", "Prepared", "find_flavour", "prepare", "read_back"]

NO_LIMIT = float("-inf")
"""A threshold that every score passes."""

TEXT_CUTS = (": ", ",####")
"""Separators of the intermediate text files: a transcription that contains one ends there."""


@dataclass(frozen=True)
class Flavour:
    """How one project turns predictions into scored detections.

    Attributes:
        name: key in :data:`FLAVOURS`.
        minimum_score: a prediction needs a score strictly above this.
        score_digits: decimals the score is rounded to before it meets the confidence threshold; ``None``: kept.
        confidence_floor: lowest confidence threshold per protocol.
        archives: predictions pass through text files: whole pixels, outlines that cross themselves or have no
            area are dropped, transcriptions suffer :data:`TEXT_CUTS`, surrounding quotes are taken off.
        fractional: protocols whose archives keep fractions of pixels.
    """

    name: str
    minimum_score: float = NO_LIMIT
    score_digits: int | None = None
    confidence_floor: Mapping[str, float] = field(default_factory=dict)
    archives: bool = False
    fractional: frozenset[str] = frozenset()


OWN = Flavour("own")
"""No truncation, no threshold but the caller's; an outline that crosses itself is repaired instead of dropped."""

FLAVOURS = {
    flavour.name: flavour
    for flavour in (
        Flavour("adelaidet", 0.1, 3, {"icdar2015": 0.45}, archives=True),
        Flavour("deepsolo", 0.1, 3, archives=True, fractional=frozenset({"ctw1500"})),
    )
}
"""Published paths by name. AdelaiDet's evaluator applies its confidence to the score of three decimals. DeepSolo's has
no threshold of its own beyond 0.1 (the model applies one), a confidence given here is applied in the same way."""


@dataclass(frozen=True)
class Prepared:
    """Detections of one image: positions in the predictions, outlines and texts, and what was left out."""

    kept: list[int]
    polygons: list[np.ndarray]
    texts: list[str]
    removed: dict[str, list[int]]


def find_flavour(name: Literal["adelaidet", "deepsolo"] | str | None) -> Flavour:
    """The flavour of that name, :data:`OWN` for ``None``; raises ConfigError with the known names otherwise."""
    if name is None:
        return OWN
    if name not in FLAVOURS:
        raise ConfigError(f"unknown flavour {name!r}; known: {', '.join(FLAVOURS)}, or none for our own path")
    return FLAVOURS[name]


def prepare(words: Sequence[Word], *, flavour: Flavour, protocol: Protocol, confidence: float | None) -> Prepared:
    """Apply thresholds and clean-up to the predictions of one image, in file order.

    Args:
        words: predictions.
        flavour: whose path to follow.
        protocol: decides about fractions of pixels and the confidence floor.
        confidence: predictions below it are left out; ``None``: no threshold.

    Returns:
        The detections; texts are as they stand in the project's result file, before any lexicon.
    """
    asked = NO_LIMIT if confidence is None else confidence
    threshold = max(asked, flavour.confidence_floor.get(protocol.name, NO_LIMIT))
    chosen = [i for i, word in enumerate(words) if _passes(word.score, flavour, threshold)]
    polygons = [words[i].points for i in chosen]
    texts = [words[i].text for i in chosen]
    invalid: list[int] = []
    if flavour.archives:
        if protocol.name not in flavour.fractional:
            polygons = [np.trunc(polygon) for polygon in polygons]
        valid = valid_outlines(polygons)
        invalid = [i for i, keep in zip(chosen, valid, strict=True) if not keep]
        chosen = [i for i, keep in zip(chosen, valid, strict=True) if keep]
        polygons = [polygon for polygon, keep in zip(polygons, valid, strict=True) if keep]
        texts = [_archived_text(text) for text, keep in zip(texts, valid, strict=True) if keep]
    low = sorted(set(range(len(words))) - set(chosen) - set(invalid))
    return Prepared(chosen, polygons, texts, {"low_score": low, "invalid_polygon": invalid})


def read_back(text: str, *, flavour: Flavour, protocol: Protocol) -> str:
    """The transcription the protocol sees: trimmed where it says so, and unquoted when it comes from an archive."""
    if protocol.strip_texts:
        text = text.strip()
    if flavour.archives and len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].replace("\\\\", "\\").replace('\\"', '"')
    return text


def _passes(score: float, flavour: Flavour, threshold: float) -> bool:
    """Whether a prediction is confident enough; the threshold meets the score as the project writes it down."""
    written = score if flavour.score_digits is None else round(score, flavour.score_digits)
    return score > flavour.minimum_score and written >= threshold


def _archived_text(text: str) -> str:
    """A transcription after the trip through the intermediate file."""
    for separator in TEXT_CUTS:
        text = text.split(separator)[0]
    return text.rstrip()
