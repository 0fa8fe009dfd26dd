"""Coordinate convolution: tell the recogniser where on the page it reads (ABCNet v2, section 3.3)."""

import torch
from torch import Tensor, nn

from fasttcm.projects.abcnet.recognizer import make_tower

__all__ = ["CoordinateBranch"]

COORDINATES = 2
"""Channels added to a feature map: x, then y."""


class CoordinateBranch(nn.Module):
    """Convolutions over a feature map and its coordinates, added to the map; shared by all levels.

    Args:
        channels: C, of the map.
        num_convs: 3 x 3 convolutions without bias, each with batch norm and ReLU; published 4.
    """

    def __init__(self, *, channels: int, num_convs: int = 4) -> None:
        super().__init__()
        self.convs = make_tower(in_channels=channels + COORDINATES, channels=channels, num_convs=num_convs)

    def forward(self, feature: Tensor) -> Tensor:
        """(N, C, h, w) to the same shape."""
        return feature + self.residual(feature)

    def residual(self, feature: Tensor) -> Tensor:
        """What is added to (N, C, h, w): coordinates run from -1 to 1 over the padded map, ends included."""
        count, _, height, width = feature.shape
        x = torch.linspace(-1, 1, width, device=feature.device, dtype=feature.dtype)
        y = torch.linspace(-1, 1, height, device=feature.device, dtype=feature.dtype)
        x, y = x.expand(count, 1, height, width), y[:, None].expand(count, 1, height, width)
        added: Tensor = self.convs(torch.cat([feature, x, y], 1))
        return added
