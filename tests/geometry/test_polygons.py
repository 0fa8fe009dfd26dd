import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttcm.geometry import (
    clip_polygon_to_image,
    is_simple,
    polygon_area,
    polygon_box,
    polygon_perimeter,
    rasterize_polygons,
    shrink_polygon,
)

SQUARE = np.array([[2, 1], [12, 1], [12, 11], [2, 11]], float)
BOW_TIE = np.array([[0, 0], [10, 10], [10, 0], [0, 10]], float)
points = st.lists(st.tuples(st.floats(-99, 99), st.floats(-99, 99)), min_size=3, max_size=8).map(np.array)


def test_square_by_hand() -> None:
    assert polygon_area(SQUARE) == 100 and polygon_area(SQUARE[::-1]) == -100
    assert polygon_perimeter(SQUARE) == 40
    assert polygon_box(SQUARE).tolist() == [2, 1, 12, 11]


@given(points, st.integers(0, 7), st.floats(-50, 50), st.floats(-50, 50))
def test_area_and_perimeter_do_not_depend_on_start_place_or_position(
    polygon: np.ndarray, start: int, dx: float, dy: float
) -> None:
    moved = np.roll(polygon, start, axis=0) + np.array([dx, dy])
    assert polygon_area(moved) == pytest.approx(polygon_area(polygon), abs=1e-6)
    assert polygon_area(polygon[::-1]) == pytest.approx(-polygon_area(polygon), abs=1e-6)
    assert polygon_perimeter(moved) == pytest.approx(polygon_perimeter(polygon), abs=1e-6)


@pytest.mark.parametrize(
    ("polygon", "expected"),
    [
        (SQUARE, True),
        (BOW_TIE, False),
        (SQUARE[:2], False),
        (np.array([[0, 0], [5, 5], [9, 9]]), False),
        (np.array([[0, 0], [np.nan, 5], [9, 0]]), False),
    ],
)
def test_simple_polygons(polygon: np.ndarray, expected: bool) -> None:
    assert is_simple(polygon) is expected


def test_empty_polygon_has_no_area() -> None:
    assert polygon_area(np.zeros((0, 2))) == 0


def test_clipping_keeps_what_lies_inside_and_the_direction() -> None:
    assert clip_polygon_to_image(SQUARE, 20, 20) is not None
    assert np.array_equal(clip_polygon_to_image(SQUARE, 20, 20), SQUARE)
    half = clip_polygon_to_image(SQUARE, 20, 7)
    assert polygon_area(half) == pytest.approx(50) and polygon_box(half).tolist() == [2, 1, 7, 11]
    assert polygon_area(clip_polygon_to_image(SQUARE[::-1], 20, 7)) == pytest.approx(-50)
    assert clip_polygon_to_image(SQUARE + 100, 20, 20) is None
    assert clip_polygon_to_image(SQUARE - [12, 0], 20, 20) is None  # touches the border from outside


def test_shrinking_by_the_papers_offset() -> None:
    square = np.array([[0, 0], [100, 0], [100, 100], [0, 100]], float)
    (ring,) = shrink_polygon(square, 0.4)  # offset = int(10000 * 0.84 / 400.001 + 0.5) = 21
    assert polygon_box(ring).tolist() == [21, 21, 79, 79]
    (same,) = shrink_polygon(square, 1.0)
    assert abs(polygon_area(same)) == 10000
    assert shrink_polygon(square[:2], 0.5) == []
    assert shrink_polygon(np.array([[0, 0], [50, 0], [50, 2], [0, 2]], float), 0.1) == []  # nothing is left


def test_raster_counts_pixels_and_skips_fragments() -> None:
    canvas = rasterize_polygons([SQUARE, SQUARE[:2]], 20, 20)
    assert canvas.dtype == np.uint8 and canvas.sum() == 11 * 11 and set(np.unique(canvas)) == {0, 1}
    assert canvas[1:12, 2:13].all()
    assert rasterize_polygons([], 3, 4).shape == (3, 4)
