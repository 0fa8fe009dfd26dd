"""The picture itself as feature maps, for heads that read from pixels."""

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ImagePyramid"]


class ImagePyramid(nn.Module):
    """Normalised images at full, half, quarter, ... size.

    A small text is lost on a feature map of stride 4 or 8; its pixels are not. A large one is read from a smaller
    picture, so that pooling it does not skip pixels.

    Args:
        num_levels: how many sizes, the first being the full one.
    """

    def __init__(self, *, num_levels: int) -> None:
        super().__init__()
        if num_levels < 1:
            raise ValueError(f"an image pyramid has at least one level, got {num_levels}")
        self.strides = tuple(2**level for level in range(num_levels))

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H / s, W / s) for every stride s, finest first; images (B, 3, H, W), sides multiples of the last."""
        levels = [images]
        for _ in self.strides[1:]:
            levels.append(F.avg_pool2d(levels[-1], 2))
        return levels
