import numpy as np
import pytest
import torch

from fasttcm.errors import ConfigError
from fasttcm.projects.dbnet.targets import DBTargetMaker, border_map
from fasttcm.structures import TextTargets

SIZE = (80, 120)
WORD = np.array([[20, 20], [100, 20], [100, 50], [20, 50]], np.float32)
_UPPER = [[0, 0], [40, 0], [40, 18], [60, 18], [60, 0], [100, 0]]
DUMBBELL = np.array(_UPPER + [[x, 40 - y] for x, y in reversed(_UPPER)], np.float32)


def texts(*polygons: np.ndarray, ignore: tuple[bool, ...] | None = None) -> TextTargets:
    count = len(polygons)
    return TextTargets(
        list(polygons),
        torch.zeros(count, 16),
        torch.zeros(count, 4),
        ["word"] * count,
        torch.tensor(ignore if ignore is not None else [False] * count, dtype=torch.bool),
        torch.zeros(count, dtype=torch.int64),
    )


def as_written(polygon: np.ndarray, reach: float, width: int, height: int) -> np.ndarray:
    """SPEC 4.2, the distance of every pixel to every edge, one by one, by the cosine at the pixel."""
    eps = np.finfo(np.float32).eps
    nearness = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            distances = []
            for a, b in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
                a2, b2 = ((a - [x, y]) ** 2).sum(), ((b - [x, y]) ** 2).sum()
                c2 = ((a - b) ** 2).sum()
                n = (c2 - a2 - b2) / (eps + 2 * np.sqrt(a2 * b2))
                along = np.sqrt(a2 * b2 * max(1 - n * n, 0) / (eps + c2))
                distances.append(min(np.sqrt(a2), np.sqrt(b2)) if n < 0 else along)
            nearness[y, x] = 1 - min(min(distances) / reach, 1)
    return nearness


@pytest.mark.parametrize("seed", range(5))
def test_nearness_is_that_of_the_rule_as_written(seed):
    rng = np.random.default_rng(seed)
    polygon = rng.uniform(0, 30, (int(rng.integers(3, 9)), 2))
    expected = as_written(polygon - [3, 2], 6.5, 30, 24)
    np.testing.assert_allclose(border_map(polygon, 6.5, 3, 2, 30, 24), expected, atol=2e-5)


def test_maps_of_a_word():
    maps = DBTargetMaker().draw(texts(WORD), SIZE)
    reach = 80 * 30 * (1 - 0.16) / 220
    assert set(np.unique(maps.kernels)) == {0, 1} and maps.mask.all()
    rows, columns = np.nonzero(maps.kernels)
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == (29, 29, 91, 41)
    assert maps.threshold.max() == pytest.approx(0.7) and maps.threshold.min() == pytest.approx(0.3)
    assert maps.threshold[20, 60] == pytest.approx(0.7)
    assert maps.threshold[25, 60] == pytest.approx(0.3 + 0.4 * (1 - 5 / reach))
    assert maps.threshold_mask[35, 60] == 1 and maps.threshold_mask[20 - int(reach) - 2, 60] == 0
    assert (maps.threshold[maps.threshold_mask == 0] == np.float32(0.3)).mean() > 0.99


def test_an_image_without_text_has_nothing_to_learn_but_background():
    maps = DBTargetMaker().draw(TextTargets.empty(), SIZE)
    assert not maps.kernels.any() and maps.mask.all() and not maps.threshold_mask.any()
    assert (maps.threshold == np.float32(0.3)).all()


@pytest.mark.parametrize(
    ("polygon", "hidden"),
    [
        (np.array([[20, 5], [100, 5], [100, 12], [20, 12]]), 81 * 8),  # thinner than 8 pixels
        (np.array([[5, 5], [5.5, 5], [5.5, 5.5], [5, 5.5]]), 1),  # smaller than a pixel
        (WORD[[0, 1, 0, 1]], 81),  # folded onto a line
        (WORD[:2], 0),
        (WORD * np.nan, 0),
    ],
    ids=["thin", "less than a pixel", "folded", "two points", "nan"],
)
def test_what_is_no_text_is_neither_text_nor_background(polygon, hidden):
    other = WORD + np.float32([0, 25])
    maps = DBTargetMaker().draw(texts(polygon.astype(np.float32), other), SIZE)
    alone = DBTargetMaker().draw(texts(other), SIZE)
    assert (maps.mask == 0).sum() == hidden
    for name in ("kernels", "threshold", "threshold_mask"):
        np.testing.assert_array_equal(getattr(maps, name), getattr(alone, name))


def test_a_text_whose_kernel_vanishes_is_masked():
    # A comb of thin teeth: 60 x 60 as a rectangle, nothing left one pixel further in.
    teeth = [[(x, 70), (x, 10), (x + 2, 10), (x + 2, 70)] for x in range(10, 70, 10)]
    comb = np.array([point for tooth in teeth for point in tooth], np.float32)
    maps = DBTargetMaker().draw(texts(comb, WORD + np.float32([10, 0])), SIZE)
    assert not (maps.kernels == 1).any() and (maps.kernels == 2).any()
    assert maps.mask[40, 11] == 0 and maps.mask[40, 115] == 1
    assert maps.threshold_mask[75, 11] == 0


def test_a_text_that_falls_apart_keeps_one_part():
    maps = DBTargetMaker(shrink_ratio=0.8).draw(texts(DUMBBELL), SIZE)
    assert (maps.kernels[:, :50] > 0).any() != (maps.kernels[:, 50:] > 0).any() and maps.mask.all()


def test_ignored_texts_are_masked_and_not_drawn():
    maps = DBTargetMaker().draw(texts(WORD, ignore=(True,)), SIZE)
    assert not maps.kernels.any() and not maps.threshold_mask.any() and (maps.mask == 0).sum() == 81 * 31


def test_texts_outside_the_image_leave_it_empty():
    maps = DBTargetMaker().draw(texts(WORD + 500, WORD - 500), SIZE)
    assert not maps.kernels.any() and maps.mask.all() and not maps.threshold_mask.any()


def test_a_batch_is_padded_with_pixels_that_count_nowhere():
    targets = DBTargetMaker()([texts(WORD), TextTargets.empty()], [SIZE, (30, 40)], (96, 128))
    assert all(value.shape == (2, 96, 128) for value in vars(targets).values())
    assert targets.mask[0, :80, :120].all() and targets.mask[0].sum() == 80 * 120
    assert targets.mask[1].sum() == 30 * 40 and not targets.threshold_mask[:, 80:].any()
    assert set(targets.kernel.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("wrong", [{"shrink_ratio": 1.0}, {"thr_min": 0.8}, {"thr_max": 1.5}])
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ConfigError):
        DBTargetMaker(**wrong)
