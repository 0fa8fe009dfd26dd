import pytest
import torch
from torchvision.ops import generalized_box_iou

from fasttcm.losses.focal import sigmoid_focal_loss
from fasttcm.losses.set_losses import box_giou, focal_set_loss, giou_set_loss, l1_set_loss, take_matched


def boxes(count: int, seed: int) -> torch.Tensor:
    corners = torch.rand(count, 2, 2, generator=torch.Generator().manual_seed(seed)).sort(1).values
    return corners.reshape(count, 4)


def test_giou_of_all_pairs_and_of_single_ones_is_torchvisions():
    first, second = boxes(5, 0), boxes(4, 1)
    expected = generalized_box_iou(first, second)
    torch.testing.assert_close(box_giou(first[:, None], second), expected)
    torch.testing.assert_close(box_giou(first[:4], second), expected[:4].diagonal())


def test_giou_of_boxes_without_area_is_finite_with_finite_gradients():
    point, line = torch.tensor([[0.5, 0.5, 0.5, 0.5]]), torch.tensor([[0.2, 0.5, 0.8, 0.5]])
    assert box_giou(point, point).item() == 0
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    assert box_giou(point, whole).item() == pytest.approx(0) and box_giou(line, whole).item() == pytest.approx(0)
    learned = point.clone().requires_grad_()
    giou_set_loss(learned, line, 1.0).backward()
    assert torch.isfinite(learned.grad).all()


def test_focal_loss_sums_over_predictions_and_averages_over_their_points():
    logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    matched = [torch.tensor([2]), torch.tensor([], dtype=torch.int64)]
    loss = focal_set_loss(logits, matched, 0.25, 2.0, 5.0)
    total = sum(
        float(sigmoid_focal_loss(logits[b, q], torch.full((4,), float((b, q) == (0, 2))))) / 4
        for b in range(2)
        for q in range(3)
    )
    assert loss.item() == pytest.approx(total / 5, rel=1e-5)


def test_matched_predictions_come_image_after_image():
    values = torch.arange(12).view(2, 3, 2)
    rows = [torch.tensor([2, 0]), torch.tensor([1])]
    assert take_matched(values, rows).tolist() == [[4, 5], [0, 1], [8, 9]]


def test_distances_are_summed_and_divided_by_the_count():
    pred, target = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0.0, 4.0], [3.0, 1.0]])
    assert l1_set_loss(pred, target, 2.0).item() == 3.0


def test_losses_of_nothing_are_zero_and_connected():
    pred = torch.zeros(0, 4, requires_grad=True)
    total = l1_set_loss(pred, torch.zeros(0, 4), 1.0) + giou_set_loss(pred, torch.zeros(0, 4), 1.0)
    total.backward()
    assert total.item() == 0 and pred.grad is not None
