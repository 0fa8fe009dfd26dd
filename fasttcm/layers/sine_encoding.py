"""Sine and cosine encoding of positions (Vaswani et al., NeurIPS 2017) for maps and points, always in float32."""

import math

import torch
from torch import Tensor

__all__ = ["sine_map", "sine_points"]

_TEMPERATURE = 10000.0
_EPS = 1e-6
"""Keeps a row or column that is all padding finite (DETR)."""


def sine_points(values: Tensor, features: int) -> Tensor:
    """Encode numbers one by one.

    Args:
        values: (..., d) in [0, 1].
        features: encoding length of each number, even.

    Returns:
        (..., d * features) float32 (float64 for float64 values): the encodings of the d numbers one after the other.
        Feature 2 m of an encoding is ``sin(2 pi v / t)`` and 2 m + 1 is ``cos(2 pi v / t)``, where
        ``t = 10000 ** (2 m / features)``.
    """
    values = values.to(torch.promote_types(values.dtype, torch.float32))
    exponent = torch.arange(0, features, 2, dtype=values.dtype, device=values.device) / features
    angle = (values * (2 * math.pi))[..., None] / _TEMPERATURE**exponent
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(-3)


def sine_map(mask: Tensor, features: int) -> Tensor:
    """Encode where each cell of a map lies in the valid part of its image (DETR).

    Args:
        mask: (B, H, W) bool, True at padding.
        features: encoding length of an axis, even.

    Returns:
        (B, 2 * features, H, W) float32, first the encoding of y, then that of x. A coordinate is the number of valid
        cells up to the centre of this one, as a fraction of those of its column (y) or row (x).
    """
    valid = (~mask).to(torch.float32)
    fractions = []
    for axis in (1, 2):
        count = valid.cumsum(axis)
        fractions.append((count - 0.5) / (count.narrow(axis, -1, 1) + _EPS))
    return sine_points(torch.stack(fractions, -1), features).permute(0, 3, 1, 2)
