"""Random fields: the raw material of textures and of uneven light."""

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["Field", "fractal_noise", "grain", "ramp"]

Field = npt.NDArray[np.float32]


def fractal_noise(
    rng: np.random.Generator,
    height: int,
    width: int,
    *,
    cell: float,
    octaves: int = 4,
    gain: float = 0.5,
    aspect: float = 1.0,
) -> Field:
    """Value noise summed over octaves.

    Args:
        rng: source of randomness.
        height: pixels.
        width: pixels.
        cell: size of the largest features in pixels.
        octaves: number of layers, each with half the feature size of the one before.
        gain: amplitude of a layer relative to the one before.
        aspect: width of a feature divided by its height (wood grain, brushed metal: large).

    Returns:
        (height, width) float32 with mean near 0.5, stretched to [0, 1].
    """
    total = np.zeros((height, width), np.float32)
    amplitude = 1.0
    for octave in range(octaves):
        size = cell / 2**octave
        if size < 1:
            break
        grid = (int(np.ceil(width / (size * aspect))) + 1, int(np.ceil(height / size)) + 1)
        layer = rng.random((grid[1], grid[0]), dtype=np.float32)
        mode = cv2.INTER_CUBIC if octave < 2 else cv2.INTER_LINEAR
        total += amplitude * cv2.resize(layer, (width, height), interpolation=mode)
        amplitude *= gain
    low, high = float(total.min()), float(total.max())
    return (total - low) / max(high - low, 1e-6)


def grain(rng: np.random.Generator, height: int, width: int) -> Field:
    """(height, width) float32 white noise, mean 0, standard deviation about 1 (sum of three uniform numbers)."""
    noise = rng.random((3, height, width), dtype=np.float32).sum(0)
    return ((noise - 1.5) * 2).astype(np.float32)


def ramp(height: int, width: int, angle: float) -> Field:
    """(height, width) float32 linear ramp from 0 to 1 along ``angle`` (radians; 0 points right, pi/2 down)."""
    x, y = np.linspace(-0.5, 0.5, width, dtype=np.float32), np.linspace(-0.5, 0.5, height, dtype=np.float32)
    field = x[None] * np.float32(np.cos(angle)) + y[:, None] * np.float32(np.sin(angle))
    low, high = float(field.min()), float(field.max())
    return (field - low) / max(high - low, 1e-6)
