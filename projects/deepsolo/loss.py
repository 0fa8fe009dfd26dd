"""Losses of every decoder layer and of the encoder's proposals (SPEC ``deepsolo`` section 12).

Their normalisers count over all processes, so that DDP's mean of the gradients is that of the joint batch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from fasttcm.losses.ctc import ctc_text_loss
from fasttcm.losses.normalizer import process_share
from fasttcm.losses.set_losses import focal_set_loss, l1_set_loss, take_matched
from fasttcm.projects.deepsolo.matching import Match, Matcher
from fasttcm.projects.deepsolo.output import DeepSoloOutput, LayerOutput, Proposals
from fasttcm.projects.deepsolo.proposals import curve_points
from fasttcm.projects.deepsolo.targets import ImageTargets

__all__ = ["SetCriterion"]


class SetCriterion:
    """Match, then add up; each layer and the encoder are matched on their own.

    Args:
        matcher: its weights are those of the losses too.
        boundary_weight: factor of the boundary loss.
        auxiliary: whether the layers before the last have losses.
    """

    def __init__(self, *, matcher: Matcher | None = None, boundary_weight: float = 0.5, auxiliary: bool = True) -> None:
        self.matcher = matcher or Matcher()
        self.boundary_weight = boundary_weight
        self.auxiliary = auxiliary

    def __call__(self, output: DeepSoloOutput, targets: Sequence[ImageTargets]) -> dict[str, Tensor]:
        """Weighted float32 scalars, each connected to its predictions also when there is nothing to learn.

        Returns:
            ``loss_ce``, ``loss_texts``, ``loss_ctrl_points`` and ``loss_bd_points`` of the last layer, those of layer
            i with the suffix ``_i``, and ``loss_ce_enc`` and ``loss_bezier_enc``.
        """
        local = torch.tensor(float(sum(map(len, targets))), device=output.proposals.class_logits.device)
        count = process_share(local, 1.0)
        *earlier, last = output.layers
        losses = self._layer(last, targets, count)
        for i, layer in enumerate(earlier if self.auxiliary else []):
            losses |= {f"{name}_{i}": value for name, value in self._layer(layer, targets, count).items()}
        return losses | self._proposals(output.proposals, targets, count)

    def match_layer(self, layer: LayerOutput, targets: Sequence[ImageTargets]) -> list[Match]:
        """Queries and instances that belong together, one pair of index tensors an image."""
        predictions = zip(layer.logits, layer.points, layer.text_logits, targets, strict=True)
        return [self.matcher.queries(*image) for image in predictions]

    def match_proposals(self, proposals: Proposals, targets: Sequence[ImageTargets]) -> list[Match]:
        """Tokens and instances that belong together, likewise."""
        assert proposals.curves is not None
        predictions = zip(proposals.class_logits, proposals.curves, targets, strict=True)
        return [self.matcher.tokens(*image) for image in predictions]

    def _layer(self, layer: LayerOutput, targets: Sequence[ImageTargets], count: Tensor) -> dict[str, Tensor]:
        rows, columns = zip(*self.match_layer(layer, targets), strict=True)

        def wanted(name: str) -> Tensor:
            return torch.cat([getattr(image, name)[i] for image, i in zip(targets, columns, strict=True)])

        classes = wanted("classes")
        read = take_matched(layer.text_logits, rows)
        # The mean over the instances of all processes.
        matched = count.new_tensor(float(len(classes)))
        share = matched / process_share(matched, 1.0)
        blank = read.shape[2] - 1
        weights, matcher = self.boundary_weight, self.matcher
        text = matcher.text_weight * share * ctc_text_loss(read, classes, wanted("lengths"), blank)
        points = l1_set_loss(take_matched(layer.points, rows), wanted("points"), count)
        boundary = l1_set_loss(take_matched(layer.boundary, rows), wanted("boundary"), count)
        return {
            "loss_ce": matcher.class_weight * self._class_loss(layer.logits[..., 0], rows, count),
            "loss_texts": text,
            "loss_ctrl_points": matcher.point_weight * points,
            "loss_bd_points": weights * boundary,
        }

    def _proposals(self, proposals: Proposals, targets: Sequence[ImageTargets], count: Tensor) -> dict[str, Tensor]:
        assert proposals.curves is not None
        rows, columns = zip(*self.match_proposals(proposals, targets), strict=True)
        num_points = targets[0].points.shape[1]
        curves = torch.cat([image.curves[i] for image, i in zip(targets, columns, strict=True)])
        predicted = curve_points(take_matched(proposals.curves, rows), num_points)
        distance = l1_set_loss(predicted, curve_points(curves, num_points), count)
        return {
            "loss_ce_enc": self.matcher.curve_class_weight * self._class_loss(proposals.class_logits, rows, count),
            "loss_bezier_enc": self.matcher.curve_weight * distance,
        }

    def _class_loss(self, logits: Tensor, rows: Sequence[Tensor], count: Tensor) -> Tensor:
        """Of (B, Q, P) logits: every point of a matched prediction is text."""
        return focal_set_loss(logits, rows, self.matcher.focal_alpha, self.matcher.focal_gamma, count)
