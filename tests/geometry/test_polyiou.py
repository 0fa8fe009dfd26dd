"""Signed overlap of quadrilaterals against the published figures, shapely, and lobes cut by hand."""

import json

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import golden_root

from fasttcm.geometry import boxes_overlap, outline_boxes, polyiou, polyiou_matrix, signed_areas

UNIT = np.array([[0, 0], [2, 0], [2, 2], [0, 2]], float)
BOW_TIE = np.array([[0, 0], [10, 4], [10, 0], [0, 6]], float)


def one(first, second):
    return float(polyiou(np.asarray(first, float)[None], np.asarray(second, float)[None])[0])


def moved(x, y):
    return UNIT + np.array([x, y])


def rotated_boxes(rng, n, span, offset=0.0):
    centres, sizes = rng.uniform(0, span, (n, 2)) + offset, rng.uniform(3, span, (n, 2)) / 2
    angles = rng.uniform(0, 2 * np.pi, n)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * sizes[:, None]
    turn = np.stack([np.cos(angles), -np.sin(angles), np.sin(angles), np.cos(angles)], 1).reshape(-1, 2, 2)
    return np.einsum("nij,nkj->nki", turn, corners) + centres[:, None]


def shapely_iou(first, second):
    a, b = shapely.polygons(first), shapely.polygons(second)
    common = shapely.area(shapely.intersection(a, b))
    return common / (shapely.area(a) + shapely.area(b) - common)


