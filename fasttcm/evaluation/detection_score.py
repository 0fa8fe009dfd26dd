"""Score places only: MhLiao/DB's evaluators, its copy of the ICDAR 2015 script, and mmocr's (SPEC section 7).

Overlaps are measured once per image; a sweep over score thresholds only chooses among their columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fasttcm.errors import ConfigError
from fasttcm.evaluation.average_precision import ranked_precision
from fasttcm.evaluation.detection_input import Side, choose_detections, choose_ground_truth, sweep_floor
from fasttcm.evaluation.detection_protocol import DetectionProtocol, DetEval, GreedyIou
from fasttcm.evaluation.deteval import center_distances, match_groups
from fasttcm.evaluation.matching import first_free, match_greedily, swallowed_detections
from fasttcm.evaluation.overlaps import Overlaps, measure_overlaps
from fasttcm.evaluation.records import ImageWords
from fasttcm.evaluation.result import Figures, ImagePass, ImageResult, Match, Result, total

__all__ = ["score_places"]

EVERYTHING = float("-inf")
"""A threshold that every score passes."""


def score_places(
    references: Mapping[str, ImageWords],
    found: Mapping[str, ImageWords],
    *,
    rules: DetectionProtocol,
    confidence: float | None,
) -> Result:
    """Score a set under a detection-only protocol; arguments as for :func:`fasttcm.evaluation.score`, already read.

    Args:
        references: ground truth by image id.
        found: predictions by image id, of some of these images.
        rules: the protocol.
        confidence: a prediction needs at least this score; of a protocol with a sweep: more than this, and no lower
            threshold is tried.

    Raises:
        ConfigError: when the confidence leaves no threshold of the sweep.
        DataError: for a polygon whose number of points the protocol does not take.
    """
    answers = {key: found.get(key, ImageWords(image.id, [])) for key, image in references.items()}
    truths = choose_ground_truth(list(references.values()), rules)
    detections = choose_detections(list(answers.values()), rules, confidence=confidence)
    sides = zip(references, truths, detections, strict=True)
    images = {key: _Image.of(truth, detected, rules) for key, truth, detected in sides}
    if not rules.sweep:
        passes = {key: image.run(EVERYTHING) for key, image in images.items()}
        return _result(images, passes, EVERYTHING, rules)
    floor = sweep_floor(rules, confidence)
    tried = {
        threshold: total((image.count(threshold) for image in images.values()), vacuous=rules.vacuous)
        for threshold in rules.sweep
        if threshold >= floor
    }
    if not tried:
        raise ConfigError(f"protocol {rules.name!r} tries no score threshold from {floor} on; lower the confidence")
    best = max(tried, key=lambda threshold: tried[threshold].hmean)
    return _result(images, {key: image.run(best) for key, image in images.items()}, best, rules, tried)


class _Outcome(NamedTuple):
    """Counts, matched (ground truth, detection) columns, and the detections in don't-care areas, (m,) bool."""

    counts: Figures
    pairs: Sequence[tuple[int, int]]
    det_dont_care: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Image:
    """One image with n ground truths and m detections, measured."""

    rules: DetectionProtocol
    truth: Side
    found: Side
    dont_care: npt.NDArray[np.bool_]
    scores: npt.NDArray[np.float64]
    overlaps: Overlaps
    distances: npt.NDArray[np.floating]

    @classmethod
    def of(cls, truth: Side, found: Side, rules: DetectionProtocol) -> "_Image":
        """Measure what the thresholds will only choose from."""
        dont_care = np.array([truth.words[g].text == rules.dont_care_text for g in truth.rows], bool)
        threshold = None if isinstance(rules.matching, DetEval) else rules.matching.threshold
        overlaps = measure_overlaps(truth.regions, found.regions, rules.arithmetic, iou_threshold=threshold)
        distances = np.zeros_like(overlaps.iou)
        if isinstance(rules.matching, DetEval):
            distances = center_distances(truth.outlines, found.outlines, kind=rules.matching.center_distance)
        return cls(rules, truth, found, dont_care, found.scores, overlaps, distances)

    def count(self, threshold: float) -> Figures:
        """The image's share of the totals with the detections of at least this score."""
        if isinstance(self.rules.matching, DetEval):
            return self._match(threshold).counts
        wanted, swallowed, passing = self._greedy
        alive = self.scores >= threshold
        matched = first_free((g, d) for g, d in passing if alive[d])
        return Figures(len(matched), wanted, int((alive & ~swallowed).sum()))

    @cached_property
    def _greedy(self) -> tuple[int, npt.NDArray[np.bool_], list[tuple[int, int]]]:
        """What no threshold changes: ground truths that count, (m,) swallowed detections, pairs that may match."""
        assert isinstance(self.rules.matching, GreedyIou)
        swallowed = swallowed_detections(self.overlaps.precision, self.dont_care, self.rules.dont_care_overlap)
        passing = (self.overlaps.iou > self.rules.matching.threshold) & ~self.dont_care[:, None] & ~swallowed
        rows, columns = passing.nonzero()
        return int((~self.dont_care).sum()), swallowed, list(zip(rows.tolist(), columns.tolist(), strict=True))

    def run(self, threshold: float) -> ImagePass:
        """The same with who found whom, as positions in the words given."""
        rules, columns = self.rules, np.flatnonzero(self.scores >= threshold)
        outcome = self._match(threshold)
        gts, dets, counts = self.truth.rows, self.found.rows[columns], outcome.counts
        care, counting = np.flatnonzero(~self.dont_care), np.flatnonzero(~outcome.det_dont_care)
        hit, used = {g for g, _ in outcome.pairs}, {d for _, d in outcome.pairs}
        precision = None
        if rules.ranked:
            scores = self.scores[columns][counting]
            precision = ranked_precision(scores, np.isin(counting, list(used)), counts.ground_truth)
        iou = self.overlaps.iou[:, columns]
        return ImagePass(
            counts,
            [Match(int(gts[g]), int(dets[d]), float(iou[g, d]), True) for g, d in outcome.pairs],
            sorted(set(range(len(self.truth.words))) - {int(gts[g]) for g in care}),
            [int(dets[d]) for d in np.flatnonzero(outcome.det_dont_care)],
            [int(gts[g]) for g in care if g not in hit],
            [int(dets[d]) for d in counting if d not in used],
            _rates(len(gts), len(dets), counts) if rules.empty_image == "deteval" else None,
            precision,
        )

    def _match(self, threshold: float) -> "_Outcome":
        """Match the detections of at least this score."""
        rules, columns = self.rules, np.flatnonzero(self.scores >= threshold)
        overlaps, wanted = self.overlaps.of(columns), int((~self.dont_care).sum())
        if isinstance(rules.matching, DetEval):
            swallowed = swallowed_detections(overlaps.precision, self.dont_care, rules.dont_care_overlap)
            groups = match_groups(overlaps, self.distances[:, columns], self.dont_care, swallowed, rules.matching)
            pairs = [(g, d) for group in groups.groups for g in group.gts for d in group.dets]
            counts = Figures(groups.recall_sum, wanted, int((~swallowed).sum()), groups.precision_sum)
            return _Outcome(counts, pairs, swallowed)
        found = match_greedily(
            overlaps.iou,
            overlaps.precision,
            self.dont_care,
            iou_threshold=rules.matching.threshold,
            dont_care_overlap=rules.dont_care_overlap,
        )
        counts = Figures(len(found.pairs), wanted, int((~found.det_dont_care).sum()))
        return _Outcome(counts, found.pairs, found.det_dont_care)

    def result(self, scored: ImagePass, threshold: float) -> ImageResult:
        """The pass with what belongs to the image."""
        columns = np.flatnonzero(self.scores >= threshold)
        kept = self.found.rows[columns].tolist()
        low = sorted(set(range(len(self.found.words))) - set(kept) - set(self.found.invalid))
        iou = self.overlaps.iou[:, columns]
        return ImageResult(
            scored,
            None,
            [word.text for word in self.truth.words],
            kept,
            [self.found.words[i].text for i in kept],
            {"low_score": low, "invalid_polygon": self.found.invalid},
            [(int(self.truth.rows[g]), kept[d], float(iou[g, d])) for g, d in zip(*iou.nonzero(), strict=True)],
        )


