import cv2
import numpy as np
import pytest

from fasttcm.errors import ConfigError
from fasttcm.projects.dbnet.postprocess import DBPostprocessor

QUIET = {"mask_threshold": 0.3, "score_threshold": 0.3}


def kernel_map(height: int = 60, width: int = 100) -> np.ndarray:
    """A kernel in columns 20..69 and rows 20..29 of probability 0.9, 0.1 elsewhere."""
    probability = np.full((height, width), 0.1, np.float32)
    probability[20:30, 20:70] = 0.9
    return probability


def test_a_kernel_grows_by_area_over_length_times_the_ratio():
    (quad,), scores = DBPostprocessor()(kernel_map())
    reach = 49 * 9 * 1.5 / (2 * (49 + 9))
    assert scores.tolist() == pytest.approx([0.9])
    low, high = quad.min(0), quad.max(0)
    np.testing.assert_allclose([*low, *high], [20 - reach, 20 - reach, 69 + reach, 29 + reach], atol=0.6)
    (polygon,), _ = DBPostprocessor(form="poly")(kernel_map())
    assert len(polygon) > 8 and np.abs(polygon.min(0) - low).max() < 1
    assert np.array_equal(polygon, polygon.round()) and polygon.dtype == quad.dtype == np.float32


def test_thresholds():
    assert DBPostprocessor(mask_threshold=0.9001)(kernel_map())[0] == []
    score = float(np.float32(0.9))
    assert len(DBPostprocessor(score_threshold=score - 1e-6)(kernel_map())[0]) == 1  # inclusive
    assert len(DBPostprocessor(score_threshold=score + 1e-6)(kernel_map())[0]) == 0
    assert len(DBPostprocessor(min_text_width=30)(kernel_map())[0]) == 0
    assert len(DBPostprocessor(min_text_width=30, form="poly")(kernel_map())[0]) == 1  # polygons may be thin


def test_results_are_those_of_one_contour_after_the_other():
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.normal(0, 1, (200, 240)).astype(np.float32), (0, 0), 3)
    probability = np.asarray(1 / (1 + np.exp(-30 * noise)), np.float32)
    for form, ratio in (("quad", 0.01), ("quad", 0.0), ("poly", 0.004)):
        process = DBPostprocessor(form=form, approx_ratio=ratio)
        outlines, scores = process(probability)
        assert len(outlines) == len(scores) > 10
        mask = (probability > 0.3).astype(np.uint8)
        contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        expected = []
        for contour in contours:
            alone = cv2.approxPolyDP(contour, ratio * cv2.arcLength(contour, True), True) if ratio else contour
            inside = cv2.fillPoly(np.zeros_like(mask), [alone], 1)
            expected.append(float(probability[inside > 0].mean()))
        assert all(np.abs(np.asarray(expected) - score).min() < 1e-5 for score in scores)


def test_rings_that_split_or_close_are_dropped():
    ring = np.zeros((100, 100), np.float32)
    ring[20:80, 20:80] = 1
    ring[25:80, 25:75] = 0  # three sides of a frame
    ring[70:80, 60:80] = ring[70:80, 20:45] = 1
    assert DBPostprocessor(unclip_ratio=6.0, approx_ratio=0.0)(ring)[0] == []  # grown, it closes around a hole
    assert len(DBPostprocessor(unclip_ratio=0.5, approx_ratio=0.0)(ring)[0]) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_broken_pixels_are_background_and_harm_no_other_text(value):
    probability = np.concatenate([kernel_map(), kernel_map()], axis=1)
    probability[15:40, 10:80] = value
    outlines, scores = DBPostprocessor()(probability)
    assert len(outlines) == 1 and outlines[0][:, 0].min() > 100 and np.isfinite(scores).all()
    inside = kernel_map()
    inside[24, 40] = value  # one broken pixel inside a text
    assert len(DBPostprocessor(approx_ratio=0.0)(inside)[0]) >= 1
    assert DBPostprocessor()(np.full((8, 8), value, np.float32))[0] == []


def test_empty_full_and_tiny_maps():
    assert DBPostprocessor()(np.zeros((40, 50), np.float32))[0] == []
    (everything,), scores = DBPostprocessor()(np.ones((40, 50), np.float32))
    assert scores.tolist() == [1.0] and everything.min() < 0  # not clipped at the border
    dot = np.zeros((5, 5), np.float32)
    dot[2, 2] = 1
    assert DBPostprocessor()(dot)[0] == []


def test_noise_is_bounded_in_opencvs_order():
    probability = np.zeros((400, 400), np.float32)
    probability[2::8, 2::8] = probability[3::8, 2::8] = probability[2::8, 3::8] = probability[3::8, 3::8] = 1
    options = {"form": "poly", "score_threshold": 0.5}
    everything = DBPostprocessor(max_candidates=10**6, **options)(probability)
    some = DBPostprocessor(max_candidates=9, **options)(probability)
    assert len(everything[0]) == 50 * 50 and len(some[0]) == 10  # published: one more than the bound
    assert all(np.array_equal(a, b) for a, b in zip(some[0], everything[0], strict=False))


def test_unknown_forms_are_refused():
    with pytest.raises(ConfigError, match="unknown outline form 'circle'; known: quad, poly"):
        DBPostprocessor(form="circle")
