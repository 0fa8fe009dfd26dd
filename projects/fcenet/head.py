"""Two 3x3 convolutions, shared by all levels: text or not, centre or not, and a Fourier series at every cell."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["CLASS_CHANNELS", "FCEHead"]

CLASS_CHANNELS = 4
"""Logits of not-text, text, not-centre, centre."""

_INIT_STD = 0.01


class FCEHead(nn.Module):
    """Classify every cell and regress the contour of its text.

    Args:
        in_channels: channels of every level.
        degree: highest order k of the series.
    """

    def __init__(self, *, in_channels: int, degree: int = 5) -> None:
        super().__init__()
        self.degree = degree
        self.out_conv_cls = nn.Conv2d(in_channels, CLASS_CHANNELS, 3, padding=1)
        self.out_conv_reg = nn.Conv2d(in_channels, 2 * (2 * degree + 1), 3, padding=1)
        for conv in (self.out_conv_cls, self.out_conv_reg):
            nn.init.normal_(conv.weight, std=_INIT_STD)
            nn.init.zeros_(conv.get_parameter("bias"))

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Predictions of every level.

        Args:
            features: (N, in_channels, h, w) maps.

        Returns:
            Logits (N, 4, h, w), and series (N, 4 k + 2, h, w) float32: real, then imaginary parts of c_-k .. c_k in
            cells, c_0 relative to the cell.
        """
        logits = [self.out_conv_cls(feature) for feature in features]
        # bfloat16 has 8 bits: a contour that spans a picture would jump by cells.
        with torch.autocast(features[0].device.type, enabled=False):
            series = [self.out_conv_reg(feature.float()) for feature in features]
        return logits, series
