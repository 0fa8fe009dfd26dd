"""Augmentation of DeepSolo's training images (SPEC ``deepsolo`` section 15): turn, crop, resize, then four colours.

Transforms as in :mod:`fasttcm.data.augment`. The order matters: a crop after the rotation cuts the turned picture, so
that no word is cut by it, and its frame is upright.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from fasttcm.data.augment import InstanceCrop, RandomRotation, ResizeShortestEdge, Transform
from fasttcm.data.color import GRAY_WEIGHTS
from fasttcm.errors import ConfigError
from fasttcm.structures import TextTargets

__all__ = ["ColorSequence", "deepsolo_transforms"]

Pixels = npt.NDArray[np.uint8]

LEVELS = np.arange(256, dtype=np.float32)
"""Every gray level."""

LIGHT_DIRECTIONS = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]], np.float32
)
"""Principal components of ImageNet's colours (Krizhevsky et al., NeurIPS 2012): rows red, green, blue."""

LIGHT_VARIANCES = np.array([0.2175, 0.0188, 0.0045], np.float32)
"""Of the components, for colours in 0 .. 1."""


def deepsolo_transforms(
    *,
    degrees: float,
    crop_size: tuple[float, float] | None,
    min_sizes: Sequence[int],
    max_size: int,
    contrast: float,
    brightness: float,
    lighting: float,
    saturation: float,
) -> list[Transform]:
    """DeepSolo's pipeline.

    Args:
        degrees: largest angle in either direction; 0 turns nothing.
        crop_size: range of a crop's sides, as a fraction of the image's; ``None`` crops nothing.
        min_sizes: short sides to choose from, pixels.
        max_size: limit of the long side, pixels.
        contrast, brightness, lighting, saturation: see :class:`ColorSequence`.
    """
    transforms: list[Transform] = []
    if degrees:
        transforms.append(RandomRotation(degrees=degrees, tight_boxes=False))
    if crop_size is not None:
        transforms.append(InstanceCrop(size_range=crop_size))
    colors = ColorSequence(contrast=contrast, brightness=brightness, lighting=lighting, saturation=saturation)
    return [*transforms, ResizeShortestEdge(min_sizes=min_sizes, max_size=max_size), colors]


class ColorSequence:
    """Contrast, brightness, lighting, saturation, in this order; each ends in whole gray levels, rounded down.

    Args:
        contrast: the factor is uniform in [1 - contrast, 1 + contrast], about the mean of all pixels and channels.
        brightness: likewise, about black.
        lighting: factor of a colour that is added to all pixels, drawn along the principal components of ImageNet's
            colours. Published is 1, with components for 0 .. 1 on pixels of 0 .. 255, so that it is less than a level.
        saturation: as contrast, about the gray picture.

    Raises:
        ConfigError: a negative number, or one above 1 that is not ``lighting``.
    """

    def __init__(self, *, contrast: float, brightness: float, lighting: float, saturation: float) -> None:
        self.amounts = {"contrast": contrast, "brightness": brightness, "saturation": saturation}
        for name, amount in {**self.amounts, "lighting": lighting}.items():
            if amount < 0 or (amount > 1 and name != "lighting"):
                raise ConfigError(f"colour jitter {name} must lie in [0, 1] (lighting: not negative), got {amount}")
        self.lighting = lighting

    def __call__(self, image: Pixels, targets: TextTargets, rng: np.random.Generator) -> tuple[Pixels, TextTargets]:
        """See :class:`~fasttcm.data.augment.Transform`."""
        factors = {name: float(rng.uniform(1 - amount, 1 + amount)) for name, amount in self.amounts.items()}
        # One spread a process is published; one an image keeps it a function of the image's generator.
        light = self.lighting * LIGHT_DIRECTIONS @ (rng.normal(0, rng.uniform(0.5, 1.5), 3) * LIGHT_VARIANCES)
        table = _whole(factors["contrast"] * LEVELS + (1 - factors["contrast"]) * np.float32(image.mean()))
        table = _whole(factors["brightness"] * LEVELS)[table]
        channels = _whole(LEVELS[table][:, None] + light)
        image = cv2.LUT(image, channels[None]).astype(np.uint8, copy=False)
        mix = factors["saturation"] * np.eye(3) + (1 - factors["saturation"]) * np.tile(GRAY_WEIGHTS, (3, 1))
        return _whole(np.asarray(cv2.transform(image.astype(np.float32), mix), np.float32)), targets


def _whole(values: npt.NDArray[np.floating]) -> Pixels:
    """Gray levels, rounded down."""
    return np.clip(values, 0, 255).astype(np.uint8)
