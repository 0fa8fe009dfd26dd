"""What travels between data, models and evaluation: the text of one image, as annotated and as predicted.

Coordinates are (x, y) pixels. Polygons run clockwise from the first character's top-left corner; ``beziers`` are
16 numbers, the top curve left to right then the bottom curve right to left, four control points each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fasttcm.charset import CHARSETS, UNKNOWN_CHARACTER, Charset

__all__ = ["ILLEGIBLE", "FloatArray", "Sample", "TextPredictions", "TextTargets"]

FloatArray = npt.NDArray[np.floating]

Sample = dict[str, Any]
"""detectron2's dict: ``image`` uint8 (3, H, W) RGB tensor, ``height`` and ``width`` of the original file in pixels,
``file_name``, ``image_id``, and in training ``targets`` (:class:`TextTargets`, in pixels of ``image``)."""

ILLEGIBLE = "###"
"""The transcription of a word that nobody is asked to read (do not care)."""


@dataclass
class TextTargets:
    """Ground truth of one image with n instances.

    Attributes:
        polygons: n arrays (p_i, 2) float32.
        beziers: (n, 16) float32.
        boxes: (n, 4) float32, x0 y0 x1 y1.
        texts: n transcriptions; ``###`` when illegible.
        ignore: (n,) bool, do not care.
        labels: (n,) int64 classes, 0 for text.
    """

    polygons: list[FloatArray]
    beziers: Tensor
    boxes: Tensor
    texts: list[str]
    ignore: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.texts)

    @classmethod
    def empty(cls) -> "TextTargets":
        """An image without text."""
        return cls(
            [],
            torch.zeros(0, 16),
            torch.zeros(0, 4),
            [],
            torch.zeros(0, dtype=torch.bool),
            torch.zeros(0, dtype=torch.int64),
        )

    def __getitem__(self, index: Tensor) -> "TextTargets":
        """The instances chosen by a (n,) bool mask or an int64 index tensor."""
        chosen = index.nonzero()[:, 0].tolist() if index.dtype == torch.bool else index.tolist()
        return TextTargets(
            [self.polygons[i] for i in chosen],
            self.beziers[chosen],
            self.boxes[chosen],
            [self.texts[i] for i in chosen],
            self.ignore[chosen],
            self.labels[chosen],
        )

    def to(self, device: torch.device | str) -> "TextTargets":
        """The same instances with tensors on ``device``."""
        return TextTargets(
            self.polygons,
            self.beziers.to(device),
            self.boxes.to(device),
            self.texts,
            self.ignore.to(device),
            self.labels.to(device),
        )


@dataclass
class TextPredictions:
    """What a model found in one image with n instances, by descending score, in pixels of the original image.

    Attributes:
        height: image height in pixels.
        width: image width in pixels.
        polygons: n arrays (p_i, 2) float32.
        boxes: (n, 4) float32, x0 y0 x1 y1.
        scores: (n,) float32 detection scores in [0, 1].
        texts: n transcriptions (empty strings from a detector that does not read).
        text_scores: (n,) float32 confidence of the transcriptions in [0, 1].
        beziers: (n, 16) float32, or ``None`` from a model without curves.
        labels: (n,) int64 classes.
        char_scores: n arrays (t_i, 97) float32, the score of every class of the ``ascii`` charset for each character
            of the transcription (TESTR's weighted lexicon search), or ``None``.
    """

    height: int
    width: int
    polygons: list[FloatArray]
    boxes: Tensor
    scores: Tensor
    texts: list[str]
    text_scores: Tensor
    beziers: Tensor | None = None
    labels: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    char_scores: list[FloatArray] | None = None

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.texts):
            self.labels = torch.zeros(len(self.texts), dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.texts)

    @classmethod
    def empty(cls, height: int, width: int) -> "TextPredictions":
        """An image in which nothing was found."""
        return cls(height, width, [], torch.zeros(0, 4), torch.zeros(0), [], torch.zeros(0))

    @classmethod
    def from_polygons(
        cls, height: int, width: int, polygons: Sequence[FloatArray], scores: npt.ArrayLike
    ) -> "TextPredictions":
        """What a detector found, which does not read.

        Args:
            height: image height in pixels.
            width: image width in pixels.
            polygons: n arrays (p_i, 2) in pixels of the image, p_i at least 1.
            scores: n detection scores in [0, 1]; the result is sorted by them, equal ones stay in order.
        """
        values = np.asarray(scores, np.float32).reshape(-1)
        order = np.argsort(-values, kind="stable")
        outlines = [np.asarray(polygons[i], np.float32).reshape(-1, 2) for i in order]
        boxes = np.asarray([[*p.min(0), *p.max(0)] for p in outlines], np.float32).reshape(-1, 4)
        nothing = torch.zeros(len(outlines))
        texts = [""] * len(outlines)
        return cls(height, width, outlines, torch.from_numpy(boxes), torch.from_numpy(values[order]), texts, nothing)

    def to_json(self, *, image_id: int | str, file_name: str = "", digits: int = 2) -> dict[str, Any]:
        """One entry of ``{"images": [...]}``: ``id``, ``file_name``, ``width``, ``height``, ``words``.

        Each word has ``points`` [[x, y], ...] rounded to ``digits``, ``text``, ``score``, ``text_score`` and, if
        known, ``bezier`` and ``char_scores`` (characters with their scores, those that round to 0 left out).
        """
        words = []
        for i, text in enumerate(self.texts):
            word: dict[str, Any] = {
                "points": np.asarray(self.polygons[i], np.float64).round(digits).tolist(),
                "text": text,
                "score": round(float(self.scores[i]), 6),
                "text_score": round(float(self.text_scores[i]), 6),
            }
            if self.beziers is not None:
                word["bezier"] = self.beziers[i].double().numpy().round(digits).tolist()
            if self.char_scores is not None:
                word["char_scores"] = _sparse_scores(self.char_scores[i])
            words.append(word)
        return {"id": image_id, "file_name": file_name, "width": self.width, "height": self.height, "words": words}

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> "TextPredictions":
        """The inverse of :meth:`to_json`, up to its rounding."""
        words: Sequence[dict[str, Any]] = entry["words"]
        polygons = [np.asarray(word["points"], np.float32).reshape(-1, 2) for word in words]
        boxes = [np.concatenate([p.min(0), p.max(0)]) for p in polygons]
        beziers = torch.tensor([word["bezier"] for word in words]) if words and "bezier" in words[0] else None
        scored = bool(words) and "char_scores" in words[0]
        return cls(
            int(entry["height"]),
            int(entry["width"]),
            list(polygons),
            torch.from_numpy(np.stack(boxes)) if boxes else torch.zeros(0, 4),
            torch.tensor([float(word.get("score", 1.0)) for word in words]),
            [word["text"] for word in words],
            torch.tensor([float(word.get("text_score", 1.0)) for word in words]),
            beziers,
            char_scores=[_dense_scores(word["char_scores"]) for word in words] if scored else None,
        )


_SCORE_DIGITS = 6
"""Decimals of scores in JSON."""

_ASCII = Charset(CHARSETS["ascii"])


def _sparse_scores(scores: FloatArray) -> dict[str, Any]:
    """(t, 97) scores as ``{"rest": 0.0, "rows": [[[character, score], ...], ...]}``; "end" has no character."""
    names = [*_ASCII.characters, UNKNOWN_CHARACTER]
    rounded = np.asarray(scores, np.float64)[:, : len(names)].round(_SCORE_DIGITS)
    return {"rest": 0.0, "rows": [[[names[i], float(row[i])] for i in row.nonzero()[0]] for row in rounded]}


def _dense_scores(value: dict[str, Any] | list[list[float]]) -> FloatArray:
    """The inverse of :func:`_sparse_scores`, (t, 97) float32; rows of 97 numbers are read too."""
    if not isinstance(value, dict):
        return np.asarray(value, np.float32)
    names = {name: i for i, name in enumerate([*_ASCII.characters, UNKNOWN_CHARACTER])}
    scores = np.full((len(value["rows"]), _ASCII.num_classes), value["rest"], np.float32)
    for row, entries in zip(scores, value["rows"], strict=True):
        for name, score in entries:
            row[names[name]] = score
    return scores
