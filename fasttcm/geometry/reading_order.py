"""Where a text polygon starts, which way it runs, and where its two sides end.

Publishers annotate words with any number of points, from any corner, in either direction. Everything downstream wants
one convention: clockwise as seen, from the first character's top-left corner, so that the points of the top side come
first, from left to right, then those of the bottom side from right to left.

**The rule.** A word is a ribbon: two long sides, joined at its two ends by one edge each.

1. The ring is turned clockwise. A quadrilateral that crosses itself is put in order around its centre first.
2. The ends are the two edges, sharing no corner, with the lowest cost

       - the squares of the turns at their four corners (0 straight on .. 1 a right angle or sharper; 0 for an edge
         without length)
       + ``WIDTH_WEIGHT`` ln(mean distance of the two sides they leave)
       + ``UNEVEN_WEIGHT`` (difference of the numbers of points of the two sides) / p
       + ``STEEP_WEIGHT`` sin^2(slope of the line from end to end).

   So ends are between sharp corners and leave two sides that run close together: the short sides of a quadrilateral,
   unless it is less than 1.5 times as high as wide, where it is read across.
3. A word is read from left to right; if the line between its ends is steeper than 60 degrees, from top to bottom; if
   it closes to a circle (the ends closer than an eighth of its length), clockwise with the outer side on top.
4. Equal costs: the start that is higher, then the one further left.

A book's back read upwards, or a mirror image, cannot be told from its outline: whoever knows the first corner passes
``ordered=True``.
"""

import math

import numpy as np
import numpy.typing as npt

from fasttcm.geometry.polygons import polygon_area

__all__ = ["order_text_polygon", "split_sides"]

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.integer]

MIN_POINTS = 4
"""Fewer have no two sides."""

WIDTH_WEIGHT = 1.0
UNEVEN_WEIGHT = 1.0
STEEP_WEIGHT = WIDTH_WEIGHT * math.log(1.5)
EVEN_MARGIN = 0.25
"""Cost by which another place has to beat the middle of an even polygon before the sides are split there."""

STEEPEST_SLOPE = math.sqrt(3.0)
"""Tangent of 60 degrees."""

CLOSED_SHARE = 0.125
"""Distance of the ends over the length of the word, below which it is a circle."""

SECTIONS = np.linspace(0.0, 1.0, 9)
"""Where the distance of the sides is measured, as shares of their lengths."""

CANDIDATE_EDGES = 10
"""The edges between the sharpest corners; ends are looked for among them."""

RELATIVE_AREA = 1e-9
"""Smaller areas, over the square of the longest extent, are none."""

TIE = 1e-9
TINY = 1e-12


def order_text_polygon(points: FloatArray, *, ordered: bool = False) -> FloatArray:
    """The same points, clockwise as seen from the first character's top-left corner.

    Args:
        points: (p, 2) pixels, p at least 4, from any corner in either direction. Repeated points stay.
        ordered: the publisher's first point is the first character's top-left corner. It stays first, and the ring is
            reversed where it runs counter-clockwise. Otherwise the start is searched for, see the rule of this module.

    Returns:
        (p, 2) float64, the rows of ``points`` rolled and perhaps reversed (re-sorted only if a quadrilateral crosses
        itself). A larger polygon that crosses itself is turned by its signed area and otherwise taken as it is.

    Raises:
        ValueError: fewer than four points, NaN or infinity, or no area.
    """
    ring: FloatArray = np.asarray(points, np.float64).reshape(-1, 2)
    if len(ring) < MIN_POINTS:
        raise ValueError(f"a text polygon needs at least {MIN_POINTS} points, got {len(ring)}")
    if not np.isfinite(ring).all():
        raise ValueError("the polygon holds NaN or infinity")
    if len(ring) == MIN_POINTS and _crosses_itself(ring):
        ring = _around_centre(ring)
    area = polygon_area(ring)
    if abs(area) <= RELATIVE_AREA * float(np.ptp(ring, axis=0).max()) ** 2:
        raise ValueError("the polygon has no area")
    if area < 0:
        ring = np.roll(ring[::-1], 1, axis=0)  # the first point stays first
    if ordered:
        return ring.copy()
    left, right = _candidates(ring)
    costs = _costs(ring, left, right)
    best = np.flatnonzero(costs <= costs.min() + TIE)
    starts = [_start(ring, int(left[k]), int(right[k])) for k in best]
    first = min(starts, key=lambda start: (ring[start, 1], ring[start, 0]))
    return np.roll(ring, -first, axis=0)


