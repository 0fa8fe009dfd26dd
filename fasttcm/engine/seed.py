"""Random numbers of training as a function of seed, iteration and process, in every host."""

import torch

__all__ = ["seed_iteration"]

_STRIDE = 1_000_003
"""Prime that keeps the random streams of neighbouring seeds apart."""


def seed_iteration(seed: int, iteration: int, *, rank: int = 0, world_size: int = 1) -> None:
    """Seed PyTorch for one iteration, so that a resumed run repeats what an uninterrupted one does."""
    torch.manual_seed((seed * _STRIDE + iteration) * world_size + rank)
