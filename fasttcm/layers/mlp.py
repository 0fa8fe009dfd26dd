"""Small pieces of the transformer heads: a perceptron, and the logarithmic odds that boxes and points move in."""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["MLP", "logit"]


class MLP(nn.Module):
    """Linear layers with ReLU between them.

    Args:
        in_channels: width of the input.
        channels: width of all layers but the last.
        out_channels: width of the output.
        layers: number of linear layers.
    """

    def __init__(self, *, in_channels: int, channels: int, out_channels: int, layers: int) -> None:
        super().__init__()
        widths = [in_channels, *[channels] * (layers - 1), out_channels]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_channels) to (..., out_channels)."""
        for i, layer in enumerate(self.layers):
            x = layer(F.relu(x) if i else x)
        return x

    def zero_last(self) -> "MLP":
        """Start with an output of 0; returns the module."""
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        return self


def logit(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Inverse of the sigmoid, finite: ``log(max(x, eps) / max(1 - x, eps))`` of x clamped to [0, 1]."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))
