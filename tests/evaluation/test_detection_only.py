"""Detection-only protocols: the published figures, cases worked out by hand, and invariances."""

import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import golden_root
from rich.console import Console

from fasttcm.engine.evaluate import Evaluation, figures
from fasttcm.errors import ConfigError, DataError
from fasttcm.evaluation import PROTOCOLS, Lexicon, results_markdown, results_table, score
from fasttcm.evaluation.average_precision import ranked_precision
from fasttcm.evaluation.detection_protocol import DETECTION_PROTOCOLS
from fasttcm.evaluation.deteval import center_distances
from fasttcm.evaluation.overlaps import measure_overlaps, prepare_regions
from fasttcm.evaluation.polygons import valid_outlines

DB = {"iou": "db", "deteval": "db_deteval", "icdar2013": "db_icdar2013", "mtwi2018": "db_mtwi2018"}
MMOCR = {"hmean-iou": "mmocr", "hmean-ic13": "mmocr_ic13"}
QUADS = "icdar2015"
RATES = ("precision", "recall", "hmean")


def load(name):
    return json.loads((golden_root() / "evaluation" / f"{name}.json").read_text(encoding="utf-8"))


def golden_runs(group):
    path = golden_root() / "evaluation" / "text.detection.golden.json"
    runs = load("text.detection.golden")[group] if path.is_file() else []
    for number, run in enumerate(runs):
        name = run.get("evaluator") or run.get("metric") or f"confidences-{run['confidences']}"
        yield pytest.param(run, id=f"evaluation-{group}-{name}-{run.get('cases', QUADS)}-{number}")


@pytest.fixture(scope="module")
def cases():
    return {name: data["images"] for name, data in load("text.cases")["datasets"].items()}


def documents(images):
    return tuple({"images": [{"id": image["id"], "words": image[side]} for image in images]} for side in ("gt", "pred"))


def assert_rates(actual, expected):
    for name in RATES:
        if name in expected:
            assert getattr(actual, name) == pytest.approx(float(expected[name]), abs=1e-12), name


def members(entry):
    return entry if isinstance(entry, list) else [entry]


@pytest.mark.golden
@pytest.mark.parametrize("run", golden_runs("db"))
def test_evaluation_db_evaluators(cases, run):
    ground_truth, predictions = documents(cases[run["cases"]])
    result = score(ground_truth, predictions, protocol=DB[run["evaluator"]], confidence=run["box_thresh"])
    assert result.end_to_end is None
    assert_rates(result.detection, run["figures"])
    precision, recall = result.detection.precision, result.detection.recall
    assert 2 * precision * recall / (precision + recall + 1e-8) == pytest.approx(run["measurer_fmeasure"], abs=1e-12)
    for image, truth, wanted in zip(result.images.values(), ground_truth["images"], run["images"], strict=True):
        scored = image.detection
        assert_rates(scored, wanted)
        assert (scored.counts.ground_truth, scored.counts.predicted) == (wanted["gt"], wanted["det"])
        pairs = [(m.gt, m.det) for m in scored.matches]
        # Upstream numbers what is left after crossing outlines are dropped on both sides.
        gts = np.flatnonzero(valid_outlines([np.array(w["points"], float) for w in truth["words"]]))
        assert pairs == [
            (gts[g], image.kept[d]) for pair in wanted["pairs"] for g in members(pair[0]) for d in members(pair[1])
        ]


@pytest.mark.golden
@pytest.mark.parametrize("run", golden_runs("mmocr"))
def test_evaluation_mmocr_best_and_sweep(cases, run):
    ground_truth, predictions = documents(cases[run["cases"]])
    rules = DETECTION_PROTOCOLS[MMOCR[run["metric"]]]
    result = score(ground_truth, predictions, protocol=rules, confidence=run["score_thr"])
    assert_rates(result.detection, {name: run["best"][f"{run['metric']}:{name}"] for name in RATES})
    assert list(result.sweep) == [row["thr"] for row in run["sweep"]]
    assert result.sweep[result.threshold] == result.detection
    for row, actual in zip(run["sweep"], result.sweep.values(), strict=True):
        assert_rates(actual, row)
        assert (actual.ground_truth, actual.predicted) == (row["num_gts"], row["num_dets"])
        matched = row["num_match"] if "num_match" in row else row["num_recall"]
        assert actual.matched == pytest.approx(matched, abs=1e-12)
        assert actual.earned == pytest.approx(row["num_precision"], abs=1e-12) if "num_precision" in row else True
    if "images_at_0.3" in run:
        lowest = replace(rules, sweep=(min(result.sweep),))
        images = score(ground_truth, predictions, protocol=lowest, confidence=run["score_thr"]).images
        for image, wanted in zip(images.values(), run["images_at_0.3"], strict=True):
            assert_rates(image.detection, wanted)


