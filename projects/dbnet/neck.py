"""FPNC: a pyramid whose levels are resized to the finest one and concatenated (DBNet, figure 3)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["FPNC"]


class FPNC(nn.Module):
    """Lateral 1x1, nearest-neighbour top-down sums, smoothing 3x3; no bias, no normalisation, no activation.

    Args:
        in_channels: channels of the levels, finest first.
        lateral_channels: width of the top-down path.
        smooth_channels: channels of each smoothed level.

    Attributes:
        out_channels: channels of the result.
    """

    def __init__(self, *, in_channels: Sequence[int], lateral_channels: int = 256, smooth_channels: int = 64) -> None:
        super().__init__()
        self.lateral_convs = nn.ModuleList(nn.Conv2d(c, lateral_channels, 1, bias=False) for c in in_channels)
        self.smooth_convs = nn.ModuleList(
            nn.Conv2d(lateral_channels, smooth_channels, 3, padding=1, bias=False) for _ in in_channels
        )
        self.out_channels = smooth_channels * len(in_channels)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Fuse levels (N, C_i, H_i, W_i), finest first, of any sizes, to (N, out_channels, H_0, W_0)."""
        paths = [conv(feature) for conv, feature in zip(self.lateral_convs, features, strict=True)]
        for i in range(len(paths) - 1, 0, -1):
            paths[i - 1] = paths[i - 1] + F.interpolate(paths[i], size=paths[i - 1].shape[-2:], mode="nearest")
        size = paths[0].shape[-2:]
        smooth = [conv(path) for conv, path in zip(self.smooth_convs, paths, strict=True)]
        return torch.cat([smooth[0], *(F.interpolate(level, size=size, mode="nearest") for level in smooth[1:])], 1)
