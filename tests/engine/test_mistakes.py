"""What the page of a scoring run shows of one image."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fasttcm.drawing import DONT_CARE, MATCHED, UNMATCHED, WRONG_TEXT
from fasttcm.engine.chart import Line, unit_chart
from fasttcm.engine.mistakes import MISSED, count_mistakes, draw_image, find_picture
from fasttcm.evaluation import score


def box(x, y):
    return [[x, y], [x + 100, y], [x + 100, y + 40], [x, y + 40]]


TRUTH = {
    "id": 1,
    "width": 800,
    "height": 600,
    "words": [
        {"points": box(50, 50), "text": "right"},
        {"points": box(350, 50), "text": "wanted"},
        {"points": box(50, 350), "text": "missing"},
        {"points": box(350, 350), "text": "###"},
    ],
}
FOUND = {
    "id": 1,
    "words": [
        {"points": box(50, 50), "text": "right", "score": 0.9},
        {"points": box(350, 50), "text": "read", "score": 0.9},
        {"points": box(600, 500), "text": "ghost", "score": 0.9},
        {"points": box(350, 350), "text": "swallowed", "score": 0.9},
        {"points": box(50, 500), "text": "shy", "score": 0.1},
    ],
}


def mistakes_of(protocol="custom", confidence=0.5):
    result = score({"images": [TRUTH]}, {"images": [FOUND]}, protocol=protocol, confidence=confidence)
    return count_mistakes(result.images["1"], TRUTH, FOUND)


def test_words_are_sorted_by_what_became_of_them():
    found = mistakes_of()
    assert [text for _, text in found.matched] == ["right"]
    assert [(wanted, read) for _, wanted, read in found.misread] == [("wanted", "read")]
    assert [text for _, text in found.missed] == ["missing"]
    assert [text for _, text in found.false_alarms] == ["ghost"]
    assert len(found.dont_care) == 2 and found.total == 3
    assert found.headline("1") == "1: 1 missed, 1 false alarm, 1 misread"
    assert found.lines()[-1] == "left out, low score: “shy”"


def test_a_protocol_of_places_knows_no_misread_words():
    found = mistakes_of("db")
    assert len(found.matched) == 2 and not found.misread and len(found.missed) == len(found.false_alarms) == 1


def test_every_kind_is_drawn_in_its_colour_on_a_sheet_of_the_size_of_the_image():
    picture = draw_image("1", mistakes_of(), TRUTH, None, []).image
    assert picture.shape == (720, 960, 3)
    scale = 960 / 800
    for (x, y), color in (
        ((150, 70), MATCHED),
        ((450, 70), WRONG_TEXT),
        ((150, 370), MISSED),
        ((700, 520), UNMATCHED),
        ((450, 370), DONT_CARE),
    ):
        column, row = round(x * scale), round(y * scale)
        nearby = picture[row - 4 : row + 5, column - 4 : column + 5].reshape(-1, 3).astype(int)
        assert np.abs(nearby - color).sum(axis=1).min() < 40, color


def test_a_sheet_of_unknown_size_holds_every_word_and_a_huge_one_is_shrunk():
    entry = {"id": 1, "words": []}
    found = mistakes_of()
    assert draw_image("1", found, entry, None, []).image.shape[1] == 960
    huge = {"id": 1, "width": 10**8, "height": 10**7}
    assert draw_image("1", found, huge, None, []).image.shape == (96, 960, 3)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"id": 1, "file_name": "sub/a.png"}, "sub/a.png"),
        ({"id": 1, "file_name": "train/b.png"}, "b.png"),
        ({"id": 7}, "img_7.jpg"),
        ({"id": "0000007"}, "img_7.jpg"),
        ({"id": 1, "file_name": "../secret.png"}, None),
        ({"id": "../secret"}, None),
        ({"id": 1, "file_name": "nul\0.png"}, None),
        ({"id": 1, "file_name": "link.png"}, None),
    ],
)
def test_pictures_are_found_inside_the_folder_only(entry, expected, tmp_path: Path):
    folder = tmp_path / "pictures"
    (folder / "sub").mkdir(parents=True)
    for name in ("sub/a.png", "b.png", "img_7.jpg", "../secret.png"):
        Image.new("RGB", (4, 4)).save(folder / name)
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    found = find_picture(folder, entry)
    assert found == (None if expected is None else folder / expected)


def test_the_picture_itself_is_drawn_on(tmp_path: Path):
    Image.new("RGB", (800, 600), (1, 2, 250)).save(tmp_path / "1.png")
    problems: list[str] = []
    picture = draw_image("1", mistakes_of(), TRUTH, tmp_path, problems).image
    assert problems == [] and np.abs(picture[5, 5].astype(int) - (1, 2, 250)).max() < 4


def test_a_chart_places_its_points():
    chart = unit_chart("a < b", [Line("one", "#123456", [(0, 0), (1, 1)])], x_label="x", y_label="y")
    assert "a &lt; b" in chart and 'points="52.0,314.0 504.0,40.0"' in chart and "http" not in chart
