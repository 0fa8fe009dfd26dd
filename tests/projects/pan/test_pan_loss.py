import math

import numpy as np
import pytest
import torch

from fasttcm.errors import ConfigError
from fasttcm.projects.pan.loss import PANLoss, PANTargets, aggregation_discrimination
from fasttcm.projects.pan.targets import PANTargetMaker, shrink_map
from fasttcm.structures import TextTargets

DELTAS = {"delta_agg": 0.5, "delta_dis": 3.0}


def texts(*polygons, ignore=()):
    n = len(polygons)
    flags = torch.tensor([i in ignore for i in range(n)], dtype=torch.bool)
    rings = [np.asarray(p, np.float32).reshape(-1, 2) for p in polygons]
    return TextTargets(
        rings, torch.zeros(n, 16), torch.zeros(n, 4), ["x"] * n, flags, torch.zeros(n, dtype=torch.int64)
    )


def box(x0, y0, x1, y1):
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]


def test_pulling_and_pushing_by_hand():
    text = torch.tensor([[1, 1, 2, 2, 0]])
    kernel = torch.tensor([[1, 0, 2, 0, 0]])
    vectors = torch.zeros(4, 1, 5)
    vectors[0] = torch.tensor([[0.0, 2.0, 1.0, 1.2, 9.0]])
    pull, push = aggregation_discrimination(vectors, text, kernel, **DELTAS)
    assert pull.item() == pytest.approx((math.log(1 + 1.5**2) / 2 + 0) / 2)
    assert push.item() == pytest.approx(math.log(1 + 2.0**2) / 2)  # one pair, divided by n (n - 1) = 2


def test_texts_without_kernel_or_pixels_do_not_count():
    text, kernel = torch.tensor([[1, 1, 0, 3]]), torch.tensor([[1, 0, 2, 0]])
    vectors = torch.randn(4, 1, 4, requires_grad=True)
    pull, push = aggregation_discrimination(vectors, text, kernel, **DELTAS)
    alone, _ = aggregation_discrimination(vectors, torch.tensor([[1, 1, 0, 0]]), torch.tensor([[1, 0, 0, 0]]), **DELTAS)
    assert push.item() == 0
    torch.testing.assert_close(pull, alone)


@pytest.mark.parametrize("text", [torch.zeros(3, 4, dtype=torch.int64), torch.ones(3, 4, dtype=torch.int64)])
def test_equal_vectors_have_finite_gradients(text):
    vectors = torch.zeros(4, 3, 4, requires_grad=True)
    sum(aggregation_discrimination(vectors, text, text, **DELTAS)).backward()
    assert torch.isfinite(vectors.grad).all()


def targets_of(text, kernel):
    return PANTargets(text[None], kernel[None], torch.ones(1, *text.shape))


def test_images_without_text_have_finite_connected_losses():
    maps = torch.randn(1, 6, 4, 4, requires_grad=True)
    nothing = torch.zeros(4, 4, dtype=torch.int64)
    losses = PANLoss()(maps, targets_of(nothing, nothing))
    assert set(losses) == {"loss_text", "loss_kernel", "loss_aggregation", "loss_discrimination"}
    sum(losses.values()).backward()
    assert torch.isfinite(maps.grad).all() and losses["loss_aggregation"] == losses["loss_discrimination"] == 0


def test_weights_scale_their_losses():
    torch.manual_seed(0)
    text = torch.zeros(8, 8, dtype=torch.int64)
    text[1:4, 1:4], text[5:8, 1:8] = 1, 2
    maps = torch.randn(1, 6, 8, 8)
    once, twice = (
        PANLoss(kernel_weight=0.5 * f, embedding_weight=0.25 * f)(maps, targets_of(text, text)) for f in (1, 2)
    )
    for name in ("loss_kernel", "loss_aggregation", "loss_discrimination"):
        torch.testing.assert_close(2 * once[name], twice[name])
    torch.testing.assert_close(once["loss_text"], twice["loss_text"])


def test_of_many_instances_some_are_drawn():
    text = torch.arange(1, 17).reshape(4, 4)
    maps = torch.randn(1, 6, 4, 4)
    draws = set()
    for seed in range(5):
        torch.manual_seed(seed)
        kept = PANLoss(max_instances=3)._drawn(text)
        assert len(kept.unique()) == 4  # three and the background
        draws.add(tuple(kept.unique().tolist()))
    assert len(draws) > 1
    everything = PANLoss()(maps, targets_of(text, text))
    torch.testing.assert_close(PANLoss(max_instances=16)(maps, targets_of(text, text)), everything)


def test_quarter_maps_take_the_pixels_that_opencv_takes():
    import cv2

    for height, width in ((8, 12), (70, 50), (33, 31), (2, 3)):
        full = np.arange(height * width, dtype=np.float32).reshape(height, width)
        small = shrink_map(full)
        size = (int(width * 0.25 + 0.5), int(height * 0.25 + 0.5))
        assert small.shape == size[::-1]
        np.testing.assert_array_equal(small, cv2.resize(full, size, interpolation=cv2.INTER_NEAREST))
    assert shrink_map(np.zeros((1, 9))).shape == (0, 2)


def test_targets_number_the_legible_texts_and_mask_the_others():
    maker = PANTargetMaker()
    annotation = texts(box(4, 4, 36, 20), box(40, 4, 60, 12), box(4, 40, 36, 60), ignore=(1,))
    maps = maker([annotation], [(64, 64)], (64, 96))
    assert maps.grid.text.shape == (1, 16, 24) and maps.region.shape == maps.mask.shape == (1, 1, 64, 96)
    assert maps.grid.text[0, 3, 5] == 1 and maps.grid.text[0, 12, 5] == 2 and maps.grid.text[0, 2, 12] == 0
    assert maps.grid.mask[0, 2, 12] == 0 and maps.grid.mask[0, 3, 5] == 1
    assert maps.grid.mask[0, :, 16:].sum() == 0 == maps.mask[0, 0, :, 64:].sum()
    assert 0 < (maps.grid.kernel > 0).sum() < (maps.grid.text > 0).sum()
    assert set(maps.region.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize(
    "polygon",
    [
        box(5, 5, 5.4, 5.4),  # less than a pixel
        box(5, 5, 30, 6),  # collapses when shrunk
        [[0, 0], [20, 20], [20, 0], [0, 20]],  # crosses itself
        [[5, 5], [6, 6]],
        [[float("nan"), 5], [9, 9], [4, 8]],
        box(100, 100, 120, 120),  # outside
        box(-50, -50, 200, 200),
        [[0, 0], [60, 0], [60, 20], [32, 20], [31, 2], [29, 2], [28, 20], [0, 20]],  # splits in two
    ],
)
def test_odd_polygons_train(polygon):
    maps = PANTargetMaker()([texts(polygon, box(4, 30, 36, 60))], [(64, 64)], (64, 64))
    assert maps.grid.kernel.max() == 2
    predicted = torch.randn(1, 6, 16, 16, requires_grad=True)
    sum(PANLoss()(predicted, maps.grid).values()).backward()
    assert torch.isfinite(predicted.grad).all()


@pytest.mark.parametrize("ratios", [(1.0,), (1.0, 0.0), (1.0, 1.5)])
def test_impossible_ratios_are_refused(ratios):
    with pytest.raises(ConfigError, match="shrink ratios"):
        PANTargetMaker(shrink_ratios=ratios)
