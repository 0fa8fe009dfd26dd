"""Which annotations of a dataset are the strangest: where to look first for mistakes.

Every word gets a score, the sum of what is unusual about it; the reasons are kept. Measures that spread over a dataset
(aspect ratio, area, width of a letter) count by how far they are from its median, in robust standard deviations
(1.4826 times the median absolute deviation of the logarithm); those that should simply not be count directly.

| reason | points |
|---|---|
| crosses itself | 6 |
| counter-clockwise | 5 |
| starts at another corner than the rule finds | 2 |
| curve and polygon disagree | 4 per height of the word, at most 6 |
| outside the image | 4 times the share of its points |
| long and thin, or short and tall; large or small; letters wide or narrow | deviations beyond 3, at most 4 each |
| the same three, not named | 0.01 times the deviations, so that words without a reason are ranked too |
"""

import heapq
import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fasttcm.data.word_shapes import WordShape

__all__ = ["Oddities", "StrangeWord"]

USUAL_DEVIATIONS = 3.0
MOST_POINTS = 4.0
USUAL_WEIGHT = 0.01
CONSISTENT = 1.4826
"""Median absolute deviation to standard deviation, for a normal distribution."""
LEAST_DEVIATION = 0.1
"""Of a logarithm: in a dataset of equal words a tenth more is not strange."""
REMARKABLE = 0.05
"""Points below which a reason is not named."""

CROSSES, REVERSED, ROTATED, OUTSIDE, PER_HEIGHT, MOST_DISTANCE = 6.0, 5.0, 2.0, 4.0, 4.0, 6.0


@dataclass(frozen=True)
class StrangeWord:
    """A word worth a look.

    Attributes:
        image: number of its image.
        position: which word of its image it is, from 0.
        place: where it is in the annotation file.
        score: how strange.
        reasons: why, worst first; none for a usual word.
    """

    image: int
    position: int
    place: str
    score: float
    reasons: tuple[str, ...]


class Oddities:
    """Collects the measures of all words of a dataset, a few bytes each, and ranks them."""

    def __init__(self) -> None:
        self._images = array("q")
        self._positions = array("q")
        self._places: list[str] = []
        self._measures = array("f")
        self._flags = array("b")

    def add(self, image: int, position: int, place: str, shape: WordShape) -> None:
        """Append a word; arguments as the attributes of :class:`StrangeWord`."""
        self._images.append(image)
        self._positions.append(position)
        self._places.append(place)
        aspect, area = shape.length / max(shape.height, 1e-3), max(shape.length * shape.height, 1e-3)
        self._measures.extend([aspect, area, shape.letter_width, shape.curve_distance, shape.outside])
        self._flags.extend([shape.crosses, not shape.clockwise, not shape.starts_well])

    def strangest(self, count: int) -> list[StrangeWord]:
        """The ``count`` highest scores, highest first; of equal ones the first in the file."""
        if not self._places:
            return []
        measures = np.frombuffer(self._measures, np.float32).reshape(-1, 5).astype(np.float64)
        flags = np.frombuffer(self._flags, np.int8).reshape(-1, 3)
        names: list[tuple[str, str]] = [
            ("long and thin", "short and tall"),
            ("large", "small"),
            ("letters wide", "letters narrow"),
        ]
        deviations = [_deviations(measures[:, k]) for k in range(3)]
        points = [np.sign(d) * np.clip(np.abs(d) - USUAL_DEVIATIONS, 0.0, MOST_POINTS) for d in deviations]
        distance = np.clip(PER_HEIGHT * np.nan_to_num(measures[:, 3]) - 1.0, 0.0, MOST_DISTANCE)
        direct: list[tuple[str, npt.NDArray[np.floating]]] = [
            ("crosses itself", CROSSES * flags[:, 0]),
            ("counter-clockwise", REVERSED * flags[:, 1]),
            ("starts at another corner", ROTATED * flags[:, 2]),
            ("curve and polygon disagree", distance),
            ("outside the image", OUTSIDE * measures[:, 4]),
        ]
        score = sum((np.abs(p) for p in points), np.zeros(len(measures))) + sum(p for _, p in direct)
        score += USUAL_WEIGHT * sum(np.abs(d) for d in deviations)
        best = heapq.nsmallest(count, range(len(score)), key=lambda k: (-score[k], k))
        return [
            StrangeWord(
                self._images[k],
                self._positions[k],
                self._places[k],
                float(score[k]),
                _reasons(k, names, points, direct),
            )
            for k in best
        ]


def _deviations(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Robust standard deviations of the logarithms from their median, with their sign; 0 where unknown."""
    logarithms = np.log(values, out=np.full_like(values, math.nan), where=values > 0)
    known = logarithms[~np.isnan(logarithms)]
    if not len(known):
        return np.zeros_like(values)
    middle = np.median(known)
    spread = max(CONSISTENT * float(np.median(np.abs(known - middle))), LEAST_DEVIATION)
    return np.asarray(np.nan_to_num((logarithms - middle) / spread))


def _reasons(
    index: int,
    names: Sequence[tuple[str, str]],
    points: Sequence[npt.NDArray[np.float64]],
    direct: Sequence[tuple[str, npt.NDArray[np.floating]]],
) -> tuple[str, ...]:
    """The reasons of one word, worst first."""
    found = [(float(values[index]), name) for name, values in direct]
    for (high, low), values in zip(names, points, strict=True):
        value = float(values[index])
        found.append((abs(value), high if value > 0 else low))
    return tuple(name for amount, name in sorted(found, key=lambda pair: -pair[0]) if amount > REMARKABLE)
