"""Augmentation of PAN's training images (SPEC ``detectors`` section 8): scale, mirror, small turn, crop at text.

Transforms as in :mod:`fasttcm.data.augment`. Words are moved as polygons and drawn afterwards; the published pipeline
draws the targets first and moves the drawings.
"""

import math

import cv2
import numpy as np
import numpy.typing as npt
import torch

from fasttcm.data.augment import ColorJitter, Transform, crop, move_targets, resize
from fasttcm.errors import ConfigError
from fasttcm.structures import FloatArray, TextTargets

__all__ = ["HorizontalFlip", "ScaleAspectJitter", "SmallRotation", "TextCrop", "mirror_targets", "pan_transforms"]

Pixels = npt.NDArray[np.uint8]

FILL = (124, 116, 104)
"""ImageNet's mean colour: what the published zero after normalisation is."""

_MAX_ANGLE = 10.0
_CROP_AT_TEXT = 5 / 8


def pan_transforms(*, size: int, brightness: float = 32 / 255, saturation: float = 0.5) -> list[Transform]:
    """PAN's pipeline for square crops of ``size`` pixels (736 for ICDAR 2015 with TCM, else 640)."""
    return [
        ColorJitter(brightness=brightness, saturation=saturation),
        ScaleAspectJitter(short_side=size),
        HorizontalFlip(),
        SmallRotation(degrees=_MAX_ANGLE),
        TextCrop(size=size),
    ]


def mirror_targets(targets: TextTargets, *, across: float | None = None, down: float | None = None) -> TextTargets:
    """Words in a mirror; corners stay clockwise from the upper left one, curves run along the upper side first.

    Args:
        targets: n words.
        across: abscissae x become ``across - x``; ``None`` leaves them.
        down: ordinates y become ``down - y``; ``None`` leaves them.
    """
    matrix = np.asarray([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    if across is not None:
        matrix[0] = -1.0, 0.0, across
    if down is not None:
        matrix[1] = 0.0, -1.0, down
    moved = move_targets(targets, matrix)

    def ordered(points: FloatArray) -> FloatArray:
        half = (len(points) + 1) // 2
        first, second = points[:half], points[half:]
        if down is not None:
            first, second = second, first
        if (across is None) != (down is None):
            first, second = first[::-1], second[::-1]
        return np.concatenate([first, second])

    polygons = [ordered(polygon) for polygon in moved.polygons]
    curves = [ordered(curve) for curve in moved.beziers.numpy().reshape(-1, 8, 2)]
    beziers = torch.from_numpy(np.asarray(curves, np.float32).reshape(-1, 16))
    return TextTargets(polygons, beziers, moved.boxes, moved.texts, moved.ignore, moved.labels)


class ScaleAspectJitter:
    """Resize so that the short side is near a length, with a random factor and a random change of aspect.

    Args:
        short_side: pixels.
        scale_range: of the factor.
        aspect_range: of the change of height over width.
    """

    def __init__(
        self,
        *,
        short_side: int,
        scale_range: tuple[float, float] = (0.7, 1.3),
        aspect_range: tuple[float, float] = (0.9, 1.1),
    ) -> None:
        if short_side < 1 or min(*scale_range, *aspect_range) <= 0:
            raise ConfigError(f"jitter needs positive sizes, got {short_side}, {scale_range}, {aspect_range}")
        self.short_side = short_side
        self.scale_range = scale_range
        self.aspect_range = aspect_range

    def __call__(self, image: Pixels, targets: TextTargets, rng: np.random.Generator) -> tuple[Pixels, TextTargets]:
        """See :class:`~fasttcm.data.augment.Transform`."""
        height, width = image.shape[:2]
        scale = float(rng.uniform(*self.scale_range)) * self.short_side / min(height, width)
        aspect = math.sqrt(float(rng.uniform(*self.aspect_range)))
        return resize(image, targets, max(1, int(height * scale * aspect)), max(1, int(width * scale / aspect)))


class HorizontalFlip:
    """Mirror left and right.

    Args:
        probability: of doing so.
    """

    def __init__(self, *, probability: float = 0.5) -> None:
        self.probability = probability

    def __call__(self, image: Pixels, targets: TextTargets, rng: np.random.Generator) -> tuple[Pixels, TextTargets]:
        """See :class:`~fasttcm.data.augment.Transform`."""
        if rng.random() >= self.probability:
            return image, targets
        return np.ascontiguousarray(image[:, ::-1]), mirror_targets(targets, across=float(image.shape[1]))


class SmallRotation:
    """Turn about the centre on the same canvas; nearest neighbour, the mean colour outside.

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
        turned = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_NEAREST, borderValue=FILL)
        return turned.astype(np.uint8, copy=False), move_targets(targets, np.column_stack([linear, shift]))


class TextCrop:
    """Cut out a square, or less where the image is smaller: mostly one that meets a random legible word.

    Args:
        size: side in pixels.
        at_text: probability that the window must meet a word; otherwise it lies anywhere.
    """

    def __init__(self, *, size: int, at_text: float = _CROP_AT_TEXT) -> None:
        if size < 1:
            raise ConfigError(f"crop size must be positive, got {size}")
        self.size = size
        self.at_text = at_text

    def __call__(self, image: Pixels, targets: TextTargets, rng: np.random.Generator) -> tuple[Pixels, TextTargets]:
        """See :class:`~fasttcm.data.augment.Transform`."""
        limits = np.asarray([image.shape[1], image.shape[0]])
        side = np.minimum(limits, self.size)
        first, last = np.zeros(2, int), limits - side
        boxes = targets.boxes[~targets.ignore].double().numpy()
        if len(boxes) and rng.random() < self.at_text:
            box = boxes[int(rng.integers(len(boxes)))]
            first = np.clip(np.floor(box[:2]).astype(int) - side + 1, 0, last)
            last = np.clip(np.ceil(box[2:]).astype(int) - 1, first, last)
        x0, y0 = (int(value) for value in rng.integers(first, last, endpoint=True))
        return crop(image, targets, x0, y0, int(side[0]), int(side[1]))