@pytest.mark.golden
@pytest.mark.parametrize("run", golden_runs("db_script"))
def test_evaluation_db_copy_of_the_icdar_script(cases, run):
    ground_truth, predictions = documents(cases[QUADS])
    scores = {str(image["id"]): [word["score"] for word in image["pred"]] for image in cases[QUADS]}
    protocol = "db_script_ranked" if run["confidences"] else "db_script"
    result = score(ground_truth, predictions, protocol=protocol, confidence=run["box_thresh"])
    assert_rates(result.detection, run["figures"])
    if run["confidences"]:
        low, high = precision_bounds(result, result.images, scores)
        assert low - 1e-12 <= run["figures"]["AP"] <= high + 1e-12
        assert low - 1e-12 <= result.average_precision <= high + 1e-12
    else:
        assert result.average_precision is None
    for key, wanted in run["images"].items():
        image, ranks = result.images[key], scores[key]
        assert_rates(image.detection, wanted)
        # Upstream leaves the order of equal scores open: compare what was matched by score.
        order = sorted(image.kept, key=lambda i: -ranks[i]) if run["confidences"] else image.kept
        pairs = [(m.gt, ranks[m.det]) for m in image.detection.matches]
        assert pairs == [(g, ranks[order[d]]) for g, d in wanted["pairs"]]
        swallowed = sorted(ranks[i] for i in image.detection.det_dont_care)
        assert swallowed == sorted(ranks[order[d]] for d in wanted["det_dont_care"])
        if run["confidences"]:
            low, high = precision_bounds(result, {key: image}, scores)
            assert low - 1e-12 <= wanted["AP"] <= high + 1e-12
            assert low - 1e-12 <= image.detection.average_precision <= high + 1e-12
        if run["files"]:
            assert submission(predictions, key, image.kept) == quads_of(run["files"][f"res_img_{key}.txt"])


def precision_bounds(result, images, scores):
    """Average precision with the hits last and first among equal scores: one number when no scores are equal."""
    rows = []
    for key, image in images.items():
        used = {match.det for match in image.detection.matches}
        rows += [(scores[key][i], True) for i in used]
        rows += [(scores[key][i], False) for i in image.detection.false_alarms]
    wanted = sum(image.detection.counts.ground_truth for image in images.values())
    for first in (False, True):
        rows.sort(key=lambda row: row[1], reverse=first)
        yield ranked_precision(np.array([s for s, _ in rows]), np.array([h for _, h in rows], bool), wanted)


def submission(predictions, key, kept):
    words = next(image["words"] for image in predictions["images"] if str(image["id"]) == key)
    return sorted([int(v) for point in words[i]["points"] for v in point] for i in kept)


def quads_of(content):
    return sorted([int(v) for v in line.split(",")[:8]] for line in content.split("\n") if line)


def box(x, y, width=100, height=40):
    return [[x, y], [x + width, y], [x + width, y + height], [x, y + height]]


def word(points, text="word", **extra):
    return {"points": points, "text": text, **extra}


def document(*images):
    return {"images": [{"id": i + 1, "words": list(words)} for i, words in enumerate(images)]}


BOW_TIE = [[0, 0], [100, 40], [100, 0], [0, 40]]
A, B = word(box(0, 0)), word(box(0, 100))
PIECES = [word(box(0, 0, 50)), word(box(50, 0, 50))]
THIRDS = [word(box(0, 0, 33)), word(box(33, 0, 33)), word(box(66, 0, 34))]
DAMPED = 2 / (1 + math.log(2))

