"""Cubic Bezier curves through chains of points whose places along the curve are unknown.

The distances of m points from a curve depend on its two inner control points and on m - 2 parameters. For given
parameters the control points are a linear least-squares problem; what remains is a function of the parameters alone
and is minimised by damped Gauss-Newton steps (variable projection with Kaufman's approximation of the Jacobian).
Points that lie on a cubic curve are so fitted exactly, which chord-length parameters alone cannot do.
"""

import numpy as np
import numpy.typing as npt

__all__ = ["bernstein_basis", "fit_beziers"]

FloatArray = npt.NDArray[np.floating]

MAX_STEPS, PATIENT_STEPS = 60, 500
"""Bounds of the iteration; the second one for chains that are nearly exact. Most need 5 to 15 steps, but a curve that
is almost a parabola may need hundreds to be met exactly."""

BENDS = (0.0, 0.2, -0.2)
"""The parameters u + bend u (1 - u) to start from. The second and third are for the few chains that come close from
the first and get stuck in a bent valley: a cubic curve that is almost a parabola has almost a family of parameters."""

MET = 1e-6
"""A residual below this, over the length of the chain, says that the points were sampled from such a curve."""

EXACT = 1e-10
"""A residual below this, over the length of the chain, cannot be improved."""

NEARLY_EXACT = 1e-4
"""Below this the chain may well be sampled from a cubic curve, and patience pays."""

PROGRESS, PATIENT_PROGRESS = 1e-3, 1e-6
"""Relative gain of the squared residual below which a chain has converged; the second one if it is nearly exact."""

LEAST_GAP = 0.35
"""Share of its first length that the distance of two neighbouring parameters keeps. Chains sampled from curves that
words have stay above 0.45; what goes below follows the noise of the annotation into loops."""

LONGEST_POLYGON = 1.25
"""Growth of the control polygon by free parameters beyond which they have followed noise (99.9 % of the curves that
words have stay below), unless the chain is met exactly although it has more equations than unknowns."""

DETERMINED_POINTS = 7
"""From so many points on there are."""

SINGULAR_SHARE = 0.02
"""Share of the larger singular value below which the smaller one of the two control points' equations is no
information but noise: all inner points are at about one place of the curve."""

FIRST_DAMPING, LEAST_DAMPING, LARGEST_DAMPING = 1e-4, 1e-13, 1e6
TINY = float(np.finfo(float).tiny)
ALMOST_ONE = 0.99

FREE_POINTS = 4
"""Chains of up to so many points are met exactly with chord-length parameters."""


def bernstein_basis(u: FloatArray) -> FloatArray:
    """Cubic Bernstein polynomials.

    Args:
        u: (..., m) curve parameters in [0, 1].

    Returns:
        (..., m, 4) float64; the weights of the four control points at each parameter.
    """
    u = np.asarray(u, np.float64)
    v = 1.0 - u
    return np.stack([v**3, 3 * u * v**2, 3 * u**2 * v, u**3], axis=-1)


