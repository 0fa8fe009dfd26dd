"""What the network says about a batch, before thresholds: one record a decoder layer, one of the encoder."""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["DeepSoloOutput", "LayerOutput", "Proposals"]


@dataclass
class Proposals:
    """What the encoder proposes for B images of S tokens.

    Attributes:
        class_logits: (B, S, 1) text logits of every token.
        curves: (B, S, 4, 2) float32 control points of every token's centre line, as fractions of the unpadded image;
            ``None`` in eval mode, where only the best are computed.
        index: (B, Q) int64 tokens with the best logits, best first.
        curve_logits: (B, Q, 8) float32 their control points before the sigmoid, without gradient.
        references: (B, Q, P, 2) float32 points on their centre lines, without gradient: where the decoder looks.
    """

    class_logits: Tensor
    curves: Tensor | None
    index: Tensor
    curve_logits: Tensor
    references: Tensor


@dataclass
class LayerOutput:
    """Predictions of B images, Q queries of P points each, after one decoder layer.

    Attributes:
        logits: (B, Q, P, 1) text logits of every point.
        text_logits: (B, Q, P, V + 1) character logits; V - 1 is "unknown", V the blank of CTC.
        points: (B, Q, P, 2) float32 centre line as fractions of the unpadded image.
        boundary: (B, Q, P, 4) float32 the points above (x, y) and below (x, y) each of them.
    """

    logits: Tensor
    text_logits: Tensor
    points: Tensor
    boundary: Tensor


@dataclass
class DeepSoloOutput:
    """Predictions of a batch.

    Attributes:
        layers: one a decoder layer in training, in order; the last one only in eval mode.
        proposals: of the encoder.
    """

    layers: list[LayerOutput]
    proposals: Proposals