TABLE = [
    # protocol, ground truth, predictions, recall sum, precision sum, counted ground truths, counted detections
    pytest.param("db", [A, B], [A], 1, 1, 2, 1, id="db-one-of-two"),
    pytest.param("db", [A], [word(box(0, 0, 50))], 0, 0, 1, 1, id="db-iou-of-exactly-one-half"),
    pytest.param("db", [word(BOW_TIE), B], [word(BOW_TIE), B], 1, 1, 1, 1, id="db-drops-crossing-outlines"),
    pytest.param("mmocr", [A], [word(box(0, 0, 50))], 0, 0, 1, 1, id="mmocr-iou-of-exactly-one-half"),
    pytest.param("mmocr", [A], [A, word([[0, 0], [9, 0], [0, 9]])], 1, 1, 1, 1, id="mmocr-drops-triangles"),
    pytest.param("mmocr", [word(box(0, 0), "###")], [word(box(50, 0))], 0, 0, 0, 1, id="mmocr-half-in-dont-care"),
    pytest.param("db_deteval", [A], PIECES, 0.8, 1.6, 1, 2, id="deteval-word-in-two-pieces"),
    pytest.param("db_icdar2013", [A], PIECES, 0.8, 1.6, 1, 2, id="icdar2013-word-in-two-pieces"),
    pytest.param("db_mtwi2018", [A], PIECES, 1, DAMPED, 1, 2, id="mtwi-word-in-two-pieces"),
    pytest.param("mmocr_ic13", [A], PIECES, 0.8, 1.6, 1, 2, id="ic13-word-in-two-pieces"),
    pytest.param("db_deteval", PIECES, [A], 2, 1, 2, 1, id="deteval-two-words-as-one"),
    pytest.param("db_mtwi2018", PIECES, [A], DAMPED, 1, 2, 1, id="mtwi-two-words-as-one"),
    pytest.param("mmocr_ic13", PIECES, [A], 0.8, 0.8, 2, 1, id="ic13-first-of-two-words-takes-it-as-a-piece"),
    pytest.param("mmocr_ic13", THIRDS, [A], 3, 1, 3, 1, id="ic13-three-words-as-one"),
    pytest.param("db_deteval", [A], [word(box(0, 0, 80))], 1, 1, 1, 1, id="deteval-reaching-the-bound-is-enough"),
    pytest.param("mmocr_ic13", [A], [word(box(0, 0, 80))], 0.8, 0.8, 1, 1, id="ic13-lone-piece-earns-less"),
    pytest.param("db_deteval", [A], [word(box(0, 0, 79))], 0, 0, 1, 1, id="deteval-below-the-bound"),
    pytest.param("db_deteval", [A], [A, word(box(99, 0))], 1, 1, 1, 2, id="deteval-touching-neighbour"),
    pytest.param("db_icdar2013", [A], [A, word(box(99, 0))], 1, 1, 1, 2, id="icdar2013-touching-neighbour"),
    pytest.param("db_script", [A], [word(box(0, 0)[::-1])], 0, 0, 1, 0, id="script-refuses-counter-clockwise"),
    pytest.param("db_script", [A], [word(box(0.9, 0.9))], 1, 1, 1, 1, id="script-truncates"),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("protocol", "ground_truth", "predictions", "recall", "precision", "gts", "dets"), TABLE)
def test_credits(protocol, ground_truth, predictions, recall, precision, gts, dets):
    found = score(document(ground_truth), document(predictions), protocol=protocol).detection
    assert (found.ground_truth, found.predicted) == (gts, dets)
    assert found.matched == pytest.approx(recall)
    assert (found.matched if found.earned is None else found.earned) == pytest.approx(precision)


def test_center_distances_are_in_mean_diagonals():
    first, second = np.array(box(0, 0, 30, 40), float), np.array([[100, 0], [160, 0], [160, 80], [100, 80]], float)
    slanted = np.array([[0, 0], [30, 0], [60, 40], [0, 40]], float)
    between = math.hypot(130 - 15, 40 - 20) / (50 + 100) * 2
    np.testing.assert_allclose(center_distances([first], [second, first], kind="quad"), [[between, 0]])
    np.testing.assert_allclose(center_distances([first], [second, first], kind="bounding_box"), [[between, 0]])
    by_corners, by_box = (center_distances([slanted], [second], kind=kind)[0, 0] for kind in ("quad", "bounding_box"))
    assert by_corners == by_box == pytest.approx(math.hypot(130 - 22.5, 40 - 20) / (math.hypot(60, 40) + 100) * 2)
    shifted = np.roll(slanted, 1, axis=0)
    assert center_distances([shifted], [second], kind="quad")[0, 0] > by_corners
    assert center_distances([first * 0], [second * 0], kind="quad")[0, 0] == np.inf


