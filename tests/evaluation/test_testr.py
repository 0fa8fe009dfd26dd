import json
import random

import numpy as np
import pytest
from rapidfuzz.distance import Levenshtein
from reference import golden_root

from fasttcm.errors import ConfigError, DataError
from fasttcm.evaluation import Lexicon, score
from fasttcm.evaluation.edit_distance import LABELS, NUM_CLASSES, PrefixTree, read_char_scores, weighted_distance

LEXICON_OF = {1: "icdar2015_generic", 2: "icdar2015_weak", 3: "icdar2015_strong"}


def load(name):
    path = golden_root() / "evaluation" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"runs": []}


@pytest.fixture(scope="module")
def cases():
    return load("text.cases")


@pytest.fixture(scope="module")
def figures():
    return load("text.testr.golden")


def runs():
    return [
        pytest.param(run, id=f"evaluation-testr-{run['cases']}-{run['lexicon_type']}-{run['weighted']}-{number}")
        for number, run in enumerate(load("text.testr.golden")["runs"])
    ]


def rule_of(run):
    always = run["cases"] != "icdar2015" or run["lexicon_type"] == 1
    return "testr" + "_weighted" * run["weighted"] + "_nearest" * always


def make_lexicon(entry, rule):
    if "words" not in entry:
        return {key: make_lexicon(one, rule) for key, one in entry.items()}
    if "pairs" in entry:
        return Lexicon.from_pairs(entry["words"], entry["pairs"], rule=rule)
    return Lexicon(entry["words"], rule=rule)


def lexicon_of(cases, run):
    if run["lexicon_type"] is None:
        return None
    name = LEXICON_OF[run["lexicon_type"]] if run["cases"] == "icdar2015" else f"{run['cases']}_full"
    return make_lexicon(cases["lexicons"][name], rule_of(run))


def documents(cases, figures, run):
    """Ground truth and predictions; on ICDAR 2015 the texts are those that have scores, and quads run as in curves."""
    ground_truth, predictions = [], []
    for image in cases["datasets"][run["cases"]]["images"]:
        wanted, found = image["gt"], image["pred"]
        if run["cases"] == "icdar2015":
            wanted = [{**word, "points": word["points"][::-1]} for word in wanted]
            rows = [figures["score_rows"][f"{image['id']}/{i}"] for i in range(len(found))]
            found = [
                {**word, "text": row["text"], "char_scores": {"rest": figures["score_rest"], "rows": row["rows"]}}
                for word, row in zip(found, rows, strict=True)
            ]
        ground_truth.append({"id": image["id"], "words": wanted})
        predictions.append({"id": image["id"], "words": found})
    return {"images": ground_truth}, {"images": predictions}


@pytest.mark.golden
@pytest.mark.parametrize("run", runs())
def test_evaluation_testr_figures(cases, figures, run):
    result = score(
        *documents(cases, figures, run),
        protocol=run["cases"],
        flavour="testr",
        lexicon=lexicon_of(cases, run),
        confidence=run["confidence"],
    )
    for name in ("precision", "recall", "hmean"):
        assert getattr(result.detection, name) == pytest.approx(float(run["figures"]["det"][name]), abs=1e-12)
        assert getattr(result.end_to_end, name) == pytest.approx(float(run["figures"]["e2e"][name]), abs=1e-12)


@pytest.mark.golden
@pytest.mark.parametrize("run", runs())
def test_evaluation_testr_words(cases, figures, run):
    lexicon = lexicon_of(cases, run)
    for image in documents(cases, figures, run)[1]["images"]:
        chosen = []
        for word in image["words"]:
            scores = read_char_scores(word["char_scores"], "word") if "char_scores" in word else None
            one = lexicon[str(image["id"])] if isinstance(lexicon, dict) else lexicon
            chosen.append(one.match(word["text"], char_scores=scores) if one else word["text"])
        assert chosen == run["words"].get(str(image["id"]), [])


@pytest.mark.golden
def test_evaluation_testr_weighted_distances(figures):
    for text, entry, rows, distance in figures["weighted_distances"]:
        scores = read_char_scores({"rest": figures["score_rest"], "rows": rows}, "word")
        assert weighted_distance(text, entry, scores) == distance, (text, entry)


def slow_distance(text, entry, scores):
    """The definition, cell by cell."""

    def s(p, c):
        return max(scores[p, LABELS.index(c.upper())], scores[p, LABELS.index(c.lower())])

    m, n = len(text), len(entry)
    table = np.zeros((n + 1, m + 1), np.float32)
    table[0], table[:, 0] = np.arange(m + 1), np.arange(n + 1)
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            own = s(j - 1, text[j - 1])
            between = float(own + s(j, text[j])) / 2 if j < m else float(own)
            same = text[j - 1] == entry[i - 1]
            replacement = 0.0 if same else max(1 - 5 * float(s(j - 1, entry[i - 1]) / own), 0.0)
            table[i, j] = min(
                float(table[i - 1, j]) + between,
                float(table[i, j - 1]) + float(own),
                float(table[i - 1, j - 1]) + replacement,
            )
    return table[n, m]


