"""Which detection finds which word: the greedy matching every IoU protocol shares (SPEC ``evaluation`` section 1)."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Matching", "first_free", "match_greedily", "swallowed_detections"]

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Matching:
    """Outcome of one image with n ground truths and m detections.

    Attributes:
        pairs: matched (ground truth, detection) indices in the order of the ground truths.
        gt_dont_care: (n,) bool.
        det_dont_care: (m,) bool.
    """

    pairs: list[tuple[int, int]]
    gt_dont_care: BoolArray
    det_dont_care: BoolArray

    @property
    def misses(self) -> list[int]:
        """Ground truths that count and were not found."""
        found = {g for g, _ in self.pairs}
        return [int(g) for g in np.flatnonzero(~self.gt_dont_care) if g not in found]

    @property
    def false_alarms(self) -> list[int]:
        """Detections that count and found nothing."""
        used = {d for _, d in self.pairs}
        return [int(d) for d in np.flatnonzero(~self.det_dont_care) if d not in used]


def swallowed_detections(covered: FloatArray, gt_dont_care: BoolArray, threshold: float) -> BoolArray:
    """Detections that lie in a don't-care area.

    Args:
        covered: (n, m) share of each detection inside each ground truth.
        gt_dont_care: (n,) bool.
        threshold: share that has to be exceeded.

    Returns:
        (m,) bool.
    """
    return np.asarray((covered[gt_dont_care] > threshold).any(axis=0))


def match_greedily(
    iou: FloatArray, covered: FloatArray, gt_dont_care: BoolArray, *, iou_threshold: float, dont_care_overlap: float
) -> Matching:
    """Give each ground truth, in file order, the first free detection in file order whose IoU exceeds the threshold.

    Neither the best overlap nor the highest score wins: the order of the predictions decides, as published.

    Args:
        iou: (n, m) overlaps.
        covered: (n, m) share of each detection inside each ground truth.
        gt_dont_care: (n,) bool; these are neither matched nor counted.
        iou_threshold: strict lower bound of a match.
        dont_care_overlap: strict lower bound of the share that makes a detection don't care.
    """
    det_dont_care = swallowed_detections(covered, gt_dont_care, dont_care_overlap)
    rows, columns = ((iou > iou_threshold) & ~gt_dont_care[:, None] & ~det_dont_care).nonzero()
    pairs = first_free(zip(rows.tolist(), columns.tolist(), strict=True))
    return Matching(pairs, gt_dont_care, det_dont_care)


def first_free(passing: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Give each ground truth the first detection that is still free.

    Args:
        passing: (ground truth, detection) pairs that may match, in the order of the ground truths and, for each, of
            the detections.

    Returns:
        The pairs that do, in the same order.
    """
    pairs: list[tuple[int, int]] = []
    taken: set[int] = set()
    last = -1
    for g, d in passing:
        if g != last and d not in taken:
            pairs.append((g, d))
            taken.add(d)
            last = g
    return pairs
