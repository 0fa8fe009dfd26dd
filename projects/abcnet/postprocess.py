"""From proposals in network-input pixels to the words of the original image."""

import torch
from torch import Tensor

from fasttcm.charset import Charset
from fasttcm.geometry import beziers_to_polygons
from fasttcm.projects.abcnet.proposals import Proposals
from fasttcm.projects.abcnet.recognizer import Reading
from fasttcm.structures import TextPredictions

__all__ = ["rescale", "to_predictions"]

_END_POINTS = (0, 3, 4, 7)
"""Control points on the curve: only these are moved into the image, the others may lie outside."""


def rescale(
    proposals: Proposals, input_size: tuple[int, int], output_size: tuple[int, int]
) -> tuple[Proposals, Tensor]:
    """Scale to the output size, clip, and drop the boxes that vanish.

    Args:
        proposals: n texts in pixels of the unpadded network input.
        input_size: its height and width.
        output_size: height and width of the original image.

    Returns:
        The m remaining texts, in order, with boxes and the curves' four end points inside the output (``locations``
        stay in input pixels), and the (n,) bool mask of those that remain.
    """
    height, width = output_size
    scale = proposals.boxes.new_tensor([width / input_size[1], height / input_size[0]])
    limit = proposals.boxes.new_tensor([width, height])
    corners = (proposals.boxes.reshape(-1, 2, 2) * scale).clamp(min=0).minimum(limit)
    kept = ((corners[:, 1] - corners[:, 0]) > 0).all(1)
    points = proposals.beziers.reshape(-1, 8, 2) * scale
    ends = list(_END_POINTS)
    points[:, ends] = points[:, ends].clamp(min=0).minimum(limit)
    scaled = Proposals(
        corners.reshape(-1, 4), proposals.scores, proposals.labels, proposals.locations, points.reshape(-1, 16)
    )
    return scaled[kept], kept


def to_predictions(
    proposals: Proposals,
    reading: Reading,
    *,
    charset: Charset,
    input_size: tuple[int, int],
    output_size: tuple[int, int],
    stop_at_end: bool = False,
) -> TextPredictions:
    """The words of one image.

    Args:
        proposals: n texts in pixels of the unpadded network input.
        reading: what each says.
        charset: turns classes into characters.
        input_size: height and width of the unpadded network input.
        output_size: height and width of the original image.
        stop_at_end: drop characters after the first end. The published decoding keeps them.

    Returns:
        Predictions on the CPU, polygons of 40 points.
    """
    scaled, kept = rescale(proposals, input_size, output_size)
    beziers = scaled.beziers.cpu()
    with torch.autocast("cpu", enabled=False):
        polygons = list(beziers_to_polygons(beziers).numpy())
    tokens = reading.tokens[kept].tolist()
    return TextPredictions(
        height=output_size[0],
        width=output_size[1],
        polygons=polygons,
        boxes=scaled.boxes.cpu(),
        scores=scaled.scores.cpu(),
        texts=[charset.decode(row, stop_at_end=stop_at_end) for row in tokens],
        text_scores=reading.scores[kept].cpu(),
        beziers=beziers,
        labels=scaled.labels.cpu(),
    )
