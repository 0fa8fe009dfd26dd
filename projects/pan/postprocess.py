"""From PAN's six maps to text outlines."""

from typing import Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt
import torch

from fasttcm.errors import ConfigError
from fasttcm.projects.pan.aggregation import grow_kernels
from fasttcm.structures import FloatArray

__all__ = ["Outlines", "PANPostprocessor"]

Outlines = tuple[list[FloatArray], npt.NDArray[np.float32]]
"""n outlines (p_i, 2) float32, and their scores (n,), best first."""

Form = Literal["quad", "poly"]
_LEAST_POINTS = 4
"""Outlines of fewer points have no area."""


class PANPostprocessor:
    """Threshold, grow the kernels, drop the small and the doubtful, outline the rest.

    Args:
        score_threshold: the mean text probability of a text must be greater.
        region_threshold: a pixel is text, or kernel, where that probability is greater.
        max_distance: similarity vectors nearer than this to the kernel's mean join it. The published code has one
            parameter, 0.85, for this and the score.
        min_area: fewest pixels of the map.
        form: ``quad`` for the smallest rotated rectangle, ``poly`` for the outline of the pixels.
        max_candidates: keep at most so many, the best; bounds the time a map of noise takes.
        published_memory_order: read the similarity vectors as the published code does. It hands (4, h, w) memory to a
            compiled routine that takes it for (h, w, 4), so every pixel is compared by numbers of other pixels. The
            published detections can only be repeated that way.

    Raises:
        ConfigError: an unknown form.
    """

    def __init__(
        self,
        *,
        score_threshold: float = 0.85,
        region_threshold: float = 0.5,
        max_distance: float = 0.85,
        min_area: int = 16,
        form: Form = "quad",
        max_candidates: int = 3000,
        published_memory_order: bool = False,
    ) -> None:
        if form not in get_args(Form):
            raise ConfigError(f"unknown outline form {form!r}; known: {', '.join(get_args(Form))}")
        self.score_threshold = score_threshold
        self.region_threshold = region_threshold
        self.max_distance = max_distance
        self.min_area = min_area
        self.form = form
        self.max_candidates = max_candidates
        self.published_memory_order = published_memory_order

    def __call__(self, maps: npt.NDArray[np.float32]) -> Outlines:
        """Outlines in pixels of the map, pixel (i, j) at the point i, j.

        Args:
            maps: (6, h, w) of the head, before the sigmoid; where they are not finite, there is no text.
        """
        probability = torch.from_numpy(maps[:2]).sigmoid().numpy()
        text, kernel = (probability > self.region_threshold) & np.isfinite(maps).all(0)
        embedding = maps[2:]
        if self.published_memory_order:
            embedding = embedding.reshape(*text.shape, len(embedding)).transpose(2, 0, 1)
        labels = grow_kernels(text, kernel, embedding, max_distance=self.max_distance)
        chosen, scores = self._choose(labels, probability[0])
        outlines, kept = [], []
        windows = _windows(labels)
        for label, score in zip(chosen, scores, strict=True):
            outline = self._outline(labels, int(label), windows[label])
            if len(outline) >= _LEAST_POINTS:
                outlines.append(outline)
                kept.append(score)
        return outlines, np.asarray(kept, np.float32)

    def _choose(
        self, labels: npt.NDArray[np.int32], probability: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Labels that are large and certain enough, best first, and their scores."""
        inside = np.flatnonzero(labels)
        owners = labels.ravel()[inside]
        area = np.bincount(owners)
        score = np.bincount(owners, probability.ravel()[inside]) / np.maximum(area, 1)
        chosen = np.flatnonzero((area >= max(self.min_area, 1)) & (score > self.score_threshold))
        chosen = chosen[np.argsort(-score[chosen], kind="stable")][: self.max_candidates]
        return chosen, score[chosen]

    def _outline(
        self, labels: npt.NDArray[np.int32], label: int, window: tuple[int, int, int, int]
    ) -> npt.NDArray[np.float32]:
        """(p, 2) outline of one label inside its window x0, y0, x1, y1."""
        x0, y0, x1, y1 = window
        mask = (labels[y0:y1, x0:x1] == label).astype(np.uint8)
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        contour = contours[0][:, 0]
        if self.form == "quad":
            # The rectangle around the pixels is that around their outline.
            contour = cv2.boxPoints(cv2.minAreaRect(contour))
        return np.asarray(contour, np.float32) + np.asarray([x0, y0], np.float32)


def _windows(labels: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """(labels + 1, 4) window x0, y0, x1, y1 (the last two exclusive) of every label."""
    count = int(labels.max()) + 1 if labels.size else 1
    rows, columns = np.nonzero(labels)
    owners = labels[rows, columns]
    low, high = np.full((2, count), labels.size), np.zeros((2, count), np.int64)
    for axis, places in enumerate((columns, rows)):
        np.minimum.at(low[axis], owners, places)
        np.maximum.at(high[axis], owners, places + 1)
    return np.concatenate([low, high]).T
