"""Between our structures and detectron2's ``Instances``."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

import cv2
import numpy as np
import torch
from detectron2.structures import BitMasks, Boxes, Instances, PolygonMasks
from torch import Tensor

from fasttcm.charset import Charset
from fasttcm.geometry import beziers_to_polygons, polygon_box, polygon_to_bezier
from fasttcm.structures import ILLEGIBLE, FloatArray, TextPredictions, TextTargets

__all__ = [
    "PerInstance",
    "instances_to_predictions",
    "instances_to_targets",
    "predictions_to_instances",
    "targets_to_instances",
]

Item = TypeVar("Item")


class PerInstance(Generic[Item]):
    """One Python object an instance, indexed and joined as ``Instances`` does with its fields.

    Args:
        items: the objects.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self.items = list(items)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> "PerInstance[Item]":
        """The objects of an int, a slice, a list of ints, a bool mask or an index tensor."""
        if isinstance(index, int):
            return PerInstance([self.items[index]])
        if isinstance(index, slice):
            return PerInstance(self.items[index])
        chosen = torch.as_tensor(index)
        if chosen.dtype == torch.bool:
            chosen = chosen.nonzero()[:, 0]
        return PerInstance(self.items[i] for i in chosen.tolist())

    @staticmethod
    def cat(parts: "Sequence[PerInstance[Item]]") -> "PerInstance[Item]":
        """All objects of several fields, one after the other."""
        return PerInstance(item for part in parts for item in part)

    def __repr__(self) -> str:
        return f"PerInstance({self.items!r})"


def targets_to_instances(
    targets: TextTargets, image_size: tuple[int, int], charset: Charset, max_length: int
) -> Instances:
    """Ground truth for a detectron2 model: the words that are to be found; do-not-care words are left out.

    Args:
        targets: annotated words in pixels of the network input.
        image_size: (height, width) of that input in pixels.
        charset: of the class numbers.
        max_length: length of their rows.

    Returns:
        Instances with ``gt_boxes``, ``gt_classes``, ``gt_masks`` (polygons), ``beziers`` (n, 16), ``text`` (n, L) int64
        classes as in AdelaiDet, and ``gt_texts``.
    """
    kept = targets[~targets.ignore]
    instances = Instances(image_size)
    instances.gt_boxes = Boxes(kept.boxes)
    instances.gt_classes = kept.labels
    instances.gt_masks = PolygonMasks([[np.asarray(p, np.float64).reshape(-1)] for p in kept.polygons])
    instances.beziers = kept.beziers
    rows = [charset.encode(text, max_length) for text in kept.texts]
    instances.text = torch.tensor(rows, dtype=torch.int64).reshape(len(kept), max_length)
    instances.gt_texts = PerInstance(kept.texts)
    return instances


def instances_to_targets(instances: Instances, charset: Charset | None = None) -> TextTargets:
    """The regions of any detectron2 ground truth: from polygons, else curves, else masks, else boxes.

    Args:
        instances: with one of ``gt_masks`` (``PolygonMasks`` or ``BitMasks``), ``beziers`` and ``gt_boxes``.
        charset: decodes ``text``; without it, or without ``text`` and ``gt_texts``, every text is empty.

    Returns:
        Targets on the CPU in pixels of the input.
    """
    count = len(instances)
    beziers = instances.beziers.reshape(count, 16).cpu().float() if instances.has("beziers") else None
    polygons = _regions(instances, beziers)
    if beziers is None:
        curves = [polygon_to_bezier(polygon).astype(np.float32) for polygon in polygons]
        beziers = torch.from_numpy(np.stack(curves)) if curves else torch.zeros(0, 16)
    boxes = instances.gt_boxes.tensor.cpu() if instances.has("gt_boxes") else _boxes(polygons)
    texts = _texts(instances, charset)
    return TextTargets(
        polygons=polygons,
        beziers=beziers,
        boxes=boxes.float(),
        texts=texts,
        ignore=torch.tensor([text == ILLEGIBLE for text in texts], dtype=torch.bool),
        labels=instances.gt_classes.cpu() if instances.has("gt_classes") else torch.zeros(count, dtype=torch.int64),
    )


def _regions(instances: Instances, beziers: Tensor | None) -> list[FloatArray]:
    masks = instances.gt_masks if instances.has("gt_masks") else None
    if isinstance(masks, PolygonMasks):
        return [_largest(parts) for parts in masks.polygons]
    if beziers is not None:
        return [np.asarray(polygon, np.float32) for polygon in beziers_to_polygons(beziers).numpy()]
    if isinstance(masks, BitMasks):
        return [_outline(mask) for mask in masks.tensor.cpu().numpy()]
    return _corners(instances.gt_boxes)


