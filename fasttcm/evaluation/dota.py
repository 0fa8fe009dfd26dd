"""DOTA task 1, oriented boxes: matching and average precision (SPEC ``evaluation`` section 9)."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fasttcm.errors import ConfigError, DataError
from fasttcm.evaluation.dota_files import (
    KNOWN_CLASSES,
    Annotations,
    Detections,
    GroundTruth,
    read_dota_ground_truth,
    read_task1,
)
from fasttcm.evaluation.dota_json import dota_detections_from_json, dota_ground_truth_from_json
from fasttcm.geometry import boxes_overlap, outline_boxes, polyiou

__all__ = ["DOTA_VERSIONS", "ClassResult", "DotaResult", "DotaVersion", "average_precision", "score_dota"]

FloatArray = npt.NDArray[np.floating]
Metric = Literal["voc07", "area"]

IOU_THRESHOLD = 0.5
"""Overlap that a detection has to exceed (the published ``ovthresh``)."""

WHOLE_PIXEL = 1.0
"""Bounding boxes are compared with both border pixels inside, so boxes one pixel apart are looked at."""

VOC07_RECALLS = np.arange(0.0, 1.1, 0.1)
"""Eleven recalls; in floating point the fourth is a little more than 0.3, so a recall of 0.3 does not reach it."""

PAIRS_AT_ONCE = 1 << 20
"""Pairs of bounding boxes compared in one go, 1 MB a mask: bounds the memory of images with thousands of objects."""

TRUE, FALSE, IGNORED = 1, 0, -1
"""Outcomes of a detection: it found an object, found none, or found a difficult one."""


@dataclass(frozen=True)
class DotaVersion:
    """Rules of one release.

    Attributes:
        name: key in :data:`DOTA_VERSIONS`.
        classes: the classes of the mean.
        difficult: whether difficult objects are left out; otherwise they count as any other.
    """

    name: str
    classes: tuple[str, ...]
    difficult: bool


DOTA_VERSIONS = {
    version.name: version
    for version in (DotaVersion("1.0", KNOWN_CLASSES[:15], True), DotaVersion("1.5", KNOWN_CLASSES[:16], False))
}
"""Published evaluation scripts by release; that of v1.5 reads every object as not difficult."""


@dataclass(frozen=True)
class ClassResult:
    """One class.

    Attributes:
        average_precision: 0 without objects or without detections.
        ground_truth: objects that count.
        order: (n,) rows of the detections by descending score.
        outcomes: (n,) int8 in that order: 1 found an object, 0 found none or one already found, -1 a difficult one.
        objects: (n,) in that order, row of the overlapped object among the annotations of the class, -1 for none.
        recall: (n,) after each detection.
        precision: (n,) after each detection.
    """

    average_precision: float
    ground_truth: int
    order: npt.NDArray[np.int64]
    outcomes: npt.NDArray[np.int8]
    objects: npt.NDArray[np.int64]
    recall: FloatArray
    precision: FloatArray

    @property
    def final_recall(self) -> float:
        """Recall of all detections; 0 without any."""
        return float(self.recall[-1]) if len(self.recall) else 0.0

    @property
    def final_precision(self) -> float:
        """Precision of all detections; 0 without any."""
        return float(self.precision[-1]) if len(self.precision) else 0.0

    def to_dict(self) -> dict[str, float | int]:
        """Figures and counts."""
        return {
            "average_precision": self.average_precision,
            "recall": self.final_recall,
            "precision": self.final_precision,
            "matched": int((self.outcomes == TRUE).sum()),
            "ground_truth": self.ground_truth,
            "predicted": int((self.outcomes != IGNORED).sum()),
        }


@dataclass(frozen=True)
class DotaResult:
    """A scored set: class results in the order of the class list, and the rules they follow."""

    classes: dict[str, ClassResult]
    version: str
    metric: str
    iou_threshold: float

    @property
    def mean_average_precision(self) -> float:
        """Plain mean over all classes of the list, those without objects included (they count 0)."""
        return sum(result.average_precision for result in self.classes.values()) / len(self.classes)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values with full floats."""
        return {
            "protocol": "dota",
            "version": self.version,
            "metric": self.metric,
            "iou_threshold": self.iou_threshold,
            "mean_average_precision": self.mean_average_precision,
            "classes": {name: result.to_dict() for name, result in self.classes.items()},
        }


