"""One 1x1 convolution: text region, kernel and a similarity vector for every pixel at a quarter of the size."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["EMBEDDING_CHANNELS", "PANHead"]

EMBEDDING_CHANNELS = 4
"""Length of the similarity vectors (PAN section 3.4)."""

_INIT_STD = 0.01


class PANHead(nn.Module):
    """Predict six maps from the neck's four.

    Args:
        in_channels: channels of the four maps together.
    """

    def __init__(self, *, in_channels: int) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(in_channels, 2 + EMBEDDING_CHANNELS, 1)
        nn.init.normal_(self.out_conv.weight, std=_INIT_STD)
        nn.init.zeros_(self.out_conv.get_parameter("bias"))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (N, C, h, w) to (N, 6, h, w) float32: text logit, kernel logit, four numbers of similarity."""
        fused = torch.cat(list(maps), dim=1)
        # Kernels grow where vectors are closer than a fixed distance: bfloat16 would blur that border.
        with torch.autocast(fused.device.type, enabled=False):
            predicted: Tensor = self.out_conv(fused.float())
        return predicted
