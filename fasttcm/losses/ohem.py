"""Online hard example mining on pixels (PSENet, Wang et al., CVPR 2019; PAN, ICCV 2019)."""

import torch
from torch import Tensor

from fasttcm.losses.dice import squared_dice_loss

__all__ = ["OHEM_RATIO", "ohem_dice_loss", "ohem_mask"]

OHEM_RATIO = 3
"""Negatives kept per positive (PAN section 3.4)."""


def ohem_mask(logits: Tensor, target: Tensor, mask: Tensor, *, negative_ratio: int = OHEM_RATIO) -> Tensor:
    """Choose the positives and the hardest negatives of every image.

    Args:
        logits: (B, ...) higher = text.
        target: same shape; text where above 0.5.
        mask: same shape; an element counts where above 0.5.
        negative_ratio: negatives per positive.

    Returns:
        bool of the same shape. Per image: with n_p text elements that count and n_q = min(negative_ratio * n_p,
        number of non-text elements), the elements that count and are text or score at least the n_q-th largest logit
        among all non-text elements (also those that do not count, as published; ties are all kept). When n_p or n_q
        is 0: all elements that count.

    Raises:
        ValueError: the shapes differ.
    """
    if not logits.shape == target.shape == mask.shape:
        shapes = [tuple(t.shape) for t in (logits, target, mask)]
        raise ValueError(f"logits, target and mask must have one shape, got {shapes}")
    chosen = [
        _ohem_image(score, text, counts, negative_ratio)
        for score, text, counts in zip(logits.detach(), target > 0.5, mask > 0.5, strict=True)
    ]
    return torch.stack(chosen) if chosen else torch.zeros_like(mask, dtype=torch.bool)


def _ohem_image(score: Tensor, text: Tensor, counts: Tensor, negative_ratio: int) -> Tensor:
    background = score[~text]
    num_positive = int((text & counts).sum())
    num_negative = min(negative_ratio * num_positive, background.numel())
    if num_negative == 0:
        return counts
    threshold = background.topk(num_negative).values[-1]
    return ((score >= threshold) | text) & counts


def ohem_dice_loss(logits: Tensor, target: Tensor, mask: Tensor, *, negative_ratio: int = OHEM_RATIO) -> Tensor:
    """Squared dice loss, mean over images, on the elements that :func:`ohem_mask` chooses; shapes as there.

    Returns:
        A scalar; 0 for an empty batch, connected to ``logits``.
    """
    return squared_dice_loss(logits, target, ohem_mask(logits, target, mask, negative_ratio=negative_ratio))
