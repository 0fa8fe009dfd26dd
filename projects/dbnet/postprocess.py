"""From DBNet's probability map to text outlines (DBNet, section 3.6; SPEC ``detectors`` 6)."""

import math
from typing import Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt

from fasttcm.errors import ConfigError
from fasttcm.geometry.kernels import offset_polygon
from fasttcm.structures import FloatArray

__all__ = ["DBPostprocessor", "Form", "Outlines"]

Outlines = tuple[list[FloatArray], npt.NDArray[np.float32]]
"""n outlines (p_i, 2) float32, and their scores (n,), in the order of OpenCV's contours."""

Form = Literal["quad", "poly"]
_LEAST_POINTS = 4
"""Contours and outlines of fewer points are dropped."""


class DBPostprocessor:
    """Threshold the map, follow the contours, score each by its mean probability, grow it back to the whole text.

    Args:
        mask_threshold: a pixel belongs to a kernel where its probability is greater.
        score_threshold: least mean probability inside a contour.
        min_text_width: quads must have a greater short side in pixels; polygons may be as thin as they like.
        approx_ratio: contours are simplified to within this fraction of their length; 0 keeps them.
        unclip_ratio: r of the distance area * r / length that a contour is grown by.
        max_candidates: contours looked at (plus one, as published); bounds the time a map of noise takes.
        form: ``quad`` for the smallest rotated rectangle, ``poly`` for the grown contour.

    Raises:
        ConfigError: an unknown form.
    """

    def __init__(
        self,
        *,
        mask_threshold: float = 0.3,
        score_threshold: float = 0.3,
        min_text_width: float = 5.0,
        approx_ratio: float = 0.01,
        unclip_ratio: float = 1.5,
        max_candidates: int = 3000,
        form: Form = "quad",
    ) -> None:
        if form not in get_args(Form):
            raise ConfigError(f"unknown outline form {form!r}; known: {', '.join(get_args(Form))}")
        self.mask_threshold = mask_threshold
        self.score_threshold = score_threshold
        self.min_text_width = min_text_width
        self.approx_ratio = approx_ratio
        self.unclip_ratio = unclip_ratio
        self.max_candidates = max_candidates
        self.form = form

    def __call__(self, probability: npt.NDArray[np.float32]) -> Outlines:
        """Outlines in pixels of the map, pixel (i, j) at the point i, j; they may reach beyond it.

        Args:
            probability: (H, W) in [0, 1]. Where it is not finite it is background, and counts 0 in a mean.
        """
        mask = (probability > self.mask_threshold).view(np.uint8)
        contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        outlines, scores = [], []
        for raw in contours[: self.max_candidates + 1]:
            tolerance = self.approx_ratio * cv2.arcLength(raw, True)
            contour = np.asarray(cv2.approxPolyDP(raw, tolerance, True) if self.approx_ratio > 0 else raw, np.int32)
            if len(contour) < _LEAST_POINTS:
                continue
            score = _mean_inside(probability, contour)
            if not math.isfinite(score):  # cheaper to see here than to look for in every map
                return self(np.where(np.isfinite(probability), probability, np.float32(0)))
            if score < self.score_threshold:
                continue
            outline = self._grow(contour)
            if outline is not None:
                outlines.append(outline)
                scores.append(score)
        return outlines, np.asarray(scores, np.float32)

    def _grow(self, contour: npt.NDArray[np.int32]) -> npt.NDArray[np.float32] | None:
        """The (p, 2) outline of a kernel's contour; ``None`` when it vanishes, splits or is too thin."""
        distance = cv2.contourArea(contour) * self.unclip_ratio / cv2.arcLength(contour, True)
        rings = offset_polygon(contour[:, 0], distance)
        if len(rings) != 1:
            return None
        if self.form == "poly":
            return rings[0].astype(np.float32) if len(rings[0]) >= _LEAST_POINTS else None
        rectangle = cv2.minAreaRect(rings[0])
        if min(rectangle[1]) <= self.min_text_width:
            return None
        return cv2.boxPoints(rectangle).astype(np.float32, copy=False)


def _mean_inside(probability: npt.NDArray[np.float32], contour: npt.NDArray[np.int32]) -> float:
    """Mean over the pixels inside and on a contour (p, 1, 2) that lies on the map."""
    x, y, width, height = cv2.boundingRect(contour)
    inside = np.zeros((height, width), np.uint8)
    cv2.fillPoly(inside, [contour], 1, offset=(-x, -y))
    return float(cv2.mean(probability[y : y + height, x : x + width], inside)[0])
