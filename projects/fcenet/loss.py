"""Losses of FCENet: text and centre by cross-entropy, series by the contours they draw (FCENet, section 3.3)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fasttcm.projects.fcenet.targets import FCETargets

__all__ = ["FCELoss"]

_NEGATIVES_WITHOUT_TEXT = 100
"""Hard negatives of a level without text; the loss is their sum over this number, however few there are."""
_OUTSIDE_WEIGHT = 0.5
"""Weight of the centre loss of all cells that are not trained text."""


class FCELoss(nn.Module):
    """The four losses, each the sum over the levels.

    Args:
        degree: highest order k of the series.
        samples: contour points compared.
        ohem_ratio: hard negatives a positive.
    """

    cosines: Tensor
    sines: Tensor

    def __init__(self, *, degree: int = 5, samples: int = 50, ohem_ratio: float = 3.0) -> None:
        super().__init__()
        orders = torch.arange(-degree, degree + 1, dtype=torch.float64)
        angles = 2 * math.pi / samples * orders[:, None] * torch.arange(samples, dtype=torch.float64)
        self.register_buffer("cosines", angles.cos().float(), persistent=False)
        self.register_buffer("sines", angles.sin().float(), persistent=False)
        self.ohem_ratio = ohem_ratio

    def forward(
        self, logits: Sequence[Tensor], series: Sequence[Tensor], targets: Sequence[FCETargets]
    ) -> dict[str, Tensor]:
        """Compute the losses.

        Args:
            logits: (N, 4, h, w) of every level.
            series: (N, 4 k + 2, h, w) of every level.
            targets: of every level.

        Returns:
            Scalars ``loss_text``, ``loss_center``, ``loss_reg_x``, ``loss_reg_y``, connected to every input; a level
            without text adds to the first alone.
        """
        levels = [self._level(*level) for level in zip(logits, series, targets, strict=True)]
        names = ("loss_text", "loss_center", "loss_reg_x", "loss_reg_y")
        return {name: torch.stack(terms).sum() for name, terms in zip(names, zip(*levels, strict=True), strict=True)}

    def _level(self, logits: Tensor, series: Tensor, targets: FCETargets) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        cells = logits.float().permute(0, 2, 3, 1).reshape(-1, logits.shape[1])
        region, centre, counts = (mask.reshape(-1) > 0 for mask in targets.masks.unbind(1))
        positive = region & counts
        text = self._text_loss(
            F.cross_entropy(cells[:, :2], region.long(), reduction="none"), positive, ~region & counts
        )
        wrong_centre = F.cross_entropy(cells[:, 2:], centre.long(), reduction="none")
        # Without positives these select nothing: exact zeros that are still connected to the predictions.
        others = ~positive & positive.any()
        in_centre = _mean(wrong_centre[positive]) + _OUTSIDE_WEIGHT * _mean(wrong_centre[others])
        weight = (1 + centre[positive].float()[:, None]) / 2
        predicted, wanted = (
            values.float().permute(0, 2, 3, 1).reshape(-1, values.shape[1])[positive]
            for values in (series, targets.fourier)
        )
        gaps = [
            _mean(weight * F.smooth_l1_loss(a, b, reduction="none"))
            for a, b in zip(self._contours(predicted), self._contours(wanted), strict=True)
        ]
        return text, in_centre, gaps[0], gaps[1]

    def _text_loss(self, loss: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Mean over all positives and the hardest negatives of a level."""
        number, available = int(positive.sum()), int(negative.sum())
        wanted = min(available, int(self.ohem_ratio * number)) if number else _NEGATIVES_WITHOUT_TEXT
        hardest = loss[negative].topk(min(wanted, available)).values
        return (loss[positive].sum() + hardest.sum()) / max(number + wanted, 1)

    def _contours(self, series: Tensor) -> tuple[Tensor, Tensor]:
        """Abscissae and ordinates (m, samples) of series (m, 4 k + 2)."""
        real, imaginary = series.chunk(2, dim=1)
        x = real @ self.cosines - imaginary @ self.sines
        return x, real @ self.sines + imaginary @ self.cosines


def _mean(values: Tensor) -> Tensor:
    """Mean, 0 for nothing."""
    return values.sum() / max(values.numel(), 1)
