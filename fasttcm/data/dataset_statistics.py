"""Figures of a dataset: how many words, how long, how large, which characters."""

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttcm.data.annotations import ParsedAnnotation
from fasttcm.data.word_shapes import WordShape
from fasttcm.structures import ILLEGIBLE

__all__ = ["PERCENTILES", "DatasetStatistics"]

PERCENTILES = (1, 10, 50, 90, 99)


class DatasetStatistics:
    """Collects figures word by word, a few bytes each.

    Args:
        categories: names of the classes by label; may be extended while words are added.
    """

    def __init__(self) -> None:
        self.words = 0
        self.ignored = 0
        self._lengths: Counter[int] = Counter()
        self._points: Counter[int] = Counter()
        self._characters: Counter[str] = Counter()
        self._labels: Counter[int] = Counter()
        self._sizes = array("f")
        self._images: set[int] = set()

    def add(self, image: int, label: int, word: ParsedAnnotation, shape: WordShape) -> None:
        """Count a word."""
        self.words += 1
        self.ignored += word.ignore
        self._images.add(image)
        self._labels[label] += 1
        self._points[shape.points] += 1
        self._sizes.extend([shape.length, shape.height])
        if word.text not in ("", ILLEGIBLE):
            self._lengths[len(word.text)] += 1
            self._characters.update(word.text)

    def empty_images(self, count: int) -> list[int]:
        """Numbers of the images of ``count`` that have no word."""
        return sorted(set(range(count)) - self._images)

    def to_dict(self, sizes: npt.NDArray[np.int64], categories: Sequence[str]) -> dict[str, Any]:
        """Everything as plain values.

        Args:
            sizes: (m, 2) heights and widths of the images.
            categories: names of the classes by label.
        """
        words = np.frombuffer(self._sizes, np.float32).reshape(-1, 2)
        return {
            "images": len(sizes),
            "images_without_words": len(sizes) - len(self._images),
            "words": self.words,
            "ignored": self.ignored,
            "words_with_text": self._lengths.total(),
            "classes": {categories[label]: count for label, count in sorted(self._labels.items())},
            "image_width": _percentiles(sizes[:, 1]),
            "image_height": _percentiles(sizes[:, 0]),
            "word_length_pixels": _percentiles(words[:, 0]),
            "word_height_pixels": _percentiles(words[:, 1]),
            "points_of_polygons": _by_number(self._points),
            "characters_of_words": _by_number(self._lengths),
            "characters": dict(sorted(self._characters.items(), key=lambda item: (-item[1], item[0]))),
        }


def _percentiles(values: npt.NDArray[Any]) -> dict[str, float]:
    """Smallest, :data:`PERCENTILES` and largest, one decimal; empty without values."""
    if not len(values):
        return {}
    names = ["smallest", *(f"{p}%" for p in PERCENTILES), "largest"]
    found = np.percentile(values, [0, *PERCENTILES, 100])
    return {name: round(float(value), 1) for name, value in zip(names, found, strict=True)}


def _by_number(counts: Mapping[int, int]) -> dict[str, int]:
    """Counts by ascending number, with the keys JSON can have."""
    return {str(number): counts[number] for number in sorted(counts)}
