import math

import numpy as np
import pytest

from fasttcm.geometry.kernels import draw_kernels, effective_mask, fill_polygon, kernel_distance, offset_polygon

BOX = np.array([[10, 10], [90, 10], [90, 40], [10, 40]], np.float32)


def test_a_box_moves_inwards_by_area_over_perimeter() -> None:
    assert kernel_distance(BOX, 0.4) == int(80 * 30 * (1 - 0.16) / (220 + 0.001) + 0.5) == 9
    drawn, vanished = draw_kernels([BOX], (64, 100), 0.4)
    rows, columns = np.nonzero(drawn)
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == (19, 19, 81, 31)
    assert (drawn.max(), drawn.dtype, vanished) == (1, np.int32, [])
    assert (draw_kernels([BOX], (64, 100), 0.4, max_shrink=2)[0] > 0).sum() == (76 + 1) * (26 + 1)
    assert (draw_kernels([BOX], (64, 100), 1.0)[0] > 0).sum() == 81 * 31


def test_direction_of_travel_does_not_matter() -> None:
    np.testing.assert_array_equal(draw_kernels([BOX], (64, 100), 0.4)[0], draw_kernels([BOX[::-1]], (64, 100), 0.4)[0])


def test_later_texts_lie_on_top_and_keep_their_numbers() -> None:
    tiny = np.array([[1, 1], [21, 1], [21, 3], [1, 3]], np.float32)
    drawn, vanished = draw_kernels([BOX, tiny, BOX + np.float32([0, 5])], (64, 100), 1.0)
    assert vanished == [] and set(np.unique(drawn)) == {0, 1, 2, 3} and drawn[20, 50] == 3 and drawn[12, 50] == 1
    drawn, vanished = draw_kernels([BOX, tiny, BOX + np.float32([0, 5])], (64, 100), 0.4)
    assert vanished == [1] and set(np.unique(drawn)) == {0, 1, 3}


@pytest.mark.parametrize(
    "polygon",
    [BOX[:2], BOX[:0], BOX * np.nan, np.full((4, 2), np.inf), BOX[[0, 0, 0, 0]], BOX[[0, 1, 0, 1]]],
    ids=["two points", "no points", "nan", "infinite", "one place", "a line"],
)
def test_what_is_no_polygon_vanishes(polygon: np.ndarray) -> None:
    drawn, vanished = draw_kernels([polygon, BOX], (64, 100), 0.4)
    assert vanished == [0] and set(np.unique(drawn)) == {0, 2}
    assert offset_polygon(polygon, -1.0) == []


def test_a_polygon_that_splits_is_drawn_by_one_part() -> None:
    upper = [[0, 0], [40, 0], [40, 18], [60, 18], [60, 0], [100, 0]]
    dumbbell = np.array(upper + [[x, 40 - y] for x, y in reversed(upper)], np.float32)
    assert len(offset_polygon(dumbbell, -4)) == 2
    drawn, vanished = draw_kernels([dumbbell], (60, 120), 0.8)
    halves = (drawn[:, :50] > 0).any(), (drawn[:, 50:] > 0).any()
    assert vanished == [] and sum(halves) == 1


def test_coordinates_far_outside_do_no_harm() -> None:
    drawn, _ = draw_kernels([np.array([[-1e12, -1e12], [1e12, -1e12], [1e12, 1e12], [-1e12, 1e12]])], (8, 8), 1.0)
    assert drawn.all()
    assert offset_polygon(BOX, math.nan) == []


def test_mask_is_zero_inside_ignored_polygons() -> None:
    mask = effective_mask([BOX, BOX[:2]], (64, 100))
    assert mask.dtype == np.uint8 and (mask == 0).sum() == 81 * 31
    assert effective_mask([], (3, 4)).all()
    canvas = np.zeros((64, 100), np.uint8)
    fill_polygon(canvas, BOX.astype(np.int64), 7)
    assert (canvas == 7).sum() == 81 * 31
