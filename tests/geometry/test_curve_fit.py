import numpy as np
import pytest
from curved_words import ribbon
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Polygon

from fasttcm.geometry import (
    bernstein_basis,
    bezier_points,
    fit_bezier,
    fit_text_bezier,
    fit_text_beziers,
    polygon_area,
    polygon_to_bezier,
    sample_sides,
)
from fasttcm.geometry.curve_fit import fit_beziers


def text_curves(rng: np.random.Generator, count: int) -> np.ndarray:
    """Cubic curves (count, 4, 2) as words have them: forwards, up and down by up to 0.5 of their length."""
    x = np.array([0, 1 / 3, 2 / 3, 1]) + rng.uniform(-0.12, 0.12, (count, 4)) * [0, 1, 1, 0]
    y = rng.uniform(-0.7, 0.7, (count, 4)) * [0, 1, 1, 0]
    return np.stack([x, y], axis=2) * 100


def samples(rng: np.random.Generator, control: np.ndarray, points: int) -> np.ndarray:
    """Points (n, points, 2) of curves at parameters nobody is told."""
    gaps = rng.uniform(0.3, 1.0, (len(control), points - 1)).cumsum(axis=1)
    u = np.concatenate([np.zeros((len(control), 1)), gaps / gaps[:, -1:]], axis=1)
    return np.asarray(bernstein_basis(u) @ control)


def lengths(chains: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(np.diff(chains, axis=1), axis=2).sum(axis=1))


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    first, second = Polygon(a), Polygon(b)
    return float(first.intersection(second).area / first.union(second).area)


@pytest.mark.parametrize("points", [3, 4, 5, 6, 7, 8, 12, 20])
def test_points_of_a_cubic_curve_are_met_exactly(points: int) -> None:
    rng = np.random.default_rng(points)
    control = text_curves(rng, 300)
    chains = samples(rng, control, points)
    found, residuals = fit_beziers(chains)
    met = residuals <= 1e-6 * lengths(chains)
    assert met.mean() >= 0.99  # one in a thousand ends in another minimum
    if points >= 7:  # enough equations to have one answer; a curve that is almost a parabola leaves it vague
        assert np.median(np.abs(found - control).max(axis=(1, 2))[met]) < 1e-3


@pytest.mark.parametrize("points", [3, 5, 7, 10])
def test_noise_does_not_bend_a_curve_out_of_shape(points: int) -> None:
    rng = np.random.default_rng(points)
    control = text_curves(rng, 300)
    noisy = samples(rng, control, points) + rng.normal(0, 1.0, (300, points, 2))
    found, residuals = fit_beziers(noisy)
    assert np.isfinite(found).all() and residuals.max() < 15
    assert (lengths(found) < 3 * lengths(noisy)).all()
    # Never further off than chord-length parameters leave it.
    steps = np.linalg.norm(np.diff(noisy, axis=1), axis=2)
    u = np.concatenate([np.zeros((300, 1)), steps.cumsum(axis=1) / steps.sum(axis=1, keepdims=True)], axis=1)
    basis = bernstein_basis(u)
    ends = np.stack([noisy[:, 0], noisy[:, -1]], axis=1)
    chord = []
    for weights, pair, chain in zip(basis, ends, noisy, strict=True):
        rest = chain - weights[:, [0, 3]] @ pair
        inner, *_ = np.linalg.lstsq(weights[1:-1, 1:3], rest[1:-1], rcond=None)
        chord.append(np.linalg.norm(rest - weights[:, 1:3] @ inner, axis=1)[1:-1].max())
    assert (residuals <= np.array(chord) + 1e-9).mean() > 0.99


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(-3, 3), st.floats(0.05, 20), st.floats(-500, 500))
def test_a_fit_turns_grows_and_moves_with_its_points(seed: int, angle: float, scale: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    chain = samples(rng, text_curves(rng, 1), 6)[0] + rng.normal(0, 0.5, (6, 2))
    turn = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    expected = fit_bezier(chain) @ turn + shift
    assert np.abs(fit_bezier(chain @ turn + shift) - expected).max() < 0.02 * scale * 100


@settings(max_examples=80, deadline=None)
@given(st.floats(2, 10), st.floats(-2.8, 2.8), st.floats(-1, 1), st.integers(4, 9), st.floats(-0.2, 0.2), st.booleans())
def test_a_curved_word_survives_the_way_to_a_curve_and_back(
    aspect: float, bend: float, tilt: float, points: int, slant: float, uneven: bool
) -> None:
    most = min(1.2 * aspect, 0.6 * (points - 1 - uneven))  # radians; an annotator marks at least every 35 degrees
    bend = float(np.clip(bend, -most, most))
    word = ribbon(aspect=aspect, bend=bend, tilt=tilt, top=points, bottom=points - uneven, slant=slant)
    control, residual = fit_text_bezier(word)
    assert residual < 0.02 * 40 * aspect
    dense = ribbon(aspect=aspect, bend=bend, tilt=tilt, top=60, bottom=60, slant=slant)
    assert overlap(sample_sides(control), dense) >= 0.97


def test_ends_stay_and_the_polygon_keeps_its_direction() -> None:
    word = ribbon(aspect=6, bend=2.0, tilt=0.3)
    control = polygon_to_bezier(word).reshape(2, 4, 2)
    np.testing.assert_allclose(control[:, [0, 3]].reshape(4, 2), word[[0, 6, 7, 13]])
    assert polygon_area(sample_sides(control)) > 0


def test_many_at_once_are_what_each_is_alone() -> None:
    polygons = [ribbon(aspect=4, bend=bend, tilt=0.2, top=n, bottom=n) for bend in (0.0, 0.7, -1.5) for n in (2, 4, 7)]
    control, residuals = fit_text_beziers(polygons)
    assert control.shape == (9, 16)
    for row, residual, polygon in zip(control, residuals, polygons, strict=True):
        alone, alone_residual = fit_text_bezier(polygon)
        np.testing.assert_allclose(row, alone, atol=1e-6)
        assert residual == pytest.approx(alone_residual, abs=1e-6)
    assert [part.shape for part in fit_text_beziers([])] == [(0, 16), (0,)]


def test_the_residual_is_the_largest_distance_of_a_point() -> None:
    zigzag = np.array([[0, 0], [10, 6], [20, -6], [30, 6], [40, -6], [50, 0], [50, 20], [0, 20]], float)
    control, residual = fit_text_bezier(np.concatenate([zigzag[:6], np.linspace([50, 20], [0, 20], 6)]))
    curve = bezier_points(control[:8], 2000)
    nearest = np.linalg.norm(zigzag[:6, None] - curve, axis=2).min(axis=1).max()
    assert nearest <= residual + 1e-2 and 2 < residual < 12


@pytest.mark.parametrize("count", [5, 7, 12])
def test_repeated_points_give_a_finite_curve(count: int) -> None:
    chain = np.repeat([[0.0, 0.0], [30.0, 5.0]], [count - 2, 2], axis=0)
    control, residual = fit_beziers(chain[None])
    assert np.isfinite(control).all() and np.isfinite(residual).all() and np.abs(control).max() < 60
    assert np.allclose(fit_beziers(np.full((1, count, 2), 4.0))[0], 4)