def test_sweep_takes_the_lowest_of_the_best_thresholds():
    predictions = document([{**A, "score": 0.65}, word(box(500, 0), score=0.45), {**B, "score": 0.3}])
    result = score(document([A, B]), predictions, protocol="mmocr")
    assert result.threshold == 0.5
    assert [f.predicted for f in result.sweep.values()] == [2, 2, 1, 1, 0, 0, 0]
    assert result.images["1"].kept == [0] and result.images["1"].removed["low_score"] == [1, 2]
    content = json.loads(json.dumps(result.to_dict()))
    assert content["end_to_end"] is None and content["threshold"] == 0.5
    assert content["sweep"][0]["threshold"] == 0.30000000000000004
    assert content["images"]["1"]["end_to_end"] is None
    with pytest.raises(ConfigError, match=r"no score threshold from 0\.95 on"):
        score(document([A]), predictions, protocol="mmocr", confidence=0.95)


def test_nothing_to_find_in_the_whole_set():
    nothing = document([word(box(0, 0), "###")])
    by_mmocr, by_db = (score(nothing, document([]), protocol=name).detection for name in ("mmocr", "db"))
    assert (by_mmocr.recall, by_mmocr.precision, by_mmocr.hmean) == (1, 1, 1)
    assert (by_db.recall, by_db.precision, by_db.hmean) == (0, 0, 0)
    found = score(nothing, document([B]), protocol="mmocr").detection
    assert (found.recall, found.precision) == (1, 0)


def test_images_without_detections_under_deteval():
    images = score(document([], [A]), document([], []), protocol="db_deteval").images
    assert [(i.detection.precision, i.detection.recall, i.detection.hmean) for i in images.values()] == [
        (1, 1, 0),
        (0, 0, 0),
    ]


def test_positions_are_those_of_the_given_words():
    ground_truth = document([word(BOW_TIE), A, word(box(0, 200), "###"), B])
    predictions = document([word(BOW_TIE), word(box(0, 200)), B, word(box(900, 0))])
    image = score(ground_truth, predictions, protocol="db").images["1"]
    assert image.kept == [1, 2, 3] and image.removed == {"low_score": [], "invalid_polygon": [0]}
    assert [tuple(m) for m in image.detection.matches] == [(3, 2, 1.0, True)]
    assert (image.detection.gt_dont_care, image.detection.det_dont_care) == ([0, 2], [1])
    assert (image.detection.misses, image.detection.false_alarms) == ([1], [3])


def test_average_precision_ranks_over_the_whole_set():
    predictions = document(
        [{**A, "score": 0.9}, word(box(500, 0), score=0.8)], [{**A, "score": 0.7}, word(box(0, 300), score=0.1)]
    )
    result = score(document([A], [A, B]), predictions, protocol="db_script_ranked")
    assert result.average_precision == pytest.approx((1 / 1 + 2 / 3) / 3)
    assert result.images["2"].detection.average_precision == pytest.approx(1 / 2)
    assert result.to_dict()["average_precision"] == result.average_precision


def measured(first, second, arithmetic):
    regions = [prepare_regions(side, arithmetic) for side in (first, second)]
    return measure_overlaps(*regions, arithmetic)


@pytest.mark.parametrize("arithmetic", ["valid_only", "repaired", "even_odd"])
def test_arithmetics_agree_on_simple_polygons(arithmetic):
    first = [np.array(box(0, 0), float), np.array([[0, 0], [60, 0], [0, 40]], float)]
    second = [np.array(box(50, 0), float), np.array(box(200, 0), float)]
    overlaps = measured(first, second, arithmetic)
    np.testing.assert_allclose(overlaps.iou, [[1 / 3, 0], [(100 / 3) / (4000 + 1200 - 100 / 3), 0]], atol=1e-15)
    np.testing.assert_allclose(overlaps.recall, [[0.5, 0], [1 / 36, 0]], atol=1e-15)
    np.testing.assert_allclose(overlaps.precision, [[0.5, 0], [1 / 120, 0]], atol=1e-15)


