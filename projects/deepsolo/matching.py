"""Which query, and which token of the encoder, answers for which text (SPEC ``deepsolo`` section 11)."""

import torch
from torch import Tensor

from fasttcm.losses.ctc import pairwise_ctc_cost
from fasttcm.losses.hungarian import assign, distance_cost, point_class_cost
from fasttcm.projects.deepsolo.proposals import curve_points
from fasttcm.projects.deepsolo.targets import ImageTargets

__all__ = ["Match", "Matcher"]

Match = tuple[Tensor, Tensor]
"""Rows of the predictions, ascending, and the instances they answer for; int64, equally long."""


class Matcher:
    """The assignment of least cost; boundaries take no part in it.

    Args:
        class_weight: factor of the class cost.
        point_weight: factor of the L1 distance of centre lines.
        text_weight: factor of the CTC cost.
        curve_class_weight: factor of the encoder's class cost.
        curve_weight: factor of the L1 distance of the encoder's centre lines.
        focal_alpha: see :mod:`fasttcm.losses.focal`.
        focal_gamma: see there.
    """

    def __init__(
        self,
        *,
        class_weight: float = 1.0,
        point_weight: float = 1.0,
        text_weight: float = 0.5,
        curve_class_weight: float = 1.0,
        curve_weight: float = 1.0,
        focal_alpha: float = 0.25,
        focal_gamma: float = 2.0,
    ) -> None:
        self.class_weight = class_weight
        self.point_weight = point_weight
        self.text_weight = text_weight
        self.curve_class_weight = curve_class_weight
        self.curve_weight = curve_weight
        self.focal_alpha = focal_alpha
        self.focal_gamma = focal_gamma

    @torch.no_grad()
    def queries(self, logits: Tensor, points: Tensor, text_logits: Tensor, targets: ImageTargets) -> Match:
        """Match the queries of one image, by class, centre line and text.

        Args:
            logits: (Q, P, 1) text logits of every point.
            points: (Q, P, 2) centre lines as fractions of the image.
            text_logits: (Q, P, V + 1) character logits, the blank last.
            targets: n texts.
        """
        cost = self.class_weight * point_class_cost(logits[..., 0], self.focal_alpha, self.focal_gamma)
        cost = cost + self.point_weight * distance_cost(points, targets.points)
        blank = text_logits.shape[2] - 1
        text_cost = pairwise_ctc_cost(text_logits, targets.classes, targets.lengths, blank)
        return assign(cost + self.text_weight * text_cost)

    @torch.no_grad()
    def tokens(self, logits: Tensor, curves: Tensor, targets: ImageTargets) -> Match:
        """Match the tokens of one image, padding included, by class and centre line.

        Args:
            logits: (S, 1) text logits.
            curves: (S, 4, 2) control points as fractions of the image.
            targets: n texts.
        """
        num_points = targets.points.shape[1]
        distance = distance_cost(curve_points(curves, num_points), curve_points(targets.curves, num_points))
        class_cost = point_class_cost(logits, self.focal_alpha, self.focal_gamma)
        return assign(self.curve_class_weight * class_cost + self.curve_weight * distance)
