"""Multi-scale deformable attention (Deformable DETR, Zhu et al., ICLR 2021) in plain PyTorch.

Every head of every query reads a few points of every level, bilinearly, and adds them up with weights of its own. That
is a weighted sum of 4 table rows a point, which ``embedding_bag`` computes without storing the rows and without moving
the tokens; its gradient with respect to the tokens is again such a sum, over points sorted by the cell they read. All
of it in float32 whatever autocast says (float64 for float64 tokens).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

__all__ = ["DeformableAttention", "deformable_attention"]

_SUM = 0
"""ATen's number for ``mode="sum"``."""

_NO_NEIGHBOUR = float(2**22)
"""Distance in cells at which a bilinear weight is surely 0: where the second cell of a map one cell wide would be."""


@dataclass
class _Columns:
    """Constants of the L * K points of a head, (L * K,) each.

    Attributes:
        size: float width and height of the map, in cells.
        last: int32 column and row of the last but one cell.
        gap: float distance in cells to the second cell along x and y.
        start: int32 number of the map's first token.
    """

    size: tuple[Tensor, Tensor]
    last: tuple[Tensor, Tensor]
    gap: tuple[Tensor, Tensor]
    start: Tensor


def _columns(shapes: Sequence[tuple[int, int]], points: int, like: Tensor) -> _Columns:
    """The constants, with floats in the dtype of ``like`` and everything on its device."""
    rows, start = [], 0
    for height, width in shapes:
        rows.append((width, height, max(width - 2, 0), max(height - 2, 0), start))
        start += height * width
    table = torch.tensor(rows, dtype=torch.int32, device=like.device).repeat_interleave(points, 0)
    width, height, last_x, last_y, first = table.T.contiguous()
    size = width.to(like.dtype), height.to(like.dtype)
    gap_x, gap_y = (torch.where(n > 1, torch.ones_like(n), _NO_NEIGHBOUR) for n in size)
    return _Columns(size, (last_x, last_y), (gap_x, gap_y), first)


@dataclass
class _Points:
    """Where P = L * K points a head fall, (B, N, M, P) each.

    Attributes:
        first: int32 row of the tokens' table ((b * S + s) * M + m) of the upper left one of the four cells read.
        x: distance to the right of its centre, in cells.
        y: distance below its centre, in cells.
    """

    first: Tensor
    x: Tensor
    y: Tensor


def _locate(locations: Tensor, columns: _Columns, tokens: int) -> _Points:
    """Choose the four cells: always inside the map, so that only the weights need to know its border."""
    batch, queries, heads = locations.shape[:3]

    def spread(column: Tensor) -> Tensor:  # broadcast over long rows, which PyTorch vectorises
        return column.repeat(heads)

    rows = locations.reshape(batch * queries, -1, 2)
    half = locations.new_tensor(-0.5)

    def axis(i: int) -> tuple[Tensor, Tensor]:
        position = torch.addcmul(half, rows[..., i], spread(columns.size[i]))
        # Whatever far away or not-a-number becomes as an integer, it becomes a cell; the distance keeps the truth.
        cell = position.to(torch.int32).clamp_(min=0).minimum(spread(columns.last[i]))
        return cell, position - cell.to(position.dtype)

    (cell_x, x), (cell_y, y) = axis(0), axis(1)
    token = cell_y * spread(columns.size[0].to(torch.int32)) + cell_x + spread(columns.start)
    shape = (batch, queries, heads, -1)
    image = torch.arange(batch, dtype=torch.int32, device=rows.device).view(-1, 1, 1, 1) * (tokens * heads)
    head = torch.arange(heads, dtype=torch.int32, device=rows.device).view(-1, 1)
    return _Points((token * heads).view(shape) + (image + head), x.view(shape), y.view(shape))


def _hat(distance: Tensor) -> Tensor:
    """Bilinear weight of a cell at a distance along one axis: 0 from one cell on."""
    return (1 - distance.abs()).clamp(min=0)


def _slope(distance: Tensor) -> Tensor:
    """Derivative of :func:`_hat`; where it has none that of the interval to the right, as in the CUDA kernels."""
    rising = (distance >= -1) & (distance < 0)
    falling = (distance >= 0) & (distance < 1)
    return rising.to(distance.dtype) - falling.to(distance.dtype)


def _corner_steps(shape: tuple[int, int]) -> list[int]:
    """Cells from the first to each of the four read, in the order of :func:`_corners`; a map one cell wide has two."""
    height, width = shape
    right, down = int(width > 1), width * int(height > 1)
    return [0, right, down, right + down]


