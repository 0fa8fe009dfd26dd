"""Which query, and which token of the encoder, answers for which text (SPEC ``testr`` section 7)."""

import torch
from torch import Tensor
from torchvision.ops import box_convert

from fasttcm.losses.hungarian import assign, distance_cost, point_class_cost
from fasttcm.losses.set_losses import box_giou
from fasttcm.projects.testr.targets import ImageTargets

__all__ = ["Match", "Matcher"]

Match = tuple[Tensor, Tensor]
"""Rows of the predictions, ascending, and the instances they answer for; int64, equally long."""


class Matcher:
    """The assignment of least cost; what was read takes no part in it.

    Args:
        class_weight: factor of the class cost.
        point_weight: factor of the L1 distance of outlines.
        box_weight: factor of the L1 distance of boxes.
        giou_weight: factor of the generalised IoU of boxes.
        focal_alpha: see :mod:`fasttcm.losses.focal`.
        focal_gamma: see there.
    """

    def __init__(
        self,
        *,
        class_weight: float = 2.0,
        point_weight: float = 5.0,
        box_weight: float = 5.0,
        giou_weight: float = 2.0,
        focal_alpha: float = 0.25,
        focal_gamma: float = 2.0,
    ) -> None:
        self.class_weight = class_weight
        self.point_weight = point_weight
        self.box_weight = box_weight
        self.giou_weight = giou_weight
        self.focal_alpha = focal_alpha
        self.focal_gamma = focal_gamma

    @torch.no_grad()
    def queries(self, logits: Tensor, points: Tensor, targets: ImageTargets) -> Match:
        """Match the queries of one image, by class and outline.

        Args:
            logits: (Q, N) text logits of every point.
            points: (Q, N, 2) outlines in fractions of the image.
            targets: n texts.
        """
        cost = self.class_weight * point_class_cost(logits, self.focal_alpha, self.focal_gamma)
        return assign(cost + self.point_weight * distance_cost(points, targets.points))

    @torch.no_grad()
    def tokens(self, logits: Tensor, boxes: Tensor, targets: ImageTargets) -> Match:
        """Match the tokens of one image, by class and box.

        Args:
            logits: (S, 1) text logits.
            boxes: (S, 4) centre x, centre y, width, height in fractions of the image.
            targets: n texts.
        """
        boxes = boxes.float()
        corners = box_convert(boxes, "cxcywh", "xyxy")[:, None]
        overlap = box_giou(corners, box_convert(targets.boxes, "cxcywh", "xyxy"))
        cost = self.box_weight * distance_cost(boxes, targets.boxes)
        cost = cost + self.class_weight * point_class_cost(logits, self.focal_alpha, self.focal_gamma)
        return assign(cost - self.giou_weight * overlap)