def fit_beziers(points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Fit one cubic curve to each of n chains: least squares, end points fixed, increasing parameters free.

    Two points give a straight curve with even spacing; three the least bent curve through them; four the curve that
    meets them at parameters in proportion to their distances. More points start from those parameters, which are then
    improved: points sampled from a cubic curve are met exactly. Where that would follow noise into a loop the first
    parameters stay.

    Args:
        points: (n, m, 2) chains, m at least 2.

    Returns:
        (n, 4, 2) float64 control points, and (n,) the largest distance of a point from its place on the curve.

    Raises:
        ValueError: with fewer than two points.
    """
    points = np.asarray(points, np.float64)
    count = points.shape[1]
    if count < 2:
        raise ValueError(f"a curve needs at least 2 points, got {count}")
    first, last = points[:, :1], points[:, -1:]
    straight = first + np.linspace(0.0, 1.0, 4)[:, None] * (last - first)
    if count == 2:
        return straight, np.zeros(len(points))
    steps = np.diff(points, axis=1)
    distances = np.hypot(steps[..., 0], steps[..., 1])
    length = distances.sum(axis=1, keepdims=True)
    # Chains without length are all one point; any parameters do.
    u = np.cumsum(np.where(length > 0, distances, 1.0)[:, :-1], axis=1)
    u /= np.where(length > 0, length, count - 1.0)
    control, residual, _ = _solved(points, straight, u)
    error = _largest(residual)
    if count <= FREE_POINTS:
        return control, error
    length = np.maximum(length[:, 0], TINY)
    longest = LONGEST_POLYGON * _polygon_lengths(control)
    open_chains = np.flatnonzero(error > EXACT * length)
    for bend in BENDS:
        start = u[open_chains] + bend * u[open_chains] * (1 - u[open_chains])
        free = _improved(points[open_chains], straight[open_chains], start, length[open_chains])
        new, new_residual, _ = _solved(points[open_chains], straight[open_chains], free)
        new_error, scale = _largest(new_residual), length[open_chains]
        sane = _polygon_lengths(new) <= longest[open_chains]
        if count >= DETERMINED_POINTS:
            sane |= new_error <= MET * scale
        sane &= new_error < error[open_chains]
        control[open_chains[sane]], error[open_chains[sane]] = new[sane], new_error[sane]
        open_chains = open_chains[(new_error > MET * scale) & (new_error < NEARLY_EXACT * scale)]
        if not len(open_chains):
            break
    return control, error


def _polygon_lengths(control: FloatArray) -> FloatArray:
    """Lengths (n,) of control polygons (n, 4, 2)."""
    steps = np.diff(control, axis=1)
    return np.asarray(np.hypot(steps[..., 0], steps[..., 1]).sum(axis=1))


def _largest(residual: FloatArray) -> FloatArray:
    """Largest distances (n,) of residuals (n, k, 2)."""
    return np.asarray(np.hypot(residual[..., 0], residual[..., 1]).max(axis=1))


def _solved(points: FloatArray, straight: FloatArray, u: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Best control points for given parameters.

    Args:
        points: (n, m, 2).
        straight: (n, 4, 2) straight curves between the ends; solving for the offset from them makes the minimum-norm
            answer of an under-determined system the least bent curve.
        u: (n, m - 2) parameters of the inner points.

    Returns:
        (n, 4, 2) control points, (n, m - 2, 2) what the inner points miss, and (n, m - 2, m - 2) the projection onto
        what no choice of control points can meet.
    """
    basis = bernstein_basis(u)
    inner = basis[..., 1:3]
    missing = points[:, 1:-1] - basis @ straight
    inverse = _pseudo_inverse(inner)
    control = straight.copy()
    control[:, 1:3] += inverse @ missing
    return control, points[:, 1:-1] - basis @ control, np.eye(u.shape[1]) - inner @ inverse


def _pseudo_inverse(inner: FloatArray) -> FloatArray:
    """(n, 2, k) of (n, k, 2), without the smaller singular value where it is below :data:`SINGULAR_SHARE`.

    By the normal equations, which is faster than a singular value decomposition and, with that bound, accurate.
    """
    gram = inner.swapaxes(1, 2) @ inner
    a, b, c = gram[:, 0, 0], gram[:, 0, 1], gram[:, 1, 1]
    largest = (a + c + np.hypot(a - c, 2 * b)) / 2  # the square of the larger singular value
    determinant = a * c - b * b
    inverted = np.stack([np.stack([c, -b], axis=1), np.stack([-b, a], axis=1)], axis=1)
    single = determinant <= (SINGULAR_SHARE * largest) ** 2
    inverted /= np.where(single, 1.0, determinant)[:, None, None]
    inverted[single] = gram[single] / np.maximum(largest[single, None, None] ** 2, TINY)
    return np.asarray(inverted @ inner.swapaxes(1, 2))


def _improved(points: FloatArray, straight: FloatArray, u: FloatArray, length: FloatArray) -> FloatArray:
    """Parameters (n, m - 2) at which the curves come closer to the points; never worse than those given."""
    least = LEAST_GAP * _gaps(u)
    active = np.arange(len(points))
    damping = np.full(len(points), FIRST_DAMPING)
    u = u.copy()
    control, residual, projection = _solved(points, straight, u)
    cost = (residual**2).sum(axis=(1, 2))
    active = active[cost > (EXACT * length) ** 2]
    for number in range(PATIENT_STEPS):
        if not len(active):
            break
        step = _step(control[active], residual[active], projection[active], damping[active], u[active])
        proposed = _kept_apart(u[active], step, least[active])
        new = _solved(points[active], straight[active], proposed)
        new_cost = (new[1] ** 2).sum(axis=(1, 2))
        better = new_cost < cost[active]
        gain = (cost[active] - new_cost) / cost[active]
        taken = active[better]
        u[taken] = proposed[better]
        control[taken], residual[taken], projection[taken] = (part[better] for part in new)
        cost[taken] = new_cost[better]
        damping[active] = np.where(better, np.maximum(damping[active] / 10, LEAST_DAMPING), damping[active] * 4)
        error = np.sqrt(cost[active]) / length[active]
        patient = error < NEARLY_EXACT
        going = (~better | (gain > np.where(patient, PATIENT_PROGRESS, PROGRESS))) & (patient | (number < MAX_STEPS))
        active = active[going & (error > EXACT) & (damping[active] < LARGEST_DAMPING)]
    return u


def _gaps(u: FloatArray) -> FloatArray:
    """Distances (n, m - 1) of the parameters 0, u, 1."""
    end = np.zeros((len(u), 1))
    return np.diff(np.concatenate([end, u, end + 1], axis=1), axis=1)


def _step(
    control: FloatArray, residual: FloatArray, projection: FloatArray, damping: FloatArray, u: FloatArray
) -> FloatArray:
    """Levenberg-Marquardt step (n, m - 2) of the parameters.

    Moving parameter i moves point i of the curve along its derivative d_i; control points make up for what they can,
    so the Jacobian of the residual is minus the projection of that.
    """
    v = 1.0 - u
    weights = 3 * np.stack([v**2, 2 * u * v, u**2], axis=-1)
    derivative = weights @ np.diff(control, axis=1)
    normal = projection * (derivative @ derivative.swapaxes(1, 2))
    gradient = (derivative * residual).sum(axis=-1)
    speed = (derivative**2).sum(axis=-1)
    diagonal = damping[:, None] * np.maximum(speed, 1e-6 * speed.max(axis=1, keepdims=True))
    diagonal = np.maximum(diagonal, TINY)
    index = np.arange(u.shape[1])
    normal[:, index, index] += diagonal
    return np.asarray(np.linalg.solve(normal, gradient[..., None])[..., 0])


def _kept_apart(u: FloatArray, step: FloatArray, least: FloatArray) -> FloatArray:
    """``u + step``, the step shortened as a whole where it would bring parameters closer together than ``least``."""
    end = np.zeros((len(u), 1))
    room = np.maximum(_gaps(u) - least, 0.0)
    closing = -np.diff(np.concatenate([end, step, end], axis=1), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        allowed = np.where(closing > 0, room / closing, np.inf).min(axis=1, keepdims=True)
    return u + np.minimum(ALMOST_ONE * allowed, 1.0) * step
