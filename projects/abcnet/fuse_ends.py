"""Ends of a text from the locations beside them.

Every location on a text predicts the whole of it, and is good at what is near. The one with the best score, which stays
after suppression, sits in the middle and sees the ends of a long word badly; those that go sit on the ends.
"""

import torch
from torch import Tensor

from fasttcm.geometry import beziers_to_polygons

__all__ = ["fuse_ends"]

_NEAR = 0.25
"""Squared distance in text heights below which a location sees a corner as well as it can."""
_SAME_ROW = 0.4
"""Farthest location from the middle line in text heights."""
_BEYOND = 1.0
"""Text heights by which the middle line is lengthened at both ends: the best prediction may be too short."""
_SAME_HEIGHT = 1.4
"""Largest ratio of heights."""
_SAME_EXTENT = 0.5
"""Least part of the shorter text that the other one covers along the line."""
_POINTS = 17
"""Points of the middle line."""
_CHUNK = 32
"""Texts at a time: bounds memory."""

_CORNERS = (0, 3, 4, 7)


def fuse_ends(beziers: Tensor, candidates: Tensor, scores: Tensor, locations: Tensor) -> Tensor:
    """Move the corners of texts to the mean of what all locations on them predict, those beside a corner first.

    A candidate speaks for a text when its location lies on the text's middle line or shortly beyond, and it has about
    the same height and extent. Its weight falls with the fourth power of its distance from the corner that it predicts.
    The control points between the corners follow them in proportion.

    Args:
        beziers: (n, 16) control points of the texts.
        candidates: (m, 16) control points of all predictions, those of the texts among them.
        scores: (m,) positive.
        locations: (m, 2) position that made each.

    Returns:
        (n, 16) control points.
    """
    parts = [_fuse(some, candidates, scores, locations) for some in beziers.split(_CHUNK)]
    return torch.cat(parts) if parts else beziers


def _fuse(beziers: Tensor, candidates: Tensor, scores: Tensor, locations: Tensor) -> Tensor:
    texts, others = beziers.reshape(-1, 8, 2), candidates.reshape(-1, 8, 2)
    height = _height(texts)
    speaks = _speaks(texts, others, locations)
    corners = others[:, _CORNERS]
    away = (corners - locations[:, None]).norm(dim=2) / height[:, None, None]  # (n, m, 4)
    weight = speaks[:, :, None] * scores[:, None] / (_NEAR + away.square()).square()
    total = weight.sum(1)[..., None]
    fused = torch.einsum("nmc,mcx->ncx", weight, corners) / total.clamp(min=1e-12)
    move = torch.where(total > 0, fused - texts[:, _CORNERS], 0)
    place = torch.linspace(0, 1, 4, device=texts.device, dtype=texts.dtype)[:, None]
    sides = [move[:, i : i + 1] * (1 - place) + move[:, i + 1 : i + 2] * place for i in (0, 2)]
    return (texts + torch.cat(sides, 1)).reshape(-1, 16)


def _height(texts: Tensor) -> Tensor:
    """(n,) mean distance between the sides of (n, 8, 2) control points."""
    return (texts[:, :4] - texts[:, 4:].flip(1)).norm(dim=2).mean(1).clamp(min=1e-3)


def _speaks(texts: Tensor, others: Tensor, locations: Tensor) -> Tensor:
    """(n, m) bool: which of the others are the same text, seen from somewhere else on it."""
    height = _height(texts)
    ratio = _height(others) / height[:, None]
    alike = (ratio < _SAME_HEIGHT) & (ratio > 1 / _SAME_HEIGHT)

    start, end = (texts[:, 0] + texts[:, 7]) / 2, (texts[:, 3] + texts[:, 4]) / 2
    length = (end - start).norm(dim=1).clamp(min=1e-3)[:, None]
    along = (end - start) / length
    from_start = (
        torch.stack([others[:, 0] + others[:, 7], others[:, 3] + others[:, 4]], 1)[None] / 2 - start[:, None, None]
    )
    reach = (from_start * along[:, None, None]).sum(3)  # (n, m, 2)
    common = torch.minimum(reach[..., 1], length) - reach[..., 0].clamp(min=0)
    shorter = torch.minimum((reach[..., 1] - reach[..., 0]).clamp(min=1e-3), length)

    rings = beziers_to_polygons(texts.reshape(-1, 16), _POINTS)
    middle = (rings[:, :_POINTS] + rings[:, _POINTS:].flip(1)) / 2
    beyond = (along * (_BEYOND * height)[:, None])[:, None]
    middle = torch.cat([middle[:, :1] - beyond, middle, middle[:, -1:] + beyond], 1)
    first, step = middle[:, None, :-1], middle.diff(dim=1)[:, None]
    to = locations[None, :, None] - first
    share = ((to * step).sum(3) / step.square().sum(3).clamp(min=1e-6)).clamp(0, 1)
    distance = (to - share[..., None] * step).norm(dim=3).amin(2)
    return alike & (common > _SAME_EXTENT * shorter) & (distance < _SAME_ROW * height[:, None])
