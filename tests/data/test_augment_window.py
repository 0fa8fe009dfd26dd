import numpy as np
import pytest
import torch
from tiny import targets

from fasttcm.data.augment_window import RandomWindow
from fasttcm.errors import ConfigError
from fasttcm.structures import TextTargets


def picture(height: int = 60, width: int = 90) -> np.ndarray:
    """Red grows with x, green with y, so that a pixel tells where it was."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.arange(width)[None] * 2
    image[..., 1] = np.arange(height)[:, None] * 2
    image[..., 2] = 255
    return image


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.7])
def test_pixels_and_words_move_together(scale: float):
    words = targets("a", "b")
    for seed in range(20):
        window, seen = RandomWindow(size=48, scale=(scale, scale))(picture(), words, np.random.default_rng(seed))
        assert window.shape == (48, 48, 3) and window.dtype == np.uint8
        assert 1 <= len(seen) <= 2
        for text, box in zip(seen.texts, seen.boxes, strict=True):
            original = words.boxes[words.texts.index(text)]
            torch.testing.assert_close(box[2:] - box[:2], (original[2:] - original[:2]) * scale, atol=1e-3, rtol=0)
            x, y = (int(v) for v in (box[:2] + box[2:]) / 2)
            if 2 <= x < 46 and 2 <= y < 46 and window[y, x, 2] == 255:
                old_x, old_y = ((original[:2] + original[2:]) / 2).tolist()
                here = np.asarray([x, y]) + 0.5 - ((box[:2] + box[2:]) / 2).numpy()
                expected = np.asarray([old_x, old_y]) + here / scale - 0.5
                assert np.abs(window[y, x, :2] / 2 - expected).max() < 1.2


def test_cut_words_become_do_not_cares_and_whole_ones_stay():
    words = targets("a", "b")
    outcomes = set()
    for seed in range(60):
        _, seen = RandomWindow(size=30, scale=(1.0, 1.0))(picture(), words, np.random.default_rng(seed))
        for box, ignore in zip(seen.boxes, seen.ignore.tolist(), strict=True):
            inside = (box.clamp(0, 30)[2:] - box.clamp(0, 30)[:2]).prod() / (box[2:] - box[:2]).prod()
            assert ignore == bool(inside < 0.9)
            outcomes.add(ignore)
    assert outcomes == {True}  # 40 pixels never fit into 30
    _, seen = RandomWindow(size=200, scale=(1.0, 1.0))(picture(), words, np.random.default_rng(0))
    assert seen.ignore.tolist() == [False, False] and words.ignore.tolist() == [False, False]


def test_the_chosen_word_is_whole_where_it_fits_and_long_ones_are_chosen_more_often():
    words = targets("a", "b")
    words.boxes[1] = torch.tensor([1.0, 30.0, 89.0, 42.0])  # chosen 88 times of 128
    whole = np.zeros(2)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        _, seen = RandomWindow(size=50, scale=(0.5, 0.5))(picture(200, 300), words, rng)
        inside = (seen.boxes >= 0).all(1) & (seen.boxes <= 50).all(1)
        assert inside.any()
        whole += [any(kept and text == name for kept, text in zip(inside, seen.texts, strict=True)) for name in "ab"]
    assert whole[1] > 125


def test_words_that_became_too_small_are_do_not_cares():
    words = targets("a", "b")  # 12 pixels high
    for scale, ignored in ((0.4, True), (0.6, False)):
        _, seen = RandomWindow(size=200, scale=(scale, scale))(picture(), words, np.random.default_rng(0))
        assert seen.ignore.tolist() == [ignored, ignored]
    assert words.ignore.tolist() == [False, False]


def test_pictures_without_words_and_smaller_than_the_window():
    window, seen = RandomWindow(size=64, scale=(0.5, 2.0))(picture(8, 5), TextTargets.empty(), np.random.default_rng(1))
    assert window.shape == (64, 64, 3) and len(seen) == 0


def test_the_same_generator_gives_the_same_window():
    first, second = (RandomWindow(size=32)(picture(), targets("a"), np.random.default_rng(5))[0] for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(("size", "scale"), [(0, (1, 1)), (8, (0, 1)), (8, (2, 1))])
def test_impossible_settings(size: int, scale: tuple[float, float]):
    with pytest.raises(ConfigError, match="window"):
        RandomWindow(size=size, scale=scale)
