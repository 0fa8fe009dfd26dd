"""Which location answers for which text (FCOS's assignment, with curves), as pure functions of boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from fasttcm.errors import ConfigError
from fasttcm.geometry import beziers_to_polygons
from fasttcm.structures import TextTargets

__all__ = ["AnswerRegion", "DenseTargets", "TargetAssigner", "assign_image", "ctrness_target"]

AnswerRegion = Literal["center", "stripe"]
"""Which locations may answer for a text: a square around its box's centre (FCOS, published), or the stripe along its
middle. To know the centre of a long word, a cell has to see both of its ends; to know that it lies on a word, it has
only to look around itself, which a small model learns much sooner."""

_NO_AREA = float("inf")
_STRIPE = 0.3
"""Half width of the stripe in text heights."""
_STRIPE_POINTS = 17
"""Points on the middle line, from which the distance is measured."""
_OVERLAP = 1.2
"""Factor by which the heights of a level reach into those of its neighbours: near a border both levels answer."""


@dataclass
class DenseTargets:
    """Targets of M locations; geometry in units of the location's stride.

    Attributes:
        labels: (M,) int64, the number of classes for background.
        reg: (M, 4) float32 distances to the left, top, right and bottom side; meaningful where positive.
        beziers: (M, 16) float32 offsets of the control points; meaningful where positive.
        ignored: (M,) bool, background that only an illegible text covers.
    """

    labels: Tensor
    reg: Tensor
    beziers: Tensor
    ignored: Tensor


def ctrness_target(reg: Tensor) -> Tensor:
    """Centre-ness sqrt(min(l, r) / max(l, r) * min(t, b) / max(t, b)) of (M, 4) positive distances: (M,)."""
    across, down = reg[:, 0::2], reg[:, 1::2]
    return torch.sqrt((across.amin(1) / across.amax(1)) * (down.amin(1) / down.amax(1)))


def _on_stripe(locations: Tensor, strides: Tensor, ranges: Tensor, beziers: Tensor) -> Tensor:
    """(M, n) bool: locations (M, 2) nearer than 0.3 heights, or half a stride, to the middle line of curves (n, 16).

    The level is that of the text's height, which a cell can see without seeing the ends of the text, and letters look
    the same to every level.
    """
    rings = beziers_to_polygons(beziers, _STRIPE_POINTS)
    top, bottom = rings[:, :_STRIPE_POINTS], rings[:, _STRIPE_POINTS:].flip(1)
    height = (top - bottom).norm(dim=2).mean(1)
    fits = (height > ranges[:, :1] / _OVERLAP) & (height <= ranges[:, 1:] * _OVERLAP)
    middle = (top + bottom).reshape(-1, 2) / 2
    distance = torch.cdist(locations, middle).reshape(len(locations), len(beziers), -1).amin(2)
    return fits & (distance <= torch.maximum(_STRIPE * height, strides[:, None] / 2))


def _candidates(
    locations: Tensor, strides: Tensor, ranges: Tensor, boxes: Tensor, radius: float, beziers: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Distances (M, n, 4) of M locations to the sides of n boxes, and where a location may answer for a box (M, n).

    With ``beziers`` (n, 16) the stripe along them answers, on the levels that fit its height.
    """
    corners = torch.cat([locations, -locations], 1)
    signed = torch.cat([boxes[:, :2], -boxes[:, 2:]], 1)
    reg = corners[:, None] - signed
    if beziers is not None:
        return reg, _on_stripe(locations, strides, ranges, beziers) & (reg.amin(2) > 0)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    reach = (strides * radius)[:, None, None]
    # The square around the centre, cut to the box: each of its sides is the nearer one.
    region = torch.maximum(torch.cat([centre, -centre], 1) - reach, signed)
    inside = (corners[:, None] - region).amin(2) > 0
    largest = reg.amax(2)
    fits = (largest >= ranges[:, :1]) & (largest <= ranges[:, 1:])
    return reg, inside & fits