def split_sides(points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The top side from left to right and the bottom side from right to left.

    An even polygon is split in the middle, an odd one where the second end is (see the rule of this module, with the
    first end from the last point to the first); so is an even one whose middle is clearly not an end.

    Args:
        points: (p, 2) in the order of :func:`order_text_polygon`, p at least 4.

    Returns:
        (q, 2) and (p - q, 2) float64, at least two points each.

    Raises:
        ValueError: fewer than four points.
    """
    ring = np.asarray(points, np.float64).reshape(-1, 2)
    count = len(ring)
    if count < MIN_POINTS:
        raise ValueError(f"a text polygon needs at least {MIN_POINTS} points, got {count}")
    if count == MIN_POINTS:
        return ring[:2], ring[2:]
    last = np.arange(1, count - 2)  # of the top side
    costs = _costs(ring, last, np.full(len(last), count - 1))
    uneven = np.abs(count - 2 * (last + 1))
    if count % 2 == 0:
        costs[uneven == 0] -= EVEN_MARGIN
    # Of equal costs the more even split, then the one with more points on top.
    best = int(np.lexsort((-last, uneven, costs.round(9)))[0]) + 2
    return ring[:best], ring[best:]


def _crosses_itself(quad: FloatArray) -> bool:
    """Whether two opposite edges of four points cross."""

    def side(a: FloatArray, b: FloatArray, c: FloatArray) -> float:
        return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))

    def cross(a: FloatArray, b: FloatArray, c: FloatArray, d: FloatArray) -> bool:
        return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0

    a, b, c, d = quad
    return cross(a, b, c, d) or cross(b, c, d, a)


def _around_centre(quad: FloatArray) -> FloatArray:
    """Four points clockwise around their mean, the first one first."""
    x, y = (quad - quad.mean(axis=0)).T
    angles = np.arctan2(y, x)
    return quad[np.argsort((angles - angles[0]) % (2 * math.pi), kind="stable")]


def _sharpness(ring: FloatArray) -> FloatArray:
    """Squares of the right turns (p,) of a clockwise ring in right angles, at most 1; 0 where it turns left.

    Repeated points turn together.
    """
    edges = np.roll(ring, -1, axis=0) - ring
    moving = np.flatnonzero((edges != 0).any(axis=1))
    angles = np.arctan2(edges[moving, 1], edges[moving, 0])
    turns = (angles - np.roll(angles, 1) + math.pi) % (2 * math.pi) - math.pi
    # Point i turns where the next edge of some length, from it or from a repetition of it, begins.
    corner = np.searchsorted(moving, np.arange(len(ring))) % max(len(moving), 1)
    return np.asarray(np.clip(turns / (math.pi / 2), 0.0, 1.0)[corner] ** 2)


def _candidates(ring: FloatArray) -> tuple[IntArray, IntArray]:
    """Pairs (left, right), left < right, of edges without a common corner; edge k joins the points k and k + 1."""
    count = len(ring)
    if count == MIN_POINTS:
        return np.array([0, 1]), np.array([2, 3])
    sharpness = _sharpness(ring)
    by_sharpness = np.argsort(-(sharpness + np.roll(sharpness, -1)), kind="stable")
    edges = np.sort(by_sharpness[:CANDIDATE_EDGES])
    left, right = edges[:, None], edges[None, :]
    chosen = np.nonzero((right - left >= 2) & (right - left <= count - 2))
    return edges[chosen[0]], edges[chosen[1]]


def _costs(ring: FloatArray, left: IntArray, right: IntArray) -> FloatArray:
    """The costs (k,) of k choices of the ends: the edges ``left`` < ``right``, whichever of them the word starts at."""
    count = len(ring)
    twice = np.concatenate([ring, ring])
    steps = np.diff(twice, axis=0)
    length = np.concatenate([[0.0], np.cumsum(np.hypot(steps[:, 0], steps[:, 1]))])

    def sections(first: IntArray, last: IntArray) -> FloatArray:
        """(k, 9, 2) points at equal distances along the sides from point ``first`` to ``last``."""
        places = length[first, None] + SECTIONS * (length[last] - length[first])[:, None]
        return np.stack([np.interp(places, length, twice[:, 0]), np.interp(places, length, twice[:, 1])], axis=2)

    one, other = sections(left + 1, right), sections(right + 1, left + count)[:, ::-1]
    across = one - other
    width = np.maximum(np.hypot(across[..., 0], across[..., 1]).mean(axis=1), TINY)
    along = one[:, -1] + other[:, -1] - one[:, 0] - other[:, 0]
    steepness = along[:, 1] ** 2 / np.maximum((along**2).sum(axis=1), TINY)
    ends = np.stack([left, left + 1, right, right + 1]) % count
    has_length = (twice[left] != twice[left + 1]).any(axis=1) & (twice[right] != twice[right + 1]).any(axis=1)
    corners = np.where(has_length, _sharpness(ring)[ends].sum(axis=0), 0.0)
    uneven = np.abs(2 * (right - left) - count) / count
    return WIDTH_WEIGHT * np.log(width) - corners + UNEVEN_WEIGHT * uneven + STEEP_WEIGHT * steepness


def _start(ring: FloatArray, left: int, right: int) -> int:
    """The point that a word with the ends ``left`` < ``right`` starts from."""
    turned = np.roll(ring, -(left + 1), axis=0)
    one, other = turned[: right - left], turned[right - left :]
    x, y = (one[-1] + other[0] - one[0] - other[-1]) / 2
    lengths = [float(np.hypot(*np.diff(side, axis=0).T).sum()) for side in (one, other)]
    if math.hypot(x, y) < CLOSED_SHARE * sum(lengths) / 2:
        from_left = lengths[0] >= lengths[1]
    elif abs(y) > STEEPEST_SLOPE * abs(x):
        from_left = y > 0
    else:
        from_left = x > 0
    return ((left if from_left else right) + 1) % len(ring)
