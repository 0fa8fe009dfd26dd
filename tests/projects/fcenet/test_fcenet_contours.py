import numpy as np
import pytest

from fasttcm.projects.fcenet.center import center_quads, find_ends, resample_line, split_sides
from fasttcm.projects.fcenet.fourier import contour_points, fourier_coefficients, resample_ring

RECTANGLE = np.asarray([[10.0, 10.0], [50.0, 10.0], [50.0, 22.0], [10.0, 22.0]])


def arc(count: int = 7) -> np.ndarray:
    """A curved word: an upper arc left to right, a lower one back."""
    angles = np.linspace(np.pi, 2 * np.pi, count)
    ring = np.stack([np.cos(angles), np.sin(angles)], 1)
    return np.concatenate([60 * ring, 40 * ring[::-1]]) + 80


def test_resampling_spaces_points_evenly_on_every_edge():
    points = resample_ring(RECTANGLE, 104)
    assert len(points) == 40 - 1 + 12 - 1 + 40 - 1 + 12 - 1 or len(points) == 104  # an edge's count is rounded down
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert steps.max() < 1.1 and steps.min() > 0.9
    assert points[0].tolist() == [10, 10]


def test_a_circle_is_two_coefficients():
    t = 2 * np.pi * np.arange(40) / 40
    series = fourier_coefficients(np.stack([7 + 5 * np.cos(t), 3 + 5 * np.sin(t)], 1), 5)
    assert series.shape == (11,)
    np.testing.assert_allclose(series[5], 7 + 3j, atol=1e-6)
    np.testing.assert_allclose(np.abs(series[6]), 5, atol=0.02)
    assert np.abs(np.delete(series, [5, 6])).max() < 1e-6
    # It starts at the top, which in pixels is -y.
    np.testing.assert_allclose(np.angle(series[6]), -np.pi / 2, atol=0.1)


@pytest.mark.parametrize("polygon", [RECTANGLE, arc()], ids=["rectangle", "arc"])
def test_contours_follow_their_polygon_whichever_way_it_runs(polygon):
    from shapely.geometry import Polygon

    series = fourier_coefficients(polygon, 5)
    backwards = fourier_coefficients(polygon[::-1], 5)
    assert abs(series[6]) >= abs(series[4]) and abs(backwards[6]) >= abs(backwards[4])
    contour = contour_points(series[None], 50)[0]
    drawn, meant = Polygon(contour), Polygon(polygon)
    assert drawn.intersection(meant).area / drawn.union(meant).area > 0.85
    shifted = fourier_coefficients(polygon + np.asarray([3, -2]), 5)
    np.testing.assert_allclose(shifted - series, np.where(np.arange(11) == 5, 3 - 2j, 0), atol=1e-6)


def test_contours_are_the_inverse_transform():
    rng = np.random.default_rng(0)
    series = rng.normal(size=(2, 7)) + 1j * rng.normal(size=(2, 7))
    points = contour_points(series, 20)
    for n in (0, 3, 19):
        expected = sum(series[1, k + 3] * np.exp(2j * np.pi * k * n / 20) for k in range(-3, 4))
        np.testing.assert_allclose(points[1, n], [expected.real, expected.imag])
    assert contour_points(np.zeros((0, 7), complex), 20).shape == (0, 20, 2)


@pytest.mark.parametrize("polygon", [np.zeros((4, 2)), np.zeros((0, 2)), np.full((3, 2), 2.5)])
def test_rings_without_length_have_no_series(polygon):
    assert resample_ring(polygon).shape == (0, 2) and fourier_coefficients(polygon, 5).shape == (0,)


def test_ends_of_quadrilaterals():
    assert find_ends(RECTANGLE) == ((3, 0), (1, 2))
    upright = RECTANGLE[:, ::-1][[0, 3, 2, 1]]  # clockwise again, taller than wide
    assert find_ends(upright) == ((0, 1), (2, 3))
    nearly_square = RECTANGLE * [1, 4]  # not twice as high as wide: read across
    assert find_ends(nearly_square) == ((3, 0), (1, 2))


@pytest.mark.parametrize("count", [3, 5, 7, 10])
def test_ends_of_curved_words(count):
    head, tail = find_ends(arc(count))
    assert {head, tail} == {(count - 1, count), (2 * count - 1, 0)}


def test_ends_of_an_odd_number_of_points():
    five = np.asarray([[0.0, 0], [20, -3], [40, 0], [40, 10], [0, 10]])
    assert set(find_ends(five)) == {(2, 3), (4, 0)}


def test_the_upper_side_comes_first():
    top, bottom = split_sides(RECTANGLE)
    assert top.tolist() == [[10, 10], [50, 10]] and bottom.tolist() == [[50, 22], [10, 22]]
    top, bottom = split_sides(np.roll(RECTANGLE, 2, axis=0))
    assert top[:, 1].max() == 10 and bottom[:, 1].min() == 22


def test_lines_are_resampled_along_their_length():
    line = resample_line(np.asarray([[0.0, 0], [3, 0], [3, 3]]), 4)
    np.testing.assert_allclose(line, [[0, 0], [2, 0], [3, 1], [3, 3]])
    np.testing.assert_allclose(resample_line(np.ones((2, 2)), 3), np.ones((3, 2)))


def test_the_centre_band_lies_in_the_middle_and_stops_before_the_ends():
    quads = center_quads(RECTANGLE, step=4.0, shrink=0.3)
    assert quads.shape[1:] == (4, 2) and quads.dtype == np.int32
    # 11 points of 4 pixels; the ends are 12 wide, so int(12 / 4 / 4) = 0 points are dropped
    assert len(quads) == 10 and quads[..., 1].min() == 14 and quads[..., 1].max() == 17
    wide = center_quads(RECTANGLE * 4, step=4.0, shrink=0.3)
    assert wide[..., 0].min() > 40 and wide[..., 0].max() < 200


@pytest.mark.parametrize(
    "polygon", [np.zeros((4, 2)), np.asarray([[0.0, 0], [0.1, 0], [0.1, 0.1], [0, 0.1]]), np.ones((6, 2))]
)
def test_tiny_polygons_have_a_centre_band(polygon):
    assert np.isfinite(center_quads(polygon, step=4.0, shrink=0.3)).all()
