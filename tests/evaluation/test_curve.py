"""The curve repeats the scoring, not an approximation of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttcm.evaluation import score
from fasttcm.evaluation.curve import confidence_curve, curve_of, thresholds_of


def word(x, y, text, **more):
    return {"points": [[x, y], [x + 20, y], [x + 20, y + 10], [x, y + 10]], "text": text, **more}


words = st.builds(
    lambda x, y, text, s: word(x, y, text, score=s),
    st.integers(0, 15),
    st.integers(0, 8),
    st.sampled_from(["alpha", "beta", "###", "12"]),
    st.sampled_from([0.1, 0.25, 0.5, 0.75, 0.9]),
)
sets = st.lists(st.tuples(st.lists(words, max_size=4), st.lists(words, max_size=5)), min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)
@given(sets, st.sampled_from(["totaltext", "custom"]))
def test_every_point_equals_a_run_with_that_confidence(images, protocol):
    truth, found = (
        {"images": [{"id": i, "words": w} for i, w in enumerate(side)]} for side in zip(*images, strict=True)
    )
    curve = curve_of(score(truth, found, protocol=protocol), truth, found)
    assert [p.threshold for p in curve] == sorted({w["score"] for e in found["images"] for w in e["words"]})
    for point in curve:
        run = score(truth, found, protocol=protocol, confidence=point.threshold)
        assert (point.detection, point.end_to_end) == (run.detection, run.end_to_end)


def test_a_removed_prediction_frees_its_ground_truth():
    truth = {"images": [{"id": 1, "words": [word(0, 0, "alpha")]}]}
    found = {"images": [{"id": 1, "words": [word(0, 1, "wrong", score=0.2), word(0, 0, "alpha", score=0.8)]}]}
    low, high = curve_of(score(truth, found), truth, found)
    assert (low.threshold, low.end_to_end.matched, low.detection.precision) == (0.2, 0, 0.5)
    assert (high.threshold, high.end_to_end.matched, high.detection.precision) == (0.8, 1, 1.0)


def test_thresholds_are_thinned_evenly_with_both_ends():
    truth = {"images": [{"id": 1, "words": []}]}
    found = {"images": [{"id": 1, "words": [word(0, 0, "a", score=k / 1000) for k in range(1000)]}]}
    result = score(truth, found)
    scores = {"1": [k / 1000 for k in range(1000)]}
    steps = thresholds_of(scores, result, most=11)
    assert len(steps) == 11 and (steps[0], steps[-1]) == (0.0, 0.999) and steps == sorted(steps)
    assert confidence_curve(result, scores, thresholds=[0.5])[0].detection.predicted == 500


@pytest.mark.parametrize("protocol", ["db", "mmocr"])
def test_protocols_without_transcriptions_have_a_curve_of_places(protocol):
    truth = {"images": [{"id": 1, "words": [word(0, 0, "a")]}]}
    found = {"images": [{"id": 1, "words": [word(0, 0, "a", score=0.85), word(50, 50, "b", score=0.35)]}]}
    curve = curve_of(score(truth, found, protocol=protocol), truth, found)
    assert all(point.end_to_end is None for point in curve)
    by_threshold = {round(point.threshold, 1): point.detection.precision for point in curve}
    assert (by_threshold[0.3], by_threshold[0.5], by_threshold[0.9]) == (0.5, 1.0, 0.0)


def test_an_empty_set_has_no_curve():
    truth = {"images": [{"id": 1, "words": []}]}
    assert curve_of(score(truth, {"images": []}), truth, {"images": []}) == []
