"""Dice losses between probability maps and binary regions (Milletari et al., 3DV 2016)."""

import torch
from torch import Tensor

__all__ = ["DICE_EPS", "SQUARED_DICE_SMOOTH", "dice_loss", "squared_dice_loss"]

DICE_EPS = 1e-6
"""Added to the denominator of the plain form (TCM)."""
SQUARED_DICE_SMOOTH = 1e-3
"""Added to numerator and both denominators of the squared form (PAN)."""


def dice_loss(logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """1 - 2 sum(p t) / (sum p + sum t + 1e-6) with p = sigmoid(logits), all sums over every element at once.

    Without any positive the value is 1 and the gradient zero: the overlap does not see false positives then.

    Args:
        logits: any shape, before the sigmoid; computed in float32.
        target: same shape, values in [0, 1].
        mask: same shape, weights in [0, 1] of both p and t; 0 = do not care. ``None``: every element counts.

    Returns:
        A scalar in [0, 1]; 1 for an empty tensor, connected to ``logits``.

    Raises:
        ValueError: the shapes differ.
    """
    probabilities, target = _masked(logits, target, mask)
    overlap = (probabilities * target).sum()
    return 1 - 2 * overlap / (probabilities.sum() + target.sum() + DICE_EPS)


def squared_dice_loss(logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Per image 1 - 2 (sum(p t) + s) / ((sum p^2 + s) + (sum t^2 + s)), s = 1e-3, then the mean (PAN).

    Args:
        logits: (B, ...) before the sigmoid; computed in float32.
        target: same shape; made binary at 0.5.
        mask: same shape, 1 where an element counts; ``None``: everywhere.

    Returns:
        A scalar; 0 for an empty batch, connected to ``logits``.

    Raises:
        ValueError: the shapes differ.
    """
    if logits.shape[0] == 0:
        return logits.float().sum()
    probabilities, target = _masked(logits, (target > 0.5).float(), mask)
    probabilities, target = probabilities.flatten(1), target.flatten(1)
    overlap = (probabilities * target).sum(1) + SQUARED_DICE_SMOOTH
    total = probabilities.square().sum(1) + target.square().sum(1) + 2 * SQUARED_DICE_SMOOTH
    return (1 - 2 * overlap / total).mean()


def _masked(logits: Tensor, target: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Probabilities and target in float32, both multiplied by the mask."""
    if logits.shape != target.shape or (mask is not None and mask.shape != logits.shape):
        # Broadcasting here would silently weigh every image by every other one's target.
        shapes = [tuple(t.shape) for t in (logits, target, mask) if t is not None]
        raise ValueError(f"logits, target and mask must have one shape, got {shapes}")
    probabilities, target = torch.sigmoid(logits.float()), target.float()
    return (probabilities, target) if mask is None else (probabilities * mask.float(), target * mask.float())
