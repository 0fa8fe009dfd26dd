"""Binary cross-entropy over all positives and the hardest negatives (DB, Liao et al., AAAI 2020)."""

from torch import Tensor
from torch.nn import functional as F

__all__ = ["NEGATIVE_RATIO", "balanced_bce_loss"]

NEGATIVE_RATIO = 3.0
"""Hard negatives kept per positive (DB section 3.4)."""
_EPS = 1e-6
"""Added to the number of chosen pixels."""


def balanced_bce_loss(
    logits: Tensor, target: Tensor, mask: Tensor | None = None, *, negative_ratio: float = NEGATIVE_RATIO
) -> Tensor:
    """Mean loss over all positives and ``negative_ratio`` times as many negatives, those of the largest loss.

    With P = target * mask, Q = (1 - target) * mask, n_p = int(sum P), n_q = min(int(sum Q), int(ratio * n_p)) and l the
    cross-entropy of each pixel: (sum(l P) + sum of the n_q largest l Q) / (n_p + n_q + 1e-6). Negatives compete over
    the whole batch. The published code multiplies (N, 1, H, W) by (N, H, W), which weighs every image by every other
    image's target; here one shape is required.

    Args:
        logits: any shape, before the sigmoid; computed in float32.
        target: same shape, values in [0, 1].
        mask: same shape, weights in [0, 1]; 0 = do not care. ``None``: every pixel counts.
        negative_ratio: negatives per positive.

    Returns:
        A scalar, connected to ``logits``; 0 without positives.

    Raises:
        ValueError: the shapes differ.
    """
    if logits.shape != target.shape or (mask is not None and mask.shape != logits.shape):
        shapes = [tuple(t.shape) for t in (logits, target, mask) if t is not None]
        raise ValueError(f"logits, target and mask must have one shape, got {shapes}")
    target = target.float()
    positive, negative = target, 1 - target
    if mask is not None:
        positive, negative = positive * mask.float(), negative * mask.float()
    num_positive = int(positive.sum())
    num_negative = min(int(negative.sum()), int(negative_ratio * num_positive))
    loss = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    hardest = (loss * negative).flatten().topk(num_negative).values
    return ((loss * positive).sum() + hardest.sum()) / (num_positive + num_negative + _EPS)
