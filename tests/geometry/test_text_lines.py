import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttcm.geometry import text_lines


@pytest.mark.parametrize(
    ("boxes", "lines"),
    [
        ([], []),
        ([[5, 5, 9, 9]], [[0]]),
        # two lines of two words, given the wrong way round
        ([[60, 30, 90, 40], [0, 31, 50, 41], [40, 0, 90, 10], [0, 1, 30, 11]], [[3, 2], [1, 0]]),
        # a line that climbs by half a word's height at every word is one line
        ([[40 * i, 50 - 5 * i, 40 * i + 35, 60 - 5 * i] for i in range(5)], [[0, 1, 2, 3, 4]]),
        # two signs at one height, 21 pixels apart where 20 are allowed; and 20
        ([[0, 0, 30, 10], [51, 0, 80, 10]], [[0], [1]]),
        ([[0, 0, 30, 10], [50, 0, 80, 10]], [[0, 1]]),
        # small print beside a large word
        ([[0, 0, 60, 60], [65, 5, 90, 15], [65, 25, 90, 35], [65, 45, 90, 55]], [[0], [1], [2], [3]]),
        # two signs side by side, two lines each, the right one a little lower
        ([[0, 0, 40, 10], [0, 15, 30, 25], [90, 4, 140, 14], [90, 19, 120, 29]], [[0], [1], [2], [3]]),
        # lines 10 pixels apart, as high as the words, are a block; 11 pixels are too many
        ([[0, 0, 40, 10], [90, 4, 140, 14], [0, 20, 30, 30]], [[0], [2], [1]]),
        ([[0, 0, 40, 10], [90, 4, 140, 14], [0, 21, 30, 31]], [[0], [1], [2]]),
        # half of the taller word's height is enough, less is not
        ([[0, 0, 30, 10], [35, 5, 60, 15]], [[0, 1]]),
        ([[0, 0, 30, 10], [35, 6, 60, 16]], [[0], [1]]),
    ],
)
def test_lines_by_hand(boxes: list[list[float]], lines: list[list[int]]) -> None:
    assert text_lines(boxes) == lines


@given(st.lists(st.tuples(*[st.floats(0, 99)] * 4), max_size=12))
def test_every_word_once_whatever_the_boxes(boxes: list[tuple[float, ...]]) -> None:
    corners = np.asarray(boxes, float).reshape(-1, 4)
    corners = np.hstack([np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])])
    lines = text_lines(corners)
    assert sorted(i for line in lines for i in line) == list(range(len(corners)))
    for line in lines:
        assert np.all(np.diff(corners[line, 0]) >= 0)
