"""Overlap losses of boxes given as distances from one point to the four sides."""

import torch
from torch import Tensor

__all__ = ["giou_loss_ltrb", "iou_ltrb"]


def iou_ltrb(pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU of boxes around the same points, as FCOS defines them.

    Both boxes contain the point, so the intersection takes the smaller and the hull the larger of each distance. FCOS
    adds 1 (a squared unit of the distances) to both areas of the IoU but to neither of the hull term; kept, since
    published losses and weights rest on it.

    Args:
        pred: (M, 4) distances left, top, right, bottom, not negative.
        target: (M, 4) likewise.

    Returns:
        IoU (M,) and GIoU (M,) in float32 (or float64). Where both boxes are empty, GIoU is IoU.
    """
    dtype = torch.promote_types(pred.dtype, torch.float32)
    pred, target = pred.to(dtype), target.to(dtype)

    def area(sides: Tensor) -> Tensor:
        return (sides[:, 0] + sides[:, 2]) * (sides[:, 1] + sides[:, 3])

    inner, hull = area(torch.minimum(pred, target)), area(torch.maximum(pred, target))
    union = area(pred) + area(target) - inner
    iou = (inner + 1.0) / (union + 1.0)
    tiny = torch.finfo(dtype).tiny
    return iou, iou - (hull - union) / hull.clamp(min=tiny)


def giou_loss_ltrb(pred: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Sum of ``1 - GIoU``, each times its weight.

    Args:
        pred: (M, 4) distances left, top, right, bottom, not negative.
        target: (M, 4) likewise.
        weights: (M,), or ``None`` for 1.

    Returns:
        A scalar; 0, with zero gradient, when M is 0.
    """
    loss = 1.0 - iou_ltrb(pred, target)[1]
    return (loss if weights is None else loss * weights).sum()
