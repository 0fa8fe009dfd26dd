"""Ground truth as the matcher and the losses see it: normalised boxes and outlines, rows of classes."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fasttcm.charset import TextEncoder
from fasttcm.geometry import sample_sides
from fasttcm.structures import TextTargets

__all__ = ["ImageTargets", "TargetBuilder"]


@dataclass
class ImageTargets:
    """The legible texts of one image, on the model's device.

    Attributes:
        boxes: (n, 4) float32 centre x, centre y, width, height as fractions of the unpadded image.
        points: (n, N, 2) float32 outline, top side left to right, then bottom side right to left, fractions likewise.
        classes: (n, T) int64 character classes, padded with the class "end".
    """

    boxes: Tensor
    points: Tensor
    classes: Tensor

    def __len__(self) -> int:
        return len(self.boxes)


class TargetBuilder:
    """From the annotations of an image to :class:`ImageTargets`.

    Texts to be ignored are left out, as in the published data: what is not asked for counts as background.

    Args:
        encode: texts to rows of classes.
        num_points: points N of an outline, even.
    """

    def __init__(self, *, encode: TextEncoder, num_points: int = 16) -> None:
        self.encode = encode
        self.num_points = num_points

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
        kept = [i for i, ignored in enumerate(targets.ignore.tolist()) if not ignored]
        beziers = targets.beziers.detach().cpu().numpy()
        outlines = [self._outline(targets.polygons[i], beziers[i]) for i in kept]
        points = torch.from_numpy(np.array(outlines, np.float32).reshape(-1, self.num_points, 2)).to(device)
        corners = targets.boxes[kept].to(device, torch.float32)
        span = torch.tensor([size[1], size[0]], dtype=torch.float32, device=device)
        low, high = corners[:, :2] / span, corners[:, 2:] / span
        classes = self.encode([targets.texts[i] for i in kept], name)
        return ImageTargets(
            torch.cat([(low + high) / 2, high - low], 1),
            points / span,
            torch.tensor(classes, dtype=torch.int64, device=device).reshape(-1, self.encode.max_length),
        )

    def _outline(self, polygon: np.ndarray, bezier: np.ndarray) -> np.ndarray:
        """The annotated polygon when it has as many points, else points on the two curves."""
        return polygon if len(polygon) == self.num_points else sample_sides(bezier, self.num_points // 2)
