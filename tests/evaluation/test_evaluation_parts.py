import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein
from rich.console import Console

from fasttcm.errors import DataError
from fasttcm.evaluation import PROTOCOLS, Lexicon, results_markdown, results_table, score
from fasttcm.evaluation.matching import match_greedily
from fasttcm.evaluation.polygons import Regions, coverage, intersection_areas, iou_matrix, valid_outlines
from fasttcm.evaluation.text_rules import in_dictionary, is_right, normalize_word

SQUARE = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], float)
RIGHT = np.array([1.0, 0.0])
BOW_TIE = np.array([[0, 0], [10, 10], [10, 0], [0, 10]], float)


def test_overlaps_of_squares_by_hand():
    first = Regions.of([SQUARE, SQUARE + 100])
    second = Regions.of([SQUARE + RIGHT * 5, SQUARE[::-1], SQUARE + RIGHT * 10])
    common = intersection_areas(first, second)
    assert common.tolist() == [[50, 100, 0], [0, 0, 0]]
    assert iou_matrix(first, second).tolist() == [[50 / 150, 1, 0], [0, 0, 0]]
    assert coverage(common, second.areas).tolist() == [[0.5, 1, 0], [0, 0, 0]]


def test_polygons_of_many_images_are_prepared_like_those_of_one():
    groups = [[SQUARE + i, BOW_TIE * (i + 1)][: i % 3] for i in range(200)]
    for repaired in (False, True):
        prepared = list(Regions.of_groups(groups, repaired_areas=repaired))
        assert [len(regions) for regions in prepared] == [len(group) for group in groups]
        for group, regions in zip(groups, prepared, strict=True):
            alone = Regions.of(group, repaired_areas=repaired)
            assert regions.areas.tolist() == alone.areas.tolist()
            np.testing.assert_array_equal(regions.bounds, alone.bounds)
    assert list(Regions.of_groups([])) == []


def test_a_bow_tie_has_no_shoelace_area_but_an_even_odd_one():
    published, repaired = Regions.of([BOW_TIE]), Regions.of([BOW_TIE], repaired_areas=True)
    assert (published.areas[0], repaired.areas[0]) == (0, 50)
    square = Regions.of([SQUARE])
    assert intersection_areas(square, published)[0, 0] == 50
    assert iou_matrix(square, published)[0, 0] == 1.0  # 50 / (100 + 0 - 50), as published
    assert iou_matrix(square, repaired)[0, 0] == 0.5


def test_coordinates_are_float32():
    shifted = SQUARE * 0.1
    assert Regions.of([shifted]).areas[0] == float(np.float32(1.0)) ** 2
    assert Regions.of([SQUARE * 0.3]).areas[0] == float(np.float32(3.0)) ** 2


def test_degenerate_outlines_are_empty():
    regions = Regions.of([np.zeros((0, 2)), SQUARE[:2], SQUARE[[0, 1, 1, 0]], SQUARE])
    assert regions.areas.tolist() == [0, 0, 0, 100]
    assert intersection_areas(regions, regions).tolist()[:3] == [[0] * 4] * 3
    assert np.isfinite(iou_matrix(regions, regions)).all()
    assert valid_outlines([SQUARE[:2], SQUARE[[0, 1, 1, 0]], BOW_TIE, SQUARE]).tolist() == [False, False, False, True]
    assert iou_matrix(Regions.of([]), regions).shape == (0, 4)
    assert valid_outlines([]).shape == (0,)


coordinate = st.integers(0, 30)
outline = st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=7).map(lambda p: np.array(p, float))


@settings(max_examples=80, deadline=None)
@given(outline, outline)
def test_repaired_overlaps_stay_within_bounds(a, b):
    first, second = Regions.of([a], repaired_areas=True), Regions.of([b], repaired_areas=True)
    common = intersection_areas(first, second)[0, 0]
    assert -1e-9 <= common <= min(first.areas[0], second.areas[0]) + 1e-9
    iou = iou_matrix(first, second)[0, 0]
    assert 0 <= iou <= 1 + 1e-12
    assert iou == pytest.approx(iou_matrix(second, first)[0, 0], abs=1e-12)
    itself = iou_matrix(first, first)[0, 0]
    assert itself == pytest.approx(1 if first.areas[0] > 0 else 0, abs=1e-12)


def test_matching_takes_the_first_that_passes():
    iou = np.array([[0.6, 0.9], [0.7, 0.5]])
    free = np.zeros(2, bool)
    matching = match_greedily(iou, np.zeros((2, 2)), free, iou_threshold=0.5, dont_care_overlap=0.5)
    assert matching.pairs == [(0, 0)]
    assert (matching.misses, matching.false_alarms) == ([1], [1])


