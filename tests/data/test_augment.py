import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import golden

from fasttcm.data.augment import (
    ColorJitter,
    InstanceCrop,
    RandomRotation,
    ResizeShortestEdge,
    crop,
    grow_window,
    resize,
    resized_size,
    rotate,
)
from fasttcm.errors import ConfigError
from fasttcm.geometry import polygon_box, rasterize_polygons
from fasttcm.structures import TextTargets


def make_targets(polygons: list[list[list[float]]]) -> TextTargets:
    """Targets of quadrilaterals; their curves are the corners spread along the sides."""
    rings = [np.asarray(polygon, np.float32) for polygon in polygons]
    weights = np.asarray([[1, 0], [2 / 3, 1 / 3], [1 / 3, 2 / 3], [0, 1]], np.float32)
    beziers = [np.concatenate([weights @ ring[:2], weights @ ring[2:]]).reshape(16) for ring in rings]
    boxes = [polygon_box(ring).astype(np.float32) for ring in rings]
    n = len(rings)
    return TextTargets(
        list(rings),
        torch.from_numpy(np.stack(beziers)) if n else torch.zeros(0, 16),
        torch.from_numpy(np.stack(boxes)) if n else torch.zeros(0, 4),
        [f"word{i}" for i in range(n)],
        torch.zeros(n, dtype=torch.bool),
        torch.arange(n),
    )


QUAD = [[10.0, 6.0], [30.0, 8.0], [29.0, 20.0], [9.0, 18.0]]
BOX = [[40.0, 5.0], [60.0, 5.0], [60.0, 12.0], [40.0, 12.0]]


def painted(targets: TextTargets, height: int, width: int) -> np.ndarray:
    """A picture that is white inside the polygons."""
    mask = rasterize_polygons(targets.polygons, height, width)
    return np.repeat(mask[..., None] * np.uint8(255), 3, axis=2)


def overlap(image: np.ndarray, targets: TextTargets) -> float:
    """IoU of the white pixels and the polygons."""
    seen = image[..., 0] > 127
    meant = rasterize_polygons(targets.polygons, *image.shape[:2]) > 0
    return float((seen & meant).sum() / (seen | meant).sum())


@pytest.mark.golden
def test_abcnet_crop_window_grows_as_published() -> None:
    figures = golden("abcnet", "abcnet_operators")
    for case, expected in zip(figures["crop.case_x0_y0_h_w"], figures["crop.result_x0_y0_w_h"], strict=True):
        x0, y0, height, width = case
        assert grow_window(x0, y0, width, height, figures["crop.boxes"]) == tuple(expected.astype(int)), case


def test_window_is_not_changed_by_boxes_that_only_touch_it() -> None:
    boxes = np.asarray([[0, 0, 10, 10], [30, 30, 40, 40], [10, 10, 30, 30]])
    assert grow_window(10, 10, 20, 20, boxes) == (10, 10, 20, 20)
    assert grow_window(10, 10, 20, 20, np.zeros((0, 4))) == (10, 10, 20, 20)


def test_window_grows_to_boxes_beside_it_and_truncates() -> None:
    assert grow_window(10, 10, 20, 20, np.asarray([[25.0, 100, 36.9, 110]])) == (10, 10, 26, 20)
    assert grow_window(10, 10, 20, 20, np.asarray([[7.9, 100, 12, 110]])) == (7, 10, 22, 20)


BOXES = st.lists(
    st.tuples(st.integers(0, 90), st.integers(0, 60), st.integers(2, 30), st.integers(2, 30)), min_size=0, max_size=8
)


@settings(max_examples=60, deadline=None)
@given(BOXES, st.integers(0, 10_000))
def test_instance_crop_cuts_no_word_and_keeps_at_least_one(rows: list[tuple[int, ...]], seed: int) -> None:
    quads = [[[x, y], [x + w, y], [x + w, y + h], [x, y + h]] for x, y, w, h in rows]
    targets = make_targets(quads)
    image = np.zeros((90, 120, 3), np.uint8)
    cut, words = InstanceCrop(size_range=(0.1, 0.5))(image, targets, np.random.default_rng(seed))
    height, width = cut.shape[:2]
    assert height >= 1 and width >= 1
    assert bool(rows) == (len(words) > 0)
    original = {tuple(box) for box in (targets.boxes[:, 2:] - targets.boxes[:, :2]).tolist()}
    for box in words.boxes.tolist():
        assert box[0] >= 0 and box[1] >= 0 and box[2] <= width and box[3] <= height
        assert (box[2] - box[0], box[3] - box[1]) in original


def test_crop_moves_pixels_and_words_together() -> None:
    targets = make_targets([QUAD, BOX])
    image = painted(targets, 40, 70)
    cut, words = crop(image, targets, 5, 3, 30, 25)
    assert np.array_equal(cut, image[3:28, 5:35]) and not np.shares_memory(cut, image)
    assert words.texts == ["word0"] and words.labels.tolist() == [0]
    np.testing.assert_allclose(words.polygons[0], np.asarray(QUAD) - [5, 3])
    assert words.boxes.tolist() == [[4, 3, 25, 17]]


