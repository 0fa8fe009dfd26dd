"""Modulated deformable convolution (Zhu et al., CVPR 2019: "Deformable ConvNets v2")."""

import torch
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

__all__ = ["DeformableConv2d"]


class DeformableConv2d(nn.Module):
    """A convolution whose taps each image and place moves and weighs; without bias.

    Starts as the plain convolution with all taps weighed one half.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the square kernel.
        stride: in both directions.
        padding: zeros on every side.

    Attributes:
        conv_offset: predicts 3 k k numbers a place: (dy, dx) of every tap, then logits of the weights.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__()
        self.stride = stride
        self.padding = padding
        self.taps = kernel_size**2
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel_size, kernel_size))
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        self.conv_offset = nn.Conv2d(in_channels, 3 * self.taps, kernel_size, stride=stride, padding=padding)
        nn.init.zeros_(self.conv_offset.weight)
        nn.init.zeros_(self.conv_offset.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H', W'); computed in float32 under autocast."""
        offset, mask = self.conv_offset(x).float().split([2 * self.taps, self.taps], dim=1)
        out: Tensor = deform_conv2d(
            x.float(), offset, self.weight.float(), stride=self.stride, padding=self.padding, mask=mask.sigmoid()
        )
        return out.to(x.dtype)
