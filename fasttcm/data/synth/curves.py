"""Words on curves: a strip between two cubic Bezier curves, and the warp that bends a flat word into it.

The annotation of a curved word is exact because the strip *is* the warp: the word fills the ruled surface
``(1 - v) * top(u) + v * bottom(u)``, whose top and bottom sides are the annotated curves themselves.

Coordinates are continuous: pixel i covers [i, i + 1).
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from fasttcm.geometry import bernstein_basis

__all__ = ["LineCurve", "Strip", "bend", "rectangle_strip"]

FloatArray = npt.NDArray[np.floating]

PATH_SAMPLES = 129
"""Samples of a line's path; the direction changes by at most 1.4 degrees between two of them."""

FIT_SAMPLES = 33
"""Samples a side to which a word's Bezier curve is fitted."""

RULINGS = 33
"""Rulings of the surface that are searched for a pixel; between two of them u is interpolated."""


THIRDS = np.linspace(0.0, 1.0, 4)[:, None]
"""Where the control points of a straight side lie on it."""


@cache
def _basis(count: int) -> FloatArray:
    """(count, 4) Bernstein polynomials at equal steps from 0 to 1."""
    return bernstein_basis(np.linspace(0, 1, count))


@dataclass(frozen=True)
class Strip:
    """The area of one word.

    Attributes:
        top: (4, 2) control points of the top side, left to right, pixels.
        bottom: (4, 2) control points of the bottom side, left to right, pixels.
        straight: both sides are straight lines, so that four corners say everything.
    """

    top: FloatArray
    bottom: FloatArray
    straight: bool

    def moved(self, dx: float, dy: float) -> "Strip":
        """The strip shifted by (dx, dy) pixels."""
        shift = np.array([dx, dy])
        return Strip(self.top + shift, self.bottom + shift, self.straight)

    def mapped(self, homography: FloatArray) -> "Strip":
        """The strip under a 3 x 3 homography: exact for straight strips, and for curved ones when it is affine."""
        if self.straight:
            corners = cv2.perspectiveTransform(
                np.stack([self.top[[0, 3]], self.bottom[[0, 3]]]).astype(np.float64), homography
            )
            top, bottom = (c[0] + THIRDS * (c[1] - c[0]) for c in corners)
        else:
            top, bottom = cv2.perspectiveTransform(np.stack([self.top, self.bottom]).astype(np.float64), homography)
        return Strip(top, bottom, self.straight)

    def bezier(self) -> FloatArray:
        """(16,) control points: top left to right, then bottom right to left."""
        return np.concatenate([self.top, self.bottom[::-1]]).reshape(16)

    def polygon(self, points_per_side: int = 7) -> FloatArray:
        """Clockwise ring from the first character's top-left corner.

        Returns:
            (4, 2) for a straight strip, else (2 * points_per_side, 2): top side, then bottom side right to left.
        """
        if self.straight:
            return np.stack([self.top[0], self.top[3], self.bottom[3], self.bottom[0]])
        basis = _basis(points_per_side)
        return np.concatenate([basis @ self.top, (basis @ self.bottom)[::-1]])

    def height(self) -> float:
        """Mean distance between the two sides at equal parameters, pixels."""
        basis = _basis(5)
        return float(np.linalg.norm(basis @ (self.bottom - self.top), axis=1).mean())


def rectangle_strip(x: float, y: float, width: float, height: float) -> Strip:
    """The axis-aligned strip with its top-left corner at (x, y)."""
    xs = np.linspace(x, x + width, 4)
    return Strip(np.stack([xs, np.full(4, y)], 1), np.stack([xs, np.full(4, y + height)], 1), straight=True)