@pytest.mark.parametrize(
    ("size", "limits", "expected"),
    [
        ((100, 200), (50, 1000), (50, 100)),
        ((200, 100), (50, 1000), (100, 50)),
        ((100, 100), (64, 1000), (64, 64)),
        ((100, 1000), (800, 1333), (133, 1333)),
        ((480, 641), (800, 1333), (800, 1068)),
        ((1, 1), (1000, 1824), (1000, 1000)),
        ((1, 10_000), (1000, 1824), (1, 1824)),
    ],
)
def test_size_rule(size: tuple[int, int], limits: tuple[int, int], expected: tuple[int, int]) -> None:
    assert resized_size(*size, *limits) == expected


def test_resize_scales_every_coordinate() -> None:
    targets = make_targets([QUAD, BOX])
    image, words = resize(painted(targets, 40, 70), targets, 80, 210)
    assert image.shape == (80, 210, 3)
    np.testing.assert_allclose(words.polygons[0], np.asarray(QUAD) * [3, 2], rtol=1e-6)
    np.testing.assert_allclose(words.beziers, targets.beziers * torch.tensor([3.0, 2.0]).repeat(8), rtol=1e-6)
    assert words.boxes[1].tolist() == [120, 10, 180, 24]
    assert overlap(image, words) > 0.9


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_resize_and_back_is_the_identity_on_words(factor: float) -> None:
    targets = make_targets([QUAD])
    image, words = resize(np.zeros((40, 70, 3), np.uint8), targets, int(40 * factor), int(70 * factor))
    _, back = resize(image, words, 40, 70)
    np.testing.assert_allclose(back.beziers, targets.beziers, rtol=1e-6)


