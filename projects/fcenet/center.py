"""The centre line of a text polygon: its two ends, its two sides, the band around the middle (FCENet, TextSnake)."""

import numpy as np
import numpy.typing as npt

from fasttcm.structures import FloatArray

__all__ = ["center_quads", "find_ends", "resample_line", "split_sides"]

_EPS = 1e-8
_ELONGATION = 2.0
"""A quadrilateral this many times longer one way has its ends on the short sides."""
_NEIGHBOUR_ANGLE, _OPPOSITE_ANGLE, _DISTANCE, _MIDDLE = 0.5, 0.15, 0.35, 0.1
"""Weights of the four terms of an edge's score."""
_PAIR_WEIGHT, _PAIR_SIGMA = 0.3, 0.5
_HEAD_SHARE = 4.0
"""The centre band stops this fraction of an end's width before that end."""


def _angles(u: FloatArray, v: FloatArray) -> FloatArray:
    """Angles between rows of vectors (n, 2), in radians."""
    unit_u = u / (np.linalg.norm(u, axis=-1, keepdims=True) + _EPS)
    unit_v = v / (np.linalg.norm(v, axis=-1, keepdims=True) + _EPS)
    return np.arccos(np.clip((unit_u * unit_v).sum(-1), -1.0, 1.0))


def _quad_ends(points: FloatArray) -> tuple[tuple[int, int], tuple[int, int]]:
    """Head and tail edge of a quadrilateral."""
    edges = np.roll(points, -1, axis=0) - points
    slopes = np.abs(edges[:, 1] / (edges[:, 0] + _EPS))
    lengths = np.linalg.norm(edges, axis=1)
    level, upright = ((0, 1), (2, 3)), ((3, 0), (1, 2))
    level_length, upright_length = lengths[0] + lengths[2], lengths[3] + lengths[1]
    if not slopes[0] + slopes[2] < slopes[1] + slopes[3]:
        level, upright = upright, ((0, 1), (2, 3))
        level_length, upright_length = upright_length, level_length
    return level if upright_length > _ELONGATION * level_length else upright


def find_ends(points: FloatArray) -> tuple[tuple[int, int], tuple[int, int]]:
    """Which edges of a text polygon are its head and its tail.

    Args:
        points: (p, 2) ring, p at least 4.

    Returns:
        Two pairs of indices of neighbouring points.
    """
    count = len(points)
    if count == 4:
        return _quad_ends(points)
    edges = np.roll(points, -1, axis=0) - points
    before, after = np.roll(edges, 1, axis=0), np.roll(edges, -1, axis=0)
    turns = (_angles(edges, before) + _angles(edges, after)) / np.pi
    opposite = _angles(before, after) / np.pi
    from_centre = np.linalg.norm(points - points.mean(0), axis=1)
    distance = np.maximum(from_centre, np.roll(from_centre, -1))
    score = _NEIGHBOUR_ANGLE * turns + _OPPOSITE_ANGLE * opposite + _DISTANCE * distance / (distance.max() + _EPS)
    if count % 2 == 0:
        score[[count // 2 - 1, count - 1]] += _MIDDLE
    steps = np.arange(count - 3)
    bell = np.exp(-(((steps / (count - 4)) - 0.5) ** 2) / (2 * _PAIR_SIGMA**2))
    bell /= bell.max()
    partner = (np.arange(count)[:, None] + steps + 2) % count
    pair = score[:, None] + _PAIR_WEIGHT * bell * score[partner]
    first, step = np.unravel_index(pair.argmax(), pair.shape)
    head = (int(first), int(first + 1) % count)
    second = int(partner[first, step])
    tail = (second, (second + 1) % count)
    return (tail, head) if head[1] > tail[1] else (head, tail)


def split_sides(points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Top and bottom side of a text polygon, each in the ring's direction of travel.

    Args:
        points: (p, 2) ring, p at least 4.

    Returns:
        The side with the smaller mean ordinate, then the other.
    """
    head, tail = find_ends(points)
    count = len(points)

    def walk(start: int, end: int) -> FloatArray:
        return points[(start + np.arange((end - start) % count + 1)) % count]

    first, second = walk(head[1], tail[0]), walk(tail[1], head[0])
    return (first, second) if first[:, 1].mean() <= second[:, 1].mean() else (second, first)


def resample_line(line: FloatArray, count: int) -> FloatArray:
    """``count`` points at equal distances along a polyline, both ends included."""
    length = np.linalg.norm(np.diff(line, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(length)])
    wanted = np.linspace(0.0, along[-1], count)
    return np.stack([np.interp(wanted, along, line[:, axis]) for axis in (0, 1)], axis=1)


def center_quads(points: FloatArray, *, step: float, shrink: float) -> npt.NDArray[np.int32]:
    """The band around a text's centre line.

    Args:
        points: (p, 2) ring in cells of the map, p at least 4.
        step: distance of the points along the sides, in cells.
        shrink: half width of the band, as a fraction of the way from the centre line to a side.

    Returns:
        (m, 4, 2) quadrilaterals one after the other, coordinates truncated to whole cells.
    """
    points = np.asarray(points, np.float64).reshape(-1, 2)
    top, bottom = split_sides(points)
    mean = sum(np.linalg.norm(np.diff(side, axis=0), axis=1).sum() for side in (top, bottom)) / 2
    count = max(int(mean / step) + 1, 3)
    top, bottom = resample_line(top, count), resample_line(bottom, count)[::-1]
    skipped = [int(np.linalg.norm(top[end] - bottom[end]) / _HEAD_SHARE // step) for end in (0, -1)]
    if count > sum(skipped) + 2:
        kept = slice(skipped[0], count - skipped[1])
        top, bottom = top[kept], bottom[kept]
    centre = (top + bottom) / 2
    top, bottom = centre + shrink * (top - centre), centre + shrink * (bottom - centre)
    return np.stack([top[:-1], top[1:], bottom[1:], bottom[:-1]], axis=1).astype(np.int32)
