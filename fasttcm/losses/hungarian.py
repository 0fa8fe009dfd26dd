"""Bipartite matching of predictions and ground truth (DETR, Carion et al., ECCV 2020, section 3.1)."""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from fasttcm.losses.focal import FOCAL_ALPHA, FOCAL_GAMMA

__all__ = ["assign", "distance_cost", "focal_class_cost", "point_class_cost"]

_LOG_EPS = 1e-8
"""Added to the probabilities under the logarithms (Deformable DETR)."""


def focal_class_cost(prob: Tensor, alpha: float = FOCAL_ALPHA, gamma: float = FOCAL_GAMMA) -> Tensor:
    """What it costs to call an entry positive rather than negative, by the focal loss.

    Args:
        prob: any shape, probabilities in [0, 1].
        alpha: weight of a positive.
        gamma: focusing exponent.

    Returns:
        The same shape: ``alpha (1 - p)^gamma (-log(p + 1e-8)) - (1 - alpha) p^gamma (-log(1 - p + 1e-8))``.
    """
    positive = alpha * (1 - prob) ** gamma * -(prob + _LOG_EPS).log()
    negative = (1 - alpha) * prob**gamma * -(1 - prob + _LOG_EPS).log()
    return positive - negative


def point_class_cost(logits: Tensor, alpha: float = FOCAL_ALPHA, gamma: float = FOCAL_GAMMA) -> Tensor:
    """(Q, 1) float32 costs of predictions with logits (Q, P) at P points: the mean of :func:`focal_class_cost`."""
    return focal_class_cost(logits.float().sigmoid(), alpha, gamma).mean(1, keepdim=True)


def distance_cost(predicted: Tensor, wanted: Tensor) -> Tensor:
    """(Q, ...) and (n, ...) numbers to the (Q, n) float32 sums of absolute differences."""
    return torch.cdist(predicted.float().flatten(1), wanted.float().flatten(1), p=1)


def assign(cost: Tensor) -> tuple[Tensor, Tensor]:
    """The one-to-one assignment of least total cost.

    Solved on the CPU in double precision. Costs that are not finite count as worse than every finite one, so that a
    model that has diverged still reaches its loss, where the NaN is seen and reported together with the batch.

    Args:
        cost: (Q, n) of Q predictions and n instances; either may be 0, and Q may be less than n.

    Returns:
        Predictions and instances of the min(Q, n) pairs, int64 on the device of ``cost``, predictions ascending.
    """
    matrix = cost.detach().to("cpu", torch.float64)
    finite = matrix.isfinite()
    if not finite.all():
        worst = float(matrix[finite].abs().max()) if finite.any() else 0.0
        matrix = torch.where(finite, matrix, 2 * worst + 1)
    rows, columns = linear_sum_assignment(matrix.numpy())
    return torch.as_tensor(rows, device=cost.device), torch.as_tensor(columns, device=cost.device)
