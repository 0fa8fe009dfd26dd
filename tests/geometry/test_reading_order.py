import numpy as np
import pytest
from curved_words import ribbon
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttcm.geometry import order_text_polygon, polygon_area, split_sides

LINE = np.array([[0, 0], [30, 0], [30, 9], [0, 9]], float)


@st.composite
def words(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """A word of the kind the rule is for, and the number of points on its top side."""
    top = draw(st.integers(2, 9))
    bottom = draw(st.sampled_from([top, top, max(2, top - 1)]))
    aspect = draw(st.floats(2.5, 12))
    # No more than 35 degrees from one point to the next, no tighter than the letters allow, no full circle.
    most = 0.0 if min(top, bottom) < 3 else min(0.6 * (min(top, bottom) - 1), 1.2 * aspect, 4.5)
    bend = draw(st.floats(-most, most))
    slant = draw(st.floats(-0.25, 0.25)) if abs(bend) < 0.5 else 0.0
    tilt = draw(st.floats(-0.9, 0.9))
    return ribbon(aspect=aspect, bend=bend, tilt=tilt, top=top, bottom=bottom, slant=slant), top


@settings(deadline=None)
@given(words(), st.integers(0, 99), st.booleans())
def test_the_first_character_is_found_again(word: tuple[np.ndarray, int], shift: int, mirrored: bool) -> None:
    ring, _ = word
    given_ring = np.roll(ring, shift, axis=0)
    np.testing.assert_array_equal(order_text_polygon(given_ring[::-1] if mirrored else given_ring), ring)


@settings(deadline=None)
@given(words(), st.floats(0.1, 10), st.tuples(st.floats(-900, 900), st.floats(-900, 900)))
def test_size_and_place_make_no_difference(
    word: tuple[np.ndarray, int], scale: float, shift: tuple[float, float]
) -> None:
    moved = word[0] * scale + shift
    np.testing.assert_array_equal(order_text_polygon(np.roll(moved, 3, axis=0)), moved)


@settings(deadline=None)
@given(words())
def test_the_sides_are_told_apart(word: tuple[np.ndarray, int]) -> None:
    ring, top = word
    first, second = split_sides(ring)
    assert len(first) == top
    np.testing.assert_array_equal(np.concatenate([first, second]), ring)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=4, max_size=30), st.booleans())
def test_any_polygon_keeps_its_points_or_is_refused(points: list[tuple[float, float]], ordered: bool) -> None:
    ring = np.array(points)
    try:
        found = order_text_polygon(ring, ordered=ordered)
    except ValueError as error:
        assert "no area" in str(error)
        return
    assert sorted(map(tuple, found)) == sorted(map(tuple, ring)) and polygon_area(found) > 0
    assert not ordered or found[0].tolist() == ring[0].tolist()
    sides = split_sides(found)
    assert min(map(len, sides)) >= 2 and sum(map(len, sides)) == len(ring)


@pytest.mark.parametrize("start", range(4))
@pytest.mark.parametrize("step", [1, -1])
def test_a_line_is_read_from_the_left_from_every_corner(start: int, step: int) -> None:
    assert order_text_polygon(np.roll(LINE, start, axis=0)[::step]).tolist() == LINE.tolist()


def test_a_column_is_read_downwards_and_a_tall_letter_across() -> None:
    column = np.array([[0, 0], [10, 0], [10, 40], [0, 40]], float)
    assert order_text_polygon(column).tolist() == [[10, 0], [10, 40], [0, 40], [0, 0]]
    letter = np.array([[0, 14], [0, 0], [10, 0], [10, 14]], float)
    assert order_text_polygon(letter).tolist() == [[0, 0], [10, 0], [10, 14], [0, 14]]


def test_a_square_on_its_corner_reads_one_way_from_every_corner() -> None:
    diamond = np.array([[10, 0], [20, 10], [10, 20], [0, 10]], float)
    for start in range(4):
        assert order_text_polygon(np.roll(diamond, start, axis=0)).tolist() == diamond.tolist()


def test_a_seal_reads_clockwise_and_a_smile_from_its_left_end() -> None:
    seal = ribbon(aspect=16, bend=6.0, tilt=1.0, top=14, bottom=14)  # outer side first
    assert order_text_polygon(np.roll(seal[::-1], 5, axis=0)).tolist() == seal.tolist()
    smile = ribbon(aspect=10, bend=-3.0, tilt=0.0, top=9, bottom=9)  # inner side first
    assert order_text_polygon(np.roll(smile, 9, axis=0)).tolist() == smile.tolist()


def test_the_publishers_corner_wins() -> None:
    upside_down = np.roll(LINE, 2, axis=0)
    assert order_text_polygon(upside_down, ordered=True).tolist() == upside_down.tolist()
    counter_clockwise = LINE[[2, 1, 0, 3]]  # the same first corner, the other way round
    assert order_text_polygon(counter_clockwise, ordered=True).tolist() == upside_down.tolist()


def test_a_quadrilateral_that_crosses_itself_is_untangled() -> None:
    for tangled in (LINE[[0, 1, 3, 2]], LINE[[0, 2, 1, 3]]):
        assert order_text_polygon(tangled).tolist() == LINE.tolist()
        assert order_text_polygon(tangled, ordered=True)[0].tolist() == tangled[0].tolist()


def test_repeated_points_stay() -> None:
    doubled = LINE[[0, 0, 1, 1, 2, 3, 3]]
    found = order_text_polygon(np.roll(doubled, 4, axis=0))
    assert len(found) == 7 and found[0].tolist() == [0, 0] and found[-1].tolist() == [0, 9]


def test_an_end_is_found_where_the_sides_have_different_numbers_of_points() -> None:
    top = np.linspace([0, 0], [60, 0], 6)
    ring = np.concatenate([top, [[60, 10], [0, 10]]])
    assert order_text_polygon(np.roll(ring, 3, axis=0)).tolist() == ring.tolist()
    assert [len(side) for side in split_sides(ring)] == [6, 2]
    assert [len(side) for side in split_sides(LINE)] == [2, 2]


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (LINE[:3], "at least 4 points, got 3"),
        (np.zeros((0, 2)), "at least 4 points, got 0"),
        (np.linspace([0, 0], [9, 3], 5), "no area"),
        (np.zeros((6, 2)), "no area"),
        (np.where(LINE == 30, np.nan, LINE), "NaN or infinity"),
    ],
)
def test_what_is_no_polygon_is_refused(points: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        order_text_polygon(points)
    if len(points) < 4:
        with pytest.raises(ValueError, match="at least 4 points"):
            split_sides(points)
