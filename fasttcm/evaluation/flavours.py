"""From a model's predictions to the detections that are scored: our own path, and that of published projects.

The published evaluators write text archives and read them back; thresholds, truncation to whole pixels, dropped
outlines and cut transcriptions on that way change the figures (SPEC ``evaluation`` section 5).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from fasttcm.errors import ConfigError
from fasttcm.evaluation.lexicon import Lexicon
from fasttcm.evaluation.polygons import valid_outlines
from fasttcm.evaluation.protocol import Protocol
from fasttcm.evaluation.records import Word
from fasttcm.evaluation.rotated_box import polygon_to_box

__all__ = ["FLAVOURS", "OWN", "Flavour", "Prepared", "find_flavour", "prepare", "read_back", "unquote"]

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
        script: the published script computes the figures: outlines that cross themselves keep their shoelace area,
            and what the script cannot score is an error.
        curve_only: every protocol is scored by the curve script.
        ascii_only: other characters vanish from the transcriptions.
        lexicon_first: the lexicon is asked before any threshold, with the text as the model wrote it.
        lexicon_rule: rule of a lexicon that names none, by protocol; the key ``""`` is for all others.
    """

    name: str
    minimum_score: float = NO_LIMIT
    score_digits: int | None = None
    confidence_floor: Mapping[str, float] = field(default_factory=dict)
    archives: bool = False
    fractional: frozenset[str] = frozenset()
    script: bool = False
    curve_only: bool = False
    ascii_only: bool = False
    lexicon_first: bool = False
    lexicon_rule: Mapping[str, str] = field(default_factory=lambda: {"": "adelaidet"})

    def rules(self, protocol: Protocol) -> Protocol:
        """The protocol as this project applies it."""
        if not self.curve_only:
            return protocol
        return replace(protocol, strip_texts=True, simple_polygons=True, empty_texts=True, corners=None)

    def match(self, word: Word, text: str, lexicon: Lexicon, protocol: Protocol) -> str | None:
        """What a lexicon makes of a predicted word that reads ``text``; ``None``: it is left out."""
        rule = self.lexicon_rule.get(protocol.name, self.lexicon_rule[""])
        return lexicon.match(text, rule=rule, char_scores=word.char_scores)


OWN = Flavour("own")
"""No truncation, no threshold but the caller's; an outline that crosses itself is repaired instead of dropped."""

FLAVOURS = {
    flavour.name: flavour
    for flavour in (
        Flavour("adelaidet", 0.1, 3, {"icdar2015": 0.45}, archives=True, script=True),
        Flavour("deepsolo", 0.1, 3, archives=True, fractional=frozenset({"ctw1500"}), script=True),
        Flavour(
            "testr",
            0.1,
            3,
            archives=True,
            script=True,
            curve_only=True,
            ascii_only=True,
            lexicon_first=True,
            lexicon_rule={"": "testr_nearest", "icdar2015": "testr_weighted"},
        ),
        Flavour("script", script=True),
    )
}
"""Published paths by name. AdelaiDet's evaluator applies its confidence to the score of three decimals. DeepSolo's has
no threshold of its own beyond 0.1 (the model applies one), a confidence given here is applied in the same way.
``testr`` is also TCM's spotter; with the generic list of ICDAR 2015 its lexicon takes the rule
``testr_weighted_nearest``. ``script`` is the published script by itself: words as they stand in finished archives."""


@dataclass(frozen=True)
class Prepared:
    """Detections of one image: positions in the predictions, outlines and texts, and what was left out."""

    kept: list[int]
    polygons: list[np.ndarray]
    texts: list[str]
    removed: dict[str, list[int]]


def find_flavour(name: Literal["adelaidet", "deepsolo", "testr", "script"] | str | None) -> Flavour:
    """The flavour of that name, :data:`OWN` for ``None``; raises ConfigError with the known names otherwise."""
    if name is None:
        return OWN
    if name not in FLAVOURS:
        raise ConfigError(f"unknown flavour {name!r}; known: {', '.join(FLAVOURS)}, or none for our own path")
    return FLAVOURS[name]