def drawn_scores(source, rows=25):
    return np.array(source.uniform(0.0005, 0.3, (rows, NUM_CLASSES)), np.float32)


def drawn_words(source, count):
    return ["".join(source.choice(list("ABC1'"), source.integers(1, 7))) for _ in range(count)]


@pytest.mark.parametrize("limit", [0.3, 2.5, 100.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_tree_finds_what_a_search_through_the_list_finds(seed, limit):
    source = np.random.default_rng(seed)
    entries = [*drawn_words(source, 60), ""]
    tree = PrefixTree(entries)
    for text in ["", *drawn_words(source, 8)]:
        scores = drawn_scores(source)
        distances = [slow_distance(text, entry, scores) for entry in entries]
        nearest = int(np.argmin(distances))
        expected = (nearest, float(distances[nearest])) if distances[nearest] < limit else None
        assert tree.nearest(text, scores, limit=limit) == expected


def test_equal_distances_give_the_first_in_list_order():
    flat = np.full((25, NUM_CLASSES), 0.2, np.float32)  # every replacement is free
    assert PrefixTree(["ABCD", "XYZ", "BCD", "XYZ"]).nearest("CAT", flat, limit=2.5) == (1, 0.0)
    assert Lexicon(["bcd", "xyz"], rule="testr_weighted").match("Cat", char_scores=flat) == "bcd"


def test_characters_without_any_score_are_ordinary_replacements():
    nothing = np.zeros((25, NUM_CLASSES), np.float32)
    with np.errstate(all="raise"):
        assert weighted_distance("AB", "AC", nothing) == 0.0  # leaving out and adding cost nothing either
        assert weighted_distance("", "AC", nothing) == 2.0
    assert PrefixTree([]).nearest("AB", nothing, limit=9.0) is None


def test_dense_and_sparse_scores_are_the_same():
    dense = np.full((25, NUM_CLASSES), 0.01, np.float32)
    dense[0, LABELS.index("A")], dense[1, LABELS.index("口")] = 0.5, 0.25
    sparse = {"rest": 0.01, "rows": [[["A", 0.9], ["A", 0.5]], [["口", 0.25]]]}
    np.testing.assert_array_equal(read_char_scores(sparse, "word"), dense)
    np.testing.assert_array_equal(read_char_scores(dense.tolist(), "word"), dense)
    assert LABELS.index(" ") == 0
    assert LABELS.index("~") == 94


@pytest.mark.parametrize(
    "scores",
    [
        [[0.1] * 96],
        [0.1] * 97,
        [["a"] * 97],
        [[-0.1] * 97],
        [[float("nan")] * 97],
        {"rows": [[["A", 0.5]]]},
        {"rest": 0.1},
        {"rest": 0.1, "rows": [[["é", 0.5]]]},
        {"rest": 0.1, "rows": [["A", 0.5]]},
        {"rest": "much", "rows": []},
        "scores",
    ],
)
def test_bad_scores_are_named(scores):
    word = {"points": [[0, 0], [9, 0], [9, 9]], "text": "A", "char_scores": scores}
    document = {"images": [{"id": 5, "words": [word]}]}
    with pytest.raises(DataError, match=r"image 5, word 1: 'char_scores'"):
        score({"images": [{"id": 5, "words": []}]}, document)


def test_weighted_rules_need_scores_of_every_character():
    lexicon = Lexicon(["word"], rule="testr_weighted")
    scores = np.full((3, NUM_CLASSES), 0.1, np.float32)
    with pytest.raises(DataError, match="char_scores"):
        lexicon.match("word")
    with pytest.raises(DataError, match="4 characters but 'char_scores' only 3 rows"):
        lexicon.match("word", char_scores=scores)
    with pytest.raises(DataError, match="'É'"):
        lexicon.match("é", char_scores=scores)
    with pytest.raises(DataError, match=r"lexicon entry 2: .*'É'"):
        Lexicon(["word", "café"], rule="testr_weighted").match("wo", char_scores=scores)
    with pytest.raises(ConfigError, match="testr_nearest"):
        Lexicon(["word"], rule="nearest")


def test_rules_differ_in_how_far_a_word_may_be():
    words = ["alpha", "ALPHABET", "beta"]
    expected = {  # by the distance of the nearest entry: 1, 2, 4
        "adelaidet": ["alpha", None, None],
        "deepsolo": ["alpha", None, None],
        "testr": ["alpha", "alpha", None],
        "testr_nearest": ["alpha", "alpha", "beta"],
    }
    for rule, spellings in expected.items():
        lexicon = Lexicon(words, rule=rule)
        assert [lexicon.match(text) for text in ("alphx", "alpxx", "zzzz")] == spellings, rule
        assert Lexicon(words).match("alpxx", rule=rule) == spellings[1]
    assert Lexicon([], rule="testr_nearest").match("word") == ""
    assert Lexicon(["x" * 100], rule="testr_nearest").match("") == ""
    assert Lexicon(["x" * 99], rule="testr_nearest").match("") == "x" * 99


@pytest.mark.parametrize("rule", ["testr", "testr_nearest"])
def test_unweighted_search_is_the_first_of_the_smallest_distance(rule):
    source = random.Random(4)
    words = ["".join(source.choices("ABC", k=source.randint(0, 5))) for _ in range(40)]
    lexicon = Lexicon(words, [str(i) for i in range(len(words))], rule=rule)
    for _ in range(200):
        text = "".join(source.choices("ABCD", k=source.randint(0, 8)))
        distances = [Levenshtein.distance(text, word) for word in words]
        near = min(distances) < (2.5 if rule == "testr" else 100)
        assert lexicon.match(text) == (str(distances.index(min(distances))) if near else None)


def box(x, y=0):
    return [[x, y], [x, y + 40], [x + 100, y + 40], [x + 100, y]]


def document(*words):
    return {"images": [{"id": 1, "words": list(words)}]}


def test_testr_scores_icdar2015_by_the_curve_script():
    wanted = document({"points": box(0), "text": " sign "})
    found = document({"points": box(0), "text": "sign", "score": 0.9})
    assert score(wanted, found, protocol="icdar2015", flavour="adelaidet").end_to_end.matched == 0
    assert score(wanted, found, protocol="icdar2015", flavour="testr").end_to_end.matched == 1
    crossing = document({"points": [[0, 0], [100, 40], [100, 0], [0, 40]], "text": "sign"})
    score(crossing, found, protocol="icdar2015", flavour="adelaidet")
    with pytest.raises(DataError, match="crosses itself"):
        score(crossing, found, protocol="icdar2015", flavour="testr")


def test_testr_keeps_ascii_only_and_asks_the_lexicon_before_that():
    wanted = document({"points": box(0), "text": "caf"}, {"points": box(0, 100), "text": "bar"})
    words = ({"points": box(0), "text": "café", "score": 0.9}, {"points": box(0, 100), "text": "bar", "score": 0.1})
    result = score(wanted, document(*words), protocol="ctw1500", flavour="testr")
    assert result.images["1"].read == ["caf"]
    lexicon = Lexicon(["café"], ["café: menu"], rule="testr")
    result = score(wanted, document(*words), protocol="ctw1500", flavour="testr", lexicon=lexicon)
    assert result.images["1"].read == ["caf"]
    assert result.images["1"].removed == {"not_in_lexicon": [1], "low_score": [], "invalid_polygon": []}


def test_a_lexicon_without_a_rule_has_that_of_the_flavour():
    wanted = document({"points": box(0), "text": "sign"})
    words = {"points": box(0), "text": "sixx", "score": 0.9}
    sure = {"rest": 0.0001, "rows": [[[character, 0.9]] for character in "sixx"]}
    lexicon = Lexicon(["sign"])
    assert score(wanted, document(words), protocol="ctw1500", flavour="testr", lexicon=lexicon).end_to_end.matched == 1
    assert (
        score(wanted, document(words), protocol="ctw1500", flavour="deepsolo", lexicon=lexicon).detection.predicted == 0
    )
    with pytest.raises(DataError, match="testr_weighted needs 'char_scores'"):
        score(wanted, document(words), protocol="icdar2015", flavour="testr", lexicon=lexicon)
    found = document({**words, "char_scores": sure})
    result = score(wanted, found, protocol="icdar2015", flavour="testr", lexicon=lexicon)
    assert result.end_to_end.matched == 1


def test_keys_of_a_pair_list_may_hold_spaces(tmp_path):
    words, pairs = tmp_path / "words.txt", tmp_path / "pairs.txt"
    words.write_text("NEW YORK\nHOTEL\n", encoding="utf-8")
    pairs.write_text("NEW YORK New York\nHOTEL Hotel\n", encoding="utf-8")
    lexicon = Lexicon.from_files(words, pairs, keys_with_spaces=True, rule="testr")
    assert [lexicon.match(text) for text in ("new york", "hot")] == ["New York", "Hotel"]
    with pytest.raises(DataError, match="NEW YORK"):
        Lexicon.from_files(words, pairs)
