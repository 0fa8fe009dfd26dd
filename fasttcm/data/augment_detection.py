"""Augmentation of DBNet's training images (SPEC ``detectors`` section 8): mirror, turn, scale, crop between words.

Transforms as in :mod:`fasttcm.data.augment`. Colours outside the picture are ImageNet's mean: what the published
pipeline, which normalises first, fills with zeros.
"""

import math

import cv2
import numpy as np
import numpy.typing as npt

from fasttcm.data.augment import ColorJitter, Transform, crop, move_targets, resize
from fasttcm.data.augment_pan import FILL, HorizontalFlip
from fasttcm.errors import ConfigError
from fasttcm.structures import TextTargets

__all__ = ["CropBetweenWords", "RandomScale", "RotationInPlace", "db_transforms"]

Pixels = npt.NDArray[np.uint8]


def db_transforms(*, size: int, brightness: float = 32 / 255, saturation: float = 0.5) -> list[Transform]:
    """DBNet's pipeline for squares of ``size`` pixels (640 as published)."""
    return [
        ColorJitter(brightness=brightness, saturation=saturation),
        HorizontalFlip(),
        RotationInPlace(degrees=10.0),
        RandomScale(scale_range=(0.5, 3.0)),
        CropBetweenWords(size=size),
    ]


class RotationInPlace:
    """Turn about the centre on the same canvas, bilinear; what leaves it is lost.

    Args:
        degrees: largest angle in either direction.
    """

    def __init__(self, *, degrees: float) -> None:
        if not 0 <= degrees <= 180:
            raise ConfigError(f"rotation must be between 0 and 180 degrees, got {degrees}")
        self.degrees = degrees

    def __call__(self, image: Pixels, targets: TextTargets, rng: np.random.Generator) -> tuple[Pixels, TextTargets]:
        """See :class:`~fasttcm.data.augment.Transform`."""
        height, width = image.shape[:2]
        angle = math.radians(float(rng.uniform(-self.degrees, self.degrees)))
        linear = np.asarray([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        centre = np.asarray([width, height]) / 2
        shift = centre - linear @ centre
        # OpenCV counts from the centre of the first pixel, half a pixel inside our origin.
        matrix = np.column_stack([linear, shift + linear @ [0.5, 0.5] - 0.5])
        turned = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=FILL)
        return turned.astype(np.uint8, copy=False), move_targets(targets, np.column_stack([linear, shift]))


class RandomScale:
    """Resize both sides by one random factor, bicubic.

    Args:
        scale_range: of the factor.
    """

    def __init__(self, *, scale_range: tuple[float, float]) -> None:
        if not 0 < scale_range[0] <= scale_range[1]:
            raise ConfigError(f"scale_range must be 0 < low <= high, got {scale_range}")
        self.scale_range = scale_range

    def __call__(self, image: Pixels, targets: TextTargets, rng: np.random.Generator) -> tuple[Pixels, TextTargets]:
        """See :class:`~fasttcm.data.augment.Transform`."""
        scale = float(rng.uniform(*self.scale_range))
        height, width = (max(1, round(side * scale)) for side in image.shape[:2])
        scaled = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
        matrix = np.diag([width / image.shape[1], height / image.shape[0], 0])[:2]
        return scaled.astype(np.uint8, copy=False), move_targets(targets, matrix)


class CropBetweenWords:
    """Cut out a window whose border lines cross no legible word, and put it into the corner of a square (EAST).

    The window's sides are drawn among the free columns and rows; where words split these into several runs, two sides
    come from two runs. The window must hold a word. When no try gives such a window, or words leave no free line, it
    is the whole picture. (Published: the last of several runs is never drawn from.)

    Args:
        size: side of the square in pixels; the window is resized to fit it, its aspect kept.
        min_side: least side of the window, as a fraction of the picture's.
        tries: windows drawn.
    """

    def __init__(self, *, size: int, min_side: float = 0.1, tries: int = 10) -> None:
        if size < 1 or not 0 < min_side <= 1:
            raise ConfigError(f"crop needs a positive size and min_side in (0, 1], got {size}, {min_side}")
        self.size = size
        self.min_side = min_side
        self.tries = tries

    def __call__(self, image: Pixels, targets: TextTargets, rng: np.random.Generator) -> tuple[Pixels, TextTargets]:
        """See :class:`~fasttcm.data.augment.Transform`."""
        x0, y0, x1, y1 = self._window(image.shape[0], image.shape[1], targets, rng)
        part, moved = crop(image, targets, x0, y0, x1 - x0, y1 - y0)
        scale = self.size / max(part.shape[:2])
        height, width = (max(1, int(side * scale)) for side in part.shape[:2])
        part, moved = resize(part, moved, height, width)
        canvas = np.empty((self.size, self.size, 3), np.uint8)
        canvas[:] = FILL
        canvas[:height, :width] = part
        return canvas, moved

    def _window(
        self, height: int, width: int, targets: TextTargets, rng: np.random.Generator
    ) -> tuple[int, int, int, int]:
        boxes = targets.boxes[~targets.ignore].double().numpy().reshape(-1, 2, 2)
        runs = [_free_runs(boxes[:, :, axis], length) for axis, length in ((0, width), (1, height))]
        for _ in range(self.tries if all(runs) else 0):
            (x0, x1), (y0, y1) = (_two_lines(lines, rng) for lines in runs)
            if x1 - x0 < max(1, self.min_side * width) or y1 - y0 < max(1, self.min_side * height):
                continue
            # The borders cross no word, so a word is inside as a whole, or not at all.
            if ((boxes[:, 0] < [x1, y1]) & (boxes[:, 1] > [x0, y0])).all(1).any():
                return x0, y0, x1, y1
        return 0, 0, width, height


def _free_runs(spans: npt.NDArray[np.float64], length: int) -> list[npt.NDArray[np.int64]]:
    """Runs of whole positions 0 .. length that lie inside no span (n, 2)."""
    taken = np.zeros(length + 1, bool)
    for low, high in spans:
        taken[max(math.floor(low) + 1, 0) : max(math.ceil(high), 0)] = True
    free = np.flatnonzero(~taken)
    return [run for run in np.split(free, np.flatnonzero(np.diff(free) > 1) + 1) if len(run)]


def _two_lines(runs: list[npt.NDArray[np.int64]], rng: np.random.Generator) -> tuple[int, int]:
    """Two positions, ascending: of two different runs, or of the only one."""
    chosen = rng.choice(len(runs), 2, replace=False) if len(runs) > 1 else (0, 0)
    low, high = sorted(int(rng.choice(runs[int(i)])) for i in chosen)
    return low, high