def prepare(
    words: Sequence[Word],
    *,
    flavour: Flavour,
    protocol: Protocol,
    confidence: float | None,
    lexicon: Lexicon | None = None,
    size: tuple[int, int] | None = None,
) -> Prepared:
    """Apply thresholds, clean-up and lexicon to the predictions of one image, in file order.

    Args:
        words: predictions.
        flavour: whose path to follow.
        protocol: decides about fractions of pixels and the confidence floor.
        confidence: predictions below it are left out; ``None``: no threshold.
        lexicon: a prediction without a word in it is left out; ``None``: texts stay as they were read.
        size: (height, width) of the image in pixels, the border for :attr:`Protocol.corners`.

    Returns:
        The detections; texts are as they stand in the project's result file.

    Raises:
        DataError: when the lexicon's rule needs character scores that a word does not have.
    """
    asked = NO_LIMIT if confidence is None else confidence
    threshold = max(asked, flavour.confidence_floor.get(protocol.name, NO_LIMIT))
    texts: dict[int, str] = {i: word.text for i, word in enumerate(words)}
    removed: dict[str, list[int]] = {}

    def look_up() -> None:
        if lexicon is not None:
            found = {i: flavour.match(words[i], text, lexicon, protocol) for i, text in texts.items()}
            removed["not_in_lexicon"] = [i for i, text in found.items() if text is None]
            texts.clear()
            texts.update((i, text) for i, text in found.items() if text is not None)

    def leave_out(reason: str, keep: Sequence[bool] | np.ndarray) -> None:
        removed[reason] = [i for i, good in zip(texts, keep, strict=True) if not good]
        for i in removed[reason]:
            del texts[i]

    if flavour.lexicon_first:
        look_up()
    leave_out("low_score", [_passes(words[i].score, flavour, threshold) for i in texts])
    outlines = {i: _outline(words[i], flavour, protocol, size) for i in texts}
    leave_out("invalid_polygon", valid_outlines(list(outlines.values())) if flavour.archives else [True] * len(texts))
    texts.update((i, _archived_text(text, flavour)) for i, text in texts.items())
    if not flavour.lexicon_first:
        look_up()
    return Prepared(list(texts), [outlines[i] for i in texts], list(texts.values()), removed)


def read_back(text: str, *, flavour: Flavour, protocol: Protocol) -> str:
    """The transcription the protocol sees: trimmed where it says so, and unquoted when it comes from an archive."""
    if protocol.strip_texts:
        text = text.strip()
    return unquote(text) if flavour.archives else text


def unquote(text: str) -> str:
    """A transcription that stands wholly in double quotes without them, and without its escapes."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1].replace("\\\\", "\\").replace('\\"', '"')
    return text


def _passes(score: float, flavour: Flavour, threshold: float) -> bool:
    """Whether a prediction is confident enough; the threshold meets the score as the project writes it down."""
    written = score if flavour.score_digits is None else round(score, flavour.score_digits)
    return score > flavour.minimum_score and written >= threshold


def _outline(word: Word, flavour: Flavour, protocol: Protocol, size: tuple[int, int] | None) -> np.ndarray:
    """The polygon as it stands in the archive."""
    if flavour.archives and protocol.corners and len(word.points) > protocol.corners:
        return polygon_to_box(word.points, size)
    whole = flavour.archives and protocol.name not in flavour.fractional
    return np.trunc(word.points) if whole else word.points


def _archived_text(text: str, flavour: Flavour) -> str:
    """A transcription after the trip through the intermediate file."""
    if not flavour.archives:
        return text
    if flavour.ascii_only:
        text = "".join(character for character in text if character.isascii())
    for separator in TEXT_CUTS:
        text = text.split(separator)[0]
    return text.rstrip()
