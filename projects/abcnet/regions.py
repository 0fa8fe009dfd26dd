"""Which curves the recogniser trains on, and what they say."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fasttcm.structures import TextTargets

__all__ = ["Regions", "add_predicted", "jitter_curves", "legible", "nearest_curve", "widen_curves"]


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


def jitter_curves(curves: Tensor, strength: float) -> Tensor:
    """Curves as a detector would find them: shifted, stretched, and each control point a little off.

    Args:
        curves: (n, 16) annotated control points in input pixels.
        strength: standard deviations in units of a text's height, all draws cut at two of them: ``strength`` for the
            shift and for the growth of the height, twice that for the ends, half of it for single points.

    Returns:
        (n, 16) moved control points; ``curves`` when ``strength`` is 0.
    """
    if strength == 0 or len(curves) == 0:
        return curves
    points = curves.reshape(-1, 2, 4, 2)  # top left to right, bottom right to left
    top, bottom = points[:, 0], points[:, 1].flip(1)
    down = bottom - top  # (n, 4, 2) across the text
    height = down.norm(dim=2).mean(1)[:, None, None]
    along = top[:, 3:] + bottom[:, 3:] - top[:, :1] - bottom[:, :1]
    along = along / along.norm(dim=2, keepdim=True).clamp(min=1e-6)

    def draw(*shape: int) -> Tensor:
        return torch.randn(len(curves), *shape, device=curves.device, dtype=curves.dtype).clamp(-2, 2) * strength

    shift, grow_top, grow_bottom, start, end = draw(1, 2), draw(1, 1), draw(1, 1), 2 * draw(1, 1), 2 * draw(1, 1)
    place = torch.linspace(0, 1, 4, device=curves.device, dtype=curves.dtype)[:, None]
    ends = along * height * (start * (1 - place) + end * place)
    sides = [
        side + height * (shift + 0.5 * draw(4, 2)) + ends + grow * down
        for side, grow in ((top, -grow_top), (bottom, grow_bottom))
    ]
    return torch.stack([sides[0], sides[1].flip(1)], 1).reshape(-1, 16)


def widen_curves(curves: Tensor, *, ends: float, sides: float) -> Tensor:
    """Curves with room around them: what a detector cuts off cannot be read, what is too much can be passed over.

    Args:
        curves: (n, 16) control points in pixels.
        ends: text heights added before the start and behind the end, along the straight line between them.
        sides: likewise above and below.

    Returns:
        (n, 16); ``curves`` when nothing is added.
    """
    if not (ends or sides) or len(curves) == 0:
        return curves
    points = curves.reshape(-1, 2, 4, 2)
    top, bottom = points[:, 0], points[:, 1].flip(1)
    down = bottom - top
    along = top[:, 3:] + bottom[:, 3:] - top[:, :1] - bottom[:, :1]
    along = along / along.norm(dim=2, keepdim=True).clamp(min=1e-6)
    place = torch.linspace(-1, 1, 4, device=curves.device, dtype=curves.dtype)[:, None]
    longer = along * (ends * down.norm(dim=2).mean(1)[:, None, None] * place)
    return torch.stack([top + longer - sides * down, (bottom + longer + sides * down).flip(1)], 1).reshape(-1, 16)
