"""Random change of brightness, contrast, saturation and hue."""

import cv2
import numpy as np
import numpy.typing as npt

from fasttcm.errors import ConfigError
from fasttcm.structures import TextTargets

__all__ = ["ColorJitter"]

Pixels = npt.NDArray[np.uint8]

GRAY_WEIGHTS = np.array([0.299, 0.587, 0.114])
"""Of red, green and blue (ITU-R 601)."""

HUE_STEPS = 256
"""OpenCV's 8-bit "full" hue circle."""


class ColorJitter:
    """Change the colours of an image; words stay where they are.

    Args:
        brightness: the factor is uniform in [1 - brightness, 1 + brightness], not below 0; 0 turns it off.
        contrast: likewise, about the mean gray value.
        saturation: likewise, between the gray picture (0) and the colourful one.
        hue: the hue turns by up to this fraction of the circle in either direction, at most 0.5.
    """

    def __init__(
        self, *, brightness: float = 0.0, contrast: float = 0.0, saturation: float = 0.0, hue: float = 0.0
    ) -> None:
        amounts = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
        for name, amount in amounts.items():
            if amount < 0 or (name == "hue" and amount > 0.5):
                raise ConfigError(f"colour jitter {name} must not be negative (hue: at most 0.5), got {amount}")
        self.amounts = amounts

    def __call__(self, image: Pixels, targets: TextTargets, rng: np.random.Generator) -> tuple[Pixels, TextTargets]:
        """The four changes in a random order; image (h, w, 3) uint8 RGB."""
        names = list(self.amounts)
        for place in rng.permutation(len(names)):
            name, amount = names[place], self.amounts[names[place]]
            draw = float(rng.uniform(-amount, amount))
            if amount > 0:
                image = _turn_hue(image, draw) if name == "hue" else _blend(image, name, max(0.0, 1.0 + draw))
        return image, targets


def _blend(image: Pixels, name: str, factor: float) -> Pixels:
    """``factor`` times the image plus ``1 - factor`` times black, its mean gray, or its gray picture."""
    if name == "saturation":
        mix = factor * np.eye(3) + (1.0 - factor) * np.tile(GRAY_WEIGHTS, (3, 1))
        return cv2.transform(image, mix).astype(np.uint8, copy=False)
    other = 0 if name == "brightness" else round(float(np.dot(GRAY_WEIGHTS, cv2.mean(image)[:3])))
    table = np.rint(factor * np.arange(256.0) + (1.0 - factor) * other)
    return cv2.LUT(image, np.clip(table, 0, 255).astype(np.uint8)).astype(np.uint8, copy=False)


def _turn_hue(image: Pixels, fraction: float) -> Pixels:
    """Hue moved by ``fraction`` of the circle."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    hsv[..., 0] += np.uint8(round(fraction * HUE_STEPS) % HUE_STEPS)  # wraps around by itself
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL).astype(np.uint8, copy=False)
