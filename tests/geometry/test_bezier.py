import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttcm.geometry import (
    bernstein_basis,
    bezier_points,
    beziers_to_polygons,
    fit_bezier,
    polygon_area,
    polygon_to_bezier,
    sample_sides,
)

STRAIGHT = np.array([0, 0, 10, 0, 20, 0, 30, 0, 30, 9, 20, 9, 10, 9, 0, 9], float)
coordinates = st.lists(st.floats(-100, 100), min_size=16, max_size=16).map(np.array)


def test_basis_by_hand() -> None:
    expected = [[1, 0, 0, 0], [0.125, 0.375, 0.375, 0.125], [0, 0, 0, 1]]
    assert np.allclose(bernstein_basis(np.array([0, 0.5, 1])), expected, atol=1e-15)
    assert np.allclose(bernstein_basis(np.linspace(0, 1, 9)).sum(1), 1)


def test_points_of_a_curve_by_hand() -> None:
    control = np.array([[0, 0], [0, 8], [8, 8], [8, 0]], float)
    assert np.allclose(bezier_points(control, 3), [[0, 0], [4, 6], [8, 0]])


def test_the_polygon_runs_around_the_word() -> None:
    polygon = sample_sides(STRAIGHT, 4)
    assert np.allclose(polygon, [[0, 0], [10, 0], [20, 0], [30, 0], [30, 9], [20, 9], [10, 9], [0, 9]])
    assert polygon_area(polygon) == pytest.approx(270)  # positive: clockwise as seen


@given(coordinates)
def test_tensors_and_arrays_give_the_same_points(values: np.ndarray) -> None:
    tensor = beziers_to_polygons(torch.from_numpy(values)[None], 7)[0]
    assert np.allclose(tensor.numpy(), sample_sides(values, 7), atol=1e-9)


def test_no_curves_give_no_polygons() -> None:
    assert beziers_to_polygons(torch.zeros(0, 16)).shape == (0, 40, 2)


def test_autocast_does_not_round_coordinates() -> None:
    beziers = torch.tensor(STRAIGHT, dtype=torch.float32)[None] + 1001.3
    with torch.autocast("cpu", dtype=torch.bfloat16):
        polygons = beziers_to_polygons(beziers)
    assert polygons.dtype == torch.float32 and torch.equal(polygons, beziers_to_polygons(beziers))


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=2, max_size=9))
def test_fitted_curves_keep_their_ends_and_are_no_worse_than_a_line(points: list[tuple[float, float]]) -> None:
    chain = np.array(points)
    control = fit_bezier(chain)
    assert np.allclose(control[0], chain[0]) and np.allclose(control[3], chain[-1]) and np.isfinite(control).all()


def test_two_points_give_a_straight_curve_and_three_an_exact_one() -> None:
    assert np.allclose(fit_bezier(np.array([[0, 0], [9, 3]])), [[0, 0], [3, 1], [6, 2], [9, 3]])
    control = fit_bezier(np.array([[0, 0], [5, 4], [10, 0]]))
    assert np.allclose(bezier_points(control, 3)[1], [5, 4])
    assert np.allclose(fit_bezier(np.array([[4, 4], [4, 4], [4, 4]])), 4)  # no length at all


def test_a_quad_becomes_straight_sides() -> None:
    quad = np.array([[0, 0], [30, 0], [30, 9], [0, 9]], float)
    assert np.allclose(polygon_to_bezier(quad), STRAIGHT)
    assert np.allclose(polygon_to_bezier(sample_sides(STRAIGHT, 6)), STRAIGHT)


def test_an_odd_polygon_has_the_extra_point_on_top() -> None:
    points = np.array([[0, 0], [5, -2], [10, 0], [10, 5], [0, 5]], float)
    control = polygon_to_bezier(points).reshape(2, 4, 2)
    assert control[0][3].tolist() == [10, 0] and control[1][0].tolist() == [10, 5]


@pytest.mark.parametrize("points", [np.zeros((3, 2)), np.zeros((0, 2))])
def test_too_few_points(points: np.ndarray) -> None:
    with pytest.raises(ValueError, match="at least 4 points"):
        polygon_to_bezier(points)
    with pytest.raises(ValueError, match="at least 2 points"):
        fit_bezier(points[:1])