def test_repair_keeps_one_lobe_where_even_odd_keeps_both():
    lopsided = np.array([[0, 0], [100, 0], [0, 100], [30, 100]], float)
    whole = np.array(box(-10, -10, 200, 200), float)
    repaired, even_odd = (measured([whole], [lopsided], arithmetic) for arithmetic in ("repaired", "even_odd"))
    assert 0 < repaired.recall[0, 0] < even_odd.recall[0, 0]
    assert even_odd.precision[0, 0] > 1


def test_flavour_and_lexicon_concern_texts():
    with pytest.raises(ConfigError, match="'db' compares places only and takes no flavour"):
        score(document([A]), document([A]), protocol="db", flavour="adelaidet")
    with pytest.raises(ConfigError, match="takes no lexicon"):
        score(document([A]), document([A]), protocol="mmocr", lexicon=Lexicon(["word"]))


def test_wrong_numbers_of_points_are_named():
    hexagon = word([[0, 0], [50, 0], [100, 0], [100, 40], [50, 40], [0, 40]])
    with pytest.raises(
        DataError, match="predictions: image 1, word 2: an outline of 6 points, protocol 'mmocr_ic13' takes 4"
    ):
        score(document([A]), document([A, hexagon]), protocol="mmocr_ic13")
    with pytest.raises(DataError, match=r"ground truth: image 1, word 1: an outline of 3 points.* takes at least 4"):
        score(document([word([[0, 0], [9, 0], [0, 9]])]), document([]), protocol="mmocr")


def test_tables_leave_out_end_to_end():
    result = score(document([A]), document(PIECES), protocol="db_deteval")
    markdown = results_markdown({"DB": result})
    assert "end-to-end" not in markdown and "| 0.8 |" in markdown
    console = Console(file=io.StringIO(), width=120)
    console.print(results_table({"DB": result, "again": result}))
    assert console.file.getvalue().count("detection") == 2
    flat = figures(Evaluation({"none": result}, {}, {}, []))
    assert set(flat) == {"detection/precision", "detection/recall", "detection/hmean"}


quads = st.builds(
    lambda x, y, w, h, text, s: word(box(x, y, w, h), text, score=s),
    st.integers(0, 60),
    st.integers(0, 60),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(["alpha", "###"]),
    st.sampled_from([0.35, 0.5, 0.65, 0.8, 0.95]),
)
sets = st.lists(st.tuples(st.lists(quads, max_size=4), st.lists(quads, max_size=4)), min_size=1, max_size=3)


@settings(max_examples=15, deadline=None)
@given(sets, st.randoms())
def test_the_order_of_images_does_not_matter_to_places(images, random):
    pairs = [({"id": i, "words": g}, {"id": i, "words": d}) for i, (g, d) in enumerate(images)]
    shuffled = random.sample(pairs, len(pairs))
    for name in DETECTION_PROTOCOLS:
        before, after = (
            score({"images": [g for g, _ in order]}, {"images": [d for _, d in order]}, protocol=name)
            for order in (pairs, shuffled)
        )
        assert after.threshold == before.threshold
        assert {key: before.images[key] for key in after.images} == after.images
        for rate in RATES:
            assert getattr(after.detection, rate) == pytest.approx(getattr(before.detection, rate), abs=1e-12)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=3), st.integers(3, 120))
def test_perfect_places_give_one(sizes, width):
    ground_truth = document(*([word(box(150 * i, 0, width), score=0.95) for i in range(n)] for n in sizes))
    for name, rules in DETECTION_PROTOCOLS.items():
        found = score(ground_truth, ground_truth, protocol=name).detection
        assert found.hmean == pytest.approx(1.0 if any(sizes) or rules.vacuous else 0.0)


@settings(max_examples=15, deadline=None)
@given(sets)
def test_a_false_alarm_never_raises_the_precision_of_places(images):
    ground_truth, predictions = (document(*side) for side in zip(*images, strict=True))
    more = json.loads(json.dumps(predictions))
    more["images"][0]["words"].append(word(box(1000, 1000), score=0.96))
    for name, rules in DETECTION_PROTOCOLS.items():
        one = replace(rules, sweep=rules.sweep[:1])
        before, after = (score(ground_truth, found, protocol=one).detection for found in (predictions, more))
        assert after.precision <= before.precision and after.recall == before.recall, name
        assert after.predicted == before.predicted + 1


def test_every_detection_protocol_is_listed():
    assert set(DETECTION_PROTOCOLS) < set(PROTOCOLS)
    assert all(name == rules.name for name, rules in PROTOCOLS.items())
