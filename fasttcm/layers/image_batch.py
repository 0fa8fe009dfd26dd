"""From a list of images of any size to one normalised, padded batch."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["CLIP_PIXEL_MEAN", "CLIP_PIXEL_STD", "IMAGENET_PIXEL_MEAN", "IMAGENET_PIXEL_STD", "ImageBatcher"]

CLIP_PIXEL_MEAN = (122.7709383, 116.7460125, 104.09373615)
CLIP_PIXEL_STD = (68.5005327, 66.6321579, 70.32316305)
IMAGENET_PIXEL_MEAN = (123.675, 116.28, 103.53)
IMAGENET_PIXEL_STD = (58.395, 57.12, 57.375)


class ImageBatcher(nn.Module):
    """Normalise with fixed statistics, then pad with zeros on the right and bottom.

    Args:
        pixel_mean: three values on the 0..255 scale, in ``pixel_order``.
        pixel_std: three values on the 0..255 scale, in ``pixel_order``.
        pixel_order: channel order the network was trained with; the input is always RGB.
        size_divisibility: height and width of the batch are rounded up to a multiple of this.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        *,
        pixel_mean: Sequence[float] = CLIP_PIXEL_MEAN,
        pixel_std: Sequence[float] = CLIP_PIXEL_STD,
        pixel_order: Literal["RGB", "BGR"] = "RGB",
        size_divisibility: int = 32,
    ) -> None:
        super().__init__()
        self.register_buffer(
            "pixel_mean", torch.tensor(pixel_mean, dtype=torch.float32).view(3, 1, 1), persistent=False
        )
        self.register_buffer("pixel_std", torch.tensor(pixel_std, dtype=torch.float32).view(3, 1, 1), persistent=False)
        self.pixel_order = pixel_order
        self.size_divisibility = size_divisibility

    def forward(self, images: Sequence[Tensor]) -> tuple[Tensor, list[tuple[int, int]]]:
        """Batch RGB images (3, H_i, W_i) of values 0..255.

        Returns:
            The (B, 3, H, W) batch and the unpadded (height, width) of every image.
        """
        sizes = [(int(image.shape[-2]), int(image.shape[-1])) for image in images]
        step = self.size_divisibility
        height = -(-max(h for h, _ in sizes) // step) * step
        width = -(-max(w for _, w in sizes) // step) * step
        batch = self.pixel_mean.new_zeros(len(images), 3, height, width)
        for slot, image, (h, w) in zip(batch, images, sizes, strict=True):
            pixels = image.to(self.pixel_mean.device, torch.float32)
            if self.pixel_order == "BGR":
                pixels = pixels.flip(0)
            slot[:, :h, :w] = (pixels - self.pixel_mean) / self.pixel_std
        return batch, sizes
