"""Sigmoid focal loss, summed: dense heads divide by their own count of positives."""

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss as elementwise_focal_loss

__all__ = ["FOCAL_ALPHA", "FOCAL_GAMMA", "class_focal_loss", "sigmoid_focal_loss"]

FOCAL_ALPHA = 0.25
"""Weight of a positive against ``1 - alpha`` of a negative (RetinaNet, section 4.1)."""

FOCAL_GAMMA = 2.0
"""How fast the loss of a well classified entry fades (RetinaNet, section 4.1)."""


def sigmoid_focal_loss(
    logits: Tensor, targets: Tensor, *, alpha: float = FOCAL_ALPHA, gamma: float = FOCAL_GAMMA
) -> Tensor:
    """Focal loss over independent classes (Lin et al., ICCV 2017).

    Args:
        logits: any shape, before the sigmoid.
        targets: the same shape, 1 for positive and 0 for negative.
        alpha: see :data:`FOCAL_ALPHA`.
        gamma: see :data:`FOCAL_GAMMA`.

    Returns:
        The sum over all entries, a float32 (or float64) scalar; 0 without entries.
    """
    dtype = torch.promote_types(logits.dtype, torch.float32)
    loss: Tensor = elementwise_focal_loss(logits.to(dtype), targets.to(dtype), alpha, gamma, "sum")
    return loss


def class_focal_loss(
    logits: Tensor, labels: Tensor, *, alpha: float = FOCAL_ALPHA, gamma: float = FOCAL_GAMMA
) -> Tensor:
    """Focal loss of class numbers.

    Args:
        logits: (M, K) of K classes, before the sigmoid.
        labels: (M,) int64 in ``0 .. K``; K is background, negative for every class.
        alpha: see :data:`FOCAL_ALPHA`.
        gamma: see :data:`FOCAL_GAMMA`.

    Returns:
        The sum over all entries, as :func:`sigmoid_focal_loss`.
    """
    one_hot = F.one_hot(labels, logits.shape[1] + 1)[:, :-1]
    return sigmoid_focal_loss(logits, one_hot, alpha=alpha, gamma=gamma)
