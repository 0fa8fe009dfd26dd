"""Ranger: rectified Adam on centralised gradients, with Lookahead (Wright and Demeure, 2021)."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from fasttcm.errors import ConfigError

__all__ = ["Ranger"]

_LEAST_LENGTH = 5.0
"""Below this length of the approximated average, the second moment says too little and is left out (RAdam)."""


class Ranger(torch.optim.Optimizer):
    """RAdam (Liu et al., ICLR 2020), gradient centralisation (Yong et al., ECCV 2020), Lookahead (Zhang et al., 2019).

    As TCM's detectors were trained (SPEC ``detectors`` 9): ``eps`` is added to the root of the plain (not the
    bias-corrected) second moment, the weight decay to the direction of the update, and every ``lookahead_steps`` steps
    the weights go back to the slow ones, which have moved by ``lookahead_alpha`` of the way. The slow weights are part
    of the state dict.

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        betas: decay of the first and second moment.
        eps: see above.
        weight_decay: see above.
        lookahead_steps: k.
        lookahead_alpha: in (0, 1]; 1 turns Lookahead off.

    Raises:
        ConfigError: an argument outside its range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.95, 0.999),
        eps: float = 1e-5,
        weight_decay: float = 0.0,
        lookahead_steps: int = 6,
        lookahead_alpha: float = 0.5,
    ) -> None:
        if lr < 0 or eps < 0 or weight_decay < 0 or not all(0 <= beta < 1 for beta in betas):
            raise ConfigError(
                f"Ranger needs lr, eps and weight_decay of at least 0 and betas in [0, 1), got {lr}, {eps}, "
                f"{weight_decay}, {betas}"
            )
        if lookahead_steps < 1 or not 0 < lookahead_alpha <= 1:
            raise ConfigError(
                f"Lookahead needs steps >= 1 and alpha in (0, 1], got {lookahead_steps}, {lookahead_alpha}"
            )
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults | {"lookahead_steps": lookahead_steps, "lookahead_alpha": lookahead_alpha})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One update; returns what ``closure``, which computes the gradients, returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            state["slow"] = parameter.clone(memory_format=torch.preserve_format)
        state["step"] += 1
        first, second = group["betas"]
        gradient = _centralised(gradient)
        state["exp_avg"].lerp_(gradient, 1 - first)
        state["exp_avg_sq"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        rectification = _rectification(state["step"], second)
        if rectification is None:
            direction, scale = state["exp_avg"], 1.0
        else:
            direction, scale = state["exp_avg"] / state["exp_avg_sq"].sqrt().add_(group["eps"]), rectification
        if group["weight_decay"]:
            direction = direction.add(parameter, alpha=group["weight_decay"])
        parameter.add_(direction, alpha=-group["lr"] * scale / (1 - first ** state["step"]))
        if state["step"] % group["lookahead_steps"] == 0:
            state["slow"].lerp_(parameter, group["lookahead_alpha"])
            parameter.copy_(state["slow"])


def _centralised(gradient: Tensor) -> Tensor:
    """A gradient of two or more axes without its mean over all but the first; others as they are."""
    if gradient.dim() < 2:
        return gradient
    return gradient - gradient.mean(dim=tuple(range(1, gradient.dim())), keepdim=True)


def _rectification(step: int, beta: float) -> float | None:
    """Factor of step t, with the bias correction of the second moment; ``None``: use the first moment alone."""
    longest = 2 / (1 - beta) - 1
    power = beta**step
    length = longest - 2 * step * power / (1 - power)
    if length <= _LEAST_LENGTH:
        return None
    ratio = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    return math.sqrt((1 - power) * ratio)
