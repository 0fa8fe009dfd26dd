"""Kernels and threshold maps of annotated texts (DBNet, section 3.4; SPEC ``detectors`` 4.2)."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fasttcm.errors import ConfigError
from fasttcm.geometry import polygon_area, polygon_box, polygon_perimeter
from fasttcm.geometry.kernels import draw_kernels, effective_mask, fill_polygon, offset_polygon
from fasttcm.structures import FloatArray, TextTargets

__all__ = ["DBTargetMaker", "DBTargets", "ImageMaps", "border_map"]

_MIN_AREA = 1.0
"""Square pixels; a smaller text does not count."""
_EPS = float(np.finfo(np.float32).eps)
"""Added to the squared length of an edge."""


@dataclass
class ImageMaps:
    """Targets of one image, each (h, w).

    Attributes:
        kernels: int32 number of the text whose kernel a pixel belongs to, from 1; 0 for background.
        mask: uint8, 0 where a pixel counts for neither text nor background.
        threshold: float32, ``thr_max`` on an outline falling to ``thr_min`` at the distance of the kernel's border.
        threshold_mask: uint8, 1 within that distance outside an outline, and inside it.
    """

    kernels: npt.NDArray[np.int32]
    mask: npt.NDArray[np.uint8]
    threshold: npt.NDArray[np.float32]
    threshold_mask: npt.NDArray[np.uint8]


@dataclass
class DBTargets:
    """Targets of N images of one padded batch, each (N, H, W) float32; the padding counts nowhere.

    Attributes:
        kernel: 1 inside a text kernel.
        mask: 0 inside illegible and tiny texts.
        threshold: see :class:`ImageMaps`.
        threshold_mask: 1 where the threshold is learned.
    """

    kernel: Tensor
    mask: Tensor
    threshold: Tensor
    threshold_mask: Tensor


def border_map(polygon: FloatArray, reach: float, x0: int, y0: int, width: int, height: int) -> FloatArray:
    """Nearness to an outline: 1 on it, falling linearly to 0 at ``reach`` pixels.

    The distance to an edge is that to its line inside the circle that has the edge for diameter, and that to the nearer
    end outside it (published: farther away from the middle of an edge than half its length, pixels seem farther off).

    Args:
        polygon: (p, 2) outline in pixels.
        reach: pixels, positive.
        x0: left column of the window.
        y0: top row of the window.
        width: columns of the window.
        height: rows of the window.

    Returns:
        (height, width) float64 in [0, 1].
    """
    points = np.asarray(polygon, np.float64).reshape(-1, 2)
    to_x = np.arange(x0, x0 + width) - points[:, :1]  # (p, width)
    to_y = np.arange(y0, y0 + height) - points[:, 1:]  # (p, height)
    squared = to_y[:, :, None] ** 2 + to_x[:, None, :] ** 2
    nearest = squared.min(0)
    edges = np.roll(points, -1, axis=0) - points
    lengths = (edges**2).sum(1)
    for i, (edge, length) in enumerate(zip(edges, lengths, strict=True)):
        cross = edge[0] * to_y[i][:, None] - edge[1] * to_x[i]
        within = squared[i] + squared[(i + 1) % len(points)] <= length
        np.minimum(nearest, cross**2 / (length + _EPS), out=nearest, where=within)
    return np.asarray(1 - np.minimum(np.sqrt(nearest) / reach, 1), np.float64)


class DBTargetMaker:
    """Draws kernels and threshold maps.

    Args:
        shrink_ratio: of the kernels, in (0, 1).
        thr_min: least threshold.
        thr_max: greatest threshold.
        min_short_side: pixels; a text whose smallest enclosing rectangle is thinner does not count.

    Raises:
        ConfigError: an argument outside its range.
    """

    def __init__(
        self,
        *,
        shrink_ratio: float = 0.4,
        thr_min: float = 0.3,
        thr_max: float = 0.7,
        min_short_side: float = 8.0,
    ) -> None:
        if not 0 < shrink_ratio < 1:
            raise ConfigError(f"the shrink ratio must lie between 0 and 1, got {shrink_ratio}")
        if not 0 <= thr_min < thr_max <= 1:
            raise ConfigError(f"thresholds must be 0 <= min < max <= 1, got {thr_min} and {thr_max}")
        self.shrink_ratio = shrink_ratio
        self.thr_min = thr_min
        self.thr_max = thr_max
        self.min_short_side = min_short_side

    def draw(self, targets: TextTargets, size: tuple[int, int]) -> ImageMaps:
        """Maps of one image.

        A text that is too small (less than one square pixel, or thinner than ``min_short_side``), that is no polygon
        (fewer than 3 points, NaN), or of which nothing is left when it shrinks, is ignored: neither text nor
        background. A text that falls apart when it shrinks keeps one part, as published.

        Args:
            targets: texts in pixels of the image.
            size: its height and width.
        """
        ignored = targets.ignore.tolist()
        counts = [
            not ignore and self._is_large_enough(polygon)
            for polygon, ignore in zip(targets.polygons, ignored, strict=True)
        ]
        kept = [polygon for polygon, fine in zip(targets.polygons, counts, strict=True) if fine]
        hidden = [polygon for polygon, fine in zip(targets.polygons, counts, strict=True) if not fine]
        kernels, vanished = draw_kernels(kept, size, self.shrink_ratio)
        hidden += [kept[t] for t in vanished]
        threshold, threshold_mask = self._threshold_map(
            [polygon for t, polygon in enumerate(kept) if t not in vanished], size
        )
        return ImageMaps(kernels, effective_mask(hidden, size), threshold, threshold_mask)

    def _is_large_enough(self, polygon: FloatArray) -> bool:
        points = np.asarray(polygon, np.float32).reshape(-1, 2)
        if len(points) < 3 or not np.isfinite(points).all() or abs(polygon_area(points)) < _MIN_AREA:
            return False
        return min(cv2.minAreaRect(points.astype(np.int32))[1]) >= self.min_short_side

    def _threshold_map(
        self, polygons: Sequence[FloatArray], size: tuple[int, int]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
        nearness, mask = np.zeros(size, np.float32), np.zeros(size, np.uint8)
        for polygon in polygons:
            points = np.asarray(polygon, np.float32).reshape(-1, 2).astype(np.float64)
            reach = abs(polygon_area(points)) * (1 - self.shrink_ratio**2) / polygon_perimeter(points)
            rings = offset_polygon(points, reach)
            if not rings:  # no area left in whole pixels
                continue
            fill_polygon(mask, rings[0], 1)
            x0, y0, x1, y1 = polygon_box(rings[0].astype(np.float64)).astype(int)
            x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1 + 1, size[1]), min(y1 + 1, size[0])
            if x0 < x1 and y0 < y1:
                window = nearness[y0:y1, x0:x1]
                np.maximum(window, border_map(points, reach, x0, y0, x1 - x0, y1 - y0), out=window, casting="unsafe")
        return nearness * (self.thr_max - self.thr_min) + self.thr_min, mask

    def __call__(
        self,
        targets: Sequence[TextTargets],
        image_sizes: Sequence[tuple[int, int]],
        padded_size: tuple[int, int],
        device: torch.device | str = "cpu",
    ) -> DBTargets:
        """Targets of a batch.

        Args:
            targets: N annotations in pixels of the unpadded images.
            image_sizes: their heights and widths.
            padded_size: height and width of the batch.
            device: where the result is put.
        """
        maps = np.zeros((4, len(targets), *padded_size), np.float32)
        for n, (image, (height, width)) in enumerate(zip(targets, image_sizes, strict=True)):
            drawn = self.draw(image, (height, width))
            for channel, values in enumerate((drawn.kernels > 0, drawn.mask, drawn.threshold, drawn.threshold_mask)):
                maps[channel, n, :height, :width] = values
        return DBTargets(*torch.from_numpy(maps).to(device))
