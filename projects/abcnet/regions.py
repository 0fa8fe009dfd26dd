"""Which curves the recogniser trains on, and what they say."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fasttcm.structures import TextTargets

__all__ = ["Regions", "add_predicted", "legible", "nearest_curve"]


@dataclass
class Regions:
    """The regions of one training image.

    Attributes:
        beziers: (n, 16) float32 control points in input pixels.
        classes: (n, L) int64 true character classes.
    """

    beziers: Tensor
    classes: Tensor

    def __len__(self) -> int:
        return len(self.beziers)


def legible(targets: TextTargets) -> Tensor:
    """(n,) bool on the device of ``targets``: neither ignored nor empty."""
    has_text = torch.tensor([bool(text) for text in targets.texts], dtype=torch.bool, device=targets.ignore.device)
    return has_text & ~targets.ignore


def nearest_curve(curves: Tensor, annotated: Tensor) -> Tensor:
    """For each of (p, 16) curves the nearest of (n, 16), n > 0: the least sum of distances along the axes; (p,) int64.

    There is no limit on the distance (published); the first on ties.
    """
    return torch.cdist(curves.float(), annotated.float(), p=1).argmin(1)


def add_predicted(regions: Regions, curves: Tensor, targets: TextTargets) -> Regions:
    """Adaptive end-to-end training (ABCNet v2, section 3.5): predicted curves behind the annotated ones.

    Args:
        regions: the legible texts of ``targets``, in order.
        curves: (p, 16) predictions in input pixels.
        targets: every text of the image. Each prediction gets the text of the nearest curve, and is left out when that
            one cannot be read.
    """
    if len(regions) == 0 or len(curves) == 0:
        return regions
    nearest = nearest_curve(curves, targets.beziers)
    readable = legible(targets)
    kept = readable[nearest]
    row = readable.cumsum(0) - 1  # position of an annotated text among the legible ones
    return Regions(
        torch.cat([regions.beziers, curves[kept].to(regions.beziers.dtype)]),
        torch.cat([regions.classes, regions.classes[row[nearest[kept]]]]),
    )
