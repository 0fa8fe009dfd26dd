"""The two maps of DBNet, probability and threshold, and the differentiable binarisation between them."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["AMPLIFICATION", "DBHead", "DBMaps"]

AMPLIFICATION = 50.0
"""k of the binarisation 1 / (1 + exp(-k (P - T))) (DBNet, equation 2)."""


@dataclass
class DBMaps:
    """Predictions for N images at input size, float32.

    Attributes:
        logits: (N, H, W) of the probability that a pixel belongs to a text kernel.
        threshold: (N, H, W) in [0, 1].
    """

    logits: Tensor
    threshold: Tensor

    @property
    def probability(self) -> Tensor:
        """(N, H, W) in [0, 1]."""
        return self.logits.sigmoid()

    @property
    def binary_logits(self) -> Tensor:
        """(N, H, W); their sigmoid is the approximate binary map."""
        return AMPLIFICATION * (self.probability - self.threshold)

    def stacked(self) -> Tensor:
        """Probability, threshold and approximate binary map as (N, 3, H, W)."""
        return torch.stack([self.probability, self.threshold, self.binary_logits.sigmoid()], 1)


class DBHead(nn.Module):
    """Two equal branches from a quarter of the input size back to all of it.

    Args:
        in_channels: channels of the fused features.
    """

    def __init__(self, *, in_channels: int) -> None:
        super().__init__()
        self.binarize = _branch(in_channels)
        self.threshold = _branch(in_channels)

    def forward(self, features: Tensor) -> DBMaps:
        """Maps of (N, C, h, w) features, four times as high and wide."""
        return DBMaps(self.probability_logits(features), self.threshold(features)[:, 0].float().sigmoid())

    def probability_logits(self, features: Tensor) -> Tensor:
        """(N, 4 h, 4 w) float32 logits: the one map that finding text needs."""
        logits: Tensor = self.binarize(features)[:, 0]
        return logits.float()


def _branch(in_channels: int) -> nn.Sequential:
    channels = in_channels // 4
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.ConvTranspose2d(channels, channels, 2, stride=2),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.ConvTranspose2d(channels, 1, 2, stride=2),
    )
