"""Cubic Bezier curves of a text instance: sampling, fitting, conversion to and from polygons.

A text instance is 16 numbers: four control points of the top side from left to right, then four of the bottom
side from right to left, each (x, y) (ABCNet, section 3.1).
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fasttcm.geometry.curve_fit import bernstein_basis, fit_beziers
from fasttcm.geometry.reading_order import split_sides

__all__ = [
    "SAMPLES_PER_SIDE",
    "bernstein_basis",
    "bezier_points",
    "beziers_to_polygons",
    "fit_bezier",
    "fit_text_bezier",
    "fit_text_beziers",
    "polygon_to_bezier",
    "sample_sides",
]

FloatArray = npt.NDArray[np.floating]

SAMPLES_PER_SIDE = 20
"""Points a side when a curve is turned into a polygon (ABCNet's published evaluation)."""


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
    """Fit one cubic curve to a chain of points: least squares, end points fixed, parameters free.

    See :func:`~fasttcm.geometry.curve_fit.fit_beziers`.

    Args:
        points: (m, 2) chain, m at least 2.

    Returns:
        (4, 2) float64 control points.

    Raises:
        ValueError: with fewer than two points.
    """
    points = np.asarray(points, np.float64).reshape(1, -1, 2)
    return cast(FloatArray, fit_beziers(points)[0][0])


def fit_text_bezier(points: FloatArray) -> tuple[FloatArray, float]:
    """Control points of a text polygon and how well they fit.

    Args:
        points: (p, 2) clockwise from the first character's top-left corner, p at least 4;
            :func:`~fasttcm.geometry.reading_order.split_sides` finds where the sides end.

    Returns:
        (16,) float64 control points, and the largest distance in pixels of a point from its place on the curve.

    Raises:
        ValueError: with fewer than four points.
    """
    control, residuals = fit_text_beziers([points])
    return control[0], float(residuals[0])


def polygon_to_bezier(polygon: FloatArray) -> FloatArray:
    """The control points (16,) of :func:`fit_text_bezier`."""
    return fit_text_bezier(polygon)[0]


def fit_text_beziers(polygons: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """:func:`fit_text_bezier` of n polygons at once, which is faster: (n, 16) control points and (n,) residuals."""
    sides = [side for polygon in polygons for side in split_sides(polygon)]
    by_length: dict[int, list[int]] = {}
    for number, side in enumerate(sides):
        by_length.setdefault(len(side), []).append(number)
    control, residuals = np.empty((len(sides), 4, 2)), np.empty(len(sides))
    for numbers in by_length.values():
        control[numbers], residuals[numbers] = fit_beziers(np.stack([sides[k] for k in numbers]))
    return control.reshape(-1, 16), residuals.reshape(-1, 2).max(axis=1, initial=0.0)


def sample_sides(bezier: FloatArray, samples: int = SAMPLES_PER_SIDE) -> FloatArray:
    """The polygon of one instance, as :func:`beziers_to_polygons` for a (16,) NumPy array; returns (2 * samples, 2)."""
    control = np.asarray(bezier, np.float64).reshape(2, 4, 2)
    return cast(FloatArray, np.concatenate([bezier_points(side, samples) for side in control]))