def score_dota(
    ground_truth: GroundTruth | str | Path,
    detections: Mapping[str, Detections] | str | Path,
    *,
    version: str = "1.0",
    metric: Metric = "voc07",
    iou_threshold: float = IOU_THRESHOLD,
    classes: Sequence[str] | None = None,
    images: Sequence[str] | str | Path | None = None,
    strict: bool = False,
) -> DotaResult:
    """Score detections in whole images; those of tiles go through ``merge_tiles`` first.

    Args:
        ground_truth: annotations, the folder that holds ``<image>.txt`` files, or a JSON file
            (:mod:`fasttcm.evaluation.dota_json`).
        detections: by class, the folder that holds ``Task1_<class>.txt`` files, or a JSON file. A class without any
            has an average precision of 0.
        version: release whose class list and rule for difficult objects hold, a key of :data:`DOTA_VERSIONS`.
        metric: ``"voc07"``, the published figure (eleven points), or ``"area"`` under the envelope of the curve.
        iou_threshold: overlap a detection has to exceed.
        classes: another class list for the mean; objects and detections of other classes are left out.
        images: names or list file when ``ground_truth`` is a folder; ``None``: all its files.
        strict: short annotation lines that are no header are errors instead of skipped (folder only).

    Raises:
        ConfigError: for an unknown version or metric, or an empty or repeated class list.
        DataError: see the readers; also for detections in an image that the ground truth lacks.
    """
    if version not in DOTA_VERSIONS:
        raise ConfigError(f"unknown DOTA version {version!r}; known are {', '.join(DOTA_VERSIONS)}")
    if metric not in ("voc07", "area"):
        raise ConfigError(f"unknown metric {metric!r}; use 'voc07' or 'area'")
    rules = DOTA_VERSIONS[version]
    names = tuple(rules.classes if classes is None else classes)
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"the class list needs at least one class and each only once, got {names}")
    if not isinstance(ground_truth, GroundTruth):
        if Path(ground_truth).is_file():
            ground_truth = dota_ground_truth_from_json(ground_truth, classes=names)
        else:
            ground_truth = read_dota_ground_truth(ground_truth, images, classes=names, strict=strict)
    known = set(ground_truth.images)
    if not isinstance(detections, Mapping):
        if Path(detections).is_file():
            detections = dota_detections_from_json(detections, classes=names)
        else:
            detections = read_task1(detections, classes=names, check_name=lambda name: _refuse_stranger(name, known))
    for image in (image for found in detections.values() for image in found.images):
        _refuse_stranger(image, known)
    results = {}
    for name in names:
        objects = ground_truth.classes.get(name, Annotations([], np.zeros((0, 4, 2)), np.zeros(0, bool)))
        found = detections.get(name, Detections([], np.zeros((0, 4, 2)), np.zeros(0)))
        results[name] = _score_class(objects, found, rules, metric, iou_threshold)
    return DotaResult(results, version, metric, iou_threshold)


def average_precision(recall: FloatArray, precision: FloatArray, *, metric: Metric = "voc07") -> float:
    """Average precision of a curve.

    Args:
        recall: (n,) after each detection in order of descending score.
        precision: (n,).
        metric: ``"voc07"``: mean over eleven recalls of the best precision at that recall or above; ``"area"``: area
            under the envelope, from recall 0 to 1.

    Returns:
        A value in [0, 1]; 0 for an empty curve.
    """
    if metric == "voc07":
        total = 0.0
        for level in VOC07_RECALLS:
            reached = precision[recall >= level]
            total += (float(reached.max()) if len(reached) else 0.0) / len(VOC07_RECALLS)
        return total
    recalls = np.concatenate([[0.0], recall, [1.0]])
    envelope = np.maximum.accumulate(np.concatenate([[0.0], precision, [0.0]])[::-1])[::-1]
    steps = np.flatnonzero(recalls[1:] != recalls[:-1])
    return float(((recalls[steps + 1] - recalls[steps]) * envelope[steps + 1]).sum())


def _score_class(
    objects: Annotations, found: Detections, rules: DotaVersion, metric: Metric, iou_threshold: float
) -> ClassResult:
    """Match the detections of one class in order of descending score, file order among equals."""
    difficult = objects.difficult & rules.difficult
    order = np.argsort(-found.scores, kind="stable")
    best, row = _best_objects(objects, found)
    best, row = best[order], row[order]
    hit = best > iou_threshold  # false for the NaN of two boxes without area
    row = np.where(hit, row, -1)
    outcomes = np.full(len(order), FALSE, np.int8)
    outcomes[np.append(difficult, False)[row]] = IGNORED  # row -1, no object, is the appended one
    counted = np.flatnonzero(hit & (outcomes != IGNORED))
    outcomes[counted[np.unique(row[counted], return_index=True)[1]]] = TRUE
    true, false = np.cumsum(outcomes == TRUE), np.cumsum(outcomes == FALSE)
    count = int((~difficult).sum())
    recall = true / count if count else np.zeros(len(order))
    precision = true / np.maximum(true + false, np.finfo(np.float64).eps)
    figure = average_precision(recall, precision, metric=metric) if count else 0.0
    return ClassResult(figure, count, order, outcomes, row, recall, precision)


def _best_objects(objects: Annotations, found: Detections) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Largest overlap of each detection with an object of its image, and the first object that has it."""
    best, row = np.full(len(found.images), -np.inf), np.full(len(found.images), -1)
    object_boxes, found_boxes = outline_boxes(objects.quads), outline_boxes(found.quads)
    rows_of = _rows_by_name(objects.images)
    for name, detected in _rows_by_name(found.images).items():
        there = rows_of.get(name)
        if there is None:
            continue
        block = max(1, PAIRS_AT_ONCE // len(there))
        for start in range(0, len(detected), block):
            some = detected[start : start + block]
            near = boxes_overlap(found_boxes[some], object_boxes[there], margin=WHOLE_PIXEL)
            overlap = np.full(near.shape, -np.inf)
            i, j = near.nonzero()
            overlap[i, j] = polyiou(found.quads[some[i]], objects.quads[there[j]])
            best[some] = overlap.max(axis=1)  # NaN wins, as published
            row[some] = there[overlap.argmax(axis=1)]
    return best, row


def _rows_by_name(names: Iterable[str]) -> dict[str, npt.NDArray[np.int64]]:
    """Rows of each name, in order."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        rows[name].append(row)
    return {name: np.array(some) for name, some in rows.items()}


def _refuse_stranger(image: str, known: Collection[str]) -> None:
    """Raise for a detection in an image without ground truth, which the published script cannot score either."""
    if image not in known:
        raise DataError(f"image {image!r} is not in the ground truth; merge tiles first, or complete the image list")
