"""The losses of detection and recognition.

Their normalisers count over all processes, so that DDP's mean of the gradients is that of the joint batch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fasttcm.losses.focal import FOCAL_ALPHA, FOCAL_GAMMA, class_focal_loss
from fasttcm.losses.iou import giou_loss_ltrb
from fasttcm.losses.normalizer import process_share
from fasttcm.projects.abcnet.head import HeadOutput
from fasttcm.projects.abcnet.targets import DenseTargets, ctrness_target

__all__ = ["DetectionLoss", "recognition_loss"]

_MIN_CTRNESS = 1e-6
"""Least sum of centre-ness targets to divide by (published)."""


@dataclass
class _Flat:
    """Predictions of all levels, images and rows, in the order of :class:`DenseTargets`, float32."""

    logits: Tensor
    ctrness: Tensor
    reg: Tensor
    beziers: Tensor


def _flatten(output: HeadOutput) -> _Flat:
    def rows(levels: list[Tensor]) -> Tensor:
        return torch.cat([x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]).float() for x in levels])

    return _Flat(rows(output.logits), rows(output.ctrness)[:, 0], rows(output.reg), rows(output.beziers))


class DetectionLoss:
    """Focal, GIoU, centre-ness and curve loss of a batch.

    Args:
        focal_alpha: see :mod:`fasttcm.losses.focal`.
        focal_gamma: see there.
    """

    def __init__(self, *, focal_alpha: float = FOCAL_ALPHA, focal_gamma: float = FOCAL_GAMMA) -> None:
        self.focal_alpha = focal_alpha
        self.focal_gamma = focal_gamma

    def __call__(self, output: HeadOutput, targets: DenseTargets) -> dict[str, Tensor]:
        """``loss_fcos_cls``, ``loss_fcos_loc``, ``loss_fcos_ctr`` and ``loss_fcos_bezier``, float32 scalars.

        Each stays connected to its predictions when there is nothing to learn. Box and curve errors count by the
        centre-ness of their location; the 16 numbers of a curve are averaged.
        """
        flat = _flatten(output)
        background = flat.logits.shape[1]
        positive = (targets.labels != background).nonzero()[:, 0]
        judged = (~targets.ignored).nonzero()[:, 0]
        reg_target = targets.reg[positive]
        centre = ctrness_target(reg_target)
        local = torch.stack([centre.new_tensor(float(len(positive))), centre.sum()])
        count, mass = process_share(local, local.new_tensor([1.0, _MIN_CTRNESS])).unbind()
        classes = class_focal_loss(
            flat.logits[judged], targets.labels[judged], alpha=self.focal_alpha, gamma=self.focal_gamma
        )
        centring = F.binary_cross_entropy_with_logits(flat.ctrness[positive], centre, reduction="sum")
        curves = F.smooth_l1_loss(flat.beziers[positive], targets.beziers[positive], reduction="none").mean(1)
        return {
            "loss_fcos_cls": classes / count,
            "loss_fcos_loc": giou_loss_ltrb(flat.reg[positive], reg_target, centre) / mass,
            "loss_fcos_ctr": centring / count,
            "loss_fcos_bezier": (curves * centre).sum() / mass,
        }


def recognition_loss(log_probs: Tensor, targets: Tensor, *, end: int, pad_weight: float = 1.0) -> Tensor:
    """Negative log-likelihood, summed over the steps and averaged over the regions of all processes.

    Args:
        log_probs: (n, L, num_classes) float32, n may be 0.
        targets: (n, L) int64 true classes.
        end: class of the end and of the padding after it.
        pad_weight: weight of the steps after the first end; 1 as published, less lets a small model spend itself on
            the characters.

    Returns:
        A float32 scalar, 0 when n is 0.
    """
    regions = process_share(log_probs.new_tensor(float(len(targets))), 1.0)
    likelihood = log_probs.gather(2, targets[..., None])[..., 0]
    is_end = (targets == end).int()
    weights = torch.where(is_end.cumsum(1) - is_end > 0, pad_weight, 1.0)
    return -(likelihood * weights).sum() / regions