def _result(
    images: Mapping[str, _Image],
    passes: Mapping[str, ImagePass],
    threshold: float,
    rules: DetectionProtocol,
    sweep: dict[float, Figures] | None = None,
) -> Result:
    """The set at one threshold."""
    return Result(
        _total(passes, rules),
        None,
        {key: image.result(passes[key], threshold) for key, image in images.items()},
        rules.name,
        sweep=sweep or {},
        threshold=threshold if sweep else None,
        average_precision=_average_precision(images, passes) if rules.ranked else None,
    )


def _total(passes: Mapping[str, ImagePass], rules: DetectionProtocol) -> Figures:
    return total((scored.counts for scored in passes.values()), vacuous=rules.vacuous)


def _average_precision(images: Mapping[str, _Image], passes: Mapping[str, ImagePass]) -> float:
    """Of all images together, over the detections that count."""
    scores, hits = [], []
    for key, image in images.items():
        used, alarms = {match.det for match in passes[key].matches}, set(passes[key].false_alarms)
        counting = [i for i in image.found.rows.tolist() if i in used or i in alarms]
        scores += [image.found.words[i].score for i in counting]
        hits += [i in used for i in counting]
    wanted = sum(scored.counts.ground_truth for scored in passes.values())
    return ranked_precision(np.array(scores, np.float64), np.array(hits, bool), wanted)


def _rates(ground_truths: int, detections: int, counts: Figures) -> tuple[float, float, float] | None:
    """(precision, recall, hmean) of an image in DB's DetEval classes where they do not follow from the counts."""
    if not detections:
        return (0.0, 0.0, 0.0) if ground_truths else (1.0, 1.0, 0.0)
    return None if counts.ground_truth else (0.0, 1.0, 0.0)