class LineCurve:
    """The path of a whole line of text, by arc length.

    Args:
        length: arc length in pixels.
        bend: how much the direction changes from end to end (arc) or from the middle to an end (wave), in degrees;
            positive bends the middle upwards (a rainbow), negative downwards (a smile).
        wave: 0 for a circular arc, 1 for an S; between them a curve that straightens out to one end.
    """

    def __init__(self, *, length: float, bend: float, wave: float) -> None:
        self.length = length
        s = np.linspace(0.0, 1.0, PATH_SAMPLES)
        arc = s - 0.5
        s_shape = 0.5 - 0.5 * np.cos(2 * np.pi * s)
        heading = np.deg2rad(bend) * ((1 - wave) * arc + wave * (s_shape - s_shape.mean()))
        middle = (heading[1:] + heading[:-1]) / 2
        steps = np.stack([np.cos(middle), np.sin(middle)], 1) * length / (PATH_SAMPLES - 1)
        self._s = s * length
        self._heading = heading
        self._path = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, 0)])

    def side(self, start: float, stop: float, offset: float) -> FloatArray:
        """Control points of the curve at distance ``offset`` below the path between two arc lengths.

        Args:
            start: arc length of the left end in pixels.
            stop: arc length of the right end in pixels.
            offset: pixels below the path (negative: above).

        Returns:
            (4, 2) control points: least squares with equal arc-length parameters on both sides of a word and exact
            ends, so that the rulings of a strip stay perpendicular to the path.
        """
        u = np.linspace(0.0, 1.0, FIT_SAMPLES)
        at = start + u * (stop - start)
        heading = np.interp(at, self._s, self._heading)
        path = np.stack([np.interp(at, self._s, self._path[:, axis]) for axis in (0, 1)], 1)
        points = path + offset * np.stack([-np.sin(heading), np.cos(heading)], 1)
        basis = bernstein_basis(u)
        ends = np.outer(basis[:, 0] + basis[:, 1], points[0]) + np.outer(basis[:, 2] + basis[:, 3], points[-1])
        inner, *_ = np.linalg.lstsq(basis[1:-1, 1:3], (points - ends)[1:-1], rcond=None)
        return np.stack([points[0], points[0] + inner[0], points[-1] + inner[1], points[-1]])

    def strip(self, start: float, stop: float, above: float, below: float) -> Strip:
        """The strip between arc lengths ``start`` and ``stop``, from offset ``above`` to offset ``below``."""
        return Strip(self.side(start, stop, above), self.side(start, stop, below), straight=False)


def bend(mask: FloatArray, strip: Strip, *, height: int, width: int) -> npt.NDArray[np.float32]:
    """Warp a flat word into a strip.

    Args:
        mask: (h, w) float32 coverage of the flat word; its outline is mapped onto the strip's.
        strip: where to, in pixels of the output.
        height: output height in pixels.
        width: output width in pixels.

    Returns:
        (height, width) float32 coverage.
    """
    basis = _basis(RULINGS)
    top, down = basis @ strip.top, basis @ (strip.bottom - strip.top)
    points = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), -1).reshape(-1, 2)
    # A pixel p lies on the ruling u where cross(p - top(u), down(u)) = 0; along u this goes from plus to minus.
    points = points.astype(np.float32)
    normal, start = np.stack([down[:, 1], -down[:, 0]]), top[:, 1] * down[:, 0] - top[:, 0] * down[:, 1]
    side = points @ normal.astype(np.float32) + start.astype(np.float32)
    crossed = (side[:, :-1] >= 0) & (side[:, 1:] < 0)
    # Rulings extended beyond a bent strip can meet a pixel once more: the nearest one counts.
    middle = top + down / 2
    distance = ((middle**2).sum(1).astype(np.float32) - 2 * points @ middle.T.astype(np.float32))[:, :-1]
    i = np.where(crossed, distance, np.float32(np.inf)).argmin(1)
    rows = np.arange(len(side))
    inside, left, right = crossed[rows, i], side[rows, i], side[rows, i + 1]
    fraction = np.where(inside, left / np.where(inside, left - right, 1), 0)
    exact = (i + fraction) / (RULINGS - 1)
    weights = bernstein_basis(exact)
    start, along = weights @ strip.top, weights @ (strip.bottom - strip.top)
    v = ((points - start) * along).sum(1) / (along**2).sum(1)
    map_x = np.where(inside, exact * mask.shape[1] - 0.5, -2).astype(np.float32).reshape(height, width)
    map_y = (v * mask.shape[0] - 0.5).astype(np.float32).reshape(height, width)
    bent = cv2.remap(mask, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(bent, np.float32)
