"""A scoring run as the published drivers report it: without a lexicon, and with one where there is one."""

from collections.abc import Mapping
from typing import Any

from fasttcm.errors import ConfigError
from fasttcm.evaluation.lexicon import Lexicon
from fasttcm.evaluation.protocol import Protocol, find_rules
from fasttcm.evaluation.records import Source
from fasttcm.evaluation.result import Figures, Result
from fasttcm.evaluation.score import score

__all__ = ["NONE", "headline", "published_lines", "results_json", "score_with_lexicons"]

NONE = "none"
"""Name of the result without lexicon."""

SINGLE_ARCHIVE_FLAVOURS = frozenset({"testr"})
"""Projects that write one archive, after the lexicon, and take their detection figures from it."""


def score_with_lexicons(
    ground_truth: Source,
    predictions: Source,
    lexicons: Mapping[str, Lexicon | Mapping[str, Lexicon]],
    *,
    protocol: str = "totaltext",
    flavour: str | None = None,
    confidence: float | None = None,
) -> dict[str, Result]:
    """Score without a lexicon, then with each.

    Args:
        ground_truth: as :func:`fasttcm.evaluation.score`.
        predictions: as there.
        lexicons: by name, e.g. ``full``.
        protocol: as there.
        flavour: as there.
        confidence: as there.

    Returns:
        Results by name, :data:`NONE` first.

    Raises:
        DataError: as :func:`fasttcm.evaluation.score`.
        ConfigError: likewise, and for a lexicon with a protocol that compares places only.
    """
    if lexicons and not isinstance(find_rules(protocol), Protocol):
        raise ConfigError(f"protocol {protocol!r} compares places only, so it takes no lexicon; leave it out")
    runs: dict[str, Lexicon | Mapping[str, Lexicon] | None] = {NONE: None, **lexicons}
    return {
        name: score(
            ground_truth, predictions, protocol=protocol, flavour=flavour, lexicon=lexicon, confidence=confidence
        )
        for name, lexicon in runs.items()
    }


def headline(results: Mapping[str, Result]) -> list[tuple[str, Figures]]:
    """The figures papers quote, by name: detection, then end-to-end for each result.

    Detection comes from the first result, without lexicon: a lexicon removes predictions. TESTR's published figure
    comes from its only archive, the last result here.
    """
    every = list(results.values())
    source = every[-1] if every[0].flavour in SINGLE_ARCHIVE_FLAVOURS else every[0]
    rows = [("detection", source.detection)]
    rows += [(f"end-to-end {name}", r.end_to_end) for name, r in results.items() if r.end_to_end is not None]
    return rows


def published_lines(results: Mapping[str, Result]) -> list[str]:
    """The result lines of the published drivers, with every digit."""
    lines = []
    for name, figures in headline(results):
        kind = name.removeprefix("end-to-end ")
        label = "DETECTION_ONLY_RESULTS" if kind == name else f"{kind.capitalize()}-E2E_RESULTS"
        rates = f"precision: {figures.precision}, recall: {figures.recall}, hmean: {figures.hmean}"
        lines.append(f"{label}: {rates}")
    return lines


def results_json(results: Mapping[str, Result]) -> dict[str, Any]:
    """Plain JSON values: headline figures, those of every result under ``results``, and the last result's images."""
    name, last = list(results.items())[-1]
    return {
        **last.to_dict(),
        "lexicon": name,
        "detection": headline(results)[0][1].to_dict(),
        "results": {
            key: {
                "detection": result.detection.to_dict(),
                "end_to_end": None if result.end_to_end is None else result.end_to_end.to_dict(),
            }
            for key, result in results.items()
        },
    }
