"""DetEval matching: a word found in pieces, and pieces found as one, count for something (SPEC section 7.4)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fasttcm.evaluation.detection_protocol import DetEval
from fasttcm.evaluation.overlaps import Overlaps

__all__ = ["Group", "GroupMatching", "center_distances", "match_groups"]

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

SPLIT_CREDIT = 0.8
"""What a ground truth found in pieces adds to recall, and each piece to precision (``"linear"``)."""

MOST_DISTANT = 1.0
"""Centres of a pair have to be nearer than this many mean diagonals."""


@dataclass(frozen=True)
class Group:
    """Ground truths and detections that were matched with each other; one of the two has one member."""

    gts: tuple[int, ...]
    dets: tuple[int, ...]


@dataclass(frozen=True)
class GroupMatching:
    """Outcome of one image.

    Attributes:
        groups: in the order they were found: pairs, split ground truths, merged ground truths.
        recall_sum: what the ground truths earned.
        precision_sum: what the detections earned.
    """

    groups: list[Group]
    recall_sum: float
    precision_sum: float


def center_distances(
    ground_truth: Sequence[FloatArray], detections: Sequence[FloatArray], *, kind: Literal["bounding_box", "quad"]
) -> FloatArray:
    """(n, m) float64 distances of mean points in units of the mean diagonal of the two; inf where both are points."""
    (a, first), (b, second) = (_centers_and_diagonals(side, kind) for side in (ground_truth, detections))
    distance = np.linalg.norm(a[:, None] - b[None], axis=-1)
    diagonals = first[:, None] + second[None]
    return np.divide(distance, diagonals, out=np.full_like(distance, np.inf), where=diagonals > 0) * 2


def match_groups(
    overlaps: Overlaps, distances: FloatArray, gt_dont_care: BoolArray, det_dont_care: BoolArray, rules: DetEval
) -> GroupMatching:
    """Match one image.

    Args:
        overlaps: of n ground truths and m detections, the ones that do not count included.
        distances: (n, m) result of :func:`center_distances`.
        gt_dont_care: (n,) bool.
        det_dont_care: (m,) bool.
        rules: bounds and credits.
    """
    search = _Search(overlaps, ~gt_dont_care, ~det_dont_care, rules)
    for g, d in search.pairs(distances):
        search.take((g,), (d,), 1.0, 1.0)
    for row in np.flatnonzero(~gt_dont_care):
        search.split(int(row))
    for column in np.flatnonzero(~det_dont_care):
        search.merge(int(column))
    return GroupMatching(search.groups, search.recall_sum, search.precision_sum)


class _Search:
    """What is still free while the three passes run over one image."""

    def __init__(self, overlaps: Overlaps, gts: BoolArray, dets: BoolArray, rules: DetEval) -> None:
        self.rules = rules
        self.recall, self.precision = overlaps.recall, overlaps.precision
        self.free_gts, self.free_dets = gts.copy(), dets.copy()
        touching = (overlaps.recall > 0) & gts[:, None] & dets[None]
        partners = rules.count_partners
        self.gt_partners = touching.sum(axis=1) if partners else None
        self.det_partners = touching.sum(axis=0) if partners else None
        self.groups: list[Group] = []
        self.recall_sum = self.precision_sum = 0.0

    def pairs(self, distances: FloatArray) -> list[tuple[int, int]]:
        """Pairs that pass the bounds alone in their row and column (don't care included) and lie close together."""
        rules = self.rules
        passes: Callable[[FloatArray, float], BoolArray] = np.greater if rules.strict else np.greater_equal
        good = passes(self.recall, rules.min_recall) & passes(self.precision, rules.min_precision)
        alone = good & (good.sum(axis=1, keepdims=True) == 1) & (good.sum(axis=0, keepdims=True) == 1)
        alone &= self.free_gts[:, None] & self.free_dets[None] & (distances < MOST_DISTANT)
        if self.gt_partners is not None and self.det_partners is not None:
            alone &= (self.gt_partners == 1)[:, None] & (self.det_partners == 1)[None]
        return [(int(g), int(d)) for g, d in zip(*alone.nonzero(), strict=True)]

    def split(self, g: int) -> None:
        """Match a ground truth with all free detections that lie in it, if together they cover enough of it."""
        rules = self.rules
        if not self.free_gts[g] or (self.gt_partners is not None and self.gt_partners[g] < 2):
            return
        dets = np.flatnonzero(self.free_dets & (self.precision[g] >= rules.min_precision))
        if self._reaches(self.recall[g, dets], rules.min_recall):
            k = len(dets)
            recall, precision = (1.0, _damped(k)) if rules.split == "logarithmic" else (SPLIT_CREDIT, SPLIT_CREDIT * k)
            self._take_group((g,), tuple(dets.tolist()), recall, precision)

    def merge(self, d: int) -> None:
        """Match a detection with all free ground truths that it covers, if together they fill enough of it."""
        rules = self.rules
        if not self.free_dets[d] or (self.det_partners is not None and self.det_partners[d] < 2):
            return
        gts = np.flatnonzero(self.free_gts & (self.recall[:, d] >= rules.min_recall))
        if self._reaches(self.precision[gts, d], rules.min_precision):
            k = len(gts)
            self._take_group(tuple(gts.tolist()), (d,), _damped(k) if rules.merge == "logarithmic" else float(k), 1.0)

    def take(self, gts: tuple[int, ...], dets: tuple[int, ...], recall: float, precision: float) -> None:
        """Use up a group and book what it earns."""
        self.groups.append(Group(gts, dets))
        self.free_gts[list(gts)] = False
        self.free_dets[list(dets)] = False
        self.recall_sum += recall
        self.precision_sum += precision

    def _take_group(self, gts: tuple[int, ...], dets: tuple[int, ...], recall: float, precision: float) -> None:
        if self.rules.single_is_pair and len(gts) == len(dets) == 1:
            recall = precision = 1.0
        self.take(gts, dets, recall, precision)

    def _reaches(self, shares: FloatArray, bound: float) -> bool:
        """Whether shares, added up from left to right as published, reach the bound; none never do."""
        if not len(shares):
            return False
        total = float(np.cumsum(shares)[-1])
        return (total if self.rules.sum_digits is None else round(total, self.rules.sum_digits)) >= bound


def _damped(k: int) -> float:
    """Credit of k pieces: the further ones are worth less and less."""
    return k / (1 + math.log(k))


def _centers_and_diagonals(polygons: Sequence[FloatArray], kind: str) -> tuple[FloatArray, FloatArray]:
    """(n, 2) mean points and (n,) diagonals."""
    centers, diagonals = np.zeros((len(polygons), 2)), np.zeros(len(polygons))
    for i, polygon in enumerate(polygons):
        centers[i] = polygon.mean(axis=0)
        side = polygon[2] - polygon[0] if kind == "quad" else np.ptp(polygon, axis=0)
        diagonals[i] = math.hypot(*side)
    return centers, diagonals