def test_matching_leaves_out_what_nobody_has_to_find():
    iou = np.array([[0.9, 0.0], [0.0, 0.9]])
    covered = np.array([[1.0, 0.5], [0.0, 1.0]])
    matching = match_greedily(iou, covered, np.array([True, False]), iou_threshold=0.5, dont_care_overlap=0.5)
    assert matching.pairs == [(1, 1)]
    assert matching.det_dont_care.tolist() == [True, False]
    assert matching.misses == matching.false_alarms == []


@pytest.mark.parametrize(
    ("text", "word", "asked"),
    [
        ("McDonald's", "McDonald", True),
        ("-OPEN-", "OPEN", True),
        ("(SALE)", "SALE", True),
        ("don't", "don t", False),
        ("e-mail", "e-mail", True),
        ("ab.", "ab", False),
        ("1984", "1984", False),
        ("naïve", "naïve", True),
        ("X×Yz", "X×Yz", False),
        ("中文字", "中文字", False),
        ("", "", False),
        ("'s", "", False),
    ],
)
def test_word_spotting_rules(text, word, asked):
    assert normalize_word(text) == word
    assert in_dictionary(text, 3) is asked


@pytest.mark.parametrize(
    ("reference", "read", "right"),
    [
        ("sale", "SALE", True),
        ("(sale)", "sale", True),
        ("(sale)", "(sale", True),
        ("sale!!", "sale", False),
        ("sale", "sale!", False),
        ("straße", "STRASSE", True),
        ("-sale", "sale", False),
        ("!", "", True),
        ("", "", True),
        ("", "a", False),
    ],
)
def test_comparison_without_word_spotting(reference, read, right):
    assert is_right(reference, read, PROTOCOLS["ctw1500"]) is right


def test_word_spotting_compares_the_reading_as_it_is():
    assert is_right("sale", "SALE", PROTOCOLS["totaltext"])
    assert not is_right("sale", "SALE!", PROTOCOLS["totaltext"])


def slow_match(words, text):
    distances = [Levenshtein.distance(text.upper(), word.upper()) for word in words]
    best = min(distances, default=9)
    return words[distances.index(best)] if best < 1.5 else None


def test_lexicon_agrees_with_the_full_search():
    draw = random.Random(3)
    texts = ["".join(draw.choices("aBß", k=draw.randint(0, 5))) for _ in range(400)]
    words, queries = texts[:60], texts[60:]
    lexicon = Lexicon(words)
    expected = [slow_match(words, text) for text in queries]
    assert [lexicon.match(text) for text in queries] == expected
    assert 0 < sum(word is None for word in expected) < len(expected)


def test_lexicon_prefers_the_exact_entry_then_list_order():
    lexicon = Lexicon(["cart", "bat", "cat", "CAT", "car"])
    assert lexicon.match("cat") == "cat"
    assert lexicon.match("cax") == "cat"
    assert lexicon.match("carx") == "cart"
    assert lexicon.match("act") is None
    assert Lexicon([]).match("a") is None


def test_lexicon_files(tmp_path):
    words, pairs = tmp_path / "words.txt", tmp_path / "pairs.txt"
    words.write_text("\ufeffLEVIS\r\n\r\n50%\r\n", encoding="utf-8")
    pairs.write_text("levis Levi's\n50% 50 %\nLEVIS LEVI'S\n", encoding="utf-8")
    lexicon = Lexicon.from_files(words, pairs)
    assert (lexicon.match("levi"), lexicon.match("50%"), len(lexicon)) == ("LEVI'S", "50 %", 2)
    assert Lexicon.from_files(words).match("levi") == "LEVIS"
    pairs.write_text("levis Levi's\n", encoding="utf-8")
    with pytest.raises(
        DataError, match=r"words\.txt: 1 of 2 entries have no line in the pair list, the first is '50%'"
    ):
        Lexicon.from_files(words, pairs)
    with pytest.raises(DataError, match=r"absent\.txt: cannot be read"):
        Lexicon.from_files(tmp_path / "absent.txt")
    words.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="UTF-8"):
        Lexicon.from_files(words)


def test_tables_show_per_cent_and_counts():
    word = {"points": SQUARE.tolist(), "text": "abc"}
    result = score({"images": [{"id": 1, "words": [word] * 3}]}, {"images": [{"id": 1, "words": [word]}]})
    markdown = results_markdown({"a|b": result})
    assert "| a\\|b | detection | 100.00 | 33.33 | 50.00 | 1 | 3 | 1 |\n" in markdown
    assert [line.count(" | ") for line in markdown.replace("\\|", "").splitlines()] == [7] * 4
    console = Console(width=120)
    with console.capture() as capture:
        console.print(results_table({"None": result}, title="Total-Text"))
    shown = capture.get()
    assert "Total-Text" in shown and "end-to-end" in shown and "33.33" in shown
