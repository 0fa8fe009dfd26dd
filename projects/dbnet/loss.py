"""Losses of DBNet: probability, approximate binary map, threshold (DBNet, section 3.5; SPEC ``detectors`` 5)."""

from torch import Tensor, nn

from fasttcm.losses.balanced_bce import NEGATIVE_RATIO, balanced_bce_loss
from fasttcm.losses.dice import dice_loss
from fasttcm.projects.dbnet.head import DBMaps
from fasttcm.projects.dbnet.targets import DBTargets

__all__ = ["DBLoss"]

_EPS = 1e-6
"""Added to the number of pixels where the threshold is learned."""


class DBLoss(nn.Module):
    """The three losses.

    Args:
        alpha: factor of the probability loss.
        beta: factor of the threshold loss.
        balanced: cross-entropy on all positives and the hardest negatives; ``False``: dice.
        negative_ratio: hard negatives a positive.
    """

    def __init__(
        self,
        *,
        alpha: float = 5.0,
        beta: float = 10.0,
        balanced: bool = True,
        negative_ratio: float = NEGATIVE_RATIO,
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.beta = beta
        self.balanced = balanced
        self.negative_ratio = negative_ratio

    def forward(self, maps: DBMaps, targets: DBTargets) -> dict[str, Tensor]:
        """Scalars ``loss_prob``, ``loss_db`` and ``loss_thr``, weighted, over the whole batch at once."""
        if self.balanced:
            probability = balanced_bce_loss(
                maps.logits, targets.kernel, targets.mask, negative_ratio=self.negative_ratio
            )
        else:
            probability = dice_loss(maps.logits, targets.kernel, targets.mask)
        error = (maps.threshold - targets.threshold).abs() * targets.threshold_mask
        return {
            "loss_prob": self.alpha * probability,
            "loss_db": dice_loss(maps.binary_logits, targets.kernel, targets.mask),
            "loss_thr": self.beta * error.sum() / (targets.threshold_mask.sum() + _EPS),
        }
