import numpy as np
import pytest
import torch

from fasttcm.errors import ConfigError, DataError
from fasttcm.losses.dice import dice_loss
from fasttcm.structures import TextTargets
from fasttcm.tcm import MatchingLoss, matching_target, pad_to, upsample_logits

KINDS = ("dice", "balanced_bce", "ohem_dice")


def rectangle(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)


def targets(
    *boxes: tuple[float, float, float, float], ignore: tuple[int, ...] = (), labels: tuple[int, ...] = ()
) -> TextTargets:
    n = len(boxes)
    return TextTargets(
        polygons=[rectangle(*box) for box in boxes],
        beziers=torch.zeros(n, 16),
        boxes=torch.tensor(boxes).reshape(n, 4),
        texts=["word"] * n,
        ignore=torch.tensor([i in ignore for i in range(n)], dtype=torch.bool),
        labels=torch.tensor(labels or [0] * n, dtype=torch.int64),
    )


def logits_of(n: int, h: int = 4, w: int = 6, k: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, k, h, w, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def test_region_is_one_inside_whatever_the_number_of_instances():
    region, mask = matching_target(targets((4, 4, 23, 11), (30, 20, 49, 27)), (32, 64), shrink_ratio=1.0)
    assert region.unique().tolist() == [0, 1]
    assert float(region.sum()) == 2 * 20 * 8  # filling includes the outline
    assert float(mask.min()) == 1


def test_region_is_shrunk_by_whole_pixels():
    # 40 x 20: area 800 * (1 - 0.9^2) / perimeter 120 = 1.27, one pixel on each side.
    region, _ = matching_target(targets((10, 10, 50, 30)), (64, 64))
    rows, columns = region[0].nonzero().unbind(1)
    assert (int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())) == (11, 29, 11, 49)


def test_ignored_instances_are_neither_text_nor_background():
    region, mask = matching_target(targets((4, 4, 23, 11), (30, 20, 49, 27), ignore=(1,)), (32, 64), shrink_ratio=1.0)
    assert float(region.sum()) == 20 * 8
    assert float((1 - mask).sum()) == 20 * 8
    assert float(mask[23, 40]) == 0
    loss = MatchingLoss()
    logits = logits_of(1)
    legible_only = loss(logits, [targets((4, 4, 23, 11))], [(32, 64)], (32, 64))
    with_ignored = loss(logits, [targets((4, 4, 23, 11), (30, 20, 49, 27), ignore=(1,))], [(32, 64)], (32, 64))
    assert float(with_ignored.detach()) < float(legible_only.detach())
    (gradient,) = torch.autograd.grad(
        loss(logits, [targets((0, 0, 63, 15), (0, 16, 63, 31), ignore=(1,))], [(32, 64)], (32, 64)), logits
    )
    assert float(gradient[:, :, -1].abs().max()) == 0  # the bottom row of cells sees ignored pixels only


