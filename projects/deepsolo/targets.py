"""Ground truth as matcher and losses see it: normalised centre lines and boundaries, rows of classes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fasttcm.charset import TextEncoder
from fasttcm.projects.deepsolo.proposals import curve_points
from fasttcm.structures import TextTargets

__all__ = ["ImageTargets", "TargetBuilder", "boundary_points", "centre_curves"]


@dataclass
class ImageTargets:
    """The n legible texts of one image, on the model's device; coordinates as fractions of the unpadded image.

    Attributes:
        curves: (n, 4, 2) float32 control points of the centre lines.
        points: (n, P, 2) float32 points of the centre lines: midway between those of the boundary.
        boundary: (n, P, 4) float32 the points above (x, y) and below (x, y).
        classes: (n, T) int64 characters, padded with the blank.
        lengths: (n,) int64 characters in each row.
    """

    curves: Tensor
    points: Tensor
    boundary: Tensor
    classes: Tensor
    lengths: Tensor

    def __len__(self) -> int:
        return len(self.curves)


def centre_curves(beziers: Tensor) -> Tensor:
    """(n, 16) sides, the bottom one from right to left, to (n, 4, 2) control points of the centre line."""
    sides = beziers.reshape(-1, 2, 4, 2)
    return (sides[:, 0] + sides[:, 1].flip(1)) / 2


def boundary_points(beziers: Tensor, num_points: int) -> Tensor:
    """(n, 16) sides to (n, P, 4): each point of the top side with the one below it, x, y and x, y."""
    sides = curve_points(beziers.reshape(-1, 2, 4, 2), num_points)
    return torch.cat([sides[:, 0], sides[:, 1].flip(1)], 2)


class TargetBuilder:
    """From the annotations of an image to :class:`ImageTargets`.

    Ignored and empty texts are left out, as in the published data (SPEC ``deepsolo`` section 15): what is not asked
    for counts as background.

    Args:
        num_points: points P of a centre line.
        encode: texts to rows of classes, padded with the class that is the blank.
    """

    def __init__(self, *, num_points: int, encode: TextEncoder) -> None:
        self.num_points = num_points
        self.encode = encode

    def __call__(
        self, targets: TextTargets, size: tuple[int, int], name: str, device: torch.device | str = "cpu"
    ) -> ImageTargets:
        """Targets of one image.

        Args:
            targets: its texts in pixels.
            size: its unpadded height and width in pixels.
            name: what messages call it.
            device: where the result lives.

        Raises:
            DataError: a text is too long where that is refused.
        """
        ignored = zip(targets.texts, targets.ignore.tolist(), strict=True)
        kept = [i for i, (text, ignore) in enumerate(ignored) if text and not ignore]
        span = torch.tensor([size[1], size[0]], dtype=torch.float32, device=device)
        beziers = targets.beziers[kept].to(device, torch.float32)
        normalised = (beziers.view(-1, 8, 2) / span).view(-1, 16)
        boundary = boundary_points(normalised, self.num_points)
        rows = self.encode([targets.texts[i] for i in kept], name)
        classes = torch.tensor(rows, dtype=torch.int64, device=device).reshape(len(kept), self.encode.max_length)
        return ImageTargets(
            curves=centre_curves(normalised),
            points=(boundary[..., :2] + boundary[..., 2:]) / 2,
            boundary=boundary,
            classes=classes,
            lengths=(classes != self.encode.charset.end).sum(1),
        )
