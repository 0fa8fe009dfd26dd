"""Queries made of points, refined layer by layer (DeepSolo, section 3.3; SPEC ``deepsolo`` sections 8 and 9)."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fasttcm.layers.mlp import MLP, logit
from fasttcm.layers.multi_scale import TokenMap
from fasttcm.layers.point_decoder import point_decoder_layers
from fasttcm.layers.sine_encoding import sine_points
from fasttcm.projects.deepsolo.output import LayerOutput

__all__ = ["PointDecoder", "PointHeads", "PointStates"]


@dataclass
class PointStates:
    """The queries after one decoder layer.

    Attributes:
        hidden: (B, Q, P, C).
        entered: (B, Q, P, 2) float32 reference points that the layer looked from, without gradient.
        points: (B, Q, P, 2) float32 refined points; without gradient they are the next layer's references.
        position: (B, Q, P, C) positional term of the layer.
    """

    hidden: Tensor
    entered: Tensor
    points: Tensor
    position: Tensor


class PointDecoder(nn.Module):
    """Decoder layers that share one head for the refinement of the points.

    Args:
        channels: width C.
        num_queries: largest number Q of instances.
        num_points: points P of each.
        layers: number of layers.
        options: of every layer, see :class:`~fasttcm.layers.point_decoder.PointDecoderLayer`.
    """

    def __init__(
        self, *, channels: int = 256, num_queries: int = 100, num_points: int = 25, layers: int = 6, **options: Any
    ) -> None:
        super().__init__()
        self.channels = channels
        self.num_points = num_points
        self.point_embed = nn.Embedding(num_queries * num_points, channels)
        self.position = MLP(in_channels=channels, channels=channels, out_channels=channels, layers=2)
        for linear in self.position.layers:
            assert isinstance(linear, nn.Linear)
            nn.init.xavier_uniform_(linear.weight)
        self.coordinates = MLP(in_channels=channels, channels=channels, out_channels=2, layers=3).zero_last()
        self.layers = point_decoder_layers(layers, channels=channels, **options)

    def forward(self, references: Tensor, memory: TokenMap) -> list[PointStates]:
        """Refine; returns the states after each layer.

        Args:
            references: (B, Q, P, 2) float32 points in [0, 1] of the unpadded images; the k-th best proposal gets the
                k-th block of content queries.
            memory: encoded tokens.
        """
        batch, queries, points = references.shape[:3]
        content = self.point_embed.weight[: queries * points].view(1, queries, points, -1)
        hidden = content.expand(batch, -1, -1, -1)
        states = []
        for layer in self.layers:
            places = references[:, :, :, None] * memory.valid_ratios[:, None, None]
            position = self.position(sine_points(places[:, :, :, 0], self.channels // 2))
            hidden = layer(hidden, position, places, memory.tokens, memory.shapes, memory.mask)
            with torch.autocast(hidden.device.type, enabled=False):
                refined = (self.coordinates(hidden.float()) + logit(references)).sigmoid()
            states.append(PointStates(hidden, references, refined, position))
            references = refined.detach()
        return states


class PointHeads(nn.Module):
    """Text or not, which character, and how far up and down the text reaches, at every point; shared by the layers.

    Args:
        channels: width C of the queries.
        num_classes: V + 1: characters, "unknown" and blank.
        prior_prob: probability of text, and of each character, at the start of training.
    """

    def __init__(self, *, channels: int = 256, num_classes: int, prior_prob: float = 0.01) -> None:
        super().__init__()
        self.text = nn.Linear(channels, 1)
        self.characters = nn.Linear(channels, num_classes)
        self.boundary = MLP(in_channels=channels, channels=channels, out_channels=4, layers=3).zero_last()
        for linear in (self.text, self.characters):
            nn.init.constant_(linear.bias, -math.log((1 - prior_prob) / prior_prob))

    def forward(self, states: PointStates) -> LayerOutput:
        """Predict from the states after a layer; the boundary is relative to the points that entered it."""
        with torch.autocast(states.hidden.device.type, enabled=False):
            start = logit(states.entered).repeat(1, 1, 1, 2)
            boundary = (self.boundary(states.hidden.float()) + start).sigmoid()
        return LayerOutput(self.text(states.hidden), self.characters(states.hidden), states.points, boundary)
