from collections import deque

import cv2
import numpy as np
import pytest

from fasttcm.errors import ConfigError
from fasttcm.projects.pan.aggregation import grow_kernels
from fasttcm.projects.pan.postprocess import PANPostprocessor


def queue_of_pixels(text, kernel, embedding, max_distance):
    """The rule as it is written: one pixel after the other."""
    kernel = kernel & text
    mask = kernel.astype(np.uint8)
    count, labels = cv2.connectedComponents(mask, connectivity=4)
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    border = cv2.drawContours(np.zeros_like(mask), contours, -1, 1)
    means = [None, *(embedding[:, labels == label].mean(1) for label in range(1, count))]
    height, width = text.shape
    queue = deque((int(y), int(x)) for y, x in np.argwhere((border > 0) & kernel))
    while queue:
        y, x = queue.popleft()
        label = labels[y, x]
        for row, column in ((y, x - 1), (y, x + 1), (y - 1, x), (y + 1, x)):
            inside = 0 <= row < height and 0 <= column < width
            if inside and text[row, column] and not labels[row, column]:
                gap = embedding[:, row, column] - means[label]
                if (gap * gap).sum() < max_distance**2:
                    labels[row, column] = label
                    queue.append((row, column))
    return labels


@pytest.mark.parametrize("seed", range(30))
def test_layers_grow_as_the_queue_does(seed):
    rng = np.random.default_rng(seed)
    size = (int(rng.integers(1, 30)), int(rng.integers(1, 30)))
    text = rng.random(size) < rng.uniform(0.4, 1.0)
    kernel = rng.random(size) < rng.uniform(0.02, 0.3)
    embedding = rng.normal(0, rng.choice([0.0, 0.3, 1.0]), (4, *size))  # 0: everything may join everything
    grown = grow_kernels(text, kernel, embedding, max_distance=0.85)
    np.testing.assert_array_equal(grown, queue_of_pixels(text, kernel, embedding, 0.85))


def test_the_first_to_ask_gets_the_pixel():
    text = np.ones((1, 5), bool)
    kernel = np.asarray([[True, False, False, False, True]])
    grown = grow_kernels(text, kernel, np.zeros((4, 1, 5)), max_distance=1.0)
    assert grown.tolist() == [[1, 1, 1, 2, 2]]  # the left kernel asks first for the one in the middle


def test_no_kernel_no_label():
    nothing = np.zeros((3, 4), bool)
    assert not grow_kernels(~nothing, nothing, np.zeros((4, 3, 4)), max_distance=1.0).any()
    assert not grow_kernels(nothing, ~nothing, np.zeros((4, 3, 4)), max_distance=1.0).any()


def maps_of(height: int = 20, width: int = 30) -> np.ndarray:
    """A word in columns 5..14 and rows 4..9, its kernel two pixels smaller on every side."""
    maps = np.zeros((6, height, width), np.float32)
    maps[:2] = -5
    maps[0, 4:10, 5:15] = 5
    maps[1, 6:8, 7:13] = 5
    return maps


def test_a_word_is_outlined_in_both_forms():
    quads, scores = PANPostprocessor(form="quad")(maps_of())
    assert len(quads) == 1 and scores[0] == pytest.approx(1 / (1 + np.exp(-5)), abs=1e-6)
    assert sorted(quads[0].round().tolist()) == [[5, 4], [5, 9], [14, 4], [14, 9]]
    (polygon,), _ = PANPostprocessor(form="poly")(maps_of())
    assert sorted(polygon.tolist()) == sorted(quads[0].round().tolist())


def test_thresholds_are_strict_on_score_and_inclusive_on_area():
    assert len(PANPostprocessor(min_area=60)(maps_of())[0]) == 1
    assert len(PANPostprocessor(min_area=61)(maps_of())[0]) == 0
    assert len(PANPostprocessor(score_threshold=0.9934)(maps_of())[0]) == 0
    assert len(PANPostprocessor(region_threshold=0.999)(maps_of())[0]) == 0


def test_other_vectors_do_not_join():
    maps = maps_of()
    maps[2, 4:10, 12:15] = 3.0
    (polygon,), _ = PANPostprocessor(form="poly", min_area=1)(maps)
    assert polygon[:, 0].max() < 14


def test_the_published_memory_order_reads_vectors_of_other_pixels():
    rng = np.random.default_rng(0)
    maps = maps_of()
    maps[2:] = rng.normal(0, 1, maps[2:].shape)
    vectors = np.ascontiguousarray(maps[2:].reshape(20, 30, 4).transpose(2, 0, 1))
    published = PANPostprocessor(published_memory_order=True, form="poly", min_area=1)(maps)
    plain = PANPostprocessor(form="poly", min_area=1)(np.concatenate([maps[:2], vectors]))
    np.testing.assert_array_equal(published[0][0], plain[0][0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_broken_pixels_are_no_text_and_harm_no_other_word(value):
    maps = np.concatenate([maps_of(), maps_of()], axis=2)
    maps[:, 4:10, 5:15] = value
    outlines, scores = PANPostprocessor()(maps)
    assert len(outlines) == 1 and outlines[0][:, 0].min() > 30 and np.isfinite(scores).all()
    assert PANPostprocessor()(np.full((6, 8, 8), value, np.float32))[0] == []


def test_words_on_the_border_and_outlines_without_area():
    maps = np.full((6, 6, 6), 5, np.float32)
    (quad,), _ = PANPostprocessor()(maps)
    assert (quad.min(), quad.max()) == (pytest.approx(0, abs=1e-6), pytest.approx(5))
    line = maps_of(3, 3)
    line[:2, 1] = 5
    line[:2, ::2] = -5
    assert PANPostprocessor(form="poly", min_area=1)(line)[0] == []  # two points make no outline
    assert len(PANPostprocessor(form="quad", min_area=1)(line)[0]) == 1  # published: any width will do


def test_noise_gives_no_more_than_the_bound_and_the_best():
    rng = np.random.default_rng(0)
    maps = rng.normal(0, 3, (6, 200, 200)).astype(np.float32)
    options = {"score_threshold": 0.0, "min_area": 4}
    everything = PANPostprocessor(max_candidates=10**9, **options)(maps)
    best = PANPostprocessor(max_candidates=50, **options)(maps)
    assert len(everything[0]) > 500 and len(best[0]) <= 50
    np.testing.assert_array_equal(best[1], everything[1][: len(best[1])])


def test_unknown_forms_are_refused():
    with pytest.raises(ConfigError, match="unknown outline form 'circle'; known: quad, poly"):
        PANPostprocessor(form="circle")
