"""From the last layer's predictions to the words of the original image (SPEC ``deepsolo`` section 10)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fasttcm.charset import Charset, collapse_ctc
from fasttcm.projects.deepsolo.output import LayerOutput
from fasttcm.structures import TextPredictions

__all__ = ["Instances", "decode_ctc", "outlines", "select", "to_predictions"]


@dataclass
class Instances:
    """The n queries of one image that are text, in query order, in pixels of the output image, not clipped.

    Attributes:
        scores: (n,) float32.
        points: (n, P, 2) float32 centre lines.
        boundary: (n, P, 4) float32 the points above (x, y) and below (x, y).
        text_probs: (n, P, V + 1) float32 probabilities of the characters.
    """

    scores: Tensor
    points: Tensor
    boundary: Tensor
    text_probs: Tensor


def select(layer: LayerOutput, image: int, *, threshold: float, output_size: tuple[int, int]) -> Instances:
    """The queries of one image whose score reaches the threshold; no suppression.

    Args:
        layer: predictions of a batch.
        image: which image of it.
        threshold: of the sigmoid of the mean logit.
        output_size: height and width of the original image. Coordinates are fractions of the unpadded network input,
            so its size takes no part.
    """
    scores = layer.logits[image, :, :, 0].float().mean(1).sigmoid()
    kept = scores >= threshold
    span = layer.points.new_tensor([output_size[1], output_size[0]])
    return Instances(
        scores[kept],
        layer.points[image][kept] * span,
        layer.boundary[image][kept] * span.repeat(2),
        layer.text_logits[image][kept].float().softmax(2),
    )


def outlines(boundary: Tensor) -> Tensor:
    """(n, P, 4) boundaries to (n, 2 P, 2) polygons: the upper points in order, then the lower ones backwards."""
    return torch.cat([boundary[..., :2], boundary[..., 2:].flip(1)], 1)


def decode_ctc(classes: Sequence[int], charset: Charset) -> str:
    """Best-path CTC: the blank and "unknown" both separate characters and write nothing.

    Args:
        classes: one a point; ``charset.end`` is the blank.
        charset: the characters.
    """
    spelled = [charset.end if number >= charset.unknown else number for number in classes]
    return "".join(charset.characters[number] for number in collapse_ctc(spelled, charset.end))


def text_score(classes: Sequence[int], probs: Sequence[float], charset: Charset) -> float:
    """Product over the characters read of the highest probability at the points that say so; 0 when nothing is read.

    Args:
        classes: one a point.
        probs: the probability of each.
        charset: the characters.
    """
    peaks: list[float] = []
    last = charset.end
    for number, prob in zip(classes, probs, strict=True):
        if number < charset.unknown:
            peaks = [*peaks[:-1], max(peaks[-1], prob)] if number == last else [*peaks, prob]
        last = number
    score = float(bool(peaks))
    for peak in peaks:
        score *= peak
    return score


def to_predictions(found: Instances, *, charset: Charset, output_size: tuple[int, int]) -> TextPredictions:
    """The words of one image, by descending score, on the CPU.

    Args:
        found: what :func:`select` returned.
        charset: turns classes into characters.
        output_size: height and width of the original image.
    """
    order = found.scores.sort(descending=True, stable=True).indices
    polygons = outlines(found.boundary[order]).float().cpu()
    best = found.text_probs[order].max(2)
    classes, probs = best.indices.tolist(), best.values.tolist()
    scores = [text_score(row, values, charset) for row, values in zip(classes, probs, strict=True)]
    return TextPredictions(
        height=output_size[0],
        width=output_size[1],
        polygons=list(polygons.numpy()),
        boxes=torch.cat([polygons.amin(1), polygons.amax(1)], 1),
        scores=found.scores[order].cpu(),
        texts=[decode_ctc(row, charset) for row in classes],
        text_scores=torch.tensor(scores),
    )
