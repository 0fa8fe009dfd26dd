import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fasttcm.errors import ConfigError
from fasttcm.projects.fcenet.fourier import contour_points
from fasttcm.projects.fcenet.loss import FCELoss
from fasttcm.projects.fcenet.targets import EVERY_SIZE, FCETargetMaker, FCETargets, size_proportion
from fasttcm.structures import TextTargets


def texts(*polygons, ignore=()):
    n = len(polygons)
    flags = torch.tensor([i in ignore for i in range(n)], dtype=torch.bool)
    rings = [np.asarray(p, np.float32).reshape(-1, 2) for p in polygons]
    return TextTargets(
        rings, torch.zeros(n, 16), torch.zeros(n, 4), ["x"] * n, flags, torch.zeros(n, dtype=torch.int64)
    )


def box(x0, y0, x1, y1):
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]


def predictions(size=128, batch=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    make = lambda channels, s: torch.randn(batch, channels, size // s, size // s, generator=generator)  # noqa: E731
    logits = [make(4, s).requires_grad_() for s in (8, 16, 32)]
    return logits, [make(22, s).requires_grad_() for s in (8, 16, 32)]


def total_gradients(logits, series, targets):
    losses = FCELoss()(logits, series, targets)
    torch.stack(list(losses.values())).sum().backward()
    assert all(v.grad is not None and torch.isfinite(v.grad).all() for v in (*logits, *series))
    return losses


def test_levels_without_text_add_to_the_text_loss_alone():
    logits, series = predictions()
    losses = total_gradients(logits, series, FCETargetMaker()([TextTargets.empty()], [(128, 128)], (128, 128)))
    assert losses["loss_center"] == losses["loss_reg_x"] == losses["loss_reg_y"] == 0 < losses["loss_text"]
    assert all(not v.grad.any() for v in series)
    # The largest 100 losses over 100, and all of a level that has fewer, over 100 as well.
    expected = 0.0
    for level in logits:
        loss = F.softplus(level[:, 1] - level[:, 0]).flatten()
        expected += loss.topk(min(100, loss.numel())).values.sum().item() / 100
    assert losses["loss_text"].item() == pytest.approx(expected, rel=1e-5)


def test_infinite_predictions_of_idle_cells_leave_other_gradients_alone():
    logits, series = predictions()
    with torch.no_grad():
        series[2][0, 0, 0, 0] = math.inf
    total_gradients(logits, series, FCETargetMaker()([TextTargets.empty()], [(128, 128)], (128, 128)))


def test_a_perfect_series_costs_nothing_and_weights_favour_the_centre():
    maker = FCETargetMaker()
    targets = maker([texts(box(8, 8, 50, 40))], [(128, 128)], (128, 128))
    logits, _ = predictions()
    losses = FCELoss()(logits, [t.fourier for t in targets], targets)
    assert losses["loss_reg_x"] == losses["loss_reg_y"] == 0 < losses["loss_center"]
    shifted = [t.fourier.clone() for t in targets]
    for level in shifted:
        level[:, 5] += 3  # c_0 moves every point by 3 cells to the right: smooth L1 2.5
    losses = FCELoss()(logits, shifted, targets)
    weights = [((1 + t.masks[:, 1]) / 2)[(t.masks[:, 0] > 0) & (t.masks[:, 2] > 0)] for t in targets]
    expected = sum(2.5 * w.mean().item() for w in weights if len(w))
    assert losses["loss_reg_x"].item() == pytest.approx(expected, rel=1e-4) and losses["loss_reg_y"] == 0


def test_the_loss_draws_the_contours_of_the_result():
    loss = FCELoss(degree=3, samples=20)
    series = torch.randn(2, 14)
    x, y = loss._contours(series)
    points = contour_points((series[:, :7] + 1j * series[:, 7:]).numpy(), 20)
    np.testing.assert_allclose(np.stack([x, y], 2), points, atol=1e-5)


def test_ignored_texts_are_masked_on_their_level():
    targets = FCETargetMaker()([texts(box(8, 8, 40, 24), ignore=(0,))], [(128, 128)], (128, 128))
    fine, middle, coarse = (t.masks[0, 2] for t in targets)
    assert (fine == 0).sum() > 0 and middle.all() and coarse.all()
    assert not any(t.masks[:, :2].any() or t.fourier.any() for t in targets)


def test_padding_does_not_count():
    targets = FCETargetMaker()([texts(box(8, 8, 40, 24))], [(70, 50)], (128, 96))
    for level, stride in zip(targets, (8, 16, 32), strict=True):
        counted = level.masks[0, 2]
        assert counted.shape == (128 // stride, 96 // stride)
        assert counted[: 70 // stride, : 50 // stride].all() and counted.sum() == (70 // stride) * (50 // stride)


def test_sizes_are_compared_with_the_height_and_ranges_exclude_their_ends():
    assert size_proportion(np.asarray(box(0, 0, 49.9, 10)), 100) == pytest.approx(0.5)
    on_the_border = texts(box(0, 0, 39, 10))  # 40 of 100: not below 0.4, above 0.3
    maker = FCETargetMaker()
    fine, middle, _ = (level.masks[0, 0].sum() for level in maker([on_the_border], [(100, 200)], (128, 224)))
    assert fine > 0 or middle > 0
    assert middle > 0
    everything = maker.level([on_the_border], [(100, 200)], (128, 224), 8, EVERY_SIZE)
    assert everything.masks[0, 0].sum() > 0


@pytest.mark.parametrize(
    "polygon",
    [
        box(5, 5, 5.4, 5.4),  # less than a pixel
        box(5, 5, 5, 5),
        [[0, 0], [60, 60], [60, 0], [0, 60]],  # crosses itself
        [[5, 5], [6, 6], [5, 9]],
        [[float("nan"), 5], [9, 9], [4, 8], [3, 3]],
        box(200, 200, 220, 220),  # outside
        box(-50, -50, 90, 20),
        [[5, 5]] * 9,
        box(-1e9, 0, 1e9, 1e9),
    ],
)
def test_odd_polygons_train(polygon):
    maker = FCETargetMaker()
    targets = maker([texts(polygon, box(40, 70, 90, 100))], [(128, 128)], (128, 128))
    logits, series = predictions()
    losses = total_gradients(logits, series, targets)
    assert all(torch.isfinite(value) for value in losses.values()) and losses["loss_reg_x"] > 0


def test_images_smaller_than_a_cell():
    targets = FCETargetMaker()([texts(box(1, 1, 5, 4))], [(7, 7)], (32, 32))
    assert [t.masks.shape[2:] for t in targets] == [(4, 4), (2, 2), (1, 1)]
    assert not any(t.masks.any() for t in targets)


def test_empty_levels_are_masks_of_nothing():
    empty = FCETargets(torch.zeros(1, 3, 4, 4), torch.zeros(1, 22, 4, 4))
    logits, series = torch.randn(1, 4, 4, 4), torch.randn(1, 22, 4, 4)
    losses = FCELoss()([logits], [series], [empty])
    assert all(value == 0 for value in losses.values())


@pytest.mark.parametrize("ranges", [[(0, 1)], [(0, 0.4, 1), (0, 1), (0, 1)]])
def test_ranges_that_do_not_fit_are_refused(ranges):
    with pytest.raises(ConfigError, match="3 levels need as many ranges of two numbers"):
        FCETargetMaker(ranges=ranges)
