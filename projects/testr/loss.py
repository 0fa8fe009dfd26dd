"""Losses of every decoder layer and of the encoder's proposals (SPEC ``testr`` section 8).

Their normalisers count over all processes, so that DDP's mean of the gradients is that of the joint batch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_convert

from fasttcm.losses.normalizer import process_share
from fasttcm.losses.set_losses import focal_set_loss, giou_set_loss, l1_set_loss, take_matched
from fasttcm.projects.testr.matching import Match, Matcher
from fasttcm.projects.testr.output import LayerOutput, Proposals, TESTROutput
from fasttcm.projects.testr.targets import ImageTargets

__all__ = ["SetCriterion"]


class SetCriterion:
    """Match, then add up; each layer and the encoder are matched on their own.

    Args:
        matcher: its weights of class, outline, box and overlap are the weights of the losses too.
        text_weight: factor of the text loss.
    """

    def __init__(self, *, matcher: Matcher | None = None, text_weight: float = 4.0) -> None:
        self.matcher = matcher or Matcher()
        self.text_weight = text_weight

    def __call__(self, output: TESTROutput, targets: Sequence[ImageTargets]) -> dict[str, Tensor]:
        """Weighted float32 scalars.

        Each stays connected to its predictions when there is nothing to learn.

        Returns:
            ``loss_ce``, ``loss_ctrl_points`` and ``loss_texts`` of the last layer, those of layer i with the suffix
            ``_i``, and ``loss_ce_enc``, ``loss_bbox_enc``, ``loss_giou_enc``.
        """
        *earlier, last = output.layers
        queries = last.logits.shape[1]
        local = [sum(map(len, targets)), sum(min(len(image), queries) for image in targets)]
        count, matched = process_share(last.points.new_tensor(local, dtype=torch.float32), 1.0).unbind()
        losses: dict[str, Tensor] = {}
        for suffix, layer in [("", last), *((f"_{i}", layer) for i, layer in enumerate(earlier))]:
            losses |= {name + suffix: value for name, value in self._layer(layer, targets, count, matched).items()}
        return losses | self._proposals(output.proposals, targets, count)

    def match_layer(self, layer: LayerOutput, targets: Sequence[ImageTargets]) -> list[Match]:
        """Queries and instances that belong together, one pair of index tensors an image."""
        return [
            self.matcher.queries(logits, points, image)
            for logits, points, image in zip(layer.logits, layer.points, targets, strict=True)
        ]

    def match_proposals(self, proposals: Proposals, targets: Sequence[ImageTargets]) -> list[Match]:
        """Tokens and instances that belong together, likewise."""
        assert proposals.boxes is not None  # they are there in training
        return [
            self.matcher.tokens(logits, boxes, image)
            for logits, boxes, image in zip(proposals.logits, proposals.boxes, targets, strict=True)
        ]

    def _layer(
        self, layer: LayerOutput, targets: Sequence[ImageTargets], count: Tensor, matched: Tensor
    ) -> dict[str, Tensor]:
        rows, columns = zip(*self.match_layer(layer, targets), strict=True)
        points = torch.cat([image.points[chosen] for image, chosen in zip(targets, columns, strict=True)])
        classes = torch.cat([image.classes[chosen] for image, chosen in zip(targets, columns, strict=True)])
        texts = take_matched(layer.texts, rows).float()
        spelling = F.cross_entropy(texts.flatten(0, 1), classes.flatten(), reduction="sum")
        return {
            "loss_ce": self._class_loss(layer.logits, rows, count),
            "loss_ctrl_points": self.matcher.point_weight
            * l1_set_loss(take_matched(layer.points, rows), points, count),
            "loss_texts": self.text_weight * spelling / (matched * texts.shape[1]),
        }

    def _proposals(self, proposals: Proposals, targets: Sequence[ImageTargets], count: Tensor) -> dict[str, Tensor]:
        assert proposals.boxes is not None
        rows, columns = zip(*self.match_proposals(proposals, targets), strict=True)
        boxes = take_matched(proposals.boxes, rows)
        wanted = torch.cat([image.boxes[chosen] for image, chosen in zip(targets, columns, strict=True)])
        corners, wanted_corners = (box_convert(b, "cxcywh", "xyxy") for b in (boxes, wanted))
        return {
            "loss_ce_enc": self._class_loss(proposals.logits, rows, count),
            "loss_bbox_enc": self.matcher.box_weight * l1_set_loss(boxes, wanted, count),
            "loss_giou_enc": self.matcher.giou_weight * giou_set_loss(corners, wanted_corners, count),
        }

    def _class_loss(self, logits: Tensor, rows: Sequence[Tensor], count: Tensor) -> Tensor:
        loss = focal_set_loss(logits, rows, self.matcher.focal_alpha, self.matcher.focal_gamma, count)
        return self.matcher.class_weight * loss