def _largest(parts: Sequence[np.ndarray]) -> FloatArray:
    """The part of a polygon mask with most points: text regions have one part."""
    return np.asarray(max(parts, key=len), np.float32).reshape(-1, 2)


def _outline(mask: np.ndarray) -> FloatArray:
    """The outer outline of a (H, W) bitmask."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return np.zeros((4, 2), np.float32)
    outline = max(contours, key=cv2.contourArea).reshape(-1, 2).astype(np.float32)
    return outline if len(outline) >= 4 else np.repeat(outline[:1], 4, 0)


def _boxes(polygons: Sequence[FloatArray]) -> Tensor:
    boxes = [polygon_box(polygon) for polygon in polygons]
    return torch.from_numpy(np.stack(boxes)).float() if boxes else torch.zeros(0, 4)


def _texts(instances: Instances, charset: Charset | None) -> list[str]:
    if instances.has("gt_texts"):
        return list(instances.gt_texts)
    if instances.has("text") and charset is not None:
        return [charset.decode(row, stop_at_end=True) for row in instances.text.tolist()]
    return [""] * len(instances)


def predictions_to_instances(found: TextPredictions, charset: Charset, max_length: int) -> Instances:
    """Our predictions as a detectron2 model returns them.

    Returns:
        Instances of the original image's size with ``pred_boxes``, ``scores``, ``pred_classes``, ``polygons``,
        ``pred_texts``, ``text_scores``, ``recs`` (n, L) int64 classes and, from a model with curves, ``beziers``.
    """
    instances = Instances((found.height, found.width))
    instances.pred_boxes = Boxes(found.boxes)
    instances.scores = found.scores
    instances.pred_classes = found.labels
    instances.polygons = PerInstance(found.polygons)
    instances.pred_texts = PerInstance(found.texts)
    instances.text_scores = found.text_scores
    rows = [charset.encode(text, max_length) for text in found.texts]
    instances.recs = torch.tensor(rows, dtype=torch.int64).reshape(len(found), max_length)
    if found.beziers is not None:
        instances.beziers = found.beziers
    return instances


def instances_to_predictions(instances: Instances, charset: Charset) -> TextPredictions:
    """The words that any detectron2 model found, by descending score.

    Regions come from ``polygons``, else ``beziers``, else ``bd`` (DeepSolo: x and y of the top and of the bottom point
    at every position), else ``pred_boxes``; texts from ``pred_texts``, else ``recs`` by the character set, else they
    are empty.

    Args:
        instances: post-processed, in pixels of the original image.
        charset: meaning of ``recs``.
    """
    instances = instances.to("cpu")
    height, width = instances.image_size
    if len(instances) == 0:
        return TextPredictions.empty(int(height), int(width))
    instances = instances[torch.argsort(instances.scores, descending=True, stable=True)]
    polygons, count = _predicted_regions(instances), len(instances)
    return TextPredictions(
        height=int(height),
        width=int(width),
        polygons=polygons,
        boxes=_boxes(polygons),
        scores=instances.scores.float(),
        texts=_predicted_texts(instances, charset),
        text_scores=instances.text_scores if instances.has("text_scores") else torch.ones(count),
        beziers=instances.beziers.reshape(count, 16).float() if instances.has("beziers") else None,
        labels=instances.pred_classes if instances.has("pred_classes") else torch.zeros(count, dtype=torch.int64),
    )


def _predicted_regions(instances: Instances) -> list[FloatArray]:
    if instances.has("polygons"):
        return [np.asarray(polygon, np.float32).reshape(-1, 2) for polygon in instances.polygons]
    if instances.has("beziers"):
        sides = beziers_to_polygons(instances.beziers.reshape(-1, 16).float())
        return [np.asarray(polygon, np.float32) for polygon in sides.numpy()]
    if instances.has("bd"):
        top_and_bottom = [np.asarray(row, np.float32).reshape(-1, 2, 2) for row in instances.bd]
        return [np.concatenate([points[:, 0], points[::-1, 1]]) for points in top_and_bottom]
    return _corners(instances.pred_boxes)


def _corners(boxes: Boxes) -> list[FloatArray]:
    """Boxes as polygons of four points, clockwise from the top-left one."""
    rows = boxes.tensor.cpu().numpy()[:, [0, 1, 2, 1, 2, 3, 0, 3]]
    return [np.asarray(row, np.float32).reshape(4, 2) for row in rows]


def _predicted_texts(instances: Instances, charset: Charset) -> list[str]:
    if instances.has("pred_texts"):
        return list(instances.pred_texts)
    if instances.has("recs"):
        return [charset.decode(row, stop_at_end=True) for row in torch.as_tensor(instances.recs).tolist()]
    return [""] * len(instances)