def test_classes_have_regions_of_their_own():
    region, _ = matching_target(targets((4, 4, 23, 11), (30, 20, 49, 27), labels=(2, 0)), (32, 64), num_classes=3)
    assert [bool(r.any()) for r in region] == [True, False, True]
    assert float(region[2, 8, 10]) == 1
    with pytest.raises(DataError, match=r"\[2\].*2 class"):
        matching_target(targets((4, 4, 23, 11), labels=(2,)), (32, 64), num_classes=2)
    one_class, _ = matching_target(targets((4, 4, 23, 11), labels=(2,)), (32, 64))
    assert float(one_class.sum()) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_two_equal_images_cost_what_one_costs(kind):
    loss = MatchingLoss(kind=kind)
    logits, target, size = logits_of(1), targets((4, 4, 40, 20)), (32, 48)
    one = loss(logits, [target], [size], size)
    two = loss(logits.repeat(2, 1, 1, 1), [target] * 2, [size] * 2, size)
    torch.testing.assert_close(two, one)
    assert float(one.detach()) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_no_image_influences_another(kind):
    loss = MatchingLoss(kind=kind)
    logits, size = logits_of(2), (32, 48)
    ground_truth = [targets((4, 4, 40, 20)), targets((0, 10, 20, 30))]
    gradients = []
    for second in (ground_truth[1], targets((10, 0, 40, 8)), TextTargets.empty()):
        (gradient,) = torch.autograd.grad(loss(logits, [ground_truth[0], second], [size] * 2, size), logits)
        gradients.append(gradient[0])
    for gradient in gradients[1:]:
        torch.testing.assert_close(gradient, gradients[0], rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_does_not_matter(kind):
    # The map of a 32 x 48 image in a 64 x 64 batch, away from the border where interpolation sees the padding.
    loss = MatchingLoss(kind=kind, shrink_ratio=1.0)
    inner, target = logits_of(1, 2, 3), targets((4, 4, 40, 20))
    padded = torch.nn.functional.pad(inner, (0, 1, 0, 2), mode="replicate")
    alone = loss(inner, [target], [(32, 48)], (32, 48))
    torch.testing.assert_close(loss(padded, [target], [(32, 48)], (64, 64)), alone)
    noisy = padded.clone()
    noisy[..., 3:, :] += 7.0  # this row is further than one cell from the image
    torch.testing.assert_close(loss(noisy, [target], [(32, 48)], (64, 64)), alone)


@pytest.mark.parametrize("kind", KINDS)
def test_images_without_text_are_finite(kind):
    loss = MatchingLoss(kind=kind)
    logits, size = logits_of(2), (32, 48)
    ignored = targets((4, 4, 40, 20), ignore=(0,))
    for ground_truth in ([TextTargets.empty()] * 2, [ignored] * 2, [targets((4, 4, 40, 20)), TextTargets.empty()]):
        value = loss(logits, ground_truth, [size] * 2, size)
        (gradient,) = torch.autograd.grad(value, logits)
        assert torch.isfinite(value) and torch.isfinite(gradient).all()
    assert float(gradient[0].abs().sum()) > 0


def test_empty_batch_and_degenerate_polygons():
    loss = MatchingLoss()
    nothing = logits_of(0)
    value = loss(nothing, [], [], (32, 48))
    value.backward()
    assert float(value.detach()) == 0
    point = targets((5, 5, 5, 5))
    point.polygons = [np.zeros((2, 2), np.float32)]
    assert float(loss(logits_of(1), [point], [(32, 48)], (32, 48)).detach()) == pytest.approx(1.0)


def test_weight_multiplies_and_better_maps_cost_less():
    target, size = targets((0, 0, 47, 15)), (32, 48)
    good = torch.full((1, 1, 2, 3), -6.0)
    good[:, :, 0] = 6.0
    light, heavy = (MatchingLoss(weight=weight)(good, [target], [size], size) for weight in (1.0, 2.0))
    torch.testing.assert_close(heavy, 2 * light)
    assert float(light) < 0.35 < 0.9 < float(MatchingLoss()(-good, [target], [size], size))


def test_loss_equals_dice_of_the_pieces():
    logits, target, size = logits_of(1, k=2), targets((4, 4, 23, 11), (30, 20, 49, 27), labels=(0, 1)), (32, 64)
    region, mask = matching_target(target, size, num_classes=2)
    expected = dice_loss(upsample_logits(logits, size)[0], region, mask.expand_as(region))
    torch.testing.assert_close(MatchingLoss()(logits, [target], [size], size), expected)


def test_upsample_and_pad():
    torch.testing.assert_close(
        upsample_logits(torch.tensor([[[[0.0, 4.0]]]]), (1, 4))[0, 0, 0], torch.tensor([0.0, 1.0, 3.0, 4.0])
    )
    padded = pad_to(torch.ones(2, 3, 4), (5, 4))
    assert padded.shape == (2, 5, 4)
    assert float(padded.sum()) == 24 and float(padded[:, 3:].sum()) == 0


def test_wrong_arguments_are_named():
    with pytest.raises(ConfigError, match="dice, balanced_bce, ohem_dice"):
        MatchingLoss(kind="focal")
    with pytest.raises(ConfigError, match="shrink ratio"):
        MatchingLoss(shrink_ratio=0.0)
