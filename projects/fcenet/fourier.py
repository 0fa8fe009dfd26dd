"""Closed contours as short Fourier series (FCENet, section 3.1): c_k = mean over the contour of z exp(-2 pi i k t)."""

import numpy as np
import numpy.typing as npt

from fasttcm.structures import FloatArray

__all__ = ["contour_points", "fourier_coefficients", "resample_ring"]

ComplexArray = npt.NDArray[np.complexfloating]

_EPS = 1e-8
_SAMPLES = 400
"""Points a contour is resampled to, at most."""
_NEAREST_TO_MIDDLE = 8
"""The contour starts at the highest of so many points nearest to its mean abscissa."""


def resample_ring(polygon: FloatArray, samples: int = _SAMPLES) -> FloatArray:
    """Equally spaced points on every edge of a closed ring, in proportion to its length.

    Args:
        polygon: (p, 2) ring.
        samples: points wanted; rounding down on every edge gives somewhat fewer.

    Returns:
        (m, 2) float64; edges include their start and exclude their end. Empty for a ring without length.
    """
    start = np.asarray(polygon, np.float64).reshape(-1, 2)
    edge = np.roll(start, -1, axis=0) - start
    length = np.hypot(edge[:, 0], edge[:, 1])
    if not len(start) or not length.sum() > 0:
        return np.zeros((0, 2))
    counts = (length / (length.sum() + _EPS) * samples).astype(int)
    # The steps of an edge are added up one by one, as published: the rounding decides between points of the ring that
    # are equally near to its middle, and with that where the contour starts.
    sides = [
        np.cumsum(np.concatenate([point[None], np.repeat(step[None] / count, count - 1, axis=0)]), axis=0)
        for point, step, count in zip(start, edge, counts, strict=True)
        if count
    ]
    return np.concatenate(sides) if sides else np.zeros((0, 2))


def _rolled(points: FloatArray) -> FloatArray:
    """The same ring from the top of its middle on."""
    x, y = points.T
    middle = np.argsort(np.abs(x - x.mean()), kind="stable")[:_NEAREST_TO_MIDDLE]
    return np.roll(points, -int(middle[y[middle].argmin()]), axis=0)


def fourier_coefficients(polygon: FloatArray, degree: int) -> ComplexArray:
    """Coefficients c_-degree .. c_degree of a ring, walked in the direction in which |c_1| is the larger one.

    Args:
        polygon: (p, 2) ring.
        degree: highest order.

    Returns:
        (2 degree + 1,) complex128; c_0 is the centre. Empty for a ring that is too short for its order.
    """
    points = resample_ring(polygon)
    if len(points) <= 2 * degree:
        return np.zeros(0, np.complex128)
    x, y = _rolled(points).T
    spectrum = np.fft.fft(x + 1j * y) / len(points)
    series = np.concatenate([spectrum[-degree:], spectrum[: degree + 1]])
    size = np.abs(series)
    for order in (1, 2):
        forwards, backwards = size[degree + order], size[degree - order]
        if forwards != backwards or order == min(2, degree):
            return series if forwards > backwards else series[::-1]
    raise AssertionError("the second order decides")


def contour_points(coefficients: ComplexArray, count: int) -> FloatArray:
    """Points of contours at equal steps of their parameter.

    Args:
        coefficients: (m, 2 k + 1) complex, orders -k .. k.
        count: points a contour, more than 2 k.

    Returns:
        (m, count, 2) float64.
    """
    degree = coefficients.shape[1] // 2
    spectrum = np.zeros((len(coefficients), count), np.complex128)
    spectrum[:, : degree + 1] = coefficients[:, degree:]
    spectrum[:, count - degree :] = coefficients[:, :degree]
    contours = np.fft.ifft(spectrum, axis=1) * count
    return np.stack([contours.real, contours.imag], axis=2)
