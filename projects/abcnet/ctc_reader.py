"""A small reader: pooled curves -> convolutions -> BiLSTM -> one class a column, trained with CTC (CRNN).

ABCNet reads with an attention decoder, which takes hundreds of thousands of iterations to learn. Shi et al. (CRNN,
TPAMI 2017) read with connectionist temporal classification, which a small model learns in a few thousand.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fasttcm.charset import collapse_ctc
from fasttcm.layers.bezier_align import BezierPooler
from fasttcm.losses.ctc import ctc_text_loss
from fasttcm.losses.normalizer import process_share
from fasttcm.projects.abcnet.recognizer import Reading

__all__ = ["ColumnEncoder", "CtcReader", "even_alignment", "read_columns"]

_FAINTEST = 0.02
"""Standard deviation, in units of the picture's normalisation, below which noise is not blown up to full contrast."""


def _conv(in_channels: int, channels: int, stride: int | tuple[int, int] = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
    )


class _Residual(nn.Module):
    """Two 3 x 3 convolutions around a shortcut (He et al., 2016), (n, channels, h, w) to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _conv(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(self.first(x)))


def _standardized(regions: Tensor) -> Tensor:
    centred = regions - regions.mean((2, 3), keepdim=True)
    return centred / (centred.square().mean((1, 2, 3), keepdim=True).sqrt() + _FAINTEST)


class ColumnEncoder(nn.Module):
    """Regions to one vector a column of four pixels, which knows the columns beside it.

    Every region is first brought to mean 0 a channel and standard deviation 1 in all: dark, hazy and faint words then
    look like any other.

    Args:
        in_channels: channels of the regions.
        height: their rows, a multiple of 8.
        widths: channels of the four stages, at 1/2, 1/2, 1/4 and 1/8 of the height.
        blocks: residual blocks of the last stage.
        hidden: width of the LSTM in each direction.
        dropout: on the columns before the LSTM, in training.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        height: int,
        widths: Sequence[int],
        hidden: int,
        blocks: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if height < 8 or height % 8:
            raise ValueError(f"the height of a region must be a multiple of 8, got {height}")
        stem, fine, middle, coarse = widths
        self.convs = nn.Sequential(
            _conv(in_channels, stem, stride=2),
            _conv(stem, fine),
            _conv(fine, middle, stride=2),
            _Residual(middle),
            _conv(middle, coarse, stride=(2, 1)),
            *(_Residual(coarse) for _ in range(blocks)),
        )
        self.squeeze = nn.Sequential(
            nn.Conv2d(coarse, coarse, (height // 8, 1), bias=False), nn.BatchNorm2d(coarse), nn.ReLU()
        )
        self.dropout = nn.Dropout(dropout)
        self.rnn = nn.LSTM(coarse, hidden, bidirectional=True)
        self.column_channels = coarse
        self.out_channels = 2 * hidden

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Columns (n, w / 4, widths[-1]) as seen alone, and (n, w / 4, 2 * hidden) as seen in context, float32.

        ``regions`` are (n, in_channels, height, w) with n > 0.
        """
        columns = self.squeeze(self.convs(_standardized(regions)))[:, :, 0].transpose(1, 2)
        encoded: Tensor = self.rnn(self.dropout(columns).transpose(0, 1))[0]
        return columns.float(), encoded.transpose(0, 1).float()


def read_columns(logits: Tensor, *, blank: int, max_length: int) -> Reading:
    """Best-path decoding: the most likely class of every column, repeats merged, blanks dropped.

    Args:
        logits: (n, T, num_classes).
        blank: class of the blank; also fills the rest of a row of tokens.
        max_length: longer readings are cut.

    Returns:
        ``tokens`` (n, max_length), and as ``scores`` the geometric mean of the probabilities of the columns where a
        character is, 0 for an empty reading. It does not fall with the length of a word.
    """
    best, classes = logits.float().softmax(2).max(2)
    tokens = torch.full((len(logits), max_length), blank, dtype=torch.int64, device=logits.device)
    for row, columns in enumerate(classes.tolist()):
        text = collapse_ctc(columns, blank)[:max_length]
        tokens[row, : len(text)] = torch.tensor(text, dtype=torch.int64, device=logits.device)
    written = classes != blank
    count = written.sum(1)
    mean = (best.log() * written).sum(1) / count.clamp(min=1)
    return Reading(tokens, torch.where(count > 0, mean.exp(), 0.0))


def even_alignment(classes: Tensor, lengths: Tensor, columns: int) -> Tensor:
    """Which character each column would show if all were equally wide.

    Args:
        classes: (n, max_length) int64.
        lengths: (n,) int64 characters of each text.
        columns: T.

    Returns:
        (n, T) int64 classes; the first class of the row for an empty text.
    """
    middle = (torch.arange(columns, device=classes.device) + 0.5) / columns
    return classes.gather(1, (middle * lengths[:, None]).long())


class CtcReader(nn.Module):
    """Read the text inside curves, column by column.

    Args:
        pooler: cuts the regions out of the feature maps.
        encoder: (n, C, h, w) to (n, T, C').
        num_classes: characters, unknown and end, as in :class:`~fasttcm.charset.Charset`.
        blank: class of the blank: the charset's end, which no transcription holds.
        max_length: longest text in characters.
        max_regions: most texts of a batch that train, drawn at random; bounds memory and keeps shapes equal. 0: all.
        guide_weight: factor of a second loss that names the character of every column before the LSTM, as if all
            characters were equally wide. It is rough, but CTC alone first spends a thousand iterations on finding out
            that columns and characters have the same order. 0: without.
    """

    def __init__(
        self,
        *,
        pooler: BezierPooler,
        encoder: ColumnEncoder,
        num_classes: int,
        blank: int,
        max_length: int = 25,
        max_regions: int = 0,
        guide_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.pooler = pooler
        self.encoder = encoder
        self.classifier = nn.Linear(encoder.out_channels, num_classes)
        self.guide = nn.Linear(encoder.column_channels, num_classes) if guide_weight else None
        self.guide_weight = guide_weight
        self.blank = blank
        self.max_length = max_length
        self.max_regions = max_regions

    def forward(self, features: Sequence[Tensor], beziers: Sequence[Tensor]) -> Tensor:
        """(n, T, num_classes) float32 logits of the n > 0 curves in all.

        Args:
            features: one (N, C, H, W) map a pooler level, finest first.
            beziers: (n_i, 16) control points in input pixels of each image.
        """
        return self._columns(features, beziers)[1]

    def _columns(self, features: Sequence[Tensor], beziers: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The columns before the LSTM, and the logits."""
        columns, encoded = self.encoder(self.pooler(features, beziers))
        with torch.autocast(encoded.device.type, enabled=False):
            return columns, self.classifier(encoded)

    def loss(
        self, features: Sequence[Tensor], beziers: Sequence[Tensor], classes: Tensor, teacher: Tensor | None = None
    ) -> Tensor:
        """CTC loss a character, averaged over the texts of all processes, and the guide's; 0 without any.

        Args:
            features: as in :meth:`forward`.
            beziers: likewise; n may be 0.
            classes: (n, max_length) int64 true classes, padded with the blank.
            teacher: not used: nothing is fed back.
        """
        if self.max_regions and len(classes) > self.max_regions:
            beziers, classes = _draw(beziers, classes, self.max_regions)
        count = process_share(features[0].new_tensor(float(len(classes)), dtype=torch.float32), 1.0)
        if len(classes) == 0:
            return self._idle(features) / count
        lengths = (classes != self.blank).sum(1)
        columns, logits = self._columns(features, beziers)
        loss = ctc_text_loss(logits, classes, lengths, self.blank)
        if self.guide is not None:
            guessed = self.guide(columns).float().flatten(0, 1)
            expected = even_alignment(classes, lengths, logits.shape[1]).flatten()
            loss = loss + self.guide_weight * F.cross_entropy(guessed, expected)
        return loss * len(classes) / count

    def _idle(self, features: Sequence[Tensor]) -> Tensor:
        """A zero that depends on every parameter, for data-parallel training on a batch without texts."""
        nothing = self.pooler(features, [features[0].new_zeros(0, 16)] * len(features[0])).float().sum()
        return nothing + torch.stack([parameter[:0].sum() for parameter in self.parameters()]).sum()

    def read(self, features: Sequence[Tensor], beziers: Sequence[Tensor]) -> Reading:
        """The most likely text of every curve; n may be 0."""
        if sum(len(curves) for curves in beziers) == 0:
            device = features[0].device
            tokens = torch.zeros(0, self.max_length, dtype=torch.int64, device=device)
            return Reading(tokens, torch.zeros(0, device=device))
        return read_columns(self(features, beziers), blank=self.blank, max_length=self.max_length)


def _draw(beziers: Sequence[Tensor], classes: Tensor, most: int) -> tuple[list[Tensor], Tensor]:
    """``most`` of the texts at random, in order."""
    kept = torch.zeros(len(classes), dtype=torch.bool, device=classes.device)
    kept[torch.randperm(len(classes), device=classes.device)[:most]] = True
    parts = kept.split([len(curves) for curves in beziers])
    return [curves[part] for curves, part in zip(beziers, parts, strict=True)], classes[kept]
