"""Annotations of a whole dataset in a few flat arrays.

Python objects would be copied into every worker process (reference counts touch their memory pages); flat buffers are
shared. A word takes about 100 bytes and a curve alone is enough: its polygon is sampled when the word is looked at.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from fasttcm.data.annotations import ParsedAnnotation, sample_outlines
from fasttcm.geometry import fit_text_beziers
from fasttcm.structures import FloatArray, TextTargets

__all__ = ["ImageTable", "IndexBuilder", "PackedStrings", "TextIndex"]

FIRST_QUAD_POINTS = 4
"""A polygon with fewer points has no two sides to fit curves to."""


class PackedStrings:
    """A sequence of strings in one buffer of UTF-8 bytes.

    Args:
        strings: what to pack.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        encoded = [text.encode("utf-8", "surrogatepass") for text in strings]
        self._bytes = np.frombuffer(b"".join(encoded), np.uint8)
        self._first = np.concatenate([[0], np.cumsum([len(piece) for piece in encoded])]).astype(np.int64)

    def __len__(self) -> int:
        return len(self._first) - 1

    def __getitem__(self, index: int) -> str:
        """The string at a non-negative position."""
        piece = self._bytes[self._first[index] : self._first[index + 1]]
        return piece.tobytes().decode("utf-8", "surrogatepass")

    def select(self, rows: npt.NDArray[np.int64]) -> "PackedStrings":
        """The strings at some positions."""
        return PackedStrings([self[int(row)] for row in rows])

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._bytes.nbytes + self._first.nbytes


@dataclass(frozen=True)
class TextIndex:
    """n words of m images.

    Attributes:
        first: (m + 1,) int64; image i owns the words ``first[i]`` up to ``first[i + 1]``.
        boxes: (n, 4) float32 x0 y0 x1 y1 in original pixels.
        beziers: (n, 16) float32; a row of NaN where none was annotated.
        points: (k, 2) float32, the annotated polygons one after the other.
        point_first: (n + 1,) int64; word j owns the points ``point_first[j]`` up to ``point_first[j + 1]``, none where
            only a curve was annotated.
        texts: n transcriptions.
        ignore: (n,) bool.
        labels: (n,) int64.
    """

    first: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float32]
    beziers: npt.NDArray[np.float32]
    points: npt.NDArray[np.float32]
    point_first: npt.NDArray[np.int64]
    texts: PackedStrings
    ignore: npt.NDArray[np.bool_]
    labels: npt.NDArray[np.int64]

    def targets(self, image: int) -> TextTargets:
        """The words of image ``image``; missing polygons are sampled from curves, missing curves fitted to polygons."""
        words = range(int(self.first[image]), int(self.first[image + 1]))
        rows = slice(words.start, words.stop)
        beziers = self.beziers[rows].copy()
        sampled = sample_outlines(beziers).astype(np.float32)
        polygons: list[FloatArray] = []
        for row, word in enumerate(words):
            polygon = self.points[self.point_first[word] : self.point_first[word + 1]].copy()
            polygons.append(polygon if len(polygon) else sampled[row])
        unfitted = np.flatnonzero(np.isnan(beziers[:, 0]))
        if len(unfitted):
            beziers[unfitted] = fit_text_beziers([_with_two_sides(polygons[row]) for row in unfitted])[0]
        return TextTargets(
            polygons,
            torch.from_numpy(beziers),
            torch.from_numpy(self.boxes[rows].copy()),
            [self.texts[word] for word in words],
            torch.from_numpy(self.ignore[rows].copy()),
            torch.from_numpy(self.labels[rows].copy()),
        )

    def select(self, images: npt.NDArray[np.int64]) -> "TextIndex":
        """The words of some images, which become images 0, 1, ..."""
        counts = np.diff(self.first)[images]
        words = _ranges(self.first[images], counts)
        point_counts = np.diff(self.point_first)[words]
        return TextIndex(
            first=np.append(0, np.cumsum(counts)).astype(np.int64),
            boxes=self.boxes[words],
            beziers=self.beziers[words],
            points=self.points[_ranges(self.point_first[words], point_counts)],
            point_first=np.append(0, np.cumsum(point_counts)).astype(np.int64),
            texts=self.texts.select(words),
            ignore=self.ignore[words],
            labels=self.labels[words],
        )

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        arrays = (self.first, self.boxes, self.beziers, self.points, self.point_first, self.ignore, self.labels)
        return sum(a.nbytes for a in arrays) + self.texts.nbytes


