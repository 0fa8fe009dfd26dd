import pytest
import torch

from fasttcm.layers.image_pyramid import ImagePyramid


def test_each_level_is_the_mean_of_four_pixels_of_the_one_before():
    images = torch.arange(2 * 3 * 8 * 4, dtype=torch.float32).reshape(2, 3, 8, 4)
    pyramid = ImagePyramid(num_levels=3)
    levels = pyramid(images)
    assert pyramid.strides == (1, 2, 4)
    assert levels[0] is images
    assert [tuple(level.shape[-2:]) for level in levels] == [(8, 4), (4, 2), (2, 1)]
    assert levels[1][0, 0, 0, 0] == (0 + 1 + 4 + 5) / 4
    torch.testing.assert_close(levels[2].mean((2, 3)), images.mean((2, 3)))


def test_no_image_gives_empty_levels():
    assert [len(level) for level in ImagePyramid(num_levels=2)(torch.zeros(0, 3, 8, 8))] == [0, 0]


def test_at_least_one_level():
    with pytest.raises(ValueError, match="at least one"):
        ImagePyramid(num_levels=0)
