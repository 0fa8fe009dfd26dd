"""Feature pyramid enhancement and fusion (PAN, sections 3.2 and 3.3)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["FPEMFFM"]


class _SeparableConv(nn.Module):
    """Depthwise 3x3, pointwise 1x1, batch normalisation, ReLU."""

    def __init__(self, channels: int, *, stride: int) -> None:
        super().__init__()
        self.depthwise_conv = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels)
        self.pointwise_conv = nn.Conv2d(channels, channels, 1)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to (N, C, h / stride, w / stride)."""
        return F.relu(self.bn(self.pointwise_conv(self.depthwise_conv(x))))


def _raised(coarse: Tensor, fine: Tensor) -> Tensor:
    """The coarser map at the finer one's size (nearest), plus the finer one."""
    return F.interpolate(coarse, size=fine.shape[-2:], mode="nearest") + fine


class _FPEM(nn.Module):
    """One feature pyramid enhancement module: once from coarse to fine, then from fine to coarse."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for step in (1, 2, 3):
            self.add_module(f"up_add{step}", _SeparableConv(channels, stride=1))
        for step in (1, 2, 3):
            self.add_module(f"down_add{step}", _SeparableConv(channels, stride=2))

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Four maps, finest first, to four maps of the same shapes."""
        c2, c3, c4, c5 = levels
        c4 = self.get_submodule("up_add1")(_raised(c5, c4))
        c3 = self.get_submodule("up_add2")(_raised(c4, c3))
        c2 = self.get_submodule("up_add3")(_raised(c3, c2))
        # The coarser map is raised to the finer one first; the stride of the convolution brings the sum down again.
        c3 = self.get_submodule("down_add1")(_raised(c3, c2))
        c4 = self.get_submodule("down_add2")(_raised(c4, c3))
        c5 = self.get_submodule("down_add3")(_raised(c5, c4))
        return [c2, c3, c4, c5]


class FPEMFFM(nn.Module):
    """Reduce the channels, enhance the pyramid several times, add up what every repeat gave (FPEM + FFM).

    State-dict names are the published ones without ``neck.``: ``reduce_conv_c{2..5}.{0,1}``, ``fpems.{i}.*``.

    Args:
        in_channels: channels of the four maps, finest first.
        channels: width of the neck.
        repeats: enhancement modules, one after the other; at least one.

    Raises:
        ValueError: not four maps, or no repeat.
    """

    def __init__(self, *, in_channels: Sequence[int], channels: int = 128, repeats: int = 2) -> None:
        super().__init__()
        if len(in_channels) != 4:
            raise ValueError(f"the neck fuses four levels, got {len(in_channels)}")
        if repeats < 1:
            raise ValueError(f"the neck needs at least one enhancement module, got {repeats}")
        for level, width in enumerate(in_channels, start=2):
            reduce = nn.Sequential(nn.Conv2d(width, channels, 1), nn.BatchNorm2d(channels), nn.ReLU())
            self.add_module(f"reduce_conv_c{level}", reduce)
        self.fpems = nn.ModuleList(_FPEM(channels) for _ in range(repeats))
        self.out_channels = 4 * channels

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Fuse four maps (N, C_i, h_i, w_i), strides 4, 8, 16, 32.

        Returns:
            Four maps (N, channels, h, w) at the size of the finest, in the order of the levels.
        """
        levels = [self.get_submodule(f"reduce_conv_c{i}")(feature) for i, feature in enumerate(features, start=2)]
        outputs = []
        for fpem in self.fpems:
            levels = fpem(levels)
            outputs.append(levels)
        fine, *coarse = [torch.stack(level).sum(0) for level in zip(*outputs, strict=True)]
        size = fine.shape[-2:]
        return [fine, *(F.interpolate(c, size=size, mode="bilinear", align_corners=False) for c in coarse)]
