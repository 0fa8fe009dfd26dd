"""From FCENet's maps to text outlines: draw the contour of every likely cell, keep the best of those that overlap."""

import itertools
from collections.abc import Sequence
from typing import Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt
import torch

from fasttcm.errors import ConfigError
from fasttcm.projects.fcenet.fourier import contour_points
from fasttcm.projects.fcenet.nms import suppress
from fasttcm.structures import FloatArray

__all__ = ["FCEPostprocessor", "Outlines", "fill_holes"]

Outlines = tuple[FloatArray, npt.NDArray[np.float32]]
"""(n, p, 2) float32 outlines and (n,) scores, best first."""

Form = Literal["poly", "quad"]
_FARTHEST = 2.0**30
"""Pixels; contours that reach farther are broken predictions."""


def fill_holes(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A mask (h, w) of 0 and 1 without the holes that its edge does not reach."""
    framed = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    cv2.floodFill(framed, None, (0, 0), 2)
    return (framed[1:-1, 1:-1] != 2).astype(np.uint8)


class FCEPostprocessor:
    """Score the cells, draw their contours, suppress inside a region, inside a level, and over all levels.

    Args:
        strides: input pixels per cell of the levels.
        score_threshold: a region is where the score is greater.
        text_power: alpha, exponent of the text probability in the score.
        center_power: beta, exponent of the centre probability.
        points: points a contour.
        nms_threshold: IoU above which the worse contour goes.
        form: ``poly`` for the contour, ``quad`` for the smallest rotated rectangle around it.
        max_candidates: of a level, only so many of the best cells draw contours; bounds the time a map of noise takes.

    Raises:
        ConfigError: an unknown form.
    """

    def __init__(
        self,
        *,
        strides: Sequence[int] = (8, 16, 32),
        score_threshold: float = 0.3,
        text_power: float = 1.2,
        center_power: float = 1.0,
        points: int = 50,
        nms_threshold: float = 0.1,
        form: Form = "poly",
        max_candidates: int = 5000,
    ) -> None:
        if form not in get_args(Form):
            raise ConfigError(f"unknown outline form {form!r}; known: {', '.join(get_args(Form))}")
        self.strides = tuple(strides)
        self.score_threshold = score_threshold
        self.text_power = text_power
        self.center_power = center_power
        self.points = points
        self.nms_threshold = nms_threshold
        self.form = form
        self.max_candidates = max_candidates

    def __call__(
        self, logits: Sequence[npt.NDArray[np.float32]], series: Sequence[npt.NDArray[np.float32]]
    ) -> Outlines:
        """Outlines in input pixels, cell (i, j) at the point stride * (i, j).

        Args:
            logits: (4, h, w) of every level, finest first.
            series: (4 k + 2, h, w) of every level; cells that are not finite draw nothing.
        """
        levels = [self.level(*maps) for maps in zip(logits, series, self.strides, strict=True)]
        contours = np.concatenate([contour for contour, _ in levels])
        scores = np.concatenate([score for _, score in levels])
        kept = suppress(contours, scores, self.nms_threshold)
        return self._formed(contours[kept].astype(np.float32)), scores[kept]

    def level(
        self, logits: npt.NDArray[np.float32], series: npt.NDArray[np.float32], stride: int
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Contours (n, p, 2) in input pixels, and scores (n,), of one level."""
        probability = torch.from_numpy(logits).unflatten(0, (2, 2)).softmax(1)[:, 1].numpy()
        score = probability[0] ** self.text_power * probability[1] ** self.center_power
        region = fill_holes((score > self.score_threshold).astype(np.uint8))
        count, labels = cv2.connectedComponents(region, connectivity=8)
        rows, columns = np.nonzero((region > 0) & (score > 0) & np.isfinite(series).all(0))
        if len(rows) > self.max_candidates:
            best = np.sort(np.argsort(-score[rows, columns], kind="stable")[: self.max_candidates])
            rows, columns = rows[best], columns[best]
        contours, inside = self._contours(series[:, rows, columns], rows, columns, stride)
        rows, columns = rows[inside], columns[inside]
        scores, owners = score[rows, columns], labels[rows, columns].astype(np.int32)
        kept = np.concatenate(
            [
                members[suppress(contours[members], scores[members], self.nms_threshold)]
                for members in _grouped(owners, count)
            ]
            or [np.zeros(0, np.intp)]
        )
        kept = kept[suppress(contours[kept], scores[kept], self.nms_threshold)]
        return contours[kept], scores[kept]

    def _contours(
        self,
        series: npt.NDArray[np.float32],
        rows: npt.NDArray[np.intp],
        columns: npt.NDArray[np.intp],
        stride: int,
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
        """Contours (m, p, 2), truncated to whole pixels, of n cells, and which m of the n have one."""
        real, imaginary = np.split(series, 2)
        coefficients = (real + 1j * imaginary).T.astype(np.complex128)
        coefficients[:, coefficients.shape[1] // 2] += columns + 1j * rows
        contours = contour_points(coefficients * stride, self.points)
        inside: npt.NDArray[np.bool_] = np.asarray((np.abs(contours) < _FARTHEST).all((1, 2)))
        return contours[inside].astype(np.int32), inside

    def _formed(self, contours: FloatArray) -> FloatArray:
        if self.form == "poly":
            return contours
        quads = [cv2.boxPoints(cv2.minAreaRect(contour)) for contour in contours]
        return np.asarray(quads, np.float32).reshape(-1, 4, 2)


def _grouped(owners: npt.NDArray[np.int32], count: int) -> list[npt.NDArray[np.intp]]:
    """Indices of the members of every label that has any, in their order."""
    order = np.argsort(owners, kind="stable")
    borders = np.searchsorted(owners[order], np.arange(1, count + 1))
    return [order[a:b] for a, b in itertools.pairwise(borders) if b > a]
