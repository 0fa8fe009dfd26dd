import numpy as np
import pytest
from shapely.geometry import Polygon

from fasttcm.errors import ConfigError
from fasttcm.projects.fcenet.fourier import fourier_coefficients
from fasttcm.projects.fcenet.nms import suppress
from fasttcm.projects.fcenet.postprocess import FCEPostprocessor, fill_holes


def one_by_one(rings, scores, threshold):
    """The rule as it is written."""

    def overlap(a, b):
        a, b = (shape if shape.is_valid else shape.buffer(0) for shape in (Polygon(a), Polygon(b)))
        union = a.union(b).area
        return a.intersection(b).area / union if union else 1.0

    left = list(np.argsort(scores, kind="stable"))
    kept = []
    while left:
        best = left.pop()
        kept.append(int(best))
        left = [other for other in left if not overlap(rings[best], rings[other]) > threshold]
    return kept


def blobs(rng, count, spread):
    """Star-shaped rings of 20 points, near each other or not."""
    angles = 2 * np.pi * np.arange(20) / 20
    radius = rng.uniform(3, 9, (count, 1)) * rng.uniform(0.7, 1.3, (count, 20))
    ring = np.stack([radius * np.cos(angles), radius * np.sin(angles)], 2)
    return (ring + rng.uniform(0, spread, (count, 1, 2))).astype(np.int32)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("threshold", [0.1, 0.5])
def test_suppression_is_what_pairs_one_by_one_give(seed, threshold):
    rng = np.random.default_rng(seed)
    rings = blobs(rng, 40, rng.choice([4, 20, 80]))
    rings[::7] = rings[::7, rng.permutation(20)]  # rings that cross themselves
    rings[5:8] = rings[5, :1]  # rings without area
    rings[20] = rings[21]
    scores = rng.integers(0, 15, 40) / 16  # with ties
    assert suppress(rings, scores, threshold).tolist() == one_by_one(rings, scores, threshold)


def test_points_that_start_elsewhere_are_no_excuse():
    """The quick bound compares points in pairs; equal rings with other first points must still go."""
    ring = blobs(np.random.default_rng(0), 1, 1)[0]
    rings = np.stack([ring, np.roll(ring, 10, axis=0), ring[::-1]])
    assert suppress(rings, np.asarray([0.5, 0.9, 0.7]), 0.1).tolist() == [1]


def test_suppression_of_nothing_and_of_one():
    assert suppress(np.zeros((0, 5, 2)), np.zeros(0), 0.1).tolist() == []
    assert suppress(np.zeros((1, 5, 2)), np.ones(1), 0.1).tolist() == [0]


def test_holes_are_filled_and_bays_are_not():
    mask = np.ones((5, 6), np.uint8)
    mask[1:3, 1:3] = 0
    mask[3:, 4] = 0
    filled = fill_holes(mask)
    assert filled[1:3, 1:3].all() and not filled[3:, 4].any()
    np.testing.assert_array_equal(fill_holes(np.zeros((3, 3), np.uint8)), np.zeros((3, 3)))


STRIDES = (8, 16, 32)
RECTANGLE = np.asarray([[40.0, 40.0], [100.0, 40.0], [100.0, 64.0], [40.0, 64.0]])


def maps(rows=slice(5, 8), columns=slice(6, 12)):
    """A rectangle that every cell of a part of the finest level draws."""
    logits = [np.full((4, 128 // s, 160 // s), 0, np.float32) for s in STRIDES]
    for level in logits:
        level[[0, 2]] = 6
    series = [np.zeros((22, 128 // s, 160 // s), np.float32) for s in STRIDES]
    c = fourier_coefficients(RECTANGLE / 8, 5)
    y, x = np.mgrid[:16, :20]
    series[0][:11], series[0][11:] = c.real[:, None, None], c.imag[:, None, None]
    series[0][5] -= x
    series[0][16] -= y
    logits[0][[1, 3], rows, columns] = 12
    return logits, series


def test_a_word_is_drawn_once():
    outlines, scores = FCEPostprocessor()(*maps())
    assert outlines.shape == (1, 50, 2) and scores[0] == pytest.approx(1.0, abs=0.01)
    found, meant = Polygon(outlines[0]), Polygon(RECTANGLE)
    assert found.intersection(meant).area / found.union(meant).area > 0.85
    quads, _ = FCEPostprocessor(form="quad")(*maps())
    assert quads.shape == (1, 4, 2) and Polygon(quads[0]).area >= found.area


def test_the_score_is_a_product_of_powers():
    logits, series = maps()
    logits[0][3, logits[0][3] == 12] = 6  # centre: one half
    for alpha, beta in ((1.2, 1.0), (1.0, 2.0)):
        scores = FCEPostprocessor(text_power=alpha, center_power=beta, score_threshold=0.1)(logits, series)[1]
        assert scores[0] == pytest.approx((1 / (1 + np.exp(-6))) ** alpha * 0.5**beta, abs=1e-5)
    assert len(FCEPostprocessor(score_threshold=0.5)(logits, series)[0]) == 0


def test_a_hole_in_a_region_draws_contours_too():
    logits, series = maps()
    logits[0][1, 6, 8] = -20  # the best cells are around it; what it draws is suppressed, not missed
    assert len(FCEPostprocessor()(logits, series)[0]) == 1


def test_words_of_two_levels_are_one():
    logits, series = maps()
    c = fourier_coefficients(RECTANGLE / 16, 5)
    y, x = np.mgrid[:8, :10]
    series[1][:11], series[1][11:] = c.real[:, None, None], c.imag[:, None, None]
    series[1][5] -= x
    series[1][16] -= y
    logits[1][[1, 3], 2:4, 3:6] = 14
    process = FCEPostprocessor()
    assert len(process.level(logits[1], series[1], 16)[1]) == 1
    assert len(process(logits, series)[0]) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_broken_cells_draw_nothing_and_harm_no_others(value):
    logits, series = maps()
    series[0][:, 5:8, 6:8] = value
    series[1][:] = value
    logits[1][[1, 3]] = 20
    with np.errstate(all="raise"):
        outlines, scores = FCEPostprocessor()(logits, series)
    assert len(outlines) == 1 and np.isfinite(outlines).all() and np.isfinite(scores).all()
    logits[0][:] = np.nan
    assert len(FCEPostprocessor()(logits, series)[0]) == 0


def test_nothing_found_is_an_empty_result():
    logits, series = maps(slice(0, 0), slice(0, 0))
    outlines, scores = FCEPostprocessor()(logits, series)
    assert outlines.shape == (0, 50, 2) and scores.shape == (0,)
    assert FCEPostprocessor(form="quad")(logits, series)[0].shape == (0, 4, 2)


def test_noise_is_bounded_and_the_best_cells_are_kept():
    rng = np.random.default_rng(0)
    logits = [rng.normal(0, 3, (4, 60, 60)).astype(np.float32)]
    series = [rng.normal(0, 1, (22, 60, 60)).astype(np.float32)]
    options = {"strides": (8,), "score_threshold": 0.0}
    outlines, scores = FCEPostprocessor(max_candidates=100, **options)(logits, series)
    everything = FCEPostprocessor(max_candidates=600, **options)(logits, series)
    assert 0 < len(outlines) <= 100 and len(everything[0]) > len(outlines)
    assert scores[0] == everything[1][0]


def test_unknown_forms_are_refused():
    with pytest.raises(ConfigError, match="unknown outline form 'circle'; known: poly, quad"):
        FCEPostprocessor(form="circle")
