import math

import pytest
import torch
from torch import nn

from fasttcm.engine.optim import build_optimizer, build_scheduler, lr_factor, parameter_groups


def model() -> nn.Module:
    net = nn.ModuleDict(
        {
            "backbone": nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)),
            "head": nn.Linear(2, 3),
            "text": nn.Linear(3, 3),
        }
    )
    net["text"].requires_grad_(False)
    return net


def test_groups_have_their_rate_and_decay_and_each_trainable_parameter_once() -> None:
    net = model()
    groups = parameter_groups(
        net, base_lr=0.1, weight_decay=0.01, weight_decay_norm=0.0, lr_multipliers=[("backbone", 0.5), ("head", 2.0)]
    )
    named = {id(p): name for name, p in net.named_parameters()}
    table = {named[id(p)]: (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    assert table == {
        "backbone.0.weight": (0.05, 0.01),
        "backbone.0.bias": (0.05, 0.01),
        "backbone.1.weight": (0.05, 0.0),
        "backbone.1.bias": (0.05, 0.0),
        "head.weight": (0.2, 0.01),
        "head.bias": (0.2, 0.01),
    }
    assert sum(len(g["params"]) for g in groups) == len(table)


def test_shared_parameters_are_listed_once() -> None:
    net = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    net[1].weight = net[0].weight
    groups = parameter_groups(net, base_lr=1.0, weight_decay=0.0, weight_decay_norm=0.0)
    assert sum(len(g["params"]) for g in groups) == 3


@pytest.mark.parametrize(
    ("iteration", "expected"),
    [(0, 0.1), (5, 0.55), (9, 0.91), (10, 1.0), (19, 1.0), (20, 0.5), (30, 0.25), (99, 0.25)],
)
def test_multistep_with_warmup(iteration: int, expected: float) -> None:
    factor = lr_factor(
        schedule="WarmupMultiStepLR", max_iter=100, steps=[20, 30], gamma=0.5, warmup_iters=10, warmup_factor=0.1
    )
    assert factor(iteration) == pytest.approx(expected)


def test_cosine_goes_from_one_to_zero() -> None:
    factor = lr_factor(schedule="WarmupCosineLR", max_iter=100, steps=[], gamma=1, warmup_iters=0, warmup_factor=1.0)
    assert [factor(i) for i in (0, 50, 100, 200)] == pytest.approx([1.0, 0.5, 0.0, 0.0])
    assert factor(25) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_schedule_scales_every_group(name: str) -> None:
    groups = parameter_groups(
        model(), base_lr=0.1, weight_decay=0.0, weight_decay_norm=0.0, lr_multipliers=[("head", 2.0)]
    )
    optimizer = build_optimizer(groups, name=name, base_lr=0.1, momentum=0.9)
    scheduler = build_scheduler(optimizer, lambda iteration: 0.5**iteration)
    before = [g["lr"] for g in optimizer.param_groups]
    optimizer.step()
    scheduler.step()
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([lr / 2 for lr in before])
    assert len(set(before)) == 2 and type(optimizer).__name__ == name
    assert torch.is_tensor(optimizer.param_groups[0]["params"][0])
