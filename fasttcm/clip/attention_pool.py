"""CLIP's attention pool with an output for every cell, for feature maps of any size."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["DenseAttentionPool"]


class DenseAttentionPool(nn.Module):
    """Multi-head self-attention over the mean token and all cells (DenseCLIP; TCM section 3.2).

    CLIP asks only with the mean token; here every cell asks as well, with the same keys and values, so the global
    output is CLIP's image embedding and the dense output lies in the same space. State-dict names are those of CLIP's
    ``visual.attnpool``: ``positional_embedding`` (1 + rows*columns, C) and ``{q,k,v,c}_proj``. A new pool is
    initialised as in CLIP: normal with std C^-0.5 for the table and all four weights.

    Args:
        in_channels: C, channels of the feature map.
        embed_dim: E, channels of the outputs.
        num_heads: attention heads; divides ``in_channels``. CLIP has one per 64 channels, TCM always 32.
        grid: rows and columns of the stored table of positions.

    Raises:
        ValueError: ``num_heads`` does not divide ``in_channels``, or the grid is empty.
    """

    def __init__(self, *, in_channels: int, embed_dim: int, num_heads: int, grid: tuple[int, int]) -> None:
        super().__init__()
        if num_heads < 1 or in_channels % num_heads:
            raise ValueError(f"num_heads {num_heads} does not divide in_channels {in_channels}")
        if min(grid) < 1:
            raise ValueError(f"grid must have at least one row and column, got {grid}")
        std = in_channels**-0.5
        self.num_heads = num_heads
        self.grid = grid
        self.positional_embedding = nn.Parameter(torch.randn(1 + grid[0] * grid[1], in_channels) * std)
        self.k_proj = nn.Linear(in_channels, in_channels)
        self.q_proj = nn.Linear(in_channels, in_channels)
        self.v_proj = nn.Linear(in_channels, in_channels)
        self.c_proj = nn.Linear(in_channels, embed_dim)
        for projection in (self.k_proj, self.q_proj, self.v_proj, self.c_proj):
            nn.init.normal_(projection.weight, std=std)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Pool a feature map (N, C, h, w) of any size h, w >= 1.

        Returns:
            The global vector (N, E) and the dense map (N, E, h, w), not normalised.
        """
        height, width = features.shape[-2:]
        cells = features.flatten(2).transpose(1, 2)
        tokens = torch.cat([cells.mean(dim=1, keepdim=True), cells], dim=1)  # (N, 1 + h*w, C)
        tokens = tokens + self.resized_position(height, width).to(tokens.dtype)
        attended = F.scaled_dot_product_attention(
            self._heads(self.q_proj(tokens)), self._heads(self.k_proj(tokens)), self._heads(self.v_proj(tokens))
        )
        embedded = self.c_proj(attended.transpose(1, 2).flatten(2))  # (N, 1 + h*w, E)
        return embedded[:, 0], embedded[:, 1:].transpose(1, 2).unflatten(2, (height, width))

    def resized_position(self, height: int, width: int) -> Tensor:
        """The table of positions for a grid of that many rows and columns, (1 + height*width, C).

        Row 0 (the mean token) is kept; the others are resized bilinearly, ``align_corners=False``, no antialias.
        """
        if (height, width) == self.grid:
            return self.positional_embedding
        mean, cells = self.positional_embedding[:1], self.positional_embedding[1:]
        table = cells.T.unflatten(1, self.grid)[None]  # (1, C, rows, columns)
        resized = F.interpolate(table, (height, width), mode="bilinear", align_corners=False)
        return torch.cat([mean, resized[0].flatten(1).T])

    @torch.no_grad()
    def resize_grid_(self, height: int, width: int) -> "DenseAttentionPool":
        """Replace the stored table by one resized to that many rows and columns, as TCM does when it loads CLIP.

        Later calls resize from the new table: two successive resizes are not one. The parameter is a new one, so
        build the optimizer afterwards.
        """
        table = self.resized_position(height, width).clone(memory_format=torch.contiguous_format)
        self.positional_embedding = nn.Parameter(table, requires_grad=self.positional_embedding.requires_grad)
        self.grid = (height, width)
        return self

    def _heads(self, tokens: Tensor) -> Tensor:
        """Split channels: (N, L, C) to (N, heads, L, C / heads)."""
        return tokens.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def extra_repr(self) -> str:
        """Settings shown by ``print``."""
        return f"num_heads={self.num_heads}, grid={self.grid}"
