"""Optimiser and schedule from ``SOLVER``, the same in both hosts."""

import torch
from fvcore.common.config import CfgNode
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from fasttcm.engine.optim import build_optimizer, build_scheduler, lr_factor, parameter_groups

__all__ = ["optimizer_of", "scheduler_of"]


def optimizer_of(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """``SOLVER.{OPTIMIZER,BASE_LR,MOMENTUM,WEIGHT_DECAY,WEIGHT_DECAY_NORM,LR_MULTIPLIERS}`` for ``model``."""
    solver = cfg.SOLVER
    groups = parameter_groups(
        model,
        base_lr=solver.BASE_LR,
        weight_decay=solver.WEIGHT_DECAY,
        weight_decay_norm=solver.WEIGHT_DECAY_NORM,
        lr_multipliers=[(str(part), float(factor)) for part, factor in solver.LR_MULTIPLIERS],
    )
    return build_optimizer(groups, name=solver.OPTIMIZER, base_lr=solver.BASE_LR, momentum=solver.MOMENTUM)


def scheduler_of(cfg: CfgNode, optimizer: torch.optim.Optimizer) -> LambdaLR:
    """The schedule of ``SOLVER.LR_SCHEDULER_NAME``, to be stepped once an iteration."""
    solver = cfg.SOLVER
    factor = lr_factor(
        schedule=solver.LR_SCHEDULER_NAME,
        max_iter=solver.MAX_ITER,
        steps=solver.STEPS,
        gamma=solver.GAMMA,
        warmup_iters=solver.WARMUP_ITERS,
        warmup_factor=solver.WARMUP_FACTOR,
        power=solver.POLY_POWER,
        period=solver.POLY_PERIOD,
    )
    return build_scheduler(optimizer, factor, min_lr=solver.MIN_LR)
