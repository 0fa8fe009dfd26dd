"""TCM's matching loss with its published broadcasting fault, to repeat published figures."""

from torch import Tensor
from torch.nn import functional as F

from fasttcm.losses.balanced_bce import NEGATIVE_RATIO

__all__ = ["broadcast_balanced_bce_loss"]

_EPS = 1e-6
"""Added to the number of chosen pixels."""


def broadcast_balanced_bce_loss(logits: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Every image's loss weighed by every image's masks.

    :func:`~fasttcm.losses.balanced_bce.balanced_bce_loss` with losses (N, 1, H, W) times masks (N, H, W), that is,
    (N, N, H, W) products, while the counts are those of the masks. For one image it is that loss.

    Args:
        logits: (N, 1, H, W) before the sigmoid.
        target: same shape, 1 inside a text.
        mask: same shape, 0 = do not care.

    Returns:
        A scalar, connected to ``logits``; 0 without positives.
    """
    target, mask = target.float(), mask.float()
    loss = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    positive, negative = (target * mask)[:, 0], ((1 - target) * mask)[:, 0]
    num_positive = int(positive.sum())
    num_negative = min(int(negative.sum()), int(NEGATIVE_RATIO * num_positive))
    hardest = (loss * negative).flatten().topk(num_negative).values
    return ((loss * positive).sum() + hardest.sum()) / (num_positive + num_negative + _EPS)
