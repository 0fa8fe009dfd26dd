"""What a loss is divided by when several processes share a batch."""

import torch
from torch import Tensor, distributed

__all__ = ["process_share"]


def process_share(local: Tensor, least: Tensor | float) -> Tensor:
    """A normaliser for losses whose gradients DDP averages: the sum over W processes, at least ``least``, over W.

    A process divides its own sum of losses by it; the mean over the processes is then the sum of all losses divided
    by the joint count. Every process must call it, also one without any text.

    Args:
        local: this process's counts, any shape.
        least: lower bound of the joint counts.
    """
    total = local.detach().clone()
    processes = 1
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(total)
        processes = distributed.get_world_size()
    return torch.maximum(total, torch.as_tensor(least).to(total)) / processes