def test_resize_averages_when_it_shrinks() -> None:
    stripes = np.zeros((8, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    image, _ = resize(stripes, TextTargets.empty(), 2, 16)
    assert abs(image[:, 2:-2].astype(int) - 100).max() <= 2


@pytest.mark.parametrize("size", [(40, 61), (97, 130), (31, 90), (90, 40)])
def test_the_fast_resize_is_within_a_grey_level_of_pillows(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)
    words = TextTargets.empty()
    exact, fast = (resize(image, words, *size, exact=flag)[0].astype(int) for flag in (True, False))
    assert fast.shape == (*size, 3) and np.abs(exact - fast).max() <= 1
    assert resize(image[::2], words, *size, exact=False)[0].flags["C_CONTIGUOUS"]


def test_resize_shortest_edge_draws_from_its_sizes() -> None:
    transform = ResizeShortestEdge(min_sizes=(10, 20, 30), max_size=100)
    rng = np.random.default_rng(0)
    image = np.zeros((40, 50, 3), np.uint8)
    heights = {transform(image, TextTargets.empty(), rng)[0].shape[0] for _ in range(40)}
    assert heights == {10, 20, 30}


def test_quarter_turn_by_hand() -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    image[2:6, 3:13] = 255
    targets = make_targets([[[3, 2], [13, 2], [13, 6], [3, 6]]])
    turned, words = rotate(image, targets, 90.0)
    assert np.array_equal(turned, np.rot90(image))
    # Counter-clockwise: x becomes y from below, y becomes x.
    np.testing.assert_allclose(words.polygons[0], [[2, 27], [2, 17], [6, 17], [6, 27]], atol=1e-5)
    np.testing.assert_allclose(words.boxes, [[2, 17, 6, 27]], atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.floats(-180, 180))
def test_turning_there_and_back_restores_points_about_the_centre(degrees: float) -> None:
    targets = make_targets([QUAD, BOX])
    image = np.zeros((40, 70, 3), np.uint8)
    once, moved = rotate(image, targets, degrees)
    twice, back = rotate(once, moved, -degrees)
    shift = np.asarray([twice.shape[1] - 70, twice.shape[0] - 40]) / 2
    np.testing.assert_allclose(back.polygons[0], np.asarray(QUAD) + shift, atol=1e-3)
    np.testing.assert_allclose(back.beziers.view(-1, 8, 2), targets.beziers.view(-1, 8, 2) + shift, atol=1e-3)


@pytest.mark.parametrize("degrees", [-170, -60, -30, 7, 45, 100])
def test_rotation_moves_pixels_and_words_together(degrees: float) -> None:
    targets = make_targets([[[4 * x, 4 * y] for x, y in QUAD]])
    image, words = rotate(painted(targets, 160, 280), targets, degrees)
    assert overlap(image, words) > 0.95
    inside = words.polygons[0]
    assert inside.min() >= 0 and inside[:, 0].max() <= image.shape[1] and inside[:, 1].max() <= image.shape[0]


def test_tight_and_loose_boxes_of_a_turned_word() -> None:
    targets = make_targets([[[20, 20], [60, 20], [60, 30], [20, 30]]])
    targets.polygons[0] = np.asarray([[20, 20], [60, 20], [60, 21], [20, 30]], np.float32)
    image = np.zeros((60, 80, 3), np.uint8)
    _, tight = rotate(image, targets, 30.0)
    _, loose = rotate(image, targets, 30.0, tight_boxes=False)
    np.testing.assert_allclose(tight.boxes[0], polygon_box(tight.polygons[0]), rtol=1e-5)
    cos, sin = math.cos(math.pi / 6), math.sin(math.pi / 6)
    sides = loose.boxes[0, 2:] - loose.boxes[0, :2]
    np.testing.assert_allclose(sides, [40 * cos + 10 * sin, 40 * sin + 10 * cos], rtol=1e-5)
    assert (sides >= tight.boxes[0, 2:] - tight.boxes[0, :2]).all()


def test_random_rotation_stays_within_its_degrees() -> None:
    targets = make_targets([BOX])
    rng = np.random.default_rng(0)
    angles = []
    for _ in range(30):
        _, words = RandomRotation(degrees=20)(np.zeros((40, 70, 3), np.uint8), targets, rng)
        top = words.polygons[0][1] - words.polygons[0][0]
        angles.append(math.degrees(math.atan2(-top[1], top[0])))
    assert -20.01 <= min(angles) < -10 and 10 < max(angles) <= 20.01


@pytest.mark.parametrize(
    "transform",
    [
        InstanceCrop(),
        RandomRotation(degrees=30),
        ResizeShortestEdge(min_sizes=(20,), max_size=50),
        ColorJitter(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.1),
    ],
)
def test_every_transform_takes_an_image_without_words_and_one_pixel(transform: object) -> None:
    for shape in ((30, 40, 3), (1, 1, 3)):
        image = np.full(shape, 100, np.uint8)
        result, words = transform(image, TextTargets.empty(), np.random.default_rng(0))  # type: ignore[operator]
        assert result.dtype == np.uint8 and result.size > 0 and len(words) == 0
        assert words.beziers.shape == (0, 16) and words.boxes.shape == (0, 4)
        assert (image == 100).all()


def test_same_generator_same_result() -> None:
    targets = make_targets([QUAD, BOX])
    image = np.random.default_rng(5).integers(0, 255, (40, 70, 3)).astype(np.uint8)
    chain = [InstanceCrop(), RandomRotation(degrees=30), ColorJitter(brightness=0.4, hue=0.2)]

    def run(seed: int) -> tuple[np.ndarray, TextTargets]:
        rng, pixels, words = np.random.default_rng(seed), image, targets
        for transform in chain:
            pixels, words = transform(pixels, words, rng)
        return pixels, words

    first, second, other = run(1), run(1), run(2)
    assert np.array_equal(first[0], second[0]) and torch.equal(first[1].boxes, second[1].boxes)
    assert first[0].shape != other[0].shape or not np.array_equal(first[0], other[0])


def test_colour_factors_by_hand() -> None:
    from fasttcm.data.color import _blend, _turn_hue

    image = np.asarray([[[100, 50, 200], [20, 20, 20]]], np.uint8)
    assert _blend(image, "brightness", 1.5)[0].tolist() == [[150, 75, 255], [30, 30, 30]]
    gray = round(0.299 * 100 + 0.587 * 50 + 0.114 * 200)
    assert _blend(image, "saturation", 0.0)[0].tolist() == [[gray] * 3, [20] * 3]
    mean = round((gray + 20) / 2)
    assert abs(_blend(image, "contrast", 0.0).astype(int) - mean).max() <= 1
    assert _blend(image, "contrast", 1.0).tolist() == image.tolist()
    red = np.asarray([[[255, 0, 0]]], np.uint8)
    turned = _turn_hue(red, 1 / 3)[0, 0].astype(int)
    assert abs(turned - [0, 255, 0]).max() <= 4  # a third of the circle is green
    assert _turn_hue(red, -1 / 3)[0, 0].argmax() == 2


def test_colour_jitter_leaves_words_and_can_be_off() -> None:
    targets = make_targets([QUAD])
    image = np.random.default_rng(0).integers(0, 255, (9, 9, 3)).astype(np.uint8)
    same, words = ColorJitter()(image, targets, np.random.default_rng(0))
    assert np.array_equal(same, image) and words is targets
    changed, _ = ColorJitter(brightness=0.5)(image, targets, np.random.default_rng(0))
    assert not np.array_equal(changed, image)


def test_bad_settings_are_refused() -> None:
    for build in (
        lambda: ResizeShortestEdge(min_sizes=(), max_size=10),
        lambda: ResizeShortestEdge(min_sizes=(0,), max_size=10),
        lambda: InstanceCrop(size_range=(0.0, 1.0)),
        lambda: InstanceCrop(size_range=(0.9, 0.5)),
        lambda: RandomRotation(degrees=-1),
        lambda: ColorJitter(hue=0.6),
        lambda: ColorJitter(brightness=-0.1),
    ):
        with pytest.raises(ConfigError):
            build()
