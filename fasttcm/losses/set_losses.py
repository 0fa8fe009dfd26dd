"""Losses of a set of predictions after matching (DETR's family): class of all, geometry of the matched."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fasttcm.losses.focal import FOCAL_ALPHA, FOCAL_GAMMA, sigmoid_focal_loss

__all__ = ["box_giou", "focal_set_loss", "giou_set_loss", "l1_set_loss", "take_matched"]


def take_matched(values: Tensor, rows: Sequence[Tensor]) -> Tensor:
    """The matched predictions of a batch, image after image.

    Args:
        values: (B, Q, ...).
        rows: (m_i,) int64 matched predictions of each image.

    Returns:
        (sum m_i, ...).
    """
    return torch.cat([image[chosen] for image, chosen in zip(values, rows, strict=True)])


def focal_set_loss(
    logits: Tensor,
    matched: Sequence[Tensor],
    alpha: float = FOCAL_ALPHA,
    gamma: float = FOCAL_GAMMA,
    count: Tensor | float = 1.0,
) -> Tensor:
    """Focal loss of all predictions: positive where matched; summed over predictions, mean over their points.

    Args:
        logits: (B, Q, P) of P points each, before the sigmoid.
        matched: (m_i,) int64 matched predictions of each image; all their points are positive.
        alpha: weight of a positive.
        gamma: focusing exponent.
        count: what the sum is divided by (the number of instances).

    Returns:
        A scalar.
    """
    target = torch.zeros_like(logits)
    for image, rows in zip(target, matched, strict=True):
        image[rows] = 1.0
    return sigmoid_focal_loss(logits, target, alpha=alpha, gamma=gamma) / logits.shape[2] / count


def l1_set_loss(pred: Tensor, target: Tensor, count: Tensor | float) -> Tensor:
    """Sum of absolute differences divided by ``count``; 0, with zero gradient, for empty tensors."""
    return (pred - target).abs().sum() / count


def giou_set_loss(pred: Tensor, target: Tensor, count: Tensor | float) -> Tensor:
    """Sum of ``1 - GIoU`` of (m, 4) xyxy boxes divided by ``count``; 0, with zero gradient, for empty tensors."""
    return (1 - box_giou(pred, target)).sum() / count


def box_giou(first: Tensor, second: Tensor) -> Tensor:
    """Generalised IoU (Rezatofighi et al., CVPR 2019): IoU - (hull - union) / hull.

    Args:
        first: (..., 4) boxes x0 y0 x1 y1 with x0 <= x1 and y0 <= y1.
        second: likewise; the leading dimensions broadcast, (Q, 1, 4) against (n, 4) gives all pairs.

    Returns:
        (...) in [-1, 1]. Boxes without area have IoU 0; two that fall on one point have GIoU 0.
    """

    def area(boxes: Tensor) -> Tensor:
        return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])

    def extent(low: Tensor, high: Tensor) -> Tensor:
        return (high - low).clamp(min=0).prod(-1)

    inner = extent(torch.maximum(first[..., :2], second[..., :2]), torch.minimum(first[..., 2:], second[..., 2:]))
    hull = extent(torch.minimum(first[..., :2], second[..., :2]), torch.maximum(first[..., 2:], second[..., 2:]))
    union = area(first) + area(second) - inner
    tiny = torch.finfo(union.dtype).tiny
    return inner / union.clamp(min=tiny) - (hull - union) / hull.clamp(min=tiny)
