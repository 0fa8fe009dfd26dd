"""Parameter groups, optimiser and learning-rate schedule, all counted in iterations."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from fasttcm.engine.ranger import Ranger

__all__ = ["build_optimizer", "lr_factor", "parameter_groups"]

_NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LayerNorm,
)


def parameter_groups(
    model: nn.Module,
    *,
    base_lr: float,
    weight_decay: float,
    weight_decay_norm: float,
    lr_multipliers: Sequence[tuple[str, float]] = (),
) -> list[dict[str, object]]:
    """Trainable parameters grouped by learning rate and weight decay.

    Args:
        model: frozen parameters (``requires_grad`` False) are left out.
        base_lr: learning rate before the multiplier.
        weight_decay: of every parameter but those of normalisation layers.
        weight_decay_norm: of normalisation layers.
        lr_multipliers: (part of a parameter's name, factor); the first whose part occurs in the name applies.

    Returns:
        Groups of ``params``, ``lr``, ``weight_decay``, in the order of their first parameter.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    seen: set[int] = set()
    for prefix, module in model.named_modules():
        decay = weight_decay_norm if isinstance(module, _NORMS) else weight_decay
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            full_name = f"{prefix}.{name}"
            factor = next((f for part, f in lr_multipliers if part in full_name), 1.0)
            groups.setdefault((base_lr * factor, decay), []).append(parameter)
    return [{"params": params, "lr": lr, "weight_decay": decay} for (lr, decay), params in groups.items()]


def build_optimizer(
    groups: list[dict[str, object]], *, name: Literal["SGD", "Adam", "AdamW", "Ranger"], base_lr: float, momentum: float
) -> torch.optim.Optimizer:
    """One of PyTorch's optimisers, or Ranger, over :func:`parameter_groups`."""
    if name == "SGD":
        return torch.optim.SGD(groups, lr=base_lr, momentum=momentum)
    if name == "Ranger":
        return Ranger(groups, lr=base_lr)
    return {"Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}[name](groups, lr=base_lr)


def lr_factor(
    *,
    schedule: Literal["WarmupMultiStepLR", "WarmupCosineLR", "WarmupPolyLR"],
    max_iter: int,
    steps: Sequence[int],
    gamma: float,
    warmup_iters: int,
    warmup_factor: float,
    power: float = 0.9,
    period: int = 1,
) -> Callable[[int], float]:
    """The learning rate of an iteration as a fraction of the base rate, for ``LambdaLR``.

    A linear warm-up from ``warmup_factor`` to 1 multiplies either ``gamma`` per step passed, or half a cosine from 1
    at iteration 0 to 0 at ``max_iter``, or (1 - t / max_iter) ** power, where t is the first iteration of the current
    ``period`` (of an epoch, in the detectors' published schedules).
    """

    def factor(iteration: int) -> float:
        warmup = 1.0
        if iteration < warmup_iters:
            progress = iteration / warmup_iters
            warmup = warmup_factor * (1 - progress) + progress
        if schedule == "WarmupCosineLR":
            return warmup * 0.5 * (1 + math.cos(math.pi * min(iteration / max(max_iter, 1), 1.0)))
        if schedule == "WarmupPolyLR":
            return warmup * max(1 - iteration // period * period / max(max_iter, 1), 0.0) ** power
        return warmup * gamma ** sum(iteration >= step for step in steps)

    return factor


def build_scheduler(
    optimizer: torch.optim.Optimizer, factor: Callable[[int], float], *, min_lr: float = 0.0
) -> LambdaLR:
    """``LambdaLR`` over :func:`lr_factor`, stepped once an iteration.

    A group of rate r gets ``(r - min_lr) * factor + min_lr``: where the factor goes to 0, the rate goes to ``min_lr``.
    """

    def of_group(rate: float) -> Callable[[int], float]:
        least = min_lr / rate if rate else 0.0
        return lambda iteration: least + (1 - least) * factor(iteration)

    return LambdaLR(optimizer, [of_group(float(group["lr"])) for group in optimizer.param_groups])
