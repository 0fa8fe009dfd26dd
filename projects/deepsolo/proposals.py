"""The best tokens of the encoder, each as a Bezier centre line (DeepSolo, section 3.2; SPEC ``deepsolo`` section 7)."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from fasttcm.geometry import bernstein_basis
from fasttcm.layers.mlp import MLP
from fasttcm.layers.multi_scale import TokenMap, TokenProposals
from fasttcm.projects.deepsolo.output import Proposals

__all__ = ["CurveProposals", "curve_points"]

_CONTROL_POINTS = 4


def curve_points(curves: Tensor, num_points: int) -> Tensor:
    """Points of cubic Bezier curves at equidistant parameters, both ends included.

    Args:
        curves: (..., 4, 2) control points.
        num_points: P.

    Returns:
        (..., P, 2), in the dtype of ``curves`` whatever autocast says.
    """
    basis = torch.from_numpy(bernstein_basis(np.linspace(0.0, 1.0, num_points, dtype=np.float32))).to(curves)
    # A product and a sum instead of a matrix product, which autocast would run in half precision.
    return (basis[..., None] * curves[..., None, :, :]).sum(-2)


class CurveProposals(nn.Module):
    """Every token offers the point it stands on, bent into a curve; the best ones go to the decoder.

    Args:
        channels: width C of the tokens.
        num_queries: number Q of proposals; fewer where an image has fewer tokens.
        num_points: points P of a centre line.
        prior_prob: probability of text at the start of training.
    """

    def __init__(
        self, *, channels: int = 256, num_queries: int = 100, num_points: int = 25, prior_prob: float = 0.01
    ) -> None:
        super().__init__()
        self.num_queries = num_queries
        self.num_points = num_points
        self.features = TokenProposals(channels=channels)
        self.class_logit = nn.Linear(channels, 1)
        nn.init.constant_(self.class_logit.bias, -math.log((1 - prior_prob) / prior_prob))
        self.curve = MLP(in_channels=channels, channels=channels, out_channels=2 * _CONTROL_POINTS, layers=3)
        self.curve.zero_last()

    def forward(self, tokens: TokenMap) -> Proposals:
        """Propose from encoded tokens; in training for all of them, for the loss."""
        prior = tokens.centres().repeat(1, 1, _CONTROL_POINTS)
        features, prior_logits = self.features(tokens.tokens, prior, tokens.mask)
        class_logits = self.class_logit(features)
        index = class_logits[:, :, 0].topk(min(self.num_queries, class_logits.shape[1]), dim=1).indices

        def best(values: Tensor) -> Tensor:
            return values.gather(1, index[..., None].expand(-1, -1, values.shape[2]))

        if self.training:
            all_logits = self._curve_logits(features, prior_logits)
            curves, curve_logits = all_logits.sigmoid().unflatten(2, (_CONTROL_POINTS, 2)), best(all_logits)
        else:
            curves, curve_logits = None, self._curve_logits(best(features), best(prior_logits))
        curve_logits = curve_logits.detach()
        control = curve_logits.sigmoid().unflatten(2, (_CONTROL_POINTS, 2))
        return Proposals(class_logits, curves, index, curve_logits, curve_points(control, self.num_points))

    def _curve_logits(self, features: Tensor, prior_logits: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            logits: Tensor = self.curve(features.float()) + prior_logits
        return logits
