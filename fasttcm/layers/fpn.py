"""Feature pyramid network (Lin et al., CVPR 2017) over any backbone."""

import itertools
import math
from collections.abc import Sequence
from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional as F

from fasttcm.errors import ConfigError
from fasttcm.layers.backbone import Backbone, BackboneOutput, FeatureShape

__all__ = ["FPN", "TOP_LEVELS", "Norm", "TopBlock", "build_norm", "chosen_shapes"]

TopBlock = Literal["conv", "maxpool", "none"]
"""Levels above the coarsest input: two by convolution (FCOS, ABCNet), one by max pooling (detectron2), or none."""

TOP_LEVELS: dict[str, int] = {"conv": 2, "maxpool": 1, "none": 0}
"""How many levels a top block adds."""

Norm = Literal["none", "GN", "BN"]
"""Normalisation after every pyramid convolution: none, group or batch normalisation."""

MAX_GROUPS = 32
"""Groups of a group normalisation when the channels allow (Wu and He, 2018); else their greatest common divisor."""


class _PyramidConv(nn.Conv2d):
    """A convolution that keeps the size, then ``norm``; no activation. Kaiming-uniform (a=1) weights, zero bias."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, norm: Norm = "none", stride: int = 1):
        super().__init__(
            in_channels, out_channels, kernel_size, stride=stride, padding=kernel_size // 2, bias=norm == "none"
        )
        nn.init.kaiming_uniform_(self.weight, a=1)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        self.norm = build_norm(norm, out_channels)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (B, C_in, h, w) to (B, C_out, h / stride, w / stride)."""
        output = super().forward(input)
        return output if self.norm is None else self.norm(output)


def build_norm(norm: Norm, channels: int) -> nn.Module | None:
    """The normalisation of that name for (B, channels, h, w); ``None`` for ``none``."""
    if norm == "GN":
        return nn.GroupNorm(math.gcd(MAX_GROUPS, channels), channels)
    return nn.BatchNorm2d(channels) if norm == "BN" else None


class FPN(Backbone):
    """Lateral 1x1 convolutions, nearest x2 top-down sums, a 3x3 output convolution per level.

    Levels are named by the logarithm of their stride: stride 4 is ``p2``, stride 8 ``p3``, ... State-dict names:
    ``bottom_up.*``, ``lateral{l}.*`` and ``output{l}.*`` for every level l, and with ``top_block="conv"``
    ``top6.*`` and ``top7.*``; a normalisation lies at ``lateral{l}.norm.*``.

    Args:
        bottom_up: network below; its ``text_logits`` are passed on unchanged.
        in_levels: its levels to use, finest first, each with twice the stride of the one before.
        out_channels: channels of every pyramid level.
        top_block: what is added above the coarsest level.
        norm: normalisation after every lateral and output convolution; with one, these have no bias.

    Raises:
        ConfigError: an unknown level, top block or normalisation, or strides that do not double.
    """

    def __init__(
        self,
        *,
        bottom_up: Backbone,
        in_levels: Sequence[str] = ("res2", "res3", "res4", "res5"),
        out_channels: int = 256,
        top_block: TopBlock = "conv",
        norm: Norm = "none",
    ) -> None:
        super().__init__()
        if top_block not in get_args(TopBlock):
            raise ConfigError(f"unknown FPN top block {top_block!r}; known: {', '.join(get_args(TopBlock))}")
        if norm not in get_args(Norm):
            raise ConfigError(f"unknown FPN norm {norm!r}; known: {', '.join(get_args(Norm))}")
        shapes = chosen_shapes(bottom_up, in_levels)
        self.bottom_up = bottom_up
        self.in_levels = tuple(in_levels)
        self.out_channels = out_channels
        self.top_block = top_block
        self.size_divisibility = max(bottom_up.size_divisibility, shapes[-1].stride)
        self._levels = [int(math.log2(shape.stride)) for shape in shapes]
        for level, shape in zip(self._levels, shapes, strict=True):
            self.add_module(f"lateral{level}", _PyramidConv(shape.channels, out_channels, 1, norm=norm))
            self.add_module(f"output{level}", _PyramidConv(out_channels, out_channels, 3, norm=norm))
        if top_block == "conv":
            for level in self._top_levels():
                self.add_module(f"top{level}", _PyramidConv(out_channels, out_channels, 3, stride=2))

    def forward(self, images: Tensor) -> BackboneOutput:
        """Pyramid of normalised images (B, 3, H, W).

        Returns:
            ``p{l}`` (B, out_channels, H / 2^l, W / 2^l), finest first, and the ``text_logits`` of ``bottom_up``.
        """
        below = self.bottom_up(images)
        pyramid: dict[str, Tensor] = {}
        merged: Tensor | None = None
        for name, level in zip(reversed(self.in_levels), reversed(self._levels), strict=True):
            lateral = self.get_submodule(f"lateral{level}")(below.features[name])
            merged = lateral if merged is None else lateral + F.interpolate(merged, scale_factor=2.0, mode="nearest")
            pyramid[f"p{level}"] = self.get_submodule(f"output{level}")(merged)
        pyramid = dict(reversed(pyramid.items())) | self._top(pyramid[f"p{self._levels[-1]}"])
        return BackboneOutput(pyramid, below.text_logits)

    def output_shape(self) -> dict[str, FeatureShape]:
        """Channels and stride of every level, finest first."""
        return {f"p{level}": FeatureShape(self.out_channels, 2**level) for level in self._levels + self._top_levels()}

    def _top_levels(self) -> list[int]:
        return [self._levels[-1] + 1 + i for i in range(TOP_LEVELS[self.top_block])]

    def _top(self, coarsest: Tensor) -> dict[str, Tensor]:
        levels = self._top_levels()
        if self.top_block == "maxpool":
            # detectron2: a kernel of one cell, that is, every second cell.
            return {f"p{levels[0]}": F.max_pool2d(coarsest, kernel_size=1, stride=2)}
        if self.top_block == "none":
            return {}
        first = self.get_submodule(f"top{levels[0]}")(coarsest)
        second = self.get_submodule(f"top{levels[1]}")(F.relu(first))
        return {f"p{levels[0]}": first, f"p{levels[1]}": second}


def chosen_shapes(bottom_up: Backbone, in_levels: Sequence[str]) -> list[FeatureShape]:
    """Declared shapes of the chosen levels of a pyramid, finest first.

    Raises:
        ConfigError: an unknown level, or strides that do not double.
    """
    declared = bottom_up.output_shape()
    unknown = [name for name in in_levels if name not in declared]
    if unknown or not in_levels:
        raise ConfigError(f"FPN levels {list(in_levels)} are not among those of the backbone: {', '.join(declared)}")
    shapes = [declared[name] for name in in_levels]
    strides = [shape.stride for shape in shapes]
    if any(coarse != 2 * fine for fine, coarse in itertools.pairwise(strides)):
        raise ConfigError(f"FPN levels must double their stride from one to the next, got strides {strides}")
    return shapes