@dataclass(frozen=True)
class ImageTable:
    """m images of one folder and their words.

    Attributes:
        root: the folder.
        file_names: m names relative to it.
        image_ids: m ids of the annotation file, in text form.
        id_is_number: (m,) bool, whether an id is an integer there.
        sizes: (m, 2) int64 height and width in pixels.
        words: the words of the m images.
    """

    root: Path
    file_names: PackedStrings
    image_ids: PackedStrings
    id_is_number: npt.NDArray[np.bool_]
    sizes: npt.NDArray[np.int64]
    words: TextIndex

    def __len__(self) -> int:
        return len(self.file_names)

    def select(self, images: npt.NDArray[np.int64]) -> "ImageTable":
        """A table of some of the images (numbers, any order) and their words."""
        return ImageTable(
            root=self.root,
            file_names=self.file_names.select(images),
            image_ids=self.image_ids.select(images),
            id_is_number=self.id_is_number[images],
            sizes=self.sizes[images],
            words=self.words.select(images),
        )

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        own = self.file_names.nbytes + self.image_ids.nbytes + self.id_is_number.nbytes + self.sizes.nbytes
        return own + self.words.nbytes


def _ranges(starts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The numbers ``starts[i] .. starts[i] + counts[i] - 1`` of every i, one after the other."""
    before = np.cumsum(counts) - counts
    return np.arange(int(counts.sum())) + np.repeat(starts - before, counts)


def _with_two_sides(polygon: FloatArray) -> FloatArray:
    """At least four points; the lower side of a triangle is its last corner."""
    while len(polygon) < FIRST_QUAD_POINTS:
        polygon = np.concatenate([polygon, polygon[-1:]])
    return polygon


class IndexBuilder:
    """Collects words in any order of images.

    Numbers go into growing buffers at once, so that building never holds one Python object a coordinate.
    """

    def __init__(self) -> None:
        self._owner = array("q")
        self._boxes = array("f")
        self._beziers = array("f")
        self._points = array("f")
        self._counts = array("q")
        self._ignore = array("b")
        self._labels = array("q")
        self._texts: list[str] = []

    @property
    def owners(self) -> set[int]:
        """Numbers of the images that have words."""
        return set(self._owner)

    def add(self, image: int, word: ParsedAnnotation, label: int) -> None:
        """Append a word of image number ``image`` with class ``label``."""
        self._owner.append(image)
        self._boxes.extend(word.box.tolist())
        self._beziers.extend([float("nan")] * 16 if word.bezier is None else word.bezier.tolist())
        points = [] if word.polygon is None else word.polygon.reshape(-1).tolist()
        self._points.extend(points)
        self._counts.append(len(points) // 2)
        self._ignore.append(word.ignore)
        self._labels.append(label)
        self._texts.append(word.text)

    def build(self, images: Sequence[int]) -> TextIndex:
        """The index of the given image numbers (ascending), to be images 0, 1, ... of the index.

        Every number that owns a word has to be among them. Words of an image keep the order they were added in.
        """
        owner = np.frombuffer(self._owner, np.int64)
        order = np.argsort(owner, kind="stable")
        counts = np.frombuffer(self._counts, np.int64)
        starts = np.cumsum(counts) - counts
        sorted_counts = counts[order]
        point_first = np.concatenate([[0], np.cumsum(sorted_counts)]).astype(np.int64)
        # For every point of the sorted sequence, its place in the order of arrival.
        source = _ranges(starts[order], sorted_counts)
        return TextIndex(
            first=np.append(np.searchsorted(owner[order], np.asarray(images, np.int64)), len(owner)).astype(np.int64),
            boxes=np.frombuffer(self._boxes, np.float32).reshape(-1, 4)[order],
            beziers=np.frombuffer(self._beziers, np.float32).reshape(-1, 16)[order],
            points=np.frombuffer(self._points, np.float32).reshape(-1, 2)[source],
            point_first=point_first,
            texts=PackedStrings([self._texts[i] for i in order]),
            ignore=np.frombuffer(self._ignore, np.int8)[order].astype(np.bool_),
            labels=np.frombuffer(self._labels, np.int64)[order],
        )
