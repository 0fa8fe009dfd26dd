import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttcm.losses.balanced_bce import balanced_bce_loss
from fasttcm.losses.dice import dice_loss, squared_dice_loss
from fasttcm.losses.ohem import ohem_dice_loss, ohem_mask

LOSSES = (dice_loss, squared_dice_loss, balanced_bce_loss, ohem_dice_loss)


def log_odds(*probabilities: float) -> torch.Tensor:
    return torch.logit(torch.tensor([probabilities]))


def test_dice_by_hand():
    # p = .5 .2 .8, t = 1 0 1: overlap 1.3, sums 1.5 and 2.
    value = dice_loss(log_odds(0.5, 0.2, 0.8), torch.tensor([[1.0, 0.0, 1.0]]))
    assert float(value) == pytest.approx(1 - 2.6 / 3.5, abs=1e-6)
    # Without the last element: overlap .5, sums .7 and 1.
    masked = dice_loss(log_odds(0.5, 0.2, 0.8), torch.tensor([[1.0, 0.0, 1.0]]), torch.tensor([[1.0, 1.0, 0.0]]))
    assert float(masked) == pytest.approx(1 - 1.0 / 1.7, abs=1e-6)


def test_squared_dice_by_hand():
    logits = torch.cat([log_odds(0.5, 0.2), log_odds(0.9, 0.1)])
    target = torch.tensor([[0.6, 0.0], [0.0, 0.4]])  # made binary at 0.5
    first = 1 - 2 * (0.5 + 1e-3) / (0.29 + 1.0 + 2e-3)
    second = 1 - 2 * 1e-3 / (0.82 + 2e-3)
    assert float(squared_dice_loss(logits, target)) == pytest.approx((first + second) / 2, abs=1e-6)


def test_balanced_bce_keeps_the_hardest_negatives():
    # One positive, so three of the five negatives count: those of probability .9, .8 and .7.
    logits = log_odds(0.5, 0.9, 0.1, 0.8, 0.2, 0.7)
    target = torch.tensor([[1.0, 0, 0, 0, 0, 0]])
    expected = -(math.log(0.5) + math.log(0.1) + math.log(0.2) + math.log(0.3)) / 4
    assert float(balanced_bce_loss(logits, target)) == pytest.approx(expected, abs=1e-5)
    # With the hardest one masked out: .8, .7, .2.
    mask = torch.tensor([[1.0, 0, 1, 1, 1, 1]])
    expected = -(math.log(0.5) + math.log(0.2) + math.log(0.3) + math.log(0.8)) / 4
    assert float(balanced_bce_loss(logits, target, mask)) == pytest.approx(expected, abs=1e-5)
    one_each = -(math.log(0.5) + math.log(0.1)) / 2
    assert float(balanced_bce_loss(logits, target, negative_ratio=1.0)) == pytest.approx(one_each, abs=1e-5)


def test_ohem_mask_by_hand():
    # One text element that counts, so the three highest of the non-text ones set the threshold 2; one is masked out.
    logits = torch.tensor([[0.0, 4.0, 3.0, 2.0, 1.0]])
    target = torch.tensor([[1.0, 0, 0, 0, 0]])
    mask = torch.tensor([[1.0, 0, 1, 1, 1]])
    assert ohem_mask(logits, target, mask).tolist() == [[True, False, True, True, False]]
    # No text that counts: everything that counts.
    assert ohem_mask(logits, target, 1 - target).tolist() == [[False, True, True, True, True]]
    assert ohem_mask(logits, torch.zeros(1, 5), mask).tolist() == [[True, False, True, True, True]]
    assert ohem_mask(logits, torch.ones(1, 5), mask).tolist() == [[True, False, True, True, True]]


def test_ohem_is_per_image():
    logits, target = torch.randn(2, 4, 5), torch.zeros(2, 4, 5)
    target[0, :2, 0] = 1
    mask = torch.ones(2, 4, 5)
    chosen = ohem_mask(logits, target, mask)
    assert int(chosen[0].sum()) == 8 and bool(chosen[1].all())
    terms = [ohem_dice_loss(logits[i : i + 1], target[i : i + 1], mask[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(ohem_dice_loss(logits, target, mask), torch.stack(terms).mean())


@pytest.mark.parametrize("loss", LOSSES)
def test_broadcasting_is_refused(loss):
    # (N, 1, H, W) against (N, H, W) silently mixes images in the published code.
    with pytest.raises(ValueError, match=r"\(2, 1, 3, 3\), \(2, 3, 3\)"):
        loss(torch.zeros(2, 1, 3, 3), torch.zeros(2, 3, 3), torch.ones(2, 3, 3))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shape", [(0, 3, 3), (2, 3, 3)], ids=["no image", "no text"])
def test_nothing_to_find_is_finite(loss, shape):
    logits = torch.randn(shape, requires_grad=True)
    for mask in (torch.ones(shape), torch.zeros(shape)):
        value = loss(logits, torch.zeros(shape), mask)
        (gradient,) = torch.autograd.grad(value, logits)
        assert torch.isfinite(value) and torch.isfinite(gradient).all()


@pytest.mark.parametrize("loss", LOSSES)
@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000))
def test_masked_pixels_get_no_gradient_and_a_step_down_helps(loss, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(1, 6, 7, generator=generator).requires_grad_()
    target = (torch.rand(1, 6, 7, generator=generator) > 0.7).float()
    target[0, 0, 0] = 1
    mask = (torch.rand(1, 6, 7, generator=generator) > 0.3).float()
    mask[0, 0, 0] = 1
    value = loss(logits, target, mask)
    (gradient,) = torch.autograd.grad(value, logits)
    assert float((gradient * (1 - mask)).abs().max()) == 0
    assert float(gradient.abs().max()) > 0
    stepped = (logits - 1e-3 * gradient / gradient.norm()).detach()
    assert float(loss(stepped, target, mask)) < float(value.detach())


@pytest.mark.parametrize("loss", LOSSES)
def test_half_precision_is_computed_in_float32(loss):
    logits = torch.randn(2, 8, 8).half()
    target = (torch.rand(2, 8, 8) > 0.5).half()
    value = loss(logits, target, torch.ones_like(target))
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(logits.float(), target.float(), torch.ones(2, 8, 8)))
