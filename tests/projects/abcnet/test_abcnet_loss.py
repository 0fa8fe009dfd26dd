import math

import pytest
import torch
from torch import Tensor

from fasttcm.losses import normalizer
from fasttcm.projects.abcnet.head import HeadOutput
from fasttcm.projects.abcnet.loss import DetectionLoss, recognition_loss
from fasttcm.projects.abcnet.targets import DenseTargets, ctrness_target

CELLS = 4


def output(seed: int = 0, images: int = 1) -> HeadOutput:
    """One level of 2 x 2 cells."""
    generator = torch.Generator().manual_seed(seed)

    def draw(channels: int) -> Tensor:
        return torch.randn(images, channels, 2, 2, generator=generator).requires_grad_()

    return HeadOutput([draw(1)], [draw(1)], [draw(4).detach().abs().requires_grad_()], [draw(16)], (8,))


def dense(positive: tuple[int, ...], ignored: tuple[int, ...] = (), cells: int = CELLS) -> DenseTargets:
    generator = torch.Generator().manual_seed(9)
    labels = torch.ones(cells, dtype=torch.int64)
    labels[list(positive)] = 0
    mask = torch.zeros(cells, dtype=torch.bool)
    mask[list(ignored)] = True
    return DenseTargets(
        labels,
        torch.rand(cells, 4, generator=generator) + 0.5,
        torch.randn(cells, 16, generator=generator),
        mask,
    )


def total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


def test_losses_of_one_location_by_hand():
    predictions = HeadOutput(
        [torch.zeros(1, 1, 1, 1)],
        [torch.zeros(1, 1, 1, 1)],
        [torch.tensor([2.0, 1, 2, 1]).reshape(1, 4, 1, 1)],
        [torch.full((1, 16, 1, 1), 2.0)],
        (8,),
    )
    targets = DenseTargets(
        torch.tensor([0]), torch.tensor([[1.0, 2, 4, 8]]), torch.full((1, 16), 0.5), torch.tensor([False])
    )
    losses = DetectionLoss()(predictions, targets)
    # prediction 4 x 2, target 5 x 10: intersection 3 x 2, hull 6 x 10; centre-ness 0.25 cancels in loc and bezier
    assert losses["loss_fcos_loc"].item() == pytest.approx(1 - (7 / 53 - (60 - 52) / 60), rel=1e-5)
    assert losses["loss_fcos_bezier"].item() == pytest.approx(1.0)  # smooth L1 of 1.5 is 1.5 - 0.5
    assert losses["loss_fcos_ctr"].item() == pytest.approx(math.log(2))
    assert losses["loss_fcos_cls"].item() == pytest.approx(0.25 * 0.25 * math.log(2))


def test_curves_count_by_the_centreness_of_their_location():
    targets = dense((0, 3))
    predictions = output()
    centre = ctrness_target(targets.reg[[0, 3]])
    values = predictions.beziers[0][0].permute(1, 2, 0).reshape(-1, 16)[[0, 3]]
    errors = torch.nn.functional.smooth_l1_loss(values, targets.beziers[[0, 3]], reduction="none").mean(1)
    expected = (errors * centre).sum() / centre.sum()
    torch.testing.assert_close(DetectionLoss()(predictions, targets)["loss_fcos_bezier"], expected)


def test_without_positives_only_the_class_loss_remains_and_all_gradients_exist():
    predictions = output()
    losses = DetectionLoss()(predictions, dense(()))
    assert [losses[k].item() for k in ("loss_fcos_loc", "loss_fcos_ctr", "loss_fcos_bezier")] == [0, 0, 0]
    assert losses["loss_fcos_cls"].item() > 0
    total(losses).backward()
    assert all(x[0].grad is not None for x in (predictions.ctrness, predictions.reg, predictions.beziers))
    assert predictions.logits[0].grad.abs().min() > 0


