"""Which words take part under a detection-only protocol, prepared for clipping: all images of a set at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fasttcm.errors import DataError
from fasttcm.evaluation.detection_protocol import DetectionProtocol
from fasttcm.evaluation.overlaps import prepare_regions
from fasttcm.evaluation.polygons import Regions, valid_outlines
from fasttcm.evaluation.records import ImageWords, Word

__all__ = ["Side", "choose_detections", "choose_ground_truth", "sweep_floor"]

IndexArray = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]
Outline = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Side:
    """Ground truths or predictions of one image.

    Attributes:
        words: all that were given.
        rows: (k,) positions of those that take part, in the order in which they do.
        invalid: positions of those left out for their outline.
        outlines: k arrays (p_i, 2) of pixels.
        regions: the k outlines, ready for clipping.
    """

    words: Sequence[Word]
    rows: IndexArray
    invalid: list[int]
    outlines: list[Outline]
    regions: Regions

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """(k,) detection scores."""
        return np.array([self.words[i].score for i in self.rows], np.float64)


def choose_ground_truth(images: Sequence[ImageWords], rules: DetectionProtocol) -> list[Side]:
    """The ground truths of every image; DataError for a number of points that the protocol does not take."""
    return _choose(images, [range(len(image.words)) for image in images], rules, role="ground truth")


def choose_detections(
    images: Sequence[ImageWords], rules: DetectionProtocol, *, confidence: float | None
) -> list[Side]:
    """The predictions of every image that are confident enough; DataError for more points than the protocol takes."""
    rows = [[i for i, word in enumerate(image.words) if _passes(word.score, rules, confidence)] for image in images]
    if rules.ranked:
        for image, chosen in zip(images, rows, strict=True):
            chosen.sort(key=lambda i: -image.words[i].score)
    return _choose(images, rows, rules, role="predictions")


def sweep_floor(rules: DetectionProtocol, confidence: float | None) -> float:
    """The score that a prediction has to exceed under a protocol with a sweep."""
    return rules.sweep_floor if confidence is None else confidence


def _choose(
    images: Sequence[ImageWords], rows: Sequence[Sequence[int]], rules: DetectionProtocol, *, role: str
) -> list[Side]:
    """Leave out unusable outlines and prepare the others in one go: one by one costs more than clipping them."""
    places = [(image, i) for image, chosen in zip(images, rows, strict=True) for i in chosen]
    outlines = [_outline(image.words[i], rules) for image, i in places]
    usable = np.ones(len(outlines), bool)
    if role == "predictions":
        usable = np.array([len(outline) >= rules.fewest_points for outline in outlines], bool)
        if rules.whole_pixels:
            usable &= np.array([_net_area(outline) >= 0 for outline in outlines], bool)
    for (image, i), outline, keep in zip(places, outlines, usable, strict=True):
        if keep:
            _check_points(len(outline), rules, f"{role}: image {image.id}, word {i + 1}")
    if rules.arithmetic == "valid_only":
        usable &= valid_outlines(outlines)
    regions = prepare_regions(
        [outline for outline, keep in zip(outlines, usable, strict=True) if keep], rules.arithmetic
    )
    sides, start, first = [], 0, 0
    for image, chosen in zip(images, rows, strict=True):
        keep = usable[start : start + len(chosen)]
        last = first + int(keep.sum())
        sides.append(
            Side(
                image.words,
                np.array(chosen, np.intp)[keep],
                sorted(i for i, good in zip(chosen, keep, strict=True) if not good),
                [outlines[start + int(k)] for k in np.flatnonzero(keep)],
                regions[first:last],
            )
        )
        start, first = start + len(chosen), last
    return sides


def _passes(score: float, rules: DetectionProtocol, confidence: float | None) -> bool:
    """Whether a prediction is confident enough to take part at all."""
    if rules.sweep:
        return score > sweep_floor(rules, confidence)
    return confidence is None or score >= confidence


def _outline(word: Word, rules: DetectionProtocol) -> Outline:
    return np.trunc(word.points) if rules.whole_pixels else word.points


def _net_area(outline: Outline) -> float:
    """Shoelace sum in square pixels: positive for clockwise as seen, y downwards."""
    x, y = outline.T
    return 0.5 * float(x @ np.roll(y, -1) - y @ np.roll(x, -1))


def _check_points(points: int, rules: DetectionProtocol, where: str) -> None:
    """Raise for a number of points that the published evaluator refuses."""
    fewest, most = rules.fewest_points, rules.most_points
    if points < fewest or (most is not None and points > most):
        wanted = f"at least {fewest}" if most is None else str(most) if most == fewest else f"{fewest} to {most}"
        raise DataError(
            f"{where}: an outline of {points} points, protocol {rules.name!r} takes {wanted}; choose another protocol "
            "or resample the outlines"
        )
