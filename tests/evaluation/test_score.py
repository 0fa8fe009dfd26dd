import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttcm.errors import ConfigError, DataError
from fasttcm.evaluation import Lexicon, predictions_to_json, score, targets_to_json
from fasttcm.structures import TextPredictions, TextTargets


def box(x, y, width=100, height=40):
    return [[x, y], [x + width, y], [x + width, y + height], [x, y + height]]


def word(points, text="word", **extra):
    return {"points": points, "text": text, **extra}


def document(*images):
    return {"images": [{"id": i + 1, "words": list(words)} for i, words in enumerate(images)]}


A, B = word(box(0, 0), "alpha"), word(box(0, 100), "beta")
ILLEGIBLE = word(box(0, 200), "###")
BOW_TIE = [[0, 0], [100, 40], [100, 0], [0, 40]]

TABLE = [
    # ground truth, predictions, (matched, gt, predicted) of detection, the same end-to-end
    pytest.param([A, B], [A, B], (2, 2, 2), (2, 2, 2), id="perfect"),
    pytest.param([A, B], [word(box(500, 0), "alpha")], (0, 2, 1), (0, 2, 1), id="nothing-matches"),
    pytest.param([A, B], [A, word(box(0, 100), "betq")], (2, 2, 2), (1, 2, 2), id="one-text-wrong"),
    pytest.param([A, B], [], (0, 2, 0), (0, 2, 0), id="no-predictions"),
    pytest.param([], [A], (0, 0, 1), (0, 0, 1), id="no-ground-truth"),
    pytest.param([], [], (0, 0, 0), (0, 0, 0), id="both-empty"),
    pytest.param([A], [word(box(0, 0, 50, 40), "alpha")], (0, 1, 1), (0, 1, 1), id="iou-of-exactly-one-half"),
    pytest.param([A], [word(box(0, 0, 51, 40), "alpha")], (1, 1, 1), (1, 1, 1), id="iou-just-above-one-half"),
    pytest.param([A, ILLEGIBLE], [A, word(box(0, 200), "x")], (1, 1, 1), (1, 1, 1), id="found-dont-care"),
    pytest.param([ILLEGIBLE], [word(box(50, 200), "x")], (0, 0, 1), (0, 0, 1), id="half-in-dont-care-counts"),
    pytest.param([ILLEGIBLE], [word(box(49, 200), "x")], (0, 0, 0), (0, 0, 0), id="more-than-half-in-dont-care"),
    pytest.param([word(box(0, 0), "1984")], [word(box(0, 0), "1984")], (1, 1, 1), (0, 0, 0), id="not-in-dictionary"),
    pytest.param([A], [word(box(0, 0, 100, 0), "alpha")], (0, 1, 1), (0, 1, 1), id="zero-area-detection"),
    pytest.param([word(box(0, 0, 0, 0), "abc")], [A], (0, 1, 1), (0, 1, 1), id="zero-area-ground-truth"),
    pytest.param([A], [word(BOW_TIE, "alpha")], (0, 1, 1), (0, 1, 1), id="bow-tie-is-two-triangles"),
    pytest.param([word(BOW_TIE, "alpha")], [word(BOW_TIE, "ALPHA")], (1, 1, 1), (1, 1, 1), id="bow-tie-finds-itself"),
    pytest.param([A], [word(box(0, 0)[::-1], "alpha")], (1, 1, 1), (1, 1, 1), id="other-direction-of-travel"),
    pytest.param([A], [A, A], (1, 1, 2), (1, 1, 2), id="duplicate-is-a-false-alarm"),
    pytest.param([A], [word(box(0, 0, 80, 40), "al"), A], (1, 1, 2), (0, 1, 2), id="first-wins-not-best"),
    pytest.param([A], [word([[0, 0], [9, 9]], "alpha")], (0, 1, 1), (0, 1, 1), id="two-point-detection"),
]


def counts(figures):
    return figures.matched, figures.ground_truth, figures.predicted


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("ground_truth", "predictions", "detection", "end_to_end"), TABLE)
def test_counts(ground_truth, predictions, detection, end_to_end):
    result = score(document(ground_truth), document(predictions))
    assert counts(result.detection) == detection
    assert counts(result.end_to_end) == end_to_end
    matched, total, predicted = detection
    assert result.detection.precision == (matched / predicted if predicted else 0)
    assert result.detection.recall == (matched / total if total else 0)


