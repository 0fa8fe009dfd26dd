"""DeepSolo's order of transforms and its colours, with values worked out by hand."""

import numpy as np
import pytest
from tiny import targets

from fasttcm.config import load_config
from fasttcm.data.augment import ColorJitter, InstanceCrop, RandomRotation, ResizeShortestEdge
from fasttcm.data.augment_deepsolo import ColorSequence
from fasttcm.engine.build import build_train_mapper
from fasttcm.errors import ConfigError

PIXELS = np.array([[[10, 20, 30], [40, 50, 60]]], np.uint8)  # mean 35


class Highest:
    """Chance that draws the upper end of every range, and ``light`` times the spread along the components."""

    def __init__(self, *light: float) -> None:
        self.light = np.array(light or (0.0, 0.0, 0.0))

    def uniform(self, low: float, high: float) -> float:
        return high

    def normal(self, mean: float, spread: float, size: int) -> np.ndarray:
        assert (mean, size) == (0, 3)
        return spread * self.light


def colored(image: np.ndarray = PIXELS, light: tuple[float, ...] = (), **amounts: float) -> list[list[int]]:
    jitter = ColorSequence(**{"contrast": 0, "brightness": 0, "lighting": 0, "saturation": 0, **amounts})
    words = targets("abc")
    changed, kept = jitter(image, words, Highest(*light))
    assert kept is words and changed.dtype == np.uint8 and changed.shape == image.shape
    return changed.reshape(-1, 3).tolist()


def test_nothing_asked_for_changes_nothing() -> None:
    assert colored() == PIXELS.reshape(-1, 3).tolist()


def test_contrast_is_about_the_mean_of_all_channels_and_rounds_down() -> None:
    # 1.5 v - 0.5 * 35, below 0 cut
    assert colored(contrast=0.5) == [[0, 12, 27], [42, 57, 72]]


def test_brightness_is_about_black() -> None:
    assert colored(brightness=0.25) == [[12, 25, 37], [50, 62, 75]]
    assert colored(PIXELS + 190, brightness=0.25) == [[250, 255, 255], [255, 255, 255]]


def test_saturation_is_about_the_gray_picture() -> None:
    # gray 0.299 r + 0.587 g + 0.114 b: 18.15 and 48.15; 1.5 v - 0.5 gray
    assert colored(saturation=0.5) == [[5, 20, 35], [35, 50, 65]]


def test_lighting_adds_a_color_of_less_than_a_level() -> None:
    # spread 1.5 along the first component: 1.5 * 0.2175 * (-0.5675, -0.5808, -0.5836), all above -0.2
    assert colored(light=(1, 0, 0), lighting=1) == [[9, 19, 29], [39, 49, 59]]
    assert colored(light=(-1, 0, 0), lighting=1) == [[10, 20, 30], [40, 50, 60]]
    # 100 * 1.5 * 0.0188 * (0.7192, -0.0045, -0.6948) = 2.03, -0.01, -1.96
    assert colored(light=(0, 1, 0), lighting=100) == [[12, 19, 28], [42, 49, 58]]
    # 100 * 1.5 * 0.0045 * (0.4009, -0.8140, 0.4203) = 0.27, -0.55, 0.28
    assert colored(light=(0, 0, 1), lighting=100) == [[10, 19, 30], [40, 49, 60]]


def test_colors_change_in_the_published_order() -> None:
    # contrast [0, 12, 27], [42, 57, 72]; brightness [0, 15, 33], [52, 71, 90]; lighting one less but 0;
    # gray of [0, 14, 32] is 11.866, of [51, 70, 89] 66.485
    found = colored(light=(1, 0, 0), contrast=0.5, brightness=0.25, lighting=1, saturation=0.5)
    assert found == [[0, 15, 42], [43, 71, 100]]


def test_draws_are_those_of_the_generator() -> None:
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    jitter = ColorSequence(contrast=0.7, brightness=0.7, lighting=1.0, saturation=0.7)
    first, again, other = (jitter(image, targets(), np.random.default_rng(seed))[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    drawn = np.random.default_rng(1)
    _, brightness = (drawn.uniform(0.3, 1.7) for _ in range(2))  # contrast comes first, and leaves one gray as it is
    gray = jitter(np.full_like(image, 100), targets(), np.random.default_rng(1))[0].astype(float)
    assert np.abs(gray - 100 * brightness).max() <= 4 and abs(brightness - 1) > 0.1  # four steps that round down


@pytest.mark.parametrize("changes", [{"contrast": -0.1}, {"saturation": 1.5}, {"lighting": -1}])
def test_strengths_outside_their_range_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        ColorSequence(**{"contrast": 0, "brightness": 0, "lighting": 0, "saturation": 0, **changes})


def test_the_picture_is_turned_before_it_is_cropped() -> None:
    cfg = load_config("configs/deepsolo/pretrain/fasttcm_cr50.yaml")
    turn, crop, resize, colors = build_train_mapper(cfg).transforms
    assert isinstance(turn, RandomRotation) and (turn.degrees, turn.tight_boxes) == (45.0, False)
    assert isinstance(crop, InstanceCrop) and crop.size_range == (0.1, 1.0)
    assert isinstance(resize, ResizeShortestEdge) and resize.min_sizes == tuple(range(480, 897, 32))
    assert isinstance(colors, ColorSequence) and colors.lighting == 1.0
    assert colors.amounts == {"contrast": 0.7, "brightness": 0.7, "saturation": 0.7}


def test_icdar2015_is_neither_turned_nor_cropped() -> None:
    transforms = build_train_mapper(load_config("configs/deepsolo/icdar2015/clip_r50.yaml")).transforms
    assert [type(transform) for transform in transforms] == [ResizeShortestEdge, ColorSequence]


def test_colors_that_a_pipeline_does_not_have_are_named() -> None:
    for pipeline, color in (("deepsolo", "HUE"), ("spotter", "LIGHTING"), ("pan", "LIGHTING")):
        cfg = load_config(None, ["INPUT.PIPELINE", pipeline, f"INPUT.COLOR_JITTER.{color}", "0.1"])
        with pytest.raises(ConfigError, match=f"INPUT.PIPELINE {pipeline} has no colour jitter in {color}; set 0"):
            build_train_mapper(cfg)
    plain = load_config(None, ["INPUT.COLOR_JITTER.HUE", "0.1"])
    assert isinstance(build_train_mapper(plain).transforms[-1], ColorJitter)
