"""Decoder layer over instances made of points (DeepSolo, TESTR): attention within, attention across, a look, an FFN."""

from typing import Any

from torch import Tensor, nn

from fasttcm.layers.deformable_attention import DeformableAttention
from fasttcm.layers.deformable_encoder import FeedForward

__all__ = ["PointDecoderLayer", "point_decoder_layers"]


def point_decoder_layers(count: int, **options: Any) -> nn.ModuleList:
    """``count`` layers of the same ``options``, see :class:`PointDecoderLayer`; each with weights of its own."""
    return nn.ModuleList(PointDecoderLayer(**options) for _ in range(count))


class PointDecoderLayer(nn.Module):
    """One layer for Q instances of P points (or characters) each, normalised after every step.

    Args:
        channels: model width.
        heads: attention heads.
        levels: feature levels of the source.
        sampling_points: of deformable attention, per head and level.
        feedforward: width between the two linear layers.
        dropout: after every step, inside self attention and inside the feed-forward part, in training.
    """

    def __init__(
        self,
        *,
        channels: int = 256,
        heads: int = 8,
        levels: int = 4,
        sampling_points: int = 4,
        feedforward: int = 1024,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.intra = nn.MultiheadAttention(channels, heads, dropout=dropout, batch_first=True)
        self.norm_intra = nn.LayerNorm(channels)
        self.inter = nn.MultiheadAttention(channels, heads, dropout=dropout, batch_first=True)
        self.norm_inter = nn.LayerNorm(channels)
        self.cross = DeformableAttention(channels=channels, levels=levels, heads=heads, points=sampling_points)
        self.norm_cross = nn.LayerNorm(channels)
        self.feedforward = FeedForward(channels=channels, feedforward=feedforward, dropout=dropout)
        self.dropout = nn.Dropout(dropout)
        for attention in (self.intra, self.inter):
            nn.init.xavier_uniform_(attention.out_proj.weight)

    def forward(
        self,
        x: Tensor,
        position: Tensor,
        references: Tensor,
        source: Tensor,
        shapes: list[tuple[int, int]],
        padding: Tensor | None = None,
    ) -> Tensor:
        """One step of refinement.

        Args:
            x: (B, Q, P, channels) states.
            position: their positional terms, broadcastable to ``x``.
            references: (B, Q, P or 1, L, 2 or 4) where to look on each level, in fractions of the padded maps.
            source: (B, S, channels) tokens to look at.
            shapes: (height, width) of each level.
            padding: (B, S) True where a token is padding, or ``None``.

        Returns:
            (B, Q, P, channels).
        """
        batch, queries, points, channels = x.shape
        # within an instance: all its points
        placed = (x + position).reshape(batch * queries, points, channels)
        own = self.intra(placed, placed, x.reshape(batch * queries, points, channels), need_weights=False)[0]
        x = self.norm_intra(x + self.dropout(own.view(x.shape)))
        # across instances: the same point of all of them, without position
        across = x.transpose(1, 2).reshape(batch * points, queries, channels)
        other = self.inter(across, across, across, need_weights=False)[0]
        x = self.norm_inter(x + self.dropout(other.view(batch, points, queries, channels).transpose(1, 2)))
        # the picture
        where = references.expand(-1, -1, points, -1, -1).flatten(1, 2)
        seen = self.cross((x + position).flatten(1, 2), where, source, shapes, padding)
        x = self.norm_cross(x + self.dropout(seen.view(x.shape)))
        output: Tensor = self.feedforward(x)
        return output
