"""The transformer encoder over tokens of several scales (Deformable DETR, Zhu et al., ICLR 2021)."""

from torch import Tensor, nn
from torch.nn import functional as F

from fasttcm.layers.deformable_attention import DeformableAttention
from fasttcm.layers.multi_scale import TokenMap

__all__ = ["DeformableEncoder", "DeformableEncoderLayer", "FeedForward"]


class FeedForward(nn.Module):
    """Two linear layers on top of what they read, normalised after: ``norm(x + linear2(relu(linear1(x))))``.

    Args:
        channels: width C.
        feedforward: width between the layers.
        dropout: probability, after either layer.
    """

    def __init__(self, *, channels: int = 256, feedforward: int = 1024, dropout: float = 0.0) -> None:
        super().__init__()
        self.linear1 = nn.Linear(channels, feedforward)
        self.linear2 = nn.Linear(feedforward, channels)
        self.norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)
        for linear in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(linear.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
        hidden = self.dropout(F.relu(self.linear1(x), inplace=True))
        out: Tensor = self.norm(x + self.dropout(self.linear2(hidden)))
        return out


class DeformableEncoderLayer(nn.Module):
    """Deformable self-attention and a feed-forward network, each normalised after its sum.

    Args:
        channels, feedforward, heads, levels, points, dropout: see :class:`DeformableEncoder`.
    """

    def __init__(
        self, *, channels: int, feedforward: int, heads: int, levels: int, points: int, dropout: float
    ) -> None:
        super().__init__()
        self.attention = DeformableAttention(channels=channels, levels=levels, heads=heads, points=points)
        self.norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)
        self.feedforward = FeedForward(channels=channels, feedforward=feedforward, dropout=dropout)

    def forward(self, tokens: TokenMap, reference: Tensor) -> Tensor:
        """Encode once: (B, S, C); ``reference`` (B, S, L, 2) is each token's own place on every level."""
        x = tokens.tokens
        query = x + tokens.pos.to(x.dtype)
        attended = self.attention(query, reference, x, tokens.shapes, tokens.mask)
        out: Tensor = self.feedforward(self.norm(x + self.dropout(attended)))
        return out


class DeformableEncoder(nn.Module):
    """A stack of :class:`DeformableEncoderLayer`.

    Args:
        channels: width C of the tokens.
        feedforward: width inside the feed-forward networks.
        layers: number of layers.
        heads: attention heads.
        levels: levels of the tokens.
        points: sampling points a head and level.
        dropout: probability.
    """

    def __init__(
        self,
        *,
        channels: int = 256,
        feedforward: int = 1024,
        layers: int = 6,
        heads: int = 8,
        levels: int = 4,
        points: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DeformableEncoderLayer(
                channels=channels, feedforward=feedforward, heads=heads, levels=levels, points=points, dropout=dropout
            )
            for _ in range(layers)
        )

    def forward(self, tokens: TokenMap) -> Tensor:
        """The memory (B, S, C): every token having looked around itself on all levels."""
        reference = tokens.centres()[:, :, None] * tokens.valid_ratios[:, None]
        for layer in self.layers:
            tokens = tokens.with_tokens(layer(tokens, reference))
        return tokens.tokens
