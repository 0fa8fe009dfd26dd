"""Two decoders side by side: one follows the outline of a text, the other spells it (TESTR, section 3.3)."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from fasttcm.layers.multi_scale import TokenMap
from fasttcm.layers.point_decoder import point_decoder_layers
from fasttcm.layers.sine_encoding import sine_points

__all__ = ["DualDecoder", "text_positions"]

BOX_NUMBERS = 4
"""Centre x, centre y, width, height."""

_TEMPERATURE = 10000.0
_EPS = 1e-6


def text_positions(length: int, channels: int) -> Tensor:
    """The constant positional term of T characters (SPEC ``testr`` section 3).

    Character i = 1 .. T has v = 2 pi i / (T + 1e-6) and the vector ``[sin(v f_k) ..., cos(v f_k) ...]`` with
    f_k = 10000^(-2k / channels): all sines, then all cosines.

    Args:
        length: T.
        channels: even.

    Returns:
        (T, channels) float32.
    """
    frequency = 1.0 / _TEMPERATURE ** (torch.arange(0, channels, 2, dtype=torch.float32) / channels)
    place = torch.arange(1, length + 1, dtype=torch.float32) / (length + _EPS) * (2 * math.pi)
    angle = place[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], 1)


class DualDecoder(nn.Module):
    """Outlines and characters of Q proposals; the two exchange nothing but the boxes and the memory they look at.

    Args:
        channels: model width.
        num_layers: of each branch.
        num_points: outline points N.
        max_length: characters T.
        dropout: in training.
        options: of every layer, see :class:`~fasttcm.layers.point_decoder.PointDecoderLayer`.
    """

    text_position: Tensor

    def __init__(
        self,
        *,
        channels: int = 256,
        num_layers: int = 6,
        num_points: int = 16,
        max_length: int = 25,
        dropout: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.num_points = num_points
        self.box_position = nn.Linear(channels, channels)
        self.box_position_norm = nn.LayerNorm(channels)
        nn.init.xavier_uniform_(self.box_position.weight)
        self.point_embed = nn.Embedding(num_points, channels)
        self.text_embed = nn.Embedding(max_length, channels)
        self.point_layers = point_decoder_layers(num_layers, channels=channels, dropout=dropout, **options)
        self.text_layers = point_decoder_layers(num_layers, channels=channels, dropout=dropout, **options)
        self.register_buffer("text_position", text_positions(max_length, channels), persistent=False)

    def forward(self, boxes: Tensor, memory: TokenMap) -> list[tuple[Tensor, Tensor]]:
        """Decode.

        Args:
            boxes: (B, Q, 4) float32 centre x, centre y, width, height as fractions of the unpadded images, without
                gradient; all layers look from the same boxes.
            memory: encoded tokens.

        Returns:
            One pair a layer: outline states (B, Q, N, channels) and character states (B, Q, T, channels).
        """
        ratios = torch.cat([memory.valid_ratios, memory.valid_ratios], 2)
        references = boxes[:, :, None, None] * ratios[:, None, None]
        position = self.query_position(boxes)[:, :, None]
        look = references, memory.tokens, memory.shapes, memory.mask
        points = self.point_embed.weight.expand(*boxes.shape[:2], -1, -1)
        texts = self.text_embed.weight.expand(*boxes.shape[:2], -1, -1)
        states = []
        for point_layer, text_layer in zip(self.point_layers, self.text_layers, strict=True):
            points = point_layer(points, position, *look)
            texts = text_layer(texts, self.text_position, *look)
            states.append((points, texts))
        return states

    def query_position(self, boxes: Tensor) -> Tensor:
        """(B, Q, channels) positional term of the outline branch, computed from the boxes once for all layers."""
        sine = sine_points(boxes, self.channels // BOX_NUMBERS)
        position: Tensor = self.box_position_norm(self.box_position(sine))
        return position
