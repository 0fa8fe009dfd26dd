"""Bidirectional feature pyramid network with learned fusion weights (EfficientDet, Tan et al., CVPR 2020; ABCNet v2).

With L levels, every cell first goes down, ``down{l}`` for all levels but the coarsest, then up, ``up{l}`` for all but
the finest. A node adds its own level's input, the level's down node and the neighbouring node, with weights that are
positive and sum to one, then applies swish and a 3 x 3 convolution.
"""

import math
from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fasttcm.errors import ConfigError
from fasttcm.layers.backbone import Backbone, BackboneOutput, FeatureShape
from fasttcm.layers.fpn import Norm, build_norm, chosen_shapes

__all__ = ["BiFPN"]

_WEIGHT_EPSILON = 1e-4
"""Added to the sum that fusion weights are divided by (EfficientDet, section 3.3)."""


class _Conv(nn.Conv2d):
    """A convolution of stride 1 that keeps the size, then ``norm``; no activation."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, norm: Norm, bias: bool) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)
        self.norm = build_norm(norm, out_channels)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (B, C_in, h, w) to (B, C_out, h, w)."""
        output = super().forward(input)
        return output if self.norm is None else self.norm(output)


class _Node(nn.Module):
    """Weighted sum of ``inputs`` maps of one size, swish, 3 x 3 convolution."""

    def __init__(self, inputs: int, channels: int, norm: Norm) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(inputs))
        self.conv = _Conv(channels, channels, 3, norm=norm, bias=norm == "none")

    def forward(self, *inputs: Tensor) -> Tensor:
        """Fuse maps (B, C, h, w) into one."""
        weights = F.relu(self.weights)
        weights = weights / (weights.sum() + _WEIGHT_EPSILON)
        fused = inputs[0] * weights[0]
        for weight, x in zip(weights[1:], inputs[1:], strict=True):
            fused = fused + weight * x
        output: Tensor = self.conv(F.silu(fused))
        return output


class _Cell(nn.Module):
    """One pass down and up over all levels.

    Args:
        levels: logarithms of the strides, finest first.
        in_channels: channels of every level's input; another number than ``channels`` goes through a 1 x 1 convolution
            ``lateral{l}``, which both nodes of the level share (published: with bias, although a norm follows).
        channels: channels of every output.
        norm: normalisation after every convolution.
    """

    def __init__(self, levels: Sequence[int], in_channels: Sequence[int], channels: int, norm: Norm) -> None:
        super().__init__()
        self.levels = tuple(levels)
        for level, given in zip(levels, in_channels, strict=True):
            if given != channels:
                self.add_module(f"lateral{level}", _Conv(given, channels, 1, norm=norm, bias=True))
        for level in self.levels[:-1]:
            self.add_module(f"down{level}", _Node(2, channels, norm))
        for level in self.levels[1:]:
            # The coarsest level has no down node to add.
            self.add_module(f"up{level}", _Node(2 if level == self.levels[-1] else 3, channels, norm))

    def forward(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Maps of all levels, finest first, to as many of ``channels`` channels and the same sizes."""
        names = dict(self.named_children())
        given = {
            level: names[f"lateral{level}"](x) if f"lateral{level}" in names else x
            for level, x in zip(self.levels, inputs, strict=True)
        }
        down = {self.levels[-1]: given[self.levels[-1]]}
        for level in reversed(self.levels[:-1]):
            above = F.interpolate(down[level + 1], size=given[level].shape[-2:], mode="nearest")
            down[level] = names[f"down{level}"](given[level], above)
        output = [down[self.levels[0]]]
        for level in self.levels[1:]:
            own = [given[level]] if level == self.levels[-1] else [given[level], down[level]]
            output.append(names[f"up{level}"](*own, _halve(output[-1])))
        return output


def _halve(x: Tensor) -> Tensor:
    """Max-pool (B, C, h, w) to half the size, rounded up; a single cell stays."""
    return F.max_pool2d(x, kernel_size=3, stride=2, padding=1)


class BiFPN(Backbone):
    """A bidirectional pyramid over any backbone.

    Levels are named by the logarithm of their stride, ``p2``, ``p3``, ... State-dict names: ``bottom_up.*``,
    ``reduction.*`` (the 1 x 1 convolution below the added levels) and, for every repeat r and level l,
    ``cells.{r}.lateral{l}.*``, ``cells.{r}.down{l}.{weights,conv.*}`` and ``cells.{r}.up{l}.{weights,conv.*}``.

    Args:
        bottom_up: network below; its ``text_logits`` are passed on unchanged.
        in_levels: its levels to use, finest first, each with twice the stride of the one before.
        out_channels: channels of every pyramid level.
        repeats: cells, one after the other, each with weights of its own.
        top_levels: levels added above the coarsest input: it is reduced to ``out_channels`` and max-pooled again and
            again.
        norm: normalisation after every convolution; published: batch norm over all processes.

    Raises:
        ConfigError: an unknown level or normalisation, strides that do not double, or no repeat.
    """

    def __init__(
        self,
        *,
        bottom_up: Backbone,
        in_levels: Sequence[str] = ("res2", "res3", "res4", "res5"),
        out_channels: int = 256,
        repeats: int = 2,
        top_levels: int = 2,
        norm: Norm = "BN",
    ) -> None:
        super().__init__()
        if norm not in get_args(Norm):
            raise ConfigError(f"unknown BiFPN norm {norm!r}; known: {', '.join(get_args(Norm))}")
        if repeats < 1:
            raise ConfigError(f"a BiFPN needs at least one repeat, got {repeats}")
        shapes = chosen_shapes(bottom_up, in_levels)
        self.bottom_up = bottom_up
        self.in_levels = tuple(in_levels)
        self.out_channels = out_channels
        self.top_levels = top_levels
        self.size_divisibility = max(bottom_up.size_divisibility, shapes[-1].stride)
        finest = int(math.log2(shapes[0].stride))
        self._levels = [finest + i for i in range(len(shapes) + top_levels)]
        if top_levels:
            self.reduction = _Conv(shapes[-1].channels, out_channels, 1, norm=norm, bias=norm == "none")
        channels = [shape.channels for shape in shapes] + [out_channels] * top_levels
        later = [out_channels] * len(channels)
        self.cells = nn.ModuleList(
            _Cell(self._levels, channels if r == 0 else later, out_channels, norm) for r in range(repeats)
        )

    def forward(self, images: Tensor) -> BackboneOutput:
        """Pyramid of normalised images (B, 3, H, W).

        Returns:
            ``p{l}`` (B, out_channels, ceil(H / 2^l), ceil(W / 2^l)), finest first, and the ``text_logits`` of
            ``bottom_up``.
        """
        below = self.bottom_up(images)
        maps = self.with_top([below.features[name] for name in self.in_levels])
        for cell in self.cells:
            maps = cell(maps)
        return BackboneOutput({f"p{level}": x for level, x in zip(self._levels, maps, strict=True)}, below.text_logits)

    def with_top(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The levels of ``bottom_up``, finest first, and the ``top_levels`` made from the coarsest."""
        maps = list(features)
        for i in range(self.top_levels):
            maps.append(_halve(maps[-1] if i else self.reduction(maps[-1])))
        return maps

    def output_shape(self) -> dict[str, FeatureShape]:
        """Channels and stride of every level, finest first."""
        return {f"p{level}": FeatureShape(self.out_channels, 2**level) for level in self._levels}