def assign_image(
    locations: Tensor,
    strides: Tensor,
    ranges: Tensor,
    targets: TextTargets,
    *,
    num_classes: int,
    radius: float,
    region: AnswerRegion = "center",
) -> DenseTargets:
    """Assign every location of one image to a text or to the background.

    A location answers for the smallest box whose central region contains it and whose farthest side (stripe: whose
    text height) lies in the level's range; the first on ties. Illegible texts never win; a location that only they
    claim is ``ignored``.

    Args:
        locations: (M, 2) pixel positions.
        strides: (M,) stride of each location in pixels.
        ranges: (M, 2) least and greatest distance to the farthest side, both included, in pixels; stripe: of the
            text's height, widened to both sides by a fifth.
        targets: boxes and curves in input pixels, on the device of ``locations``.
        num_classes: label of the background.
        radius: half side of the central square, in strides.
        region: ``stripe``: the stripe along the text's middle instead of that square; see :data:`AnswerRegion`.
    """
    count = len(locations)
    if len(targets.boxes) == 0:
        return DenseTargets(
            torch.full((count,), num_classes, dtype=torch.int64, device=locations.device),
            locations.new_zeros(count, 4),
            locations.new_zeros(count, targets.beziers.shape[1]),
            torch.zeros(count, dtype=torch.bool, device=locations.device),
        )
    boxes = targets.boxes.float()
    beziers = targets.beziers.float() if region == "stripe" else None
    reg, claimed = _candidates(locations, strides, ranges, boxes, radius, beziers)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    read = claimed & ~targets.ignore
    winner = torch.where(read, area, torch.full_like(area, _NO_AREA)).argmin(1)
    positive = read.any(1)
    offsets = targets.beziers.float()[winner] - locations.repeat(1, targets.beziers.shape[1] // 2)
    return DenseTargets(
        torch.where(positive, targets.labels[winner], num_classes),
        reg[torch.arange(count, device=reg.device), winner] / strides[:, None],
        offsets / strides[:, None],
        ~positive & (claimed & targets.ignore).any(1),
    )


class TargetAssigner:
    """:func:`assign_image` over levels and images.

    Args:
        num_classes: label of the background.
        sizes_of_interest: borders in pixels between neighbouring levels' ranges; one fewer than the levels.
        radius: half side of the central square, in strides.
        region: see :data:`AnswerRegion`.
        ignore_regions: ``False`` treats illegible texts as background, as published (where the data holds none).
    """

    def __init__(
        self,
        *,
        num_classes: int = 1,
        sizes_of_interest: Sequence[float] = (64, 128, 256, 512),
        radius: float = 1.5,
        region: AnswerRegion = "center",
        ignore_regions: bool = True,
    ) -> None:
        if region not in get_args(AnswerRegion):
            raise ConfigError(f"the region that answers is {' or '.join(get_args(AnswerRegion))}, not {region!r}")
        self.num_classes = num_classes
        self.borders = (-1.0, *(float(size) for size in sizes_of_interest), 1e8)
        self.radius = radius
        self.region = region
        self.ignore_regions = ignore_regions

    def __call__(
        self, locations: Sequence[Tensor], strides: Sequence[int], targets: Sequence[TextTargets]
    ) -> DenseTargets:
        """Targets of a batch.

        Args:
            locations: (h * w, 2) pixel positions of each level.
            strides: pixels per cell of each level.
            targets: the texts of each image in input pixels, on the device of ``locations``.

        Returns:
            Targets ordered by level, then image, then row.

        Raises:
            ValueError: when the sizes of interest do not fit the number of levels.
        """
        if len(locations) != len(self.borders) - 1:
            raise ValueError(f"{len(locations)} levels, but sizes of interest for {len(self.borders) - 1}")
        counts = [len(level) for level in locations]
        everywhere = torch.cat(list(locations))
        sizes = torch.tensor(counts, device=everywhere.device)
        per_level = everywhere.new_tensor([(s, *self.borders[i : i + 2]) for i, s in enumerate(strides)])
        rows = per_level.repeat_interleave(sizes, 0, output_size=len(everywhere))
        images = [
            assign_image(
                everywhere,
                rows[:, 0],
                rows[:, 1:],
                image,
                num_classes=self.num_classes,
                radius=self.radius,
                region=self.region,
            )
            for image in targets
        ]

        def level_major(name: str) -> Tensor:
            split = [getattr(image, name).split(counts) for image in images]
            return torch.cat([part[level] for level in range(len(counts)) for part in split])

        ignored = level_major("ignored")
        return DenseTargets(
            level_major("labels"),
            level_major("reg"),
            level_major("beziers"),
            ignored if self.ignore_regions else torch.zeros_like(ignored),
        )
