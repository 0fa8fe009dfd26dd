"""The auxiliary loss on the instance-language matching map: where the texts match, there should be text.

Written for spotters (one loss per image, polygons shrunk); detectors with targets of their own call the pure functions
of :mod:`fasttcm.losses` on :func:`upsample_logits`.
"""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fasttcm.errors import ConfigError, DataError
from fasttcm.geometry import rasterize_polygons, shrink_polygon
from fasttcm.losses.balanced_bce import balanced_bce_loss
from fasttcm.losses.dice import dice_loss
from fasttcm.losses.ohem import ohem_dice_loss
from fasttcm.structures import TextTargets

__all__ = ["SPOTTER_SHRINK_RATIO", "MatchingLoss", "MatchingLossKind", "matching_target", "pad_to", "upsample_logits"]

MatchingLossKind = Literal["dice", "balanced_bce", "ohem_dice"]
"""Dice (spotters), balanced cross-entropy (DBNet, FCENet) or dice on hard pixels (PAN)."""

SPOTTER_SHRINK_RATIO = 0.9
"""Shrink ratio of the spotters' text regions (TCM section 4)."""

_LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "dice": dice_loss,
    "balanced_bce": balanced_bce_loss,
    "ohem_dice": ohem_dice_loss,
}


def upsample_logits(text_logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize matching logits (B, K, h, w) bilinearly (``align_corners=False``) to ``size`` = (H, W); float32."""
    return F.interpolate(text_logits.float(), size=size, mode="bilinear", align_corners=False)


def pad_to(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Pad maps (..., h, w) with zeros on the right and bottom to ``size`` = (H, W): a padded mask means do not care."""
    return F.pad(maps, (0, size[1] - maps.shape[-1], 0, size[0] - maps.shape[-2]))


def matching_target(
    targets: TextTargets,
    size: tuple[int, int],
    *,
    num_classes: int = 1,
    shrink_ratio: float = SPOTTER_SHRINK_RATIO,
) -> tuple[Tensor, Tensor]:
    """Regions of the legible instances of one image, and where they count.

    The published spotters fill the regions with the number of the instance, which is no dice target; here it is 1.

    Args:
        targets: instances, polygons in pixels of the image.
        size: (h, w) of the image in pixels.
        num_classes: K; with one class labels are not looked at.
        shrink_ratio: polygons are first moved inwards, see :func:`~fasttcm.geometry.shrink_polygon`.

    Returns:
        Region (K, h, w) float32, 1 inside an instance of that class, and mask (h, w) float32, 0 inside an instance
        to be ignored (its polygon is not shrunk).

    Raises:
        DataError: a label outside 0 .. K-1.
    """
    height, width = size
    ignore = targets.ignore.tolist()
    labels = targets.labels.tolist() if num_classes > 1 else [0] * len(targets)
    if any(not 0 <= label < num_classes for label in labels):
        raise DataError(f"instance labels {sorted(set(labels))} do not fit the {num_classes} class texts")
    regions: list[list[np.ndarray]] = [[] for _ in range(num_classes)]
    for polygon, label, ignored in zip(targets.polygons, labels, ignore, strict=True):
        if not ignored:
            regions[label] += shrink_polygon(polygon, shrink_ratio)
    region = np.stack([rasterize_polygons(polygons, height, width) for polygons in regions])
    ignored_polygons = [polygon for polygon, ignored in zip(targets.polygons, ignore, strict=True) if ignored]
    mask = 1 - rasterize_polygons(ignored_polygons, height, width)
    return torch.from_numpy(region).float(), torch.from_numpy(mask).float()


class MatchingLoss(nn.Module):
    """One loss per image on the matching map at image size, then the mean over images.

    The map covers the padded batch; it is resized to the padded size and cropped to each image (the published code
    resizes it to the unpadded image, slightly misaligned). Images do not influence each other. An image without
    legible text contributes 1 to the dice and 0 to the balanced cross-entropy, both with zero gradient.

    Args:
        kind: form of the loss.
        weight: factor (1 in the detectors and ABCNet, 2 in TESTR).
        shrink_ratio: of the text regions, in (0, 1].

    Raises:
        ConfigError: an unknown kind, or a shrink ratio outside its range.
    """

    def __init__(
        self, *, kind: MatchingLossKind = "dice", weight: float = 1.0, shrink_ratio: float = SPOTTER_SHRINK_RATIO
    ) -> None:
        super().__init__()
        if kind not in get_args(MatchingLossKind):
            raise ConfigError(f"unknown matching loss {kind!r}; known: {', '.join(get_args(MatchingLossKind))}")
        if not 0 < shrink_ratio <= 1:
            raise ConfigError(f"the shrink ratio must lie in (0, 1], got {shrink_ratio}")
        self.kind = kind
        self.weight = weight
        self.shrink_ratio = shrink_ratio

    def forward(
        self,
        text_logits: Tensor,
        targets: Sequence[TextTargets],
        image_sizes: Sequence[tuple[int, int]],
        padded_size: tuple[int, int],
    ) -> Tensor:
        """Compute the weighted loss.

        Args:
            text_logits: (B, K, h, w) before the sigmoid, covering the padded batch.
            targets: B annotations, polygons in pixels of the unpadded images.
            image_sizes: B sizes (height, width) of the unpadded images in pixels.
            padded_size: (height, width) of the batch in pixels.

        Returns:
            A scalar connected to ``text_logits``; 0 for an empty batch.

        Raises:
            DataError: a label that is not one of the K classes.
        """
        if len(text_logits) == 0:
            return text_logits.float().sum()
        maps = upsample_logits(text_logits, padded_size)
        losses = [
            self._image_loss(logits[:, :height, :width], target)
            for logits, target, (height, width) in zip(maps, targets, image_sizes, strict=True)
        ]
        return self.weight * torch.stack(losses).mean()

    def _image_loss(self, logits: Tensor, targets: TextTargets) -> Tensor:
        """Loss of one image's (K, h, w) logits."""
        num_classes, height, width = logits.shape
        region, mask = matching_target(
            targets, (height, width), num_classes=num_classes, shrink_ratio=self.shrink_ratio
        )
        region, mask = region.to(logits.device), mask.to(logits.device).expand_as(logits)
        # A batch of one: hard pixels are mined per image, over all its classes together.
        return _LOSSES[self.kind](logits[None], region[None], mask[None])

    def extra_repr(self) -> str:
        """Settings shown by ``print``."""
        return f"kind={self.kind!r}, weight={self.weight}, shrink_ratio={self.shrink_ratio}"