@pytest.mark.golden
def test_evaluation_polyiou_pairs() -> None:
    pairs = json.loads((golden_root() / "evaluation" / "dota.golden.json").read_text(encoding="utf-8"))["polyiou"]
    first, second = (np.array([pair[side] for pair in pairs]).reshape(-1, 4, 2) for side in (0, 1))
    expected = [float(pair[2]) for pair in pairs]
    np.testing.assert_allclose(polyiou(first, second), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.diag(polyiou_matrix(first, second)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("offset", "tolerance"), [(0.0, 1e-13), (20000.0, 1e-10)])
def test_rotated_boxes_have_the_overlap_of_their_areas(offset: float, tolerance: float) -> None:
    rng = np.random.default_rng(1)
    first, second = rotated_boxes(rng, 3000, 60, offset), rotated_boxes(rng, 3000, 60, offset)
    expected = shapely_iou(first, second)
    assert (expected > 0.2).sum() > 300
    np.testing.assert_allclose(polyiou(first, second), expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(polyiou(second, first[:, ::-1]), expected, rtol=0, atol=tolerance)


def test_corners_and_edges_in_common() -> None:
    assert one(UNIT, UNIT) == 1
    assert one(UNIT, moved(2, 0)) == 0
    assert one(UNIT, moved(1, 0)) == pytest.approx(1 / 3, abs=1e-15)
    assert one(UNIT, UNIT * [1, 0.5]) == 0.5
    assert one(UNIT, np.roll(UNIT * [0.5, 1], 2, axis=0)) == 0.5
    inside = np.array([[1, 0], [2, 1], [1, 2], [0, 1]], float)
    assert one(UNIT, inside) == pytest.approx(0.5, abs=1e-15)


def test_a_hollow_corner_is_left_out() -> None:
    arrow = np.array([[0, 0], [8, 0], [2, 2], [0, 8]], float)
    box = np.array([[3, 3], [6, 3], [6, 6], [3, 6]], float)
    assert one(arrow, box) == 0
    assert one(arrow, box - 2) == pytest.approx(shapely_iou(arrow, box - 2), abs=1e-14)


def test_lobes_of_a_bow_tie_count_with_opposite_signs() -> None:
    # The strokes cross at x = 6, y = 2.4: 0.5 * 6 * 6 = 18 on the left, 0.5 * 4 * 4 = 8 on the right.
    np.testing.assert_allclose(np.abs(signed_areas(BOW_TIE[None])), [10], atol=1e-14)
    everything = np.array([[0, 0], [10, 0], [10, 6], [0, 6]], float)
    assert one(BOW_TIE, everything) == pytest.approx(10 / 60, abs=1e-14)
    small, right, left = 1.0, [[9, 1.5], [10, 1.5], [10, 2.5], [9, 2.5]], [[0, 2], [1, 2], [1, 3], [0, 3]]
    assert one(BOW_TIE, right) == pytest.approx(-small / (10 + small + small), abs=1e-14)
    assert one(BOW_TIE, left) == pytest.approx(small / (10 + small - small), abs=1e-14)


def test_bow_ties_against_signed_triangles() -> None:
    rng = np.random.default_rng(2)
    corners = rng.integers(0, 40, (400, 4, 2)).astype(float)
    boxes = rotated_boxes(rng, 400, 40)
    crossing = 0
    for outline, box in zip(corners, boxes, strict=True):
        outline = outline if signed_areas(outline[None])[0] >= 0 else outline[::-1]
        crossing += not shapely.Polygon(outline).is_valid
        overlap = 0.0  # the outline as two triangles with a common side, each with its sign
        for triangle in (outline[[0, 1, 2]], outline[[0, 2, 3]]):
            common = shapely.Polygon(triangle).intersection(shapely.Polygon(box)).area
            overlap += np.sign(signed_areas(triangle[None])[0]) * common
        expected = overlap / (signed_areas(outline[None])[0] + shapely.Polygon(box).area - overlap)
        assert one(outline, box) == pytest.approx(expected, abs=1e-12)
    assert crossing > 50


def test_outlines_without_area() -> None:
    line, point = np.array([[0, 0], [10, 0], [10, 0], [0, 0]]), np.full((4, 2), 3.0)
    assert np.isnan(one(line, line)) and np.isnan(one(line, point))
    assert one(UNIT, line) == one(UNIT, point) == 0
    both = polyiou_matrix(np.array([line, UNIT]), np.array([point, UNIT, line + 500]))
    np.testing.assert_array_equal(both, [[np.nan, 0, np.nan], [0, 1, 0]])


def test_no_outlines() -> None:
    none = np.zeros((0, 4, 2))
    assert polyiou(none, none).shape == (0,) and polyiou_matrix(none, UNIT[None]).shape == (0, 1)
    assert outline_boxes(none).shape == (0, 4) and signed_areas(none).shape == (0,)


def test_boxes_touch_and_margins_reach() -> None:
    boxes = outline_boxes(np.array([UNIT, moved(2, 0), moved(2.5, 0), moved(3, 3)]))
    assert boxes_overlap(boxes[:1], boxes).tolist() == [[True, False, False, False]]
    assert boxes_overlap(boxes[:1], boxes, margin=1).tolist() == [[True, True, True, False]]


def test_skipping_boxes_that_are_apart_changes_nothing() -> None:
    rng = np.random.default_rng(4)
    first, second = rotated_boxes(rng, 60, 100) / [1, 4], rng.uniform(0, 100, (70, 4, 2))
    pairs = polyiou(np.repeat(first, 70, axis=0), np.tile(second, (60, 1, 1))).reshape(60, 70)
    assert (pairs == 0).any() and (pairs < 0).any()
    np.testing.assert_allclose(polyiou_matrix(first, second), pairs, rtol=0, atol=1e-13)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=8, max_size=8),
    st.floats(-3000, 3000),
    st.floats(0, 6.3),
)
def test_moving_turning_and_swapping_change_nothing(corners, shift, angle) -> None:
    outlines = np.array(corners, float).reshape(2, 4, 2)
    # A net area of zero leaves the direction of travel, and so the sign, to rounding.
    if np.abs(signed_areas(outlines)).min() < 1:
        return
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    elsewhere = outlines @ turn.T + shift
    areas = np.abs(signed_areas(outlines)).sum()

    def overlap(pair):
        iou = one(*pair)
        return iou * areas / (1 + iou)

    base = one(*outlines)
    if abs(1 + base) < 1e-3 or not np.isfinite(base):
        return
    assert overlap(elsewhere) == pytest.approx(overlap(outlines), abs=1e-5)
    assert overlap(outlines[::-1]) == pytest.approx(overlap(outlines), abs=1e-5)
