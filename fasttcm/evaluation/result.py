"""What a scoring run returns: figures of the whole set, and for each image what was found, missed and misread."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["Figures", "ImagePass", "ImageResult", "Match", "Result", "total"]


class Match(NamedTuple):
    """A ground truth (index), the detection that found it (index), their IoU, and whether the text is right."""

    gt: int
    det: int
    iou: float
    text_correct: bool


@dataclass(frozen=True)
class Figures:
    """Counts and the figures that follow from them, unrounded.

    Attributes:
        matched: ground truths found (end-to-end: and read rightly).
        ground_truth: ground truths that count.
        predicted: detections that count.
    """

    matched: int
    ground_truth: int
    predicted: int

    @property
    def precision(self) -> float:
        """Share of the detections that are right; 0 without any."""
        return self.matched / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """Share of the ground truths that were found; 0 without any."""
        return self.matched / self.ground_truth if self.ground_truth else 0.0

    @property
    def hmean(self) -> float:
        """Harmonic mean of precision and recall; 0 when both are."""
        return _harmonic_mean(self.precision, self.recall)

    def to_dict(self) -> dict[str, float | int]:
        """Figures and counts."""
        return {
            "precision": self.precision,
            "recall": self.recall,
            "hmean": self.hmean,
            "matched": self.matched,
            "ground_truth": self.ground_truth,
            "predicted": self.predicted,
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
    """

    counts: Figures
    matches: list[Match]
    gt_dont_care: list[int]
    det_dont_care: list[int]
    misses: list[int]
    false_alarms: list[int]

    @property
    def recall(self) -> float:
        """Recall of this image; 1 when nothing had to be found."""
        return self.counts.recall if self.counts.ground_truth else 1.0

    @property
    def precision(self) -> float:
        """Precision of this image; 1 when nothing had to be found and nothing was."""
        if self.counts.ground_truth:
            return self.counts.precision
        return 0.0 if self.counts.predicted else 1.0

    @property
    def hmean(self) -> float:
        """Harmonic mean of this image's precision and recall."""
        return _harmonic_mean(self.precision, self.recall)

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
        }


@dataclass(frozen=True)
class ImageResult:
    """One image.

    Attributes:
        detection: the pass that looks at places only.
        end_to_end: the pass that also compares transcriptions.
        references: the ground-truth texts as compared (normalised by word spotting).
        kept: predictions that were scored, in order.
        read: their transcriptions as compared (after the lexicon).
        removed: predictions left out, by reason: ``low_score``, ``invalid_polygon``, ``not_in_lexicon``.
        overlaps: (ground truth, detection, IoU) of all pairs that overlap.
    """

    detection: ImagePass
    end_to_end: ImagePass
    references: list[str]
    kept: list[int]
    read: list[str]
    removed: dict[str, list[int]]
    overlaps: list[tuple[int, int, float]]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "detection": self.detection.to_dict(),
            "end_to_end": self.end_to_end.to_dict(),
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
        end_to_end: figures over places and transcriptions.
        images: details by image id (as text), in the order of the ground truth.
        protocol: name of the protocol.
        flavour: name of the project whose path was followed, or ``None``.
        lexicon: whether readings were replaced by lexicon words.
    """

    detection: Figures
    end_to_end: Figures
    images: dict[str, ImageResult] = field(default_factory=dict)
    protocol: str = ""
    flavour: str | None = None
    lexicon: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values with full floats."""
        return {
            "protocol": self.protocol,
            "flavour": self.flavour,
            "lexicon": self.lexicon,
            "detection": self.detection.to_dict(),
            "end_to_end": self.end_to_end.to_dict(),
            "images": {key: image.to_dict() for key, image in self.images.items()},
        }


def total(figures: Iterable[Figures]) -> Figures:
    """Sum of the counts: the micro average. Per-image figures never enter it."""
    matched = ground_truth = predicted = 0
    for counts in figures:
        matched += counts.matched
        ground_truth += counts.ground_truth
        predicted += counts.predicted
    return Figures(matched, ground_truth, predicted)


def _harmonic_mean(precision: float, recall: float) -> float:
    both = precision + recall
    return 2 * precision * recall / both if both else 0.0
