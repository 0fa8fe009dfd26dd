"""Region, centre band and Fourier series of annotated texts on three grids (FCENet; SPEC ``detectors`` 4.4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fasttcm.errors import ConfigError
from fasttcm.geometry.kernels import effective_mask, fill_polygon
from fasttcm.projects.fcenet.center import center_quads
from fasttcm.projects.fcenet.fourier import fourier_coefficients
from fasttcm.structures import FloatArray, TextTargets

__all__ = ["EVERY_SIZE", "FCETargetMaker", "FCETargets", "draw_level", "size_proportion"]

Size = tuple[int, int]

EVERY_SIZE = (0.0, 1.0)
"""Range of the proportions of all texts."""
_EPS = 1e-8
_MASKS = 3
_LEAST_POINTS = 4


@dataclass
class FCETargets:
    """Targets of N images on one level's grid.

    Attributes:
        masks: (N, 3, h, w) float32: text region, centre band, 0 where a pixel does not count.
        fourier: (N, 4 k + 2, h, w) float32: real then imaginary parts of c_-k .. c_k in cells, c_0 relative to the
            cell; meaningful inside the region.
    """

    masks: Tensor
    fourier: Tensor


def size_proportion(polygon: FloatArray, height: int) -> float:
    """Longer side of the box around the truncated points, in whole pixels, over the image height."""
    corners = np.asarray(polygon).reshape(-1, 2).astype(np.int32)
    return float((np.ptp(corners, axis=0) + 1).max()) / (height + _EPS)


def draw_level(
    kept: Sequence[FloatArray],
    ignored: Sequence[FloatArray],
    size: Size,
    *,
    degree: int,
    step: float,
    shrink: float,
) -> npt.NDArray[np.float32]:
    """The (3 + 4 k + 2, h, w) maps of one level; polygons in cells of its grid, later texts on top."""
    height, width = size
    maps = np.zeros((_MASKS + 2 * (2 * degree + 1), height, width), np.float32)
    if not height or not width:
        return maps
    masks = np.zeros((_MASKS, height, width), np.uint8)
    masks[2] = effective_mask(ignored, size)
    bands: list[npt.NDArray[np.int32]] = []
    columns, rows = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    for polygon in kept:
        coefficients = fourier_coefficients(polygon, degree)
        if not len(coefficients):
            continue
        region = np.zeros((height, width), np.uint8)
        fill_polygon(region, polygon, 1)
        masks[0] |= region
        bands.extend(center_quads(polygon, step=step, shrink=shrink))
        inside = region > 0
        series = np.concatenate([coefficients.real, coefficients.imag]).astype(np.float32)
        maps[_MASKS:, inside] = series[:, None]
        maps[_MASKS + degree][inside] -= np.broadcast_to(columns, region.shape)[inside]
        maps[_MASKS + 3 * degree + 1][inside] -= np.broadcast_to(rows, region.shape)[inside]
    if bands:
        # One call as published: where two quadrilaterals overlap, the even-odd rule leaves a hole.
        cv2.fillPoly(masks[1], bands, 1)
    maps[:_MASKS] = masks
    return maps


class FCETargetMaker:
    """Gives every text to the levels of its size and draws it there.

    Args:
        strides: input pixels per cell of the levels.
        ranges: of every level, the size proportions (see :func:`size_proportion`) of its texts, both ends excluded;
            ranges overlap, so that some texts belong to two levels.
        degree: highest order of the series.
        step: distance of the points along a text's sides, in cells.
        shrink: see :func:`~fasttcm.projects.fcenet.center.center_quads`.

    Raises:
        ConfigError: the ranges do not fit the strides.
    """

    def __init__(
        self,
        *,
        strides: Sequence[int] = (8, 16, 32),
        ranges: Sequence[Sequence[float]] = ((0.0, 0.4), (0.3, 0.7), (0.6, 1.0)),
        degree: int = 5,
        step: float = 4.0,
        shrink: float = 0.3,
    ) -> None:
        if len(ranges) != len(strides) or any(len(limits) != 2 for limits in ranges):
            raise ConfigError(f"{len(strides)} levels need as many ranges of two numbers, got {list(ranges)}")
        self.strides = tuple(strides)
        self.ranges = [(float(low), float(high)) for low, high in ranges]
        self.degree = degree
        self.step = step
        self.shrink = shrink

    def draw(
        self, targets: TextTargets, size: Size, stride: int, limits: tuple[float, float]
    ) -> npt.NDArray[np.float32]:
        """Maps (3 + 4 k + 2, h // stride, w // stride) of one image and level.

        Polygons of fewer than four points, with coordinates that are not finite, or without length draw nothing.
        """
        low, high = limits
        kept: list[FloatArray] = []
        ignored: list[FloatArray] = []
        for polygon, ignore in zip(targets.polygons, targets.ignore.tolist(), strict=True):
            polygon = np.asarray(polygon, np.float32).reshape(-1, 2)
            usable = len(polygon) >= _LEAST_POINTS and bool(np.isfinite(polygon).all())
            if usable and low < size_proportion(polygon, size[0]) < high:
                (ignored if ignore else kept).append(polygon / stride)
        return draw_level(
            kept,
            ignored,
            (size[0] // stride, size[1] // stride),
            degree=self.degree,
            step=self.step,
            shrink=self.shrink,
        )

    def __call__(
        self,
        targets: Sequence[TextTargets],
        image_sizes: Sequence[Size],
        padded_size: Size,
        device: torch.device | str = "cpu",
    ) -> list[FCETargets]:
        """Targets of a batch, one entry a level.

        Args:
            targets: N annotations in pixels of the unpadded images.
            image_sizes: their heights and widths.
            padded_size: height and width of the batch.
            device: where the result is put.
        """
        return [
            self.level(targets, image_sizes, padded_size, stride, limits, device)
            for stride, limits in zip(self.strides, self.ranges, strict=True)
        ]

    def level(
        self,
        targets: Sequence[TextTargets],
        image_sizes: Sequence[Size],
        padded_size: Size,
        stride: int,
        limits: tuple[float, float],
        device: torch.device | str = "cpu",
    ) -> FCETargets:
        """Targets of a batch on the grid of one stride, for the texts of a range of sizes; the padding is masked."""
        channels = _MASKS + 2 * (2 * self.degree + 1)
        batch = np.zeros((len(targets), channels, padded_size[0] // stride, padded_size[1] // stride), np.float32)
        for slot, image, size in zip(batch, targets, image_sizes, strict=True):
            maps = self.draw(image, size, stride, limits)
            slot[:, : maps.shape[1], : maps.shape[2]] = maps
        both = torch.from_numpy(batch).to(device)
        return FCETargets(both[:, :_MASKS], both[:, _MASKS:])
