"""The encoder's proposals: a box at every token, the best of them for the decoder (SPEC ``testr`` section 2)."""

import math

import torch
from torch import Tensor, nn

from fasttcm.layers.mlp import MLP
from fasttcm.layers.multi_scale import TokenMap, TokenProposals
from fasttcm.projects.testr.output import Proposals

__all__ = ["PRIOR_PROB", "BoxProposals", "prior_bias_"]

PRIOR_PROB = 0.01
"""Initial probability of text (RetinaNet, section 4.1)."""

_BOX_NUMBERS = 4
_BOX_LAYERS = 3
_FINEST_SIDE = 0.05
"""Width and height of the prior boxes on the finest level, as fractions of the image; each level doubles it."""


def prior_bias_(linear: nn.Linear) -> nn.Linear:
    """Set the bias of a class layer so that its sigmoid starts at :data:`PRIOR_PROB`."""
    nn.init.constant_(linear.bias, -math.log((1 - PRIOR_PROB) / PRIOR_PROB))
    return linear


class BoxProposals(nn.Module):
    """Classify every token, move its prior box, keep the best.

    Args:
        channels: model width.
        num_queries: proposals Q handed to the decoder; fewer when there are fewer tokens.
    """

    def __init__(self, *, channels: int = 256, num_queries: int = 100) -> None:
        super().__init__()
        self.num_queries = num_queries
        self.tokens = TokenProposals(channels=channels)
        self.classifier = prior_bias_(nn.Linear(channels, 1))
        self.box = MLP(in_channels=channels, channels=channels, out_channels=_BOX_NUMBERS, layers=_BOX_LAYERS)
        last = self.box.layers[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.bias[2:])

    def forward(self, memory: TokenMap) -> Proposals:
        """Propose from encoded tokens; in training boxes of all of them, for the loss."""
        features, prior = self.tokens(memory.tokens, self.priors(memory), memory.mask)
        logits = self.classifier(features).float()
        index = logits.detach()[..., 0].topk(min(self.num_queries, logits.shape[1]), 1).indices

        def best(values: Tensor) -> Tensor:
            return values.gather(1, index[..., None].expand(-1, -1, values.shape[2]))

        if self.training:
            boxes = self._boxes(features, prior)
            return Proposals(logits, boxes, index, best(boxes).detach())
        return Proposals(logits, None, index, self._boxes(best(features), best(prior)).detach())

    def _boxes(self, features: Tensor, prior: Tensor) -> Tensor:
        """(..., 4) float32 boxes in [0, 1]; infinite prior logits give exactly 1."""
        with torch.autocast(features.device.type, enabled=False):
            boxes: Tensor = (self.box(features.float()) + prior).sigmoid()
        return boxes

    def priors(self, tokens: TokenMap) -> Tensor:
        """(B, S, 4) prior boxes: the centre of each token's cell, with a side that grows with the level."""
        centres = tokens.centres()
        sides = [
            centres.new_full((height * width,), _FINEST_SIDE * 2.0**level)
            for level, (height, width) in enumerate(tokens.shapes)
        ]
        side = torch.cat(sides).expand(len(centres), -1)[..., None]
        return torch.cat([centres, side, side], 2)
