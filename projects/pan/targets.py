"""Regions and kernels of annotated texts on PAN's prediction grid (PAN, section 3.1; SPEC ``detectors`` 4.1, 4.3)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fasttcm.errors import ConfigError
from fasttcm.geometry.kernels import draw_kernels, effective_mask
from fasttcm.projects.pan.loss import PANTargets
from fasttcm.structures import TextTargets

__all__ = ["GRID_STRIDE", "PANTargetMaker", "TargetMaps", "shrink_map"]

GRID_STRIDE = 4
"""Input pixels per cell of the prediction grid."""


@dataclass
class TargetMaps:
    """Targets of N images of one padded batch.

    Attributes:
        grid: on the prediction grid, for the head.
        region: (N, 1, H, W) float32 at input size, 1 inside a text, for the matching map.
        mask: (N, 1, H, W) float32 at input size, 0 inside an illegible text and in the padding.
    """

    grid: PANTargets
    region: Tensor
    mask: Tensor


def shrink_map(full: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """A map (h, w) at a quarter of its size, rounded half up, by nearest neighbour (OpenCV's choice of pixels)."""
    places = []
    for length in full.shape:
        cells = int(length / GRID_STRIDE + 0.5)
        places.append(np.minimum((np.arange(cells) * (length / cells)).astype(int), length - 1) if cells else [])
    return full[np.ix_(np.asarray(places[0], int), np.asarray(places[1], int))]


class PANTargetMaker:
    """Draws every text twice: its region, and its kernel.

    Args:
        shrink_ratios: of regions and of kernels, each in (0, 1].
        max_shrink: polygons move inwards by at most so many pixels.

    Raises:
        ConfigError: not two ratios, or a ratio outside its range.
    """

    def __init__(self, *, shrink_ratios: Sequence[float] = (1.0, 0.5), max_shrink: float = 20.0) -> None:
        if len(shrink_ratios) != 2 or not all(0 < ratio <= 1 for ratio in shrink_ratios):
            raise ConfigError(f"shrink ratios must be two numbers in (0, 1], got {list(shrink_ratios)}")
        self.shrink_ratios = tuple(shrink_ratios)
        self.max_shrink = max_shrink

    def draw(self, targets: TextTargets, size: tuple[int, int]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
        """Maps of one image.

        Args:
            targets: texts in pixels of the image; the ignored ones are only masked out.
            size: height and width of the image.

        Returns:
            (2, h, w) instance numbers of regions and kernels, from 1 in the order of the texts that are not ignored,
            later ones on top, and the (h, w) mask, 0 inside ignored texts. A text that vanishes when shrunk, or has
            no area, leaves its map as it is.
        """
        ignored = targets.ignore.tolist()
        kept = [polygon for polygon, ignore in zip(targets.polygons, ignored, strict=True) if not ignore]
        hidden = [polygon for polygon, ignore in zip(targets.polygons, ignored, strict=True) if ignore]
        maps = [draw_kernels(kept, size, ratio, self.max_shrink)[0] for ratio in self.shrink_ratios]
        return np.stack(maps).astype(np.int32), effective_mask(hidden, size)

    def __call__(
        self,
        targets: Sequence[TextTargets],
        image_sizes: Sequence[tuple[int, int]],
        padded_size: tuple[int, int],
        device: torch.device | str = "cpu",
    ) -> TargetMaps:
        """Targets of a batch.

        Args:
            targets: N annotations in pixels of the unpadded images.
            image_sizes: their heights and widths.
            padded_size: height and width of the batch.
            device: where the result is put.
        """
        height, width = padded_size
        grid = np.zeros((len(targets), 3, height // GRID_STRIDE, width // GRID_STRIDE), np.int32)
        full = np.zeros((len(targets), 2, height, width), np.uint8)
        for n, (image, size) in enumerate(zip(targets, image_sizes, strict=True)):
            instances, mask = self.draw(image, size)
            full[n, 0, : size[0], : size[1]] = instances[0] > 0
            full[n, 1, : size[0], : size[1]] = mask
            for channel, drawn in enumerate((instances[0], instances[1], mask)):
                small = shrink_map(drawn)
                grid[n, channel, : small.shape[0], : small.shape[1]] = small
        on_grid, at_size = torch.from_numpy(grid).to(device), torch.from_numpy(full).to(device).float()
        return TargetMaps(
            PANTargets(on_grid[:, 0].long(), on_grid[:, 1].long(), on_grid[:, 2].float()),
            at_size[:, :1],
            at_size[:, 1:],
        )