def test_ignored_locations_have_no_class_loss():
    predictions = output()
    losses = DetectionLoss()(predictions, dense((0,), ignored=(2,)))
    losses["loss_fcos_cls"].backward()
    assert (predictions.logits[0].grad.flatten() == 0).tolist() == [False, False, True, False]


def test_everything_ignored_is_finite():
    predictions = output()
    losses = DetectionLoss()(predictions, dense((), ignored=(0, 1, 2, 3)))
    assert total(losses).item() == 0
    total(losses).backward()
    assert predictions.logits[0].grad.abs().sum() == 0


def spread_over_processes(monkeypatch, other: list[Tensor]) -> None:
    """Pretend to be one of two processes; the other contributes these counts, call by call."""
    calls = iter(other)
    monkeypatch.setattr(normalizer.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(normalizer.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(normalizer.distributed, "all_reduce", lambda tensor: tensor.add_(next(calls)))


@pytest.mark.parametrize("positives", [((0, 1, 3), (2,)), ((0, 2), ()), ((), ())])
def test_mean_over_processes_is_the_loss_of_the_joint_batch(monkeypatch, positives):
    criterion = DetectionLoss()
    parts = [(output(seed), dense(chosen)) for seed, chosen in enumerate(positives)]
    names = ("logits", "ctrness", "reg", "beziers")
    joint_output = HeadOutput(*([torch.cat([getattr(p, n)[0] for p, _ in parts])] for n in names), (8,))
    fields = ("labels", "reg", "beziers", "ignored")
    joint_targets = DenseTargets(*(torch.cat([getattr(t, n) for _, t in parts]) for n in fields))
    joint = criterion(joint_output, joint_targets)
    counts = []
    for _, targets in parts:
        reg = targets.reg[targets.labels == 0]
        counts.append(torch.stack([torch.tensor(float(len(reg))), ctrness_target(reg).sum()]))
    shares = []
    for rank, (predictions, targets) in enumerate(parts):
        with monkeypatch.context() as patch:
            spread_over_processes(patch, [counts[1 - rank]])
            shares.append(criterion(predictions, targets))
    for name, value in joint.items():
        torch.testing.assert_close((shares[0][name] + shares[1][name]) / 2, value, msg=name)


def uniform_log_probs(n: int, steps: int, classes: int) -> Tensor:
    return torch.full((n, steps, classes), -math.log(classes))


def test_recognition_loss_sums_steps_and_averages_regions():
    targets = torch.tensor([[0, 1, 3, 3], [2, 3, 3, 3], [0, 0, 0, 0]])
    loss = recognition_loss(uniform_log_probs(3, 4, 4), targets, end=3)
    assert loss.item() == pytest.approx(4 * math.log(4))


def test_padding_after_the_first_end_can_weigh_less():
    targets = torch.tensor([[0, 1, 3, 3], [0, 0, 0, 0]])
    loss = recognition_loss(uniform_log_probs(2, 4, 4), targets, end=3, pad_weight=0.25)
    assert loss.item() == pytest.approx(((3 + 0.25) + 4) / 2 * math.log(4))


def test_recognition_loss_of_nothing_is_zero():
    nothing = torch.zeros(0, 4, 5, requires_grad=True)
    loss = recognition_loss(nothing, torch.zeros(0, 4, dtype=torch.int64), end=3)
    loss.backward()
    assert loss.item() == 0


def test_recognition_loss_counts_the_regions_of_all_processes(monkeypatch):
    targets = torch.tensor([[0, 1], [1, 1]])
    log_probs = torch.randn(2, 2, 4).log_softmax(2)
    joint = recognition_loss(log_probs, targets, end=3)
    spread_over_processes(monkeypatch, [torch.tensor(0.0), torch.tensor(2.0)])
    reading = recognition_loss(log_probs, targets, end=3)
    idle = recognition_loss(log_probs[:0], targets[:0], end=3)
    torch.testing.assert_close((reading + idle) / 2, joint)
