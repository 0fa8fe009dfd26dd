"""Precision and recall over the confidence threshold, where possible without clipping a polygon again."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fasttcm.evaluation.protocol import Protocol, find_protocol
from fasttcm.evaluation.result import Figures, ImagePass, ImageResult, Result, total
from fasttcm.evaluation.score import score
from fasttcm.evaluation.text_rules import is_right

__all__ = ["CurvePoint", "confidence_curve", "curve_of", "thresholds_of"]

MOST_THRESHOLDS = 60
"""Points of a curve; more cannot be told apart on a page."""


TENTHS = tuple(k / 10 for k in range(10))
"""Thresholds at which a set is scored anew where the matching is not greedy."""


class CurvePoint(NamedTuple):
    """The figures when only predictions with at least this score count; ``end_to_end`` where texts are compared."""

    threshold: float
    detection: Figures
    end_to_end: Figures | None


def curve_of(result: Result, ground_truth: Mapping[str, Any], predictions: Mapping[str, Any]) -> list[CurvePoint]:
    """The curve of a scored set, by whatever way its protocol allows.

    Args:
        result: the scored set.
        ground_truth: the document that was scored.
        predictions: likewise.
    """
    if result.sweep:
        return [CurvePoint(threshold, figures, None) for threshold, figures in result.sweep.items()]
    if result.end_to_end is None:
        runs = (score(ground_truth, predictions, protocol=result.protocol, confidence=step) for step in TENTHS)
        return [CurvePoint(step, run.detection, None) for step, run in zip(TENTHS, runs, strict=True)]
    entries = predictions["images"]
    scores = {str(entry["id"]): [float(word.get("score", 1.0)) for word in entry["words"]] for entry in entries}
    return confidence_curve(result, scores)


def thresholds_of(scores: Mapping[str, Sequence[float]], result: Result, *, most: int = MOST_THRESHOLDS) -> list[float]:
    """At most ``most`` of the distinct scores of scored predictions, ascending, evenly spread over their ranks."""
    distinct = sorted({float(scores[key][d]) for key, image in result.images.items() for d in image.kept})
    if len(distinct) <= most:
        return distinct
    rows = np.unique(np.linspace(0, len(distinct) - 1, most).round().astype(int))
    return [distinct[row] for row in rows]


def confidence_curve(
    result: Result, scores: Mapping[str, Sequence[float]], *, thresholds: Sequence[float] | None = None
) -> list[CurvePoint]:
    """Count again with fewer and fewer predictions.

    The matching is repeated for every threshold: without a prediction, the next one may take its ground truth.

    Args:
        result: a scored set of a protocol with transcriptions.
        scores: confidences of all predictions, by image id (as text).
        thresholds: ascending; :func:`thresholds_of` by default.

    Returns:
        One point per threshold; each equals a scoring run with that ``confidence``.
    """
    rules = find_protocol(result.protocol)
    steps = thresholds_of(scores, result) if thresholds is None else thresholds
    columns = [_image_counts(image, scores.get(key, ()), steps, rules) for key, image in result.images.items()]
    return [
        CurvePoint(step, total(c[number][0] for c in columns), total(c[number][1] for c in columns))
        for number, step in enumerate(steps)
    ]


def _image_counts(
    image: ImageResult, scores: Sequence[float], steps: Sequence[float], rules: Protocol
) -> list[tuple[Figures, Figures]]:
    """Both passes of one image at every step."""
    read = dict(zip(image.kept, image.read, strict=True))
    passing = sorted((g, d) for g, d, iou in image.overlaps if iou > rules.iou_threshold)
    right = {(g, d): is_right(image.references[g], read[d], rules) for g, d in passing}
    counts: list[tuple[Figures, Figures]] = []
    before = -1
    for step in steps:
        alive = {d for d in image.kept if scores[d] >= step}
        if len(alive) != before:
            places, reading = image.detection, image.end_to_end
            assert reading is not None, "a protocol without transcriptions has no such curve"
            found = _matched(passing, places, alive)
            understood = sum(right[pair] for pair in _matched(passing, reading, alive))
            current = (
                Figures(len(found), places.counts.ground_truth, len(alive.difference(places.det_dont_care))),
                Figures(understood, reading.counts.ground_truth, len(alive.difference(reading.det_dont_care))),
            )
            before = len(alive)
        counts.append(current)
    return counts


def _matched(passing: Sequence[tuple[int, int]], one: ImagePass, alive: set[int]) -> list[tuple[int, int]]:
    """Greedy pairs among the detections still alive: the first free detection for each ground truth, in file order."""
    taken, idle = set(one.gt_dont_care), alive.difference(one.det_dont_care)
    pairs = []
    for g, d in passing:
        if g not in taken and d in idle:
            taken.add(g)
            idle.discard(d)
            pairs.append((g, d))
    return pairs
