"""BezierAlign: pool the band between two Bezier curves into an upright grid (ABCNet, section 3.2).

A region is 8 control points (x, y): the top curve from left to right, then the bottom curve from right to left. Bin
(i, j) of an h x w grid samples the segment between the two curves at parameter j / w, a fraction i / h of the way
down. Pure PyTorch: every bin is a weighted sum of table rows, which ``embedding_bag`` computes without storing the
rows, in float32 whatever autocast says.
"""

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fasttcm.geometry.bezier import bernstein_basis

__all__ = ["BezierAlign", "BezierPooler", "assign_bezier_levels", "bezier_align"]

CANONICAL_SIZE = 96.0
"""Height in input pixels at which a text moves up to the canonical level (published)."""

CANONICAL_LEVEL = 3
"""Pyramid level (stride ``2**level``) of a text of the canonical size (published)."""

_LEVEL_EPSILON = 2.2e-16
"""Keeps the logarithm of a zero height finite (published: float64's machine epsilon)."""


def _sample_points(
    points: Tensor, output_size: tuple[int, int], sampling_ratio: int, aligned: bool, half_pixel: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Where to read, in feature cells.

    Args:
        points: (n, 8, 2) control points in feature cells.
        output_size: rows h and columns w of the grid.
        sampling_ratio: samples a side of each bin; 0 takes one a cell of the bin's extent.
        aligned: shift by half a cell, so that cell centres lie at whole numbers; without, extents are at least a cell.
        half_pixel: ``False`` leaves the shift out.

    Returns:
        y (n, h, w, a) and x (n, h, w, b) of the sample rows and columns, and (n, a, b) weights that sum to 1 (to 0 in a
        region whose extent is 0 when ``sampling_ratio`` is 0).
    """
    h, w = output_size
    basis = torch.from_numpy(bernstein_basis(np.arange(w) / w)).to(points)
    top = basis @ points[:, :4]
    bottom = basis @ points[:, 4:].flip(1)
    down = (torch.arange(h, dtype=points.dtype, device=points.device) / h)[:, None, None]
    centre = bottom[:, None] * down + top[:, None] * (1 - down) - (0.5 if aligned and half_pixel else 0.0)
    # The extents along the axes spread the samples of a bin; vertically they are published as the rise of each curve.
    extent = torch.maximum((points[:, 0] - points[:, 3]).abs(), (points[:, 7] - points[:, 4]).abs())
    if not aligned:
        extent = extent.clamp(min=1.0)
    bins = torch.nan_to_num(extent / extent.new_tensor([w, h]), nan=0.0, posinf=0.0)
    counts = torch.full_like(bins, sampling_ratio) if sampling_ratio > 0 else bins.ceil()
    most = [sampling_ratio] * 2 if sampling_ratio > 0 else [max(1, int(m)) for m in counts.amax(0)]

    def spread(axis: int) -> tuple[Tensor, Tensor]:
        step = torch.arange(most[axis], dtype=points.dtype, device=points.device)
        shift = (step + 0.5) * (bins[:, axis] / counts[:, axis].clamp(min=1))[:, None] - bins[:, axis, None] / 2
        return centre[..., axis, None] + shift[:, None, None, :], (step < counts[:, axis, None]).to(points.dtype)

    x, use_x = spread(0)
    y, use_y = spread(1)
    weights = use_y[:, :, None] * use_x[:, None, :] / counts.prod(1).clamp(min=1)[:, None, None]
    return y, x, weights


def _neighbours(position: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """The two cells around each position along one axis and their weights.

    Args:
        position: (n, h, w, s) in cells, cell centres at whole numbers; not-a-number and infinity are outside.
        size: (n, 1, 1, 1) number of cells along the axis.

    Returns:
        int64 cells and weights, both (n, h, w, s, 2). More than one cell outside, the weights are 0.
    """
    inside = (position >= -1) & (position <= size)
    last = size - 1
    position = torch.where(inside, position, torch.zeros_like(position)).clamp(min=0)
    position = torch.minimum(position, last)
    lower = position.floor()
    fraction = position - lower
    weights = torch.stack([1 - fraction, fraction], -1) * inside[..., None]
    cells = torch.stack([lower, torch.minimum(lower + 1, last)], -1)
    return cells.long(), weights


def _bins(
    points: Tensor, sizes: Tensor, output_size: tuple[int, int], sampling_ratio: int, aligned: bool, half_pixel: bool
) -> tuple[Tensor, Tensor]:
    """The cells that make up every bin.

    Args:
        points: (n, 8, 2) control points in feature cells.
        sizes: (n, 2) int64 height and width of the map that each region is read from.
        output_size: rows h and columns w of the grid.
        sampling_ratio: as in :func:`_sample_points`.
        aligned: as in :func:`_sample_points`.
        half_pixel: as in :func:`_sample_points`.

    Returns:
        (n * h * w, k) int64 cells, counted row by row, and their weights.
    """
    y, x, share = _sample_points(points, output_size, sampling_ratio, aligned, half_pixel)
    extent = sizes.to(points.dtype)[..., None, None, None]
    row, row_weight = _neighbours(y, extent[:, 0])
    column, column_weight = _neighbours(x, extent[:, 1])
    # Every sample (row a, column b) of a bin has 2 x 2 cells: (n, h, w, a, 2, b, 2).
    per_row = row * sizes[:, 1, None, None, None, None]
    cells = per_row[..., None, None] + column[:, :, :, None, None]
    weights = row_weight[..., None, None] * column_weight[:, :, :, None, None] * share[:, None, None, :, None, :, None]
    count = cells.shape[3:].numel()
    return cells.reshape(-1, count), weights.reshape(-1, count)


def _align_levels(
    features: Sequence[Tensor],
    image: Tensor,
    level: Tensor,
    beziers: Tensor,
    *,
    scales: Sequence[float],
    output_size: tuple[int, int],
    sampling_ratio: int,
    aligned: bool,
    half_pixel: bool,
) -> Tensor:
    """BezierAlign of n regions (n, 16) of ``image`` (n,), each on its own ``level`` (n,) of ``features``."""
    device, channels, (h, w) = features[0].device, features[0].shape[1], output_size
    dtype = torch.promote_types(torch.promote_types(features[0].dtype, beziers.dtype), torch.float32)
    # One row a cell of any level: (N, sum of H * W, C).
    table = torch.cat([f.to(dtype).flatten(2).transpose(1, 2) for f in features], 1)
    if len(beziers) == 0:
        # The sum of nothing keeps every level in the autograd graph.
        return (table.new_zeros(0, channels, h, w) + table[:0].sum()).to(features[0].dtype)
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        sizes = torch.tensor([[f.shape[2], f.shape[3]] for f in features], device=device)
        area = sizes.prod(1)
        start = image * table.shape[1] + (area.cumsum(0) - area)[level]
        scale = torch.tensor(scales, dtype=dtype, device=device)[level]
        points = beziers.to(device, dtype).reshape(-1, 8, 2) * scale[:, None, None]
        cells, weights = _bins(points, sizes[level], output_size, sampling_ratio, aligned, half_pixel)
        cells = cells + start.repeat_interleave(h * w)[:, None]
    pooled = F.embedding_bag(cells, table.reshape(-1, channels), per_sample_weights=weights, mode="sum")
    return pooled.reshape(-1, h, w, channels).permute(0, 3, 1, 2).to(features[0].dtype)


def bezier_align(
    features: Tensor,
    rois: Tensor,
    output_size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int = 1,
    aligned: bool = True,
    half_pixel: bool = True,
) -> Tensor:
    """Pool curved regions with bilinear sampling (the published CUDA kernel's semantics).

    Args:
        features: (N, C, H, W).
        rois: (n, 17) image index and 8 control points (x, y) in input pixels; n may be 0.
        output_size: rows h and columns w of the pooled grid.
        spatial_scale: feature cells per input pixel, such as 1/4.
        sampling_ratio: samples a side of each bin, averaged; 0 takes one a cell of the bin's extent.
        aligned: read half a cell to the left and above, so that pixel centres agree; False is the older convention.
        half_pixel: ``False`` forgets that shift, as the published CPU kernel's forward does; for comparisons only.

    Returns:
        (n, C, h, w) in the dtype of ``features``. Samples more than one cell outside the map count as 0. The gradient
        reaches the features only.

    Raises:
        ValueError: on shapes that do not fit.
    """
    if rois.dim() != 2 or rois.shape[1] != 17 or features.dim() != 4:
        raise ValueError(
            f"bezier_align needs (N, C, H, W) and (n, 17), got {tuple(features.shape)} and {tuple(rois.shape)}"
        )
    image = rois[:, 0].to(features.device, torch.int64)
    level = torch.zeros_like(image)
    return _align_levels(
        [features],
        image,
        level,
        rois[:, 1:],
        scales=[spatial_scale],
        output_size=output_size,
        sampling_ratio=sampling_ratio,
        aligned=aligned,
        half_pixel=half_pixel,
    )


class BezierAlign(nn.Module):
    """:func:`bezier_align` with fixed settings; arguments as there."""

    def __init__(
        self,
        *,
        output_size: tuple[int, int],
        spatial_scale: float,
        sampling_ratio: int = 1,
        aligned: bool = True,
        half_pixel: bool = True,
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned
        self.half_pixel = half_pixel

    def forward(self, features: Tensor, rois: Tensor) -> Tensor:
        """(n, C, h, w) from features (N, C, H, W) and rois (n, 17)."""
        return bezier_align(
            features,
            rois,
            self.output_size,
            self.spatial_scale,
            self.sampling_ratio,
            self.aligned,
            self.half_pixel,
        )

    def extra_repr(self) -> str:
        """The settings, for ``print``."""
        return (
            f"output_size={self.output_size}, spatial_scale={self.spatial_scale}, "
            f"sampling_ratio={self.sampling_ratio}, aligned={self.aligned}, half_pixel={self.half_pixel}"
        )


def assign_bezier_levels(
    beziers: Tensor,
    *,
    min_level: int,
    max_level: int,
    canonical_size: float = CANONICAL_SIZE,
    canonical_level: int = CANONICAL_LEVEL,
) -> Tensor:
    """Choose a pyramid level by the length of a text's left edge (control point 0 to 7).

    Args:
        beziers: (n, 16) control points in input pixels.
        min_level: finest level there is; level k has stride ``2**k``.
        max_level: coarsest level there is.
        canonical_size: edge length in pixels at which a text reaches ``canonical_level``.
        canonical_level: see there.

    Returns:
        (n,) int64 levels in ``min_level .. max_level``.
    """
    edge = (beziers[:, 0:2] - beziers[:, 14:16]).float().norm(dim=1)
    level = torch.floor(canonical_level + torch.log2(edge / canonical_size + _LEVEL_EPSILON))
    return cast(Tensor, torch.nan_to_num(level, nan=min_level).clamp(min_level, max_level).to(torch.int64))


class BezierPooler(nn.Module):
    """BezierAlign over several pyramid levels: each text is read from the level that fits its height.

    Args:
        output_size: rows h and columns w of the pooled grid.
        scales: feature cells per input pixel of each level, finest first, each half of the one before.
        sampling_ratio: samples a side of each bin.
        canonical_size: see :func:`assign_bezier_levels`.
        canonical_level: see :func:`assign_bezier_levels`.
        half_pixel: see :func:`bezier_align`.

    Raises:
        ValueError: when the scales are not consecutive powers of two.
    """

    def __init__(
        self,
        *,
        output_size: tuple[int, int] = (8, 32),
        scales: Sequence[float] = (1 / 4, 1 / 8, 1 / 16),
        sampling_ratio: int = 1,
        canonical_size: float = CANONICAL_SIZE,
        canonical_level: int = CANONICAL_LEVEL,
        half_pixel: bool = True,
    ) -> None:
        super().__init__()
        levels = [-math.log2(scale) for scale in scales]
        if not levels or any(level != levels[0] + i or level != int(level) for i, level in enumerate(levels)):
            raise ValueError(f"pooler scales must be consecutive powers of two, finest first, got {tuple(scales)}")
        self.output_size = output_size
        self.scales = tuple(scales)
        self.sampling_ratio = sampling_ratio
        self.canonical_size = canonical_size
        self.canonical_level = canonical_level
        self.half_pixel = half_pixel

    def levels(self, beziers: Tensor) -> Tensor:
        """(n,) int64 index into ``scales`` for (n, 16) control points."""
        finest = int(-math.log2(self.scales[0]))
        chosen = assign_bezier_levels(
            beziers,
            min_level=finest,
            max_level=finest + len(self.scales) - 1,
            canonical_size=self.canonical_size,
            canonical_level=self.canonical_level,
        )
        return chosen - finest

    def forward(self, features: Sequence[Tensor], beziers: Sequence[Tensor]) -> Tensor:
        """Pool the texts of a batch.

        Args:
            features: one (N, C, H, W) map a level, finest first.
            beziers: (n_i, 16) control points in input pixels for each of the N images.

        Returns:
            (sum of n_i, C, h, w), image after image, each in the order given. Every level stays in the autograd graph,
            also one from which nothing was read.
        """
        if len(features) != len(self.scales):
            raise ValueError(f"the pooler has {len(self.scales)} levels, got {len(features)} feature maps")
        curves = torch.cat(list(beziers))
        counts = torch.tensor([len(b) for b in beziers], device=curves.device)
        images = torch.arange(len(beziers), device=curves.device)
        return _align_levels(
            features,
            images.repeat_interleave(counts, output_size=len(curves)),
            self.levels(curves),
            curves,
            scales=self.scales,
            output_size=self.output_size,
            sampling_ratio=self.sampling_ratio,
            aligned=True,
            half_pixel=self.half_pixel,
        )
