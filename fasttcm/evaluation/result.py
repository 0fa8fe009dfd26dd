"""What a scoring run returns: figures of the whole set, and for each image what was found, missed and misread."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["Figures", "ImagePass", "ImageResult", "Match", "Result", "total"]


class Match(NamedTuple):
    """A ground truth (index), the detection that found it (index), their IoU, and whether the text is right.

    Detection-only protocols compare no texts: there ``text_correct`` is true. Those that match groups list every pair
    of a group.
    """

    gt: int
    det: int
    iou: float
    text_correct: bool


@dataclass(frozen=True)
class Figures:
    """Counts and the figures that follow from them, unrounded.

    Attributes:
        matched: ground truths found (end-to-end: and read rightly); with a fraction where a protocol gives part credit.
        ground_truth: ground truths that count.
        predicted: detections that count.
        earned: what the detections earned, where that differs from ``matched`` (DetEval's groups).
        vacuous: with no ground truth that counts, recall is 1, and precision 1 or 0 as nothing or something was found.
    """

    matched: float
    ground_truth: int
    predicted: int
    earned: float | None = None
    vacuous: bool = False

    @property
    def precision(self) -> float:
        """Share of the detections that are right; 0 without any."""
        if self.vacuous and not self.ground_truth:
            return 0.0 if self.predicted else 1.0
        right = self.matched if self.earned is None else self.earned
        return right / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """Share of the ground truths that were found; 0 without any."""
        if self.vacuous and not self.ground_truth:
            return 1.0
        return self.matched / self.ground_truth if self.ground_truth else 0.0

    @property
    def hmean(self) -> float:
        """Harmonic mean of precision and recall; 0 when both are."""
        return _harmonic_mean(self.precision, self.recall)

    def to_dict(self) -> dict[str, float | int]:
        """Figures and counts; ``earned`` only where it is not ``matched``."""
        return {
            "precision": self.precision,
            "recall": self.recall,
            "hmean": self.hmean,
            "matched": self.matched,
            "ground_truth": self.ground_truth,
            "predicted": self.predicted,
            **({} if self.earned is None else {"earned": self.earned}),
        }


@dataclass(frozen=True)
class ImagePass:
    """One image in one of the two passes; every index is a position in the words given to the scorer.

    Attributes:
        counts: its share of the totals.
        matches: pairs in the order of the ground truths, wrong texts included.
        gt_dont_care: ground truths that do not count.
        det_dont_care: detections inside don't-care areas.
        misses: ground truths without a match.
        false_alarms: detections without a match.
        rates: (precision, recall, hmean) where a protocol has its own rule for images in which nothing is found or
            counts; ``None``: they follow from the counts.
        average_precision: of this image, for protocols that rank detections.
    """

    counts: Figures
    matches: list[Match]
    gt_dont_care: list[int]
    det_dont_care: list[int]
    misses: list[int]
    false_alarms: list[int]
    rates: tuple[float, float, float] | None = None
    average_precision: float | None = None

    @property
    def recall(self) -> float:
        """Recall of this image; 1 when nothing had to be found."""
        if self.rates:
            return self.rates[1]
        return self.counts.recall if self.counts.ground_truth else 1.0

    @property
    def precision(self) -> float:
        """Precision of this image; 1 when nothing had to be found and nothing was."""
        if self.rates:
            return self.rates[0]
        if self.counts.ground_truth:
            return self.counts.precision
        return 0.0 if self.counts.predicted else 1.0

    @property
    def hmean(self) -> float:
        """Harmonic mean of this image's precision and recall."""
        return self.rates[2] if self.rates else _harmonic_mean(self.precision, self.recall)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; matches are ``[gt, det, iou, text_correct]``."""
        return {
            **self.counts.to_dict(),
            "precision": self.precision,
            "recall": self.recall,
            "hmean": self.hmean,
            "matches": [list(match) for match in self.matches],
            "gt_dont_care": self.gt_dont_care,
            "det_dont_care": self.det_dont_care,
            "misses": self.misses,
            "false_alarms": self.false_alarms,
            **({} if self.average_precision is None else {"average_precision": self.average_precision}),
        }


@dataclass(frozen=True)
class ImageResult:
    """One image.

    Attributes:
        detection: the pass that looks at places only.
        end_to_end: the pass that also compares transcriptions; ``None`` for a detection-only protocol.
        references: the ground-truth texts as compared (normalised by word spotting).
        kept: predictions that were scored, in order.
        read: their transcriptions as compared (after the lexicon).
        removed: predictions left out, by reason: ``low_score``, ``invalid_polygon``, ``not_in_lexicon``.
        overlaps: (ground truth, detection, IoU) of all pairs that overlap.
    """

    detection: ImagePass
    end_to_end: ImagePass | None
    references: list[str]
    kept: list[int]
    read: list[str]
    removed: dict[str, list[int]]
    overlaps: list[tuple[int, int, float]]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "detection": self.detection.to_dict(),
            "end_to_end": None if self.end_to_end is None else self.end_to_end.to_dict(),
            "references": self.references,
            "kept": self.kept,
            "read": self.read,
            "removed": self.removed,
            "overlaps": [list(overlap) for overlap in self.overlaps],
        }


@dataclass(frozen=True)
class Result:
    """A scored set.

    Attributes:
        detection: figures over places, micro-averaged over images.
        end_to_end: figures over places and transcriptions; ``None`` for a detection-only protocol.
        images: details by image id (as text), in the order of the ground truth.
        protocol: name of the protocol.
        flavour: name of the project whose path was followed, or ``None``.
        lexicon: whether readings were replaced by lexicon words.
        sweep: figures by score threshold, for protocols that try several.
        threshold: the one of them whose figures and images these are.
        average_precision: of the set, for protocols that rank detections.
    """

    detection: Figures
    end_to_end: Figures | None
    images: dict[str, ImageResult] = field(default_factory=dict)
    protocol: str = ""
    flavour: str | None = None
    lexicon: bool = False
    sweep: dict[float, Figures] = field(default_factory=dict)
    threshold: float | None = None
    average_precision: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values with full floats; a sweep and an average precision only where the protocol has them."""
        extras: dict[str, Any] = {}
        if self.sweep:
            extras["threshold"] = self.threshold
            extras["sweep"] = [{"threshold": key, **figures.to_dict()} for key, figures in self.sweep.items()]
        if self.average_precision is not None:
            extras["average_precision"] = self.average_precision
        return {
            "protocol": self.protocol,
            "flavour": self.flavour,
            "lexicon": self.lexicon,
            "detection": self.detection.to_dict(),
            "end_to_end": None if self.end_to_end is None else self.end_to_end.to_dict(),
            **extras,
            "images": {key: image.to_dict() for key, image in self.images.items()},
        }


def total(figures: Iterable[Figures], *, vacuous: bool = False) -> Figures:
    """Sum of the counts: the micro average. Per-image figures never enter it.

    Args:
        figures: of the images.
        vacuous: see :class:`Figures`, for the sum.
    """
    matched: float = 0
    earned: float | None = None
    ground_truth = predicted = 0
    for counts in figures:
        matched += counts.matched
        ground_truth += counts.ground_truth
        predicted += counts.predicted
        if counts.earned is not None:
            earned = (earned or 0.0) + counts.earned
    return Figures(matched, ground_truth, predicted, earned, vacuous)


def _harmonic_mean(precision: float, recall: float) -> float:
    both = precision + recall
    return 2 * precision * recall / both if both else 0.0
