"""Cubic Bezier curves of a text instance: sampling, fitting, conversion to and from polygons.

A text instance is 16 numbers: four control points of the top side from left to right, then four of the bottom
side from right to left, each (x, y) (ABCNet, section 3.1).
"""

from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = [
    "SAMPLES_PER_SIDE",
    "bernstein_basis",
    "bezier_points",
    "beziers_to_polygons",
    "fit_bezier",
    "polygon_to_bezier",
    "sample_sides",
]

FloatArray = npt.NDArray[np.floating]

SAMPLES_PER_SIDE = 20
"""Points a side when a curve is turned into a polygon (ABCNet's published evaluation)."""


def bernstein_basis(u: FloatArray) -> FloatArray:
    """Cubic Bernstein polynomials.

    Args:
        u: (m,) curve parameters in [0, 1].

    Returns:
        (m, 4) float64; row i holds the weights of the four control points at ``u[i]``.
    """
    u = np.asarray(u, np.float64)[:, None]
    v = 1.0 - u
    return np.concatenate([v**3, 3 * u * v**2, 3 * u**2 * v, u**3], axis=1)


def bezier_points(control: FloatArray, samples: int = SAMPLES_PER_SIDE) -> FloatArray:
    """Sample a cubic curve at ``samples`` equidistant parameters, both ends included.

    Args:
        control: (4, 2) control points.
        samples: number of points, at least 2.

    Returns:
        (samples, 2) float64 points.
    """
    return bernstein_basis(np.linspace(0.0, 1.0, samples)) @ np.asarray(control, np.float64).reshape(4, 2)


def beziers_to_polygons(beziers: Tensor, samples: int = SAMPLES_PER_SIDE) -> Tensor:
    """Turn control points into closed rings: the top side, then the bottom side.

    Args:
        beziers: (n, 16) control points in pixels; n may be 0.
        samples: points a side.

    Returns:
        (n, 2 * samples, 2) points in the dtype of ``beziers``.
    """
    basis = torch.from_numpy(bernstein_basis(np.linspace(0.0, 1.0, samples))).to(beziers)
    # A product and a sum instead of a matrix product, which autocast would run in half precision.
    sides = (basis[:, :, None] * beziers.reshape(-1, 2, 1, 4, 2)).sum(3)
    return sides.reshape(-1, 2 * samples, 2)


def fit_bezier(points: FloatArray) -> FloatArray:
    """Fit one cubic curve to a chain of points: least squares, end points fixed, chord-length parameters.

    Args:
        points: (m, 2) chain, m at least 2. Two points give a straight curve, three an exact one.

    Returns:
        (4, 2) float64 control points.

    Raises:
        ValueError: with fewer than two points.
    """
    points = np.asarray(points, np.float64).reshape(-1, 2)
    if len(points) < 2:
        raise ValueError(f"a curve needs at least 2 points, got {len(points)}")
    first, last = points[0], points[-1]
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    straight = first + np.linspace(0.0, 1.0, 4)[:, None] * (last - first)
    if len(points) == 2 or steps.sum() <= 0:
        return straight
    u = np.concatenate([[0.0], np.cumsum(steps)]) / steps.sum()
    basis = bernstein_basis(u)
    # Solving for the offset from the straight curve makes the minimum-norm answer of an under-determined
    # system (three points) the least bent curve instead of one pulled towards the origin.
    residual = points - basis @ straight
    inner, *_ = np.linalg.lstsq(basis[1:-1, 1:3], residual[1:-1], rcond=None)
    control = straight.copy()
    control[1:3] += inner
    return control


def polygon_to_bezier(polygon: FloatArray) -> FloatArray:
    """Control points of a text polygon whose first half of points is the top side.

    Args:
        polygon: (p, 2) clockwise from the first character's top-left corner, p at least 4. With an odd p the
            top side has one point more.

    Returns:
        (16,) float64 control points.

    Raises:
        ValueError: with fewer than four points.
    """
    polygon = np.asarray(polygon, np.float64).reshape(-1, 2)
    if len(polygon) < 4:
        raise ValueError(f"a text polygon needs at least 4 points, got {len(polygon)}")
    half = (len(polygon) + 1) // 2
    return np.concatenate([fit_bezier(polygon[:half]), fit_bezier(polygon[half:])]).reshape(16)


def sample_sides(bezier: FloatArray, samples: int = SAMPLES_PER_SIDE) -> FloatArray:
    """The polygon of one instance, as :func:`beziers_to_polygons` for a (16,) NumPy array; returns (2 * samples, 2)."""
    control = np.asarray(bezier, np.float64).reshape(2, 4, 2)
    return cast(FloatArray, np.concatenate([bezier_points(side, samples) for side in control]))
