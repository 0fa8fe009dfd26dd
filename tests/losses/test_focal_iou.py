import math

import pytest
import torch
from reference import golden

from fasttcm.losses.focal import class_focal_loss, sigmoid_focal_loss
from fasttcm.losses.iou import giou_loss_ltrb, iou_ltrb


def test_focal_loss_of_even_odds_by_hand():
    # p = 0.5: positive 0.25 * 0.25 * ln 2, negative 0.75 * 0.25 * ln 2
    loss = sigmoid_focal_loss(torch.zeros(2), torch.tensor([1.0, 0.0]))
    assert float(loss) == pytest.approx(0.25 * math.log(2))


def test_focal_loss_with_gamma_zero_is_weighted_cross_entropy():
    logits = torch.tensor([1.5, -0.5])
    loss = sigmoid_focal_loss(logits, torch.tensor([1.0, 0.0]), alpha=0.5, gamma=0.0)
    expected = 0.5 * (math.log1p(math.exp(-1.5)) + math.log1p(math.exp(-0.5)))
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_background_label_is_negative_for_every_class():
    logits = torch.randn(4, 3)
    labels = torch.tensor([0, 2, 3, 3])
    one_hot = torch.tensor([[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]])
    torch.testing.assert_close(class_focal_loss(logits, labels), sigmoid_focal_loss(logits, one_hot))


def test_focal_loss_of_nothing_is_zero_and_half_precision_is_computed_in_single():
    assert float(class_focal_loss(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))) == 0
    assert sigmoid_focal_loss(torch.zeros(2).bfloat16(), torch.ones(2)).dtype == torch.float32


@pytest.mark.golden
def test_abcnet_iou_and_giou_match_the_published_loss():
    figures = golden("abcnet", "abcnet_operators")
    pred, target = torch.from_numpy(figures["iou.pred"]), torch.from_numpy(figures["iou.target"])
    iou, giou = iou_ltrb(pred, target)
    torch.testing.assert_close(iou, torch.from_numpy(figures["iou.iou"]), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(giou, torch.from_numpy(figures["iou.giou"]), atol=1e-6, rtol=1e-5)
    loss = giou_loss_ltrb(pred, target, torch.arange(len(pred)).float())
    assert float(loss) == pytest.approx(sum(i * (1 - float(g)) for i, g in enumerate(figures["iou.giou"])), rel=1e-5)


def test_giou_loss_of_equal_boxes_is_zero_and_of_disjoint_shapes_by_hand():
    box = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    assert float(giou_loss_ltrb(box, box)) == pytest.approx(0.0, abs=1e-6)
    # wide 4 x 2 against tall 2 x 4: intersection 4, union 12, hull 16
    wide, tall = torch.tensor([[2.0, 1, 2, 1]]), torch.tensor([[1.0, 2, 1, 2]])
    assert float(giou_loss_ltrb(wide, tall)) == pytest.approx(1 - (5 / 13 - 4 / 16), rel=1e-6)


def test_giou_of_empty_boxes_is_finite_with_finite_gradient():
    pred = torch.zeros(1, 4, requires_grad=True)
    loss = giou_loss_ltrb(pred, torch.zeros(1, 4))
    loss.backward()
    assert loss.item() == 0 and torch.isfinite(pred.grad).all()


def test_giou_loss_of_nothing_is_zero_and_connected():
    pred = torch.zeros(0, 4, requires_grad=True)
    loss = giou_loss_ltrb(pred, torch.zeros(0, 4))
    loss.backward()
    assert loss.item() == 0 and pred.grad.shape == (0, 4)
