"""Recognition branch: pooled curves -> convolutions -> BiLSTM -> one character a step (ABCNet, section 3.3)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fasttcm.layers.bezier_align import BezierPooler
from fasttcm.projects.abcnet.decoder import AttentionDecoder, Decoded
from fasttcm.projects.abcnet.head import group_norm
from fasttcm.projects.abcnet.loss import recognition_loss

__all__ = ["Reading", "RecognizerBranch", "SequenceEncoder", "make_tower"]

_HEIGHT_REDUCTIONS = 2
"""Convolutions of the encoder that halve the height."""


def make_tower(*, in_channels: int, channels: int, num_convs: int) -> nn.Sequential:
    """Blocks of 3 x 3 convolution without bias, batch norm and ReLU: (n, in_channels, h, w) to (n, channels, h, w)."""
    blocks = []
    for i in range(num_convs):
        conv = nn.Conv2d(channels if i else in_channels, channels, 3, padding=1, bias=False)
        nn.init.kaiming_uniform_(conv.weight, a=1)
        blocks.append(nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU()))
    return nn.Sequential(*blocks)


class SequenceEncoder(nn.Module):
    """Squeeze the height and read along the text in both directions.

    Args:
        in_channels: channels of the pooled regions.
        channels: width of everything that follows, published 256.
    """

    def __init__(self, *, in_channels: int, channels: int = 256) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(channels if i else in_channels, channels, 3, stride=(2, 1), padding=1, bias=False),
                    group_norm(channels),
                    nn.ReLU(),
                )
                for i in range(_HEIGHT_REDUCTIONS)
            )
        )
        self.rnn = nn.LSTM(channels, channels, bidirectional=True)
        self.projection = nn.Linear(2 * channels, channels)

    def forward(self, regions: Tensor) -> Tensor:
        """(n, in_channels, h, w) with n > 0 to (w, n, channels) float32, one vector a column.

        The recurrent part runs in float32 under autocast: it is small, and its errors add up along the text.
        """
        columns = self.convs(regions).mean(2).permute(2, 0, 1)
        with torch.autocast(regions.device.type, enabled=False):
            return self.projection(self.rnn(columns.float())[0])


@dataclass
class Reading:
    """What was read in n regions.

    Attributes:
        tokens: (n, max_length) int64 classes.
        scores: (n,) float32 confidence; see :meth:`Decoded.confidence`.
    """

    tokens: Tensor
    scores: Tensor


class RecognizerBranch(nn.Module):
    """Read the text inside curves.

    Args:
        pooler: cuts the regions out of the pyramid.
        tower: (n, C, h, w) to (n, C', h, w).
        encoder: (n, C', h, w) to (w, n, C'').
        decoder: (w, n, C'') to characters.
        refine: (N, C, H, W) to the same shape, applied to every level before the regions are cut out: ABCNet v2's
            :class:`~fasttcm.projects.abcnet.coordinates.CoordinateBranch`. ``None`` leaves the levels as they are.
        pad_loss_weight: weight of the steps after the end of a word in the loss, 1 as published.
    """

    def __init__(
        self,
        *,
        pooler: BezierPooler,
        tower: nn.Module,
        encoder: SequenceEncoder,
        decoder: AttentionDecoder,
        refine: nn.Module | None = None,
        pad_loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.refine = refine
        self.pooler = pooler
        self.tower = tower
        self.encoder = encoder
        self.decoder = decoder
        self.pad_loss_weight = pad_loss_weight

    def encode(self, features: Sequence[Tensor], beziers: Sequence[Tensor]) -> Tensor:
        """(w, n, C'') from one (N, C, H, W) map a level and the (n_i, 16) curves of every image; n > 0 in all."""
        if self.refine is not None:
            features = [self.refine(feature) for feature in features]
        encoded: Tensor = self.encoder(self.tower(self.pooler(features, beziers)))
        return encoded

    def forward(
        self,
        features: Sequence[Tensor],
        beziers: Sequence[Tensor],
        targets: Tensor | None = None,
        teacher: Tensor | None = None,
    ) -> Decoded:
        """Decode every region; n > 0 in all.

        Args:
            features: one (N, C, H, W) map a pooler level, finest first.
            beziers: (n_i, 16) control points in input pixels of each image.
            targets: (n, max_length) int64 true classes, for teacher forcing.
            teacher: see :meth:`AttentionDecoder.forward`.
        """
        decoded: Decoded = self.decoder(self.encode(features, beziers), targets, teacher)
        return decoded

    def loss(
        self, features: Sequence[Tensor], beziers: Sequence[Tensor], classes: Tensor, teacher: Tensor | None = None
    ) -> Tensor:
        """:func:`~fasttcm.projects.abcnet.loss.recognition_loss` of n regions; n may be 0.

        Args:
            features: as in :meth:`forward`.
            beziers: likewise.
            classes: (n, max_length) int64 true classes.
            teacher: as in :meth:`forward`.
        """
        end = self.decoder.end
        if len(classes) == 0:
            steps, width = self.decoder.max_length, self.decoder.classifier.out_features
            nothing = features[0].new_zeros(0, steps, width, dtype=torch.float32)
            return self.idle(features) + recognition_loss(nothing, classes, end=end)
        decoded = self(features, beziers, classes, teacher)
        return recognition_loss(decoded.log_probs, classes, end=end, pad_weight=self.pad_loss_weight)

    def read(self, features: Sequence[Tensor], beziers: Sequence[Tensor]) -> Reading:
        """The most likely characters of every region; n may be 0."""
        if sum(len(curves) for curves in beziers) == 0:
            device = features[0].device
            tokens = torch.zeros(0, self.decoder.max_length, dtype=torch.int64, device=device)
            return Reading(tokens, torch.zeros(0, device=device))
        decoded = self(features, beziers)
        return Reading(decoded.tokens, decoded.confidence(self.decoder.end))

    def idle(self, features: Sequence[Tensor]) -> Tensor:
        """A zero that depends on every parameter and feature, for a batch without anything to read.

        Without it those parameters would get no gradient, and data-parallel training would wait for them for ever. Sums
        of empty slices are exactly zero, whatever the weights hold.
        """
        nothing = self.pooler(features, [features[0].new_zeros(0, 16)] * len(features[0])).float().sum()
        return nothing + torch.stack([parameter[:0].sum() for parameter in self.parameters()]).sum()
