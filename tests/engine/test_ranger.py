"""Ranger against steps computed by hand, and the polynomial schedule it is used with."""

import io
import math

import pytest
import torch
from torch import nn

from fasttcm.engine.optim import build_optimizer, build_scheduler, lr_factor
from fasttcm.engine.ranger import Ranger
from fasttcm.errors import ConfigError

LR, DECAY, EPS, BETAS = 0.1, 0.01, 1e-5, (0.95, 0.999)


def by_hand(start: float, gradients: list[float], steps: int) -> list[float]:
    """One number under RAdam and Lookahead, in plain arithmetic."""
    weight = slow = start
    m = v = 0.0
    path = []
    longest = 2 / (1 - BETAS[1]) - 1
    for t in range(1, steps + 1):
        g = gradients[(t - 1) % len(gradients)]
        m = BETAS[0] * m + (1 - BETAS[0]) * g
        v = BETAS[1] * v + (1 - BETAS[1]) * g * g
        length = longest - 2 * t * BETAS[1] ** t / (1 - BETAS[1] ** t)
        if length > 5:
            r = math.sqrt(
                (1 - BETAS[1] ** t) * (length - 4) / (longest - 4) * (length - 2) / length * longest / (longest - 2)
            )
            direction = m / (math.sqrt(v) + EPS)
        else:
            r, direction = 1.0, m
        weight -= LR * r / (1 - BETAS[0] ** t) * (direction + DECAY * weight)
        if t % 6 == 0:
            slow += 0.5 * (weight - slow)
            weight = slow
        path.append(weight)
    return path


def test_a_number_follows_the_steps_computed_by_hand() -> None:
    weight = nn.Parameter(torch.tensor([1.5], dtype=torch.float64))
    optimizer = Ranger([weight], lr=LR, weight_decay=DECAY)
    gradients = [0.3, -0.7, 1.1]
    path = []
    for t in range(15):  # the rectified part begins at step 6
        weight.grad = torch.tensor([gradients[t % 3]], dtype=torch.float64)
        optimizer.step()
        path.append(weight.item())
    assert path == pytest.approx(by_hand(1.5, gradients, 15), rel=1e-12)


def test_the_first_step_is_momentum_on_the_centralised_gradient() -> None:
    weight = nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    bias = nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = Ranger([weight, bias], lr=LR)
    weight.grad, bias.grad = torch.tensor([[1.0, 3.0], [0.0, 5.0]]), torch.tensor([1.0, 3.0])
    optimizer.step()
    torch.testing.assert_close(weight.data, torch.tensor([[1.1, 1.9], [3.25, 3.75]]))
    torch.testing.assert_close(bias.data, torch.tensor([0.9, 1.7]))


def test_a_saved_state_continues_exactly_also_between_two_lookaheads() -> None:
    def run(stop: int | None) -> torch.Tensor:
        torch.manual_seed(0)
        net = nn.Linear(3, 2)
        optimizer = Ranger(net.parameters(), lr=0.01, weight_decay=0.1)
        for t in range(14):
            if t == stop:
                file = io.BytesIO()
                torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, file)
                file.seek(0)
                state = torch.load(file, weights_only=True)
                net = nn.Linear(3, 2)
                net.load_state_dict(state["net"])
                optimizer = Ranger(net.parameters(), lr=0.5)
                optimizer.load_state_dict(state["optimizer"])
            optimizer.zero_grad()
            net(torch.full((1, 3), float(t))).square().sum().backward()
            optimizer.step()
        return net.weight.data

    assert torch.equal(run(None), run(9))


def test_parameters_without_gradient_stay_and_a_closure_returns_its_loss() -> None:
    used, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = build_optimizer([{"params": [used, unused]}], name="Ranger", base_lr=0.1, momentum=0.9)

    def closure() -> torch.Tensor:
        loss = used.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 2.0
    assert torch.equal(unused.data, torch.ones(2)) and not torch.equal(used.data, torch.ones(2))


@pytest.mark.parametrize(
    "wrong", [{"lr": -1.0}, {"betas": (1.0, 0.9)}, {"eps": -1.0}, {"lookahead_steps": 0}, {"lookahead_alpha": 0.0}]
)
def test_wrong_arguments_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Ranger([nn.Parameter(torch.ones(1))], **wrong)


def test_polynomial_decay_by_epoch_to_the_least_rate() -> None:
    parameters = [nn.Parameter(torch.ones(1)) for _ in range(2)]
    groups = [{"params": [parameters[0]], "lr": 1e-3}, {"params": [parameters[1]], "lr": 1e-4}]
    optimizer = build_optimizer(groups, name="Ranger", base_lr=1e-3, momentum=0.0)
    factor = lr_factor(
        schedule="WarmupPolyLR", max_iter=40, steps=[], gamma=1, warmup_iters=0, warmup_factor=1, power=0.9, period=4
    )
    scheduler = build_scheduler(optimizer, factor, min_lr=1e-7)
    for iteration in range(40):
        epoch = iteration // 4
        expected = [(base - 1e-7) * (1 - epoch / 10) ** 0.9 + 1e-7 for base in (1e-3, 1e-4)]
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(expected)
        optimizer.step()
        scheduler.step()
    assert factor(400) == 0.0
