"""Feature maps of several scales as one sequence of tokens, with positions and padding (Deformable DETR)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from fasttcm.layers.sine_encoding import sine_map

__all__ = ["MultiScaleProjection", "TokenMap", "TokenProposals"]

_GROUPS = 32
_PRIOR_RANGE = (0.01, 0.99)
"""Priors outside of this open interval propose nothing (Deformable DETR)."""


@dataclass
class TokenMap:
    """Tokens of L levels of B images, S in all: fine to coarse, each level row by row.

    Attributes:
        tokens: (B, S, C).
        pos: (B, S, C) float32 positional term: sine encoding plus the embedding of the level.
        mask: (B, S) bool, True at padding.
        shapes: height and width in cells of each level.
        valid_ratios: (B, L, 2) float32 valid part of each level's width and height, in (0, 1].
    """

    tokens: Tensor
    pos: Tensor
    mask: Tensor
    shapes: list[tuple[int, int]]
    valid_ratios: Tensor

    def with_tokens(self, tokens: Tensor) -> "TokenMap":
        """The same places with other content."""
        return replace(self, tokens=tokens)

    def centres(self) -> Tensor:
        """(B, S, 2) float32 centre x, y of each token's cell, as a fraction of the valid part of its level."""
        levels = []
        for (height, width), ratio in zip(self.shapes, self.valid_ratios.unbind(1), strict=True):
            y, x = (torch.arange(n, dtype=ratio.dtype, device=ratio.device) + 0.5 for n in (height, width))
            grid = torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)], -1)
            levels.append(grid.reshape(1, -1, 2) / (ratio * ratio.new_tensor([width, height]))[:, None])
        return torch.cat(levels, 1)


def padding_mask(sizes: Sequence[tuple[int, int]], stride: int, like: Tensor) -> Tensor:
    """(B, H, W) bool, True where a (B, C, H, W) map of that stride lies outside of the images.

    Args:
        sizes: height and width in pixels of each image.
        stride: pixels per cell; a cell that holds any pixel is inside.
        like: the map.
    """
    limit = torch.tensor(sizes, device=like.device).add(stride - 1).div(stride, rounding_mode="floor")
    rows, columns = (torch.arange(n, device=like.device) for n in like.shape[-2:])
    outside = rows >= limit[:, :1], columns >= limit[:, 1:]
    return outside[0][:, :, None] | outside[1][:, None]


def _nearest(mask: Tensor, size: torch.Size) -> Tensor:
    """(B, H, W) resized to (h, w) by taking row ``floor(i H / h)`` and the column likewise."""
    rows, columns = (
        torch.arange(out, device=mask.device) * full // out for full, out in zip(mask.shape[1:], size, strict=True)
    )
    return mask[:, rows][:, :, columns]


def valid_ratio(mask: Tensor) -> Tensor:
    """(B, 2) float32 part of the width and of the height that is not padding, of a (B, H, W) mask."""
    valid = ~mask
    return torch.stack([valid[:, 0].float().mean(1), valid[:, :, 0].float().mean(1)], 1)


class MultiScaleProjection(nn.Module):
    """Bring every level to the same width, add coarser ones, and lay all of them out as tokens.

    Args:
        in_channels: channels of each feature map, finest first.
        strides: pixels per cell of each.
        channels: width C of the tokens, a multiple of 4.
        extra_levels: further levels, each half as large as the one before: the first from the coarsest feature map
            itself, not from its projection.
    """

    def __init__(
        self, *, in_channels: Sequence[int], strides: Sequence[int], channels: int = 256, extra_levels: int = 1
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.channels = channels
        projections = [nn.Conv2d(width, channels, 1) for width in in_channels]
        for i in range(extra_levels):
            projections.append(nn.Conv2d(channels if i else in_channels[-1], channels, 3, stride=2, padding=1))
        # 32 groups as published; fewer in narrow models, so that a group keeps 8 channels.
        groups = _GROUPS if channels % _GROUPS == 0 and channels >= 8 * _GROUPS else max(channels // 8, 1)
        self.projections = nn.ModuleList(nn.Sequential(conv, nn.GroupNorm(groups, channels)) for conv in projections)
        self.level_embed = nn.Parameter(torch.empty(len(projections), channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier-uniform convolutions without bias, normal level embeddings."""
        nn.init.normal_(self.level_embed)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    @property
    def num_levels(self) -> int:
        """Number of levels L of the tokens."""
        return len(self.projections)

    def forward(self, features: Sequence[Tensor], sizes: Sequence[tuple[int, int]]) -> TokenMap:
        """Project and lay out.

        Args:
            features: (B, C_l, H_l, W_l) of a padded batch, finest first.
            sizes: height and width in pixels of each image before padding.
        """
        maps = self.project(features)
        masks = [padding_mask(sizes, stride, x) for stride, x in zip(self.strides, maps, strict=False)]
        masks += [_nearest(masks[0], x.shape[-2:]) for x in maps[len(masks) :]]
        pos = [
            sine_map(mask, self.channels // 2).flatten(2).transpose(1, 2) + embed
            for mask, embed in zip(masks, self.level_embed.float(), strict=True)
        ]
        return TokenMap(
            tokens=torch.cat([x.flatten(2).transpose(1, 2) for x in maps], 1),
            pos=torch.cat(pos, 1),
            mask=torch.cat([mask.flatten(1) for mask in masks], 1),
            shapes=[(x.shape[-2], x.shape[-1]) for x in maps],
            valid_ratios=torch.stack([valid_ratio(mask) for mask in masks], 1),
        )

    def project(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The (B, C, H_l, W_l) maps of all levels, the extra ones last."""
        maps: list[Tensor] = []
        coarsest = features[-1]
        for level, projection in enumerate(self.projections):
            if level > len(features):
                coarsest = maps[-1]
            maps.append(projection(features[level] if level < len(features) else coarsest))
        return maps


class TokenProposals(nn.Module):
    """The encoder's tokens as proposals: each offers its own place (two-stage Deformable DETR).

    Args:
        channels: width C of the tokens.
    """

    def __init__(self, *, channels: int = 256) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels)
        nn.init.xavier_uniform_(self.linear.weight)

    def forward(self, memory: Tensor, prior: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """What the proposal heads read, and what their geometry is relative to.

        Args:
            memory: (B, S, C) encoded tokens.
            prior: (B, S, d) numbers of each token's prior, as fractions of the valid image.
            mask: (B, S) bool, True at padding.

        Returns:
            (B, S, C) features, those of padding and of tokens at the very border made from zeros, and (B, S, d) float32
            logits of the prior, infinite for such tokens.
        """
        low, high = _PRIOR_RANGE
        unusable = mask | ~((prior > low) & (prior < high)).all(2)
        logits = torch.log(prior / (1 - prior)).masked_fill(unusable[..., None], float("inf"))
        return self.norm(self.linear(memory.masked_fill(unusable[..., None], 0.0))), logits