def _corners(x: tuple[Tensor, Tensor], y: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Products of two factors along x with two along y: upper left, upper right, lower left, lower right."""
    return [y[0] * x[0], y[0] * x[1], y[1] * x[0], y[1] * x[1]]


def _corner_index(first: Tensor, shapes: Sequence[tuple[int, int]]) -> Tensor:
    """(B, N, M, 4, P) int32 rows of the table that are read; ``first`` as in :class:`_Points`."""
    heads, points = first.shape[2], first.shape[3] // len(shapes)
    steps = first.new_tensor([_corner_steps(shape) for shape in shapes]) * heads
    return first[:, :, :, None] + steps.repeat_interleave(points, 0).T.contiguous()


class _DeformableAttention(torch.autograd.Function):
    """Keeps nothing but its inputs for the backward pass, which finds the cells again."""

    @staticmethod
    def forward(
        ctx: Any, value: Tensor, shapes: list[tuple[int, int]], locations: Tensor, weights: Tensor
    ) -> Tensor:  # (B, N, M * D)
        ctx.save_for_backward(value, locations, weights)
        ctx.shapes = shapes
        batch, tokens, heads, width = value.shape
        columns = _columns(shapes, locations.shape[4], locations)
        at = _locate(locations, columns, tokens)
        flat = weights.flatten(3)
        x = _hat(at.x), _hat(at.x - columns.gap[0])
        y = flat * _hat(at.y), flat * _hat(at.y - columns.gap[1])
        share = torch.stack(_corners(x, y), 3)
        out = _weighted_rows(value.reshape(-1, width), _corner_index(at.first, shapes), share)
        return out.view(batch, -1, heads * width)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, Tensor | None, Tensor | None]:
        value, locations, weights = ctx.saved_tensors
        columns = _columns(ctx.shapes, locations.shape[4], locations)
        at = _locate(locations, columns, value.shape[1])
        x = _hat(at.x), _hat(at.x - columns.gap[0])
        y = _hat(at.y), _hat(at.y - columns.gap[1])
        rows = grad.reshape(-1, value.shape[3])
        flat = weights.flatten(3)
        grad_value = grad_locations = grad_weights = None
        if ctx.needs_input_grad[0]:
            grad_value = _scatter(rows, at.first, [corner * flat for corner in _corners(x, y)], ctx.shapes, value)
        if ctx.needs_input_grad[2] or ctx.needs_input_grad[3]:
            dots = _dots(value.reshape(-1, value.shape[3]), _corner_index(at.first, ctx.shapes), rows)
            upper, lower = (x[0] * dots[i] + x[1] * dots[i + 1] for i in (0, 2))
            grad_weights = (y[0] * upper + y[1] * lower).view_as(weights)
            along_y = _slope(at.y) * upper + _slope(at.y - columns.gap[1]) * lower
            left, right = (y[0] * dots[i] + y[1] * dots[i + 2] for i in (0, 1))
            along_x = _slope(at.x) * left + _slope(at.x - columns.gap[0]) * right
            scaled = flat * along_x * columns.size[0], flat * along_y * columns.size[1]
            grad_locations = torch.stack(scaled, -1).view_as(locations)
        return grad_value, None, grad_locations, grad_weights


def _weighted_rows(table: Tensor, index: Tensor, share: Tensor) -> Tensor:
    """Sum of ``share`` times the rows ``index`` of the (T, D) table: (B, N, M, 4, P) of both to (B * N * M, D)."""
    bag = index.shape[3] * index.shape[4]
    return F.embedding_bag(index.reshape(-1, bag), table, mode="sum", per_sample_weights=share.reshape(-1, bag))


def _dots(table: Tensor, index: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
    """Scalar products of the rows read with the gradient (B * N * M, D) of their sums: four (B, N, M, P)."""
    bag = index.shape[3] * index.shape[4]
    bags = torch.arange(len(rows), dtype=index.dtype, device=index.device)
    # What autograd calls for embedding_bag; it cannot be called itself where torch.compile traces a backward pass.
    dots: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(
        rows, table, index.reshape(-1), bags * bag, bags.repeat_interleave(bag), _SUM
    )
    return dots.view(index.shape).unbind(3)


def _scatter(
    rows: Tensor, first: Tensor, shares: list[Tensor], shapes: Sequence[tuple[int, int]], value: Tensor
) -> Tensor:
    """Add ``shares`` times ``rows`` to the tokens that were read: the gradient of ``value``, in its shape.

    The points are sorted by their first cell. Then each corner is a weighted sum a cell, and all cells of a level move
    together to where that corner is: far less to sort and to add one by one than four cells a point.
    """
    batch, tokens, heads, width = value.shape
    key, order = first.flatten().sort(stable=True)
    table_rows = torch.arange(batch * tokens * heads, dtype=key.dtype, device=key.device)
    offsets = torch.searchsorted(key, table_rows)
    bags = torch.div(order, first.shape[3], rounding_mode="floor")
    out = value.new_zeros(batch, tokens, heads * width)
    counts = [height * width for height, width in shapes]
    for corner, share in enumerate(shares):
        sorted_share = share.flatten().index_select(0, order)
        sums = F.embedding_bag(bags, rows, offsets, mode="sum", per_sample_weights=sorted_share)
        levels = sums.view_as(out).split(counts, 1)
        for target, level, count, shape in zip(out.split(counts, 1), levels, counts, shapes, strict=True):
            step = _corner_steps(shape)[corner]
            target[:, step:] += level[:, : count - step]
    return out.view_as(value)


def deformable_attention(
    value: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """Sample every level at the given places and add up, head by head.

    A place is read bilinearly between the centres of the cells around it; outside of the map there is 0. At the very
    centre of a cell the slope is that of the interval to the right, or below.

    Args:
        value: (B, S, M, D) tokens of L levels, fine to coarse, each row by row, with M heads of D numbers.
        shapes: height and width in cells of each level; together they make S.
        locations: (B, N, M, L, K, 2) x, y of N queries' K points a level; 0 and 1 are the borders of the (padded) map.
        weights: (B, N, M, L, K) factors.

    Returns:
        (B, N, M * D) in the dtype of ``value``; computed in float32, or in float64 for such a ``value``.

    Raises:
        ValueError: shapes that do not make S.
    """
    shapes = [(int(height), int(width)) for height, width in shapes]
    if sum(height * width for height, width in shapes) != value.shape[1] or len(shapes) != locations.shape[3]:
        raise ValueError(
            f"{value.shape[1]} tokens and {locations.shape[3]} levels of locations do not fit levels of {shapes} cells"
        )
    if locations.numel() == 0:
        nothing = value[:0].sum() + locations.sum() + weights.sum()  # 0, and the graph stays whole
        return (nothing + value.new_zeros(*locations.shape[:2], value.shape[2] * value.shape[3])).to(value.dtype)
    dtype = torch.promote_types(value.dtype, torch.float32)
    out: Tensor = _DeformableAttention.apply(value.to(dtype), shapes, locations.to(dtype), weights.to(dtype))
    return out.to(value.dtype)


class DeformableAttention(nn.Module):
    """Attention to a few learned places around reference points of every level.

    Args:
        channels: width C of queries, tokens and output.
        levels: number of levels L.
        heads: number of heads M.
        points: points K a head and level.
    """

    def __init__(self, *, channels: int = 256, levels: int = 4, heads: int = 8, points: int = 4) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{channels} channels cannot be divided among {heads} heads")
        self.levels = levels
        self.heads = heads
        self.points = points
        self.sampling_offsets = nn.Linear(channels, heads * levels * points * 2)
        self.attention_weights = nn.Linear(channels, heads * levels * points)
        self.value_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Every head looks into a direction of its own, point k at k + 1 cells, with equal weights."""
        angle = 2 * math.pi * torch.arange(self.heads) / self.heads
        direction = torch.stack([angle.cos(), angle.sin()], 1)
        direction = direction / direction.abs().amax(1, keepdim=True)
        reach = torch.arange(1, self.points + 1)[:, None]
        offsets = (direction[:, None, None] * reach).expand(-1, self.levels, -1, -1)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.flatten())
        for zeroed in (self.sampling_offsets.weight, self.attention_weights.weight, self.attention_weights.bias):
            nn.init.zeros_(zeroed)
        for linear in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(
        self,
        query: Tensor,
        reference: Tensor,
        source: Tensor,
        shapes: Sequence[tuple[int, int]],
        mask: Tensor | None = None,
    ) -> Tensor:
        """Read ``source`` around the reference points.

        Args:
            query: (B, N, C).
            reference: as fractions of the padded map of each level: (B, N, L, 2) points x, y, to which the offsets are
                added in cells, or (B, N, L, 4) boxes cx, cy, w, h, of which an offset of K reaches the border.
            source: (B, S, C) tokens of all levels.
            shapes: height and width in cells of each level.
            mask: (B, S) bool, True at padding, which is read as 0.

        Returns:
            (B, N, C).
        """
        batch, queries, channels = query.shape
        value = self.value_proj(source)
        if mask is not None:
            value = value.masked_fill(mask[..., None], 0.0)
        value = value.view(batch, -1, self.heads, channels // self.heads)
        weights = self.attention_weights(query).view(batch, queries, self.heads, -1).float().softmax(3)
        locations = self._locations(self.sampling_offsets(query).float(), reference.float(), shapes)
        weights = weights.view(locations.shape[:-1])
        out: Tensor = self.output_proj(deformable_attention(value, shapes, locations, weights))
        return out

    def _locations(self, offsets: Tensor, reference: Tensor, shapes: Sequence[tuple[int, int]]) -> Tensor:
        """(B, N, M, L, K, 2) places; float32 also where autocast made the offsets in half precision."""
        batch, queries = offsets.shape[:2]

        def per_point(values: Tensor) -> Tensor:
            """(..., L, 2) repeated for the K points of a level: (..., L * K * 2), long rows for fast broadcasting."""
            return values[..., None, :].expand(*values.shape[:-1], self.points, 2).flatten(-3)

        start = per_point(reference[..., :2])[:, :, None]
        rows = offsets.view(batch, queries, self.heads, -1)
        if reference.shape[-1] == 2:
            sizes = per_point(rows.new_tensor([(width, height) for height, width in shapes]))
            places = torch.addcdiv(start, rows, sizes)
        else:
            places = torch.addcmul(start, rows, per_point(reference[..., 2:] * (0.5 / self.points))[:, :, None])
        return places.view(batch, queries, self.heads, self.levels, self.points, 2)
