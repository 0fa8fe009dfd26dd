import logging

import numpy as np
import pytest
import torch
from tiny import targets

from fasttcm.charset import Charset, TextEncoder
from fasttcm.errors import DataError
from fasttcm.geometry import sample_sides
from fasttcm.layers.annotations import annotations
from fasttcm.projects.testr.targets import TargetBuilder
from fasttcm.structures import ILLEGIBLE

LOWER = Charset.named("lower36")


def builder(max_length: int = 6, num_points: int = 16, **options) -> TargetBuilder:
    return TargetBuilder(encode=TextEncoder(LOWER, max_length=max_length, **options), num_points=num_points)


def test_boxes_points_and_classes_of_a_word():
    image = builder(num_points=8)(targets("ab", "c"), (50, 100), "x")
    # tiny's words are 40 x 12 pixels at (10, 8) and (10, 26).
    expected = torch.tensor([[0.30, 0.28, 0.40, 0.24], [0.30, 0.64, 0.40, 0.24]])
    torch.testing.assert_close(image.boxes, expected)
    assert image.points.shape == (2, 8, 2)
    span = torch.tensor([100.0, 50.0])
    torch.testing.assert_close(
        image.points[0, [0, 3, 4, 7]] * span, torch.tensor([[10.0, 8], [50, 8], [50, 20], [10, 20]])
    )
    assert image.classes.tolist() == [[0, 1, 37, 37, 37, 37], [2, 37, 37, 37, 37, 37]]


def test_an_outline_of_as_many_points_is_taken_as_it_is():
    word = targets("ab")
    word.polygons[0] = np.arange(32, dtype=np.float32).reshape(16, 2)
    image = builder()(word, (10, 10), "x")
    torch.testing.assert_close(image.points[0] * 10, torch.arange(32.0).view(16, 2))
    word.polygons[0] = word.polygons[0][:10]
    image = builder()(word, (10, 10), "x")
    curve = sample_sides(word.beziers[0].numpy(), 8)
    np.testing.assert_allclose(image.points[0] * 10, curve, rtol=1e-5)


def test_illegible_words_are_left_out_and_empty_texts_are_not():
    given = annotations([{"targets": targets("ab", ILLEGIBLE, ""), "file_name": "x"}])
    assert given[0].ignore.tolist() == [False, True, False]
    image = builder()(given[0], (64, 64), "x")
    assert image.classes[:, 0].tolist() == [0, LOWER.end]


def test_images_without_texts_give_empty_tensors():
    image = builder()(targets(), (64, 64), "x")
    assert len(image) == 0
    assert (image.boxes.shape, image.points.shape, image.classes.shape) == ((0, 4), (0, 16, 2), (0, 6))


def test_long_texts_are_cut_counted_and_reported_once_or_refused(caplog):
    cutting = builder()
    with caplog.at_level(logging.WARNING):
        image = cutting(targets("abcdefgh", "abcdefghi", "abc"), (64, 64), "x.png")
    assert cutting.encode.cut == 2 and len(caplog.records) == 1 and "x.png" in caplog.text
    assert image.classes[0].tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(DataError, match=r"x\.png: text 'abcdefgh' has 8 characters"):
        builder(too_long="refuse")(targets("abcdefgh"), (64, 64), "x.png")
