"""Losses of PAN: regions by dice on hard pixels, similarity vectors by pulling and pushing (PAN, section 3.4)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fasttcm.losses.dice import squared_dice_loss
from fasttcm.losses.ohem import OHEM_RATIO, ohem_dice_loss

__all__ = ["PANLoss", "PANTargets", "aggregation_discrimination"]


@dataclass
class PANTargets:
    """Targets of N images on the prediction grid.

    Attributes:
        text: (N, h, w) int64, number of the instance whose region a pixel belongs to, from 1; 0 for background.
        kernel: (N, h, w) int64, the same for the shrunk regions.
        mask: (N, h, w) float32, 0 where a pixel does not count (illegible text, padding).
    """

    text: Tensor
    kernel: Tensor
    mask: Tensor


def aggregation_discrimination(
    embeddings: Tensor, text: Tensor, kernel: Tensor, *, delta_agg: float, delta_dis: float
) -> tuple[Tensor, Tensor]:
    """Pull a text's pixels to the mean of its kernel, push the means of different kernels apart.

    With G_i the mean vector over kernel i, aggregation is the mean over instances of the mean over text pixels p of
    log(1 + max(|F_p - G_i| - delta_agg, 0)^2); discrimination the sum over unordered pairs of
    log(1 + max(delta_dis - |G_i - G_j|, 0)^2), divided by n (n - 1). Instances without text or kernel pixels do not
    count.

    Args:
        embeddings: (E, h, w) similarity vectors of one image.
        text: (h, w) instance numbers from 1, 0 for background.
        kernel: (h, w) the same for the kernels.
        delta_agg: pixels nearer than this are not pulled.
        delta_dis: kernels farther than this are not pushed.

    Returns:
        Two scalars connected to ``embeddings``; 0 without an instance, and without a pair.
    """
    vectors, text, kernel = embeddings.flatten(1).T, text.flatten(), kernel.flatten()
    size = int(max(text.max(), kernel.max())) + 1 if text.numel() else 1
    text_pixels, kernel_pixels = text.bincount(minlength=size), kernel.bincount(minlength=size)
    counted = (text_pixels > 0) & (kernel_pixels > 0)
    counted[0] = False
    number = int(counted.sum())
    means = vectors.new_zeros(size, vectors.shape[1]).index_add(0, kernel, vectors)
    means = means / kernel_pixels.clamp(min=1)[:, None]
    inside = counted[text]
    owner = text[inside]
    gap = torch.linalg.vector_norm(vectors[inside] - means[owner], dim=1)
    pull = torch.log1p((gap - delta_agg).clamp(min=0).square()) / text_pixels[owner]
    aggregation = pull.sum() / max(number, 1)
    first, second = torch.triu_indices(number, number, offset=1, device=vectors.device)
    centres = means[counted]
    apart = torch.linalg.vector_norm(centres[first] - centres[second], dim=1)
    push = torch.log1p((delta_dis - apart).clamp(min=0).square())
    return aggregation, push.sum() / max(number * (number - 1), 1)


class PANLoss(nn.Module):
    """The four losses; every one is the mean over images.

    Args:
        kernel_weight: factor of the kernels' dice (alpha).
        embedding_weight: factor of aggregation and discrimination (beta).
        delta_agg: see :func:`aggregation_discrimination`.
        delta_dis: see :func:`aggregation_discrimination`.
        ohem_ratio: hard negatives a positive.
        max_instances: of an image with more instances, only so many drawn at random are pulled and pushed; 0: all.
    """

    def __init__(
        self,
        *,
        kernel_weight: float = 0.5,
        embedding_weight: float = 0.25,
        delta_agg: float = 0.5,
        delta_dis: float = 3.0,
        ohem_ratio: int = OHEM_RATIO,
        max_instances: int = 0,
    ) -> None:
        super().__init__()
        self.kernel_weight = kernel_weight
        self.embedding_weight = embedding_weight
        self.delta_agg = delta_agg
        self.delta_dis = delta_dis
        self.ohem_ratio = ohem_ratio
        self.max_instances = max_instances

    def forward(self, maps: Tensor, targets: PANTargets) -> dict[str, Tensor]:
        """Compute the losses.

        Args:
            maps: (N, 6, h, w) of the head, N at least 1.
            targets: on the same grid.

        Returns:
            Scalars ``loss_text``, ``loss_kernel``, ``loss_aggregation``, ``loss_discrimination``, weighted.
        """
        maps = maps.float()
        text, kernel = (targets.text > 0).float(), (targets.kernel > 0).float()
        pairs = [
            aggregation_discrimination(
                vectors,
                self._drawn(instances),
                kernels,
                delta_agg=self.delta_agg,
                delta_dis=self.delta_dis,
            )
            for vectors, instances, kernels in zip(maps[:, 2:], targets.text, targets.kernel, strict=True)
        ]
        aggregation, discrimination = (torch.stack(terms).mean() for terms in zip(*pairs, strict=True))
        return {
            "loss_text": ohem_dice_loss(maps[:, 0], text, targets.mask, negative_ratio=self.ohem_ratio),
            "loss_kernel": self.kernel_weight * squared_dice_loss(maps[:, 1], kernel, text * targets.mask),
            "loss_aggregation": self.embedding_weight * aggregation,
            "loss_discrimination": self.embedding_weight * discrimination,
        }

    def _drawn(self, instances: Tensor) -> Tensor:
        """Instance numbers (h, w), those that were not drawn replaced by 0."""
        numbers = instances.unique()
        numbers = numbers[numbers > 0]
        if not 0 < self.max_instances < len(numbers):
            return instances
        order = torch.randperm(len(numbers))[: self.max_instances].to(numbers.device)
        return torch.where(torch.isin(instances, numbers[order]), instances, 0)
