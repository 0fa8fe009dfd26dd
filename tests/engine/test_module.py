"""The training step alone, without a trainer."""

from types import SimpleNamespace

import pytest
import torch
from tiny import sample, tiny_config
from torch import Tensor, nn

from fasttcm.engine.module import TrainingModule
from fasttcm.errors import FastTCMError


class Linear(nn.Module):
    """Two losses that are linear in one weight, so that every expected value can be worked out by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))

    def forward(self, batch: list[dict[str, object]]) -> dict[str, Tensor]:
        return {"loss_a": 3 * self.weight, "loss_b": self.weight / torch.tensor(float(len(batch) - 1))}


def module(monkeypatch: pytest.MonkeyPatch, **changes: object) -> TrainingModule:
    built = TrainingModule(Linear(), tiny_config(**changes))
    monkeypatch.setattr(built, "log", lambda *a, **k: None)
    monkeypatch.setattr(built, "log_dict", lambda *a, **k: None)
    built._trainer = SimpleNamespace(global_step=7)  # type: ignore[assignment]
    return built


def test_losses_are_added_and_reported_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = module(monkeypatch).training_step([sample(seed=1), sample(seed=2), sample(seed=3)], 0)
    assert {name: value.item() for name, value in outputs.items()} == {"loss": 7.0, "loss_a": 6.0, "loss_b": 1.0}
    assert outputs["loss"].requires_grad and not outputs["loss_a"].requires_grad


def test_a_loss_that_is_not_finite_names_itself_the_iteration_and_the_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FastTCMError, match=r"iteration \d+: loss_b is not finite on 4\.png \(id 4\).*--resume"):
        module(monkeypatch).training_step([sample(seed=4)], 0)


def test_a_gradient_that_is_not_finite_is_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    for precision, stops in (("fp32", True), ("fp16", False)):
        built = module(monkeypatch, SOLVER__PRECISION=precision)
        (optimizer,), _ = built.configure_optimizers()
        built.training_step([sample(seed=4), sample(seed=5)], 0)
        built.model.weight.grad = torch.tensor(1.0)
        built.on_before_optimizer_step(optimizer)
        built.model.weight.grad = torch.tensor(float("nan"))
        if stops:
            with pytest.raises(FastTCMError, match=r"the gradient is not finite on 4\.png \(id 4\), 5\.png \(id 5\)"):
                built.on_before_optimizer_step(optimizer)
        else:
            built.on_before_optimizer_step(optimizer)  # the scaler of fp16 looks after it


def test_the_moving_average_is_what_gets_deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = module(monkeypatch)
    assert plain.deployed is plain.model
    averaged = module(monkeypatch, SOLVER__EMA__ENABLED=True, SOLVER__EMA__DECAY=0.75)
    averaged.ema.update_parameters(averaged.model)  # the first update copies
    with torch.no_grad():
        averaged.model.weight.fill_(6.0)
    averaged.ema.update_parameters(averaged.model)
    assert averaged.deployed.weight.item() == pytest.approx(0.75 * 2.0 + 0.25 * 6.0)
    assert not any(p.requires_grad for p in averaged.ema.parameters())
