"""Gradient clipping inside ``optimizer.step``, for hosts whose loop has no place for it."""

from typing import Any, Literal

import torch
from torch import nn

__all__ = ["clip_before_step"]


def clip_before_step(
    optimizer: torch.optim.Optimizer, *, kind: Literal["value", "norm"], value: float
) -> torch.optim.Optimizer:
    """Clip all gradients of ``optimizer`` before each of its steps.

    Args:
        optimizer: changed in place and returned.
        kind: ``value`` clips every number to [-value, value], ``norm`` scales all gradients together down to that
            total L2 norm, as ``fasttcm train`` does.
        value: the limit.
    """

    def clip(stepped: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        parameters = [p for group in stepped.param_groups for p in group["params"] if p.grad is not None]
        if kind == "value":
            nn.utils.clip_grad_value_(parameters, value)
        else:
            nn.utils.clip_grad_norm_(parameters, value)

    optimizer.register_step_pre_hook(clip)
    return optimizer
