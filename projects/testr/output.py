"""What the network says about a batch, before thresholds: one record a decoder layer, one of the encoder."""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["LayerOutput", "Proposals", "TESTROutput"]


@dataclass
class Proposals:
    """What the encoder proposes for B images of S tokens.

    Attributes:
        logits: (B, S, 1) text logits of every token.
        boxes: (B, S, 4) float32 centre x, centre y, width, height of every token as fractions of the unpadded image;
            ``None`` in eval mode, where only the best are computed.
        index: (B, Q) int64 tokens with the best logits, best first.
        references: (B, Q, 4) float32 their boxes, without gradient: where the decoder looks.
    """

    logits: Tensor
    boxes: Tensor | None
    index: Tensor
    references: Tensor


@dataclass
class LayerOutput:
    """Predictions of B images, Q queries each, after one decoder layer.

    Attributes:
        logits: (B, Q, N) text logits of every outline point.
        points: (B, Q, N, 2) float32 outline in fractions of the unpadded image.
        texts: (B, Q, T, V + 1) character logits.
    """

    logits: Tensor
    points: Tensor
    texts: Tensor


@dataclass
class TESTROutput:
    """Predictions of a batch.

    Attributes:
        layers: one a decoder layer in training, in order; the last one only in eval mode.
        proposals: of the encoder.
    """

    layers: list[LayerOutput]
    proposals: Proposals
