import json
import unicodedata
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import golden_root

from fasttcm.errors import ConfigError, DataError
from fasttcm.evaluation.recognition import (
    BENCHMARKS,
    CHARSETS,
    MAX_LABEL_LENGTH,
    RecognitionFigures,
    adapt,
    clean_label,
    combine,
    count_ocr,
    score_recognition,
)


def golden_words():
    return json.loads((golden_root() / "evaluation" / "str.golden.json").read_text(encoding="utf-8"))


def short_enough(label):
    joined = "".join(c for c in label if not c.isspace())
    return sum(c.isascii() for c in unicodedata.normalize("NFKD", joined)) <= MAX_LABEL_LENGTH


@pytest.mark.golden
@pytest.mark.parametrize("charset", CHARSETS)
def test_evaluation_parseq_figures(charset):
    words = golden_words()
    if charset not in words["parseq"]:
        pytest.skip(f"no figures for {charset} characters")
    expected = words["parseq"][charset]
    result = score_recognition(words["pairs"], charset=charset)
    assert result.figures.samples == expected["samples"]
    for name in ("accuracy", "one_minus_ned", "label_length"):
        assert getattr(result.figures, name) == pytest.approx(float(expected[name]), abs=1e-12)
    compared = [pair for words_, pair in zip(words["pairs"], result.pairs, strict=True) if short_enough(words_[0])]
    assert [None if pair is None else list(pair) for pair in compared] == expected["adapted"]


@pytest.mark.golden
def test_evaluation_mmocr_word_figures():
    words = golden_words()
    counts = count_ocr(words["pairs"])
    assert asdict(counts) == pytest.approx(words["mmocr"]["counts"], abs=1e-12)
    assert counts.figures() == words["mmocr"]["eval_ocr_metric"]


def test_charsets_have_their_sizes_and_order():
    assert {name: len(characters) for name, characters in CHARSETS.items()} == {"36": 36, "62": 62, "94": 94}
    assert CHARSETS["94"].startswith(CHARSETS["62"]) and CHARSETS["94"].endswith("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


@pytest.mark.parametrize(
    ("label", "charset", "expected"),
    [
        ("It's", "36", "its"),
        ("It's", "62", "Its"),
        ("It's", "94", "It's"),
        ("two words", "36", "twowords"),
        ("naïve", "62", "naive"),
        ("ﬁx ①", "36", "fix1"),
        ("中文", "94", None),
        ("!!!", "36", None),
        ("a" * 25, "36", "a" * 25),
        ("a" * 26, "36", None),
        ("a" * 24 + "!!", "36", None),
    ],
)
def test_labels(label, charset, expected):
    assert clean_label(label, CHARSETS[charset]) == expected


def test_predictions_keep_their_accents_to_themselves():
    assert adapt("naïve Word", CHARSETS["36"]) == "naveword"
    assert adapt("Abc", "ABC") == "ABC"


def test_figures_worked_out_by_hand():
    pairs = [("Abcd", "abcd"), ("abcd", "abxd"), ("ab", ""), ("??", "x"), ("ab", "abcdefgh")]
    result = score_recognition(pairs, confidences=[1.0, 0.5, 0.25, 0.9, 0.25])
    assert result.pairs[3] is None and result.figures.samples == 4
    assert result.figures.accuracy == 25.0
    assert result.figures.one_minus_ned == pytest.approx(100 * (1 - (0 + 1 / 4 + 1 + 6 / 8) / 4))
    assert result.figures.label_length == 4.0
    assert result.figures.confidence == 50.0
    assert json.loads(json.dumps(result.figures.to_dict()))["accuracy"] == 25.0


def test_nothing_to_compare_gives_zero():
    assert score_recognition([]).figures == RecognitionFigures(0, 0.0, 0.0, 0.0)
    assert set(count_ocr([]).figures().values()) == {0.0, 1.0}


def test_combined_row_weighs_by_samples():
    rows = {name: RecognitionFigures(10, 50.0, 60.0, 4.0, 90.0) for name in BENCHMARKS["subset"]}
    rows["IIIT5k"] = RecognitionFigures(50, 100.0, 100.0, 8.0, 100.0)
    row = combine(rows, BENCHMARKS["subset"])
    assert (row.samples, row.accuracy, row.one_minus_ned, row.label_length) == (100, 75.0, 80.0, 6.0)
    assert row.confidence == 95.0
    rows["SVT"] = RecognitionFigures(10, 50.0, 60.0, 4.0)
    assert combine(rows).confidence is None
    with pytest.raises(ConfigError, match=r"no figures for ArT, COCOv1\.4, Uber; present: IIIT5k"):
        combine(rows, BENCHMARKS["new"])
    assert combine({}).samples == 0


def test_mmocr_keeps_the_caret_and_chinese():
    counts = count_ocr([("a^b", "ab"), ("中-文", "中文")])
    assert (counts.match_word_num, counts.match_word_ignore_case_symbol) == (0, 1)
    assert (counts.gt_char_num, counts.pred_char_num, counts.true_positive_char_num) == (5, 4, 4)
    assert counts.figures()["1-N.E.D"] == pytest.approx(1 - (1 / 3) / 2, abs=5e-5)


def test_bad_words_are_named():
    with pytest.raises(DataError, match="word 2: expected"):
        score_recognition([("a", "a"), ("a", None)])
    with pytest.raises(DataError, match="1 words need as many confidences, got 2"):
        score_recognition([("a", "a")], confidences=[1.0, 1.0])
    with pytest.raises(ConfigError, match="charset '37'"):
        score_recognition([], charset="37")
    with pytest.raises(ConfigError, match="charset 'aba'"):
        score_recognition([], charset="aba")


@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), max_size=8), st.sampled_from(sorted(CHARSETS)))
def test_figures_stay_within_bounds_and_ignore_order(pairs, charset):
    figures = score_recognition(pairs, charset=charset).figures
    assert 0 <= figures.accuracy <= figures.one_minus_ned + 1e-9 <= 100 + 1e-9
    backwards = score_recognition(pairs[::-1], charset=charset).figures
    assert backwards.samples == figures.samples and backwards.accuracy == figures.accuracy
    assert backwards.one_minus_ned == pytest.approx(figures.one_minus_ned)
    perfect = score_recognition([(label, clean_label(label, CHARSETS[charset]) or "") for label, _ in pairs])
    assert perfect.figures.samples == 0 or charset != "36" or perfect.figures.accuracy == 100