def test_details_use_positions_of_the_given_words():
    predictions = [
        word(box(700, 0), "low", score=0.1),
        word(box(0, 100), "beto"),
        word(box(0, 200), "x"),
        word(box(900, 0)),
    ]
    result = score(document([A, B, ILLEGIBLE]), document(predictions), confidence=0.5)
    image = result.images["1"]
    assert image.removed["low_score"] == [0] and image.kept == [1, 2, 3]
    assert [tuple(match) for match in image.end_to_end.matches] == [(1, 1, 1.0, False)]
    assert (image.end_to_end.misses, image.end_to_end.false_alarms) == ([0], [3])
    assert (image.end_to_end.gt_dont_care, image.end_to_end.det_dont_care) == ([2], [2])
    assert image.end_to_end.counts.matched == 0 and image.detection.counts.matched == 1


def test_result_is_json_with_full_floats():
    result = score(document([A, B, A]), document([A]))
    content = json.loads(json.dumps(result.to_dict()))
    assert content["detection"]["recall"] == 1 / 3
    assert content["end_to_end"]["hmean"] == 0.5
    assert content["images"]["1"]["detection"]["matches"] == [[0, 0, 1.0, True]]


def test_image_figures_without_anything_to_find():
    result = score(document([ILLEGIBLE], []), document([], [A]))
    first, second = result.images["1"].detection, result.images["2"].detection
    assert (first.precision, first.recall, first.hmean) == (1, 1, 1)
    assert (second.precision, second.recall, second.hmean) == (0, 1, 0)


def test_an_image_without_predictions_has_no_detections():
    result = score(document([A], [B]), {"images": [{"id": "2", "words": [B]}]})
    assert counts(result.detection) == (1, 2, 1)


def test_lexicon_corrects_and_removes():
    lexicon = Lexicon(["Alpha"])
    predictions = document([word(box(0, 0), "alphq"), word(box(0, 100), "zzz")])
    result = score(document([A, B]), predictions, lexicon=lexicon)
    assert counts(result.end_to_end) == (1, 2, 1)
    assert result.images["1"].removed["not_in_lexicon"] == [1]
    assert result.images["1"].read == ["Alpha"] and result.lexicon


def test_lexicon_per_image_must_name_every_image():
    with pytest.raises(DataError, match="no lexicon for image 2"):
        score(document([A], [B]), document([A]), lexicon={"1": Lexicon(["alpha"])})


def test_flavours_truncate_and_drop_while_the_own_path_does_not():
    sliver = word([[0, 0], [0.9, 0], [0.9, 0.9], [0, 0.9]], "abc")
    own = score(document([sliver]), document([sliver]))
    published = score(document([sliver]), document([sliver]), flavour="adelaidet")
    assert counts(own.detection) == (1, 1, 1)
    assert counts(published.detection) == (0, 1, 0)
    assert published.images["1"].removed["invalid_polygon"] == [0]


def test_flavours_refuse_a_crossing_ground_truth():
    with pytest.raises(DataError, match="image 1, word 1: the outline crosses itself"):
        score(document([word(BOW_TIE)]), document([]), flavour="deepsolo")


def test_adelaidet_applies_the_threshold_to_the_rounded_score():
    predictions = document([word(box(0, 0), "alpha", score=0.49951), word(box(0, 100), "beta", score=0.4994)])
    assert score(document([A, B]), predictions, flavour="adelaidet", confidence=0.5).detection.predicted == 1
    assert score(document([A, B]), predictions, confidence=0.5).detection.predicted == 0


BAD = [
    pytest.param({"images": [{"id": 1, "words": []}, {"id": "1", "words": []}]}, "occurs twice", id="duplicate-id"),
    pytest.param({"pictures": []}, "expected", id="no-images"),
    pytest.param({"images": [{"words": []}]}, "no 'id'", id="no-id"),
    pytest.param({"images": [{"id": 1}]}, "no list 'words'", id="no-words"),
    pytest.param(document([word([[0, 0], [1, 0], [float("nan"), 1]])]), "not a finite number", id="nan"),
    pytest.param(document([word([[0, 0], [1, 0], [1e300, 1]])]), "not a finite number", id="beyond-float32"),
    pytest.param(document([word([[0, 0], [1]])]), "must be", id="ragged-points"),
    pytest.param(document([word([0, 0, 1, 1])]), "must be", id="flat-points"),
    pytest.param(document([word([[0, 0], [1, 1]])]), "at least 3 points", id="two-points"),
    pytest.param(document([{"points": box(0, 0)}]), "'text' must be", id="no-text"),
    pytest.param(document(["word"]), "expected an object", id="word-is-no-object"),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("ground_truth", "message"), BAD)
