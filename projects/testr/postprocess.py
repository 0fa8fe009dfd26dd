"""From the last layer's predictions to the words of the original image (SPEC ``testr`` section 6)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fasttcm.charset import CHARSETS, Charset
from fasttcm.projects.testr.output import LayerOutput
from fasttcm.structures import FloatArray, TextPredictions

__all__ = ["Instances", "ascii_scores", "select", "to_predictions"]


@dataclass
class Instances:
    """The n queries of one image that are text, in query order.

    Attributes:
        scores: (n,) float32.
        points: (n, N, 2) float32 outlines in pixels of the output image, not clipped.
        text_probs: (n, T, V + 1) float32 probabilities of the characters.
    """

    scores: Tensor
    points: Tensor
    text_probs: Tensor


def select(
    layer: LayerOutput,
    image: int,
    *,
    threshold: float,
    output_size: tuple[int, int],
) -> Instances:
    """The queries of one image whose score reaches the threshold; no suppression.

    Args:
        layer: predictions of a batch.
        image: which image of it.
        threshold: of the sigmoid of the mean logit.
        output_size: height and width of the original image. Outlines are fractions of the unpadded network input,
            so its size takes no part.
    """
    scores = layer.logits[image].float().mean(1).sigmoid()
    kept = scores >= threshold
    span = layer.points.new_tensor([output_size[1], output_size[0]])
    return Instances(scores[kept], layer.points[image][kept] * span, layer.texts[image][kept].float().softmax(2))


def to_predictions(
    found: Instances, *, charset: Charset, output_size: tuple[int, int], char_scores: bool = False
) -> TextPredictions:
    """The words of one image, by descending score, on the CPU.

    Args:
        found: what :func:`select` returned.
        charset: turns classes into characters; what follows a padding class is kept, as published.
        output_size: height and width of the original image.
        char_scores: whether to keep the probabilities of every character, for TESTR's weighted lexicon search.
    """
    order = found.scores.sort(descending=True, stable=True).indices
    points, probs = found.points[order].float().cpu(), found.text_probs[order].cpu()
    best = probs.max(2)
    texts = [charset.decode(row) for row in best.indices.tolist()]
    return TextPredictions(
        height=output_size[0],
        width=output_size[1],
        polygons=list(points.numpy()),
        boxes=torch.cat([points.amin(1), points.amax(1)], 1),
        scores=found.scores[order].cpu(),
        texts=texts,
        text_scores=best.values.log().sum(1).exp(),
        char_scores=[ascii_scores(p, len(t), charset) for p, t in zip(probs.numpy(), texts, strict=True)]
        if char_scores
        else None,
    )


def ascii_scores(probs: FloatArray, length: int, charset: Charset) -> FloatArray:
    """Scores of one text in the columns of the ``ascii`` set, as the weighted lexicon search reads them.

    Args:
        probs: (T, V + 1) probabilities.
        length: characters of the decoded text. Row p goes with its p-th character, although the two part after a
            padding class inside the text (published inaccuracy).
        charset: the classes of ``probs``; characters outside ASCII have no column.

    Returns:
        (length, 97) float32: 95 characters, "unknown", "end".
    """
    ascii_set = Charset(CHARSETS["ascii"])
    columns = {c: i for i, c in enumerate(ascii_set.characters)}
    pairs = [(i, columns[c]) for i, c in enumerate(charset.characters) if c in columns]
    pairs += [(charset.unknown, ascii_set.unknown), (charset.end, ascii_set.end)]
    source, destination = zip(*pairs, strict=True)
    scores = np.zeros((length, ascii_set.num_classes), np.float32)
    scores[:, list(destination)] = probs[:length, list(source)]
    return scores