def test_bad_ground_truth_is_named(ground_truth, message):
    with pytest.raises(DataError, match=message) as caught:
        score(ground_truth, document())
    assert "\n" not in str(caught.value)


def test_predictions_of_an_unknown_image_are_an_error():
    with pytest.raises(DataError, match="ground truth lacks, the first is 2"):
        score(document([A]), document([A], [B]))


def test_unknown_names_are_listed():
    with pytest.raises(ConfigError, match="unknown protocol 'tt'; known: totaltext"):
        score(document(), document(), protocol="tt")
    with pytest.raises(ConfigError, match="unknown flavour 'mmocr'; known: adelaidet, deepsolo"):
        score(document(), document(), flavour="mmocr")


def test_files_may_start_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "gt.json"
    path.write_text("\ufeff" + json.dumps(document([A])), encoding="utf-8")
    assert score(path, str(path)).detection.hmean == 1
    path.write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"gt\.json: the ground truth is no valid JSON"):
        score(path, document())
    with pytest.raises(DataError, match=r"absent\.json: cannot read the predictions"):
        score(document(), tmp_path / "absent.json")


def test_documents_from_targets_and_predictions():
    polygon = np.array(box(0, 0), np.float32)
    targets = TextTargets(
        [polygon, polygon + 200],
        torch.zeros(2, 16),
        torch.zeros(2, 4),
        ["alpha", "beta"],
        torch.tensor([False, True]),
        torch.zeros(2, dtype=torch.int64),
    )
    entry = targets_to_json(targets, image_id=5, height=300, width=400, file_name="a.jpg")
    assert (entry["id"], entry["height"], entry["width"], entry["file_name"]) == (5, 300, 400, "a.jpg")
    assert [w["text"] for w in entry["words"]] == ["alpha", "###"]
    boxes, scores = torch.zeros(1, 4), torch.tensor([0.9])
    found = TextPredictions(300, 400, [polygon + 0.123456], boxes, scores, ["alpha"], torch.ones(1))
    predictions = predictions_to_json([(5, found)], digits=3)
    assert predictions["images"][0]["words"][0]["points"][0] == [0.123, 0.123]
    assert counts(score({"images": [entry]}, predictions).end_to_end) == (1, 1, 1)


words = st.builds(
    lambda x, y, w, h, text, s: word(box(x, y, w, h), text, score=s),
    st.integers(0, 60),
    st.integers(0, 60),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(["alpha", "beta", "###", "1984", "it's", "Ωmega"]),
    st.floats(0, 1),
)
sets = st.lists(st.tuples(st.lists(words, max_size=4), st.lists(words, max_size=4)), min_size=1, max_size=4)


@settings(max_examples=40, deadline=None)
@given(sets, st.randoms())
def test_the_order_of_images_does_not_matter(images, random):
    pairs = [({"id": i, "words": g}, {"id": i, "words": d}) for i, (g, d) in enumerate(images)]
    before = score(*({"images": list(side)} for side in zip(*pairs, strict=True)))
    random.shuffle(pairs)
    after = score({"images": [g for g, _ in pairs]}, {"images": [d for _, d in reversed(pairs)]})
    assert (before.detection, before.end_to_end) == (after.detection, after.end_to_end)
    assert before.images == {key: after.images[key] for key in before.images}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["alpha", "Beta", "gamma-ray"]), max_size=4), min_size=1, max_size=3))
def test_perfect_predictions_give_one(images):
    ground_truth = document(*([word(box(150 * i, 0), text) for i, text in enumerate(texts)] for texts in images))
    for protocol in ("totaltext", "ctw1500", "inversetext", "icdar2015"):
        result = score(ground_truth, ground_truth, protocol=protocol)
        assert result.detection.hmean == result.end_to_end.hmean == (1.0 if any(images) else 0.0)


@settings(max_examples=40, deadline=None)
@given(sets)
def test_a_false_alarm_never_raises_precision(images):
    ground_truth, predictions = (document(*side) for side in zip(*images, strict=True))
    before = score(ground_truth, predictions)
    predictions["images"][0]["words"].append(word(box(1000, 1000), "alpha"))
    after = score(ground_truth, predictions)
    for figures, more in ((before.detection, after.detection), (before.end_to_end, after.end_to_end)):
        assert more.precision <= figures.precision and more.recall == figures.recall
        assert more.predicted == figures.predicted + 1
