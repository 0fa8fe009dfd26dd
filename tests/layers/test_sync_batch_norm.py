import copy
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from fasttcm.layers.sync_batch_norm import SyncBatchNorm2d, convert_sync_batchnorm

CHANNELS = 3
IMAGES_PER_PROCESS = (1, 3)
"""Processes of different size: a plain mean of their statistics would be wrong."""
MOMENTA = (0.1, None)


def joint_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Images and the weights of a loss that is not symmetric in them."""
    generator = torch.Generator().manual_seed(0)
    shape = (sum(IMAGES_PER_PROCESS), CHANNELS, 4, 5)
    return 3 + 2 * torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def build(kind: type[nn.BatchNorm2d], momentum: float | None) -> nn.BatchNorm2d:
    norm = kind(CHANNELS, momentum=momentum)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
        norm.bias.copy_(torch.tensor([0.1, 0.0, -0.3]))
    return norm


def run(norm: nn.BatchNorm2d, images: torch.Tensor, weights: torch.Tensor) -> dict[str, torch.Tensor]:
    """Two training steps' statistics; output and gradients of the second."""
    norm(images + 1)
    images = images.clone().requires_grad_()
    output = norm(images)
    (output.square() * weights).sum().backward()
    return {
        "output": output.detach(),
        "images": images.grad,
        "weight": norm.weight.grad,
        "bias": norm.bias.grad,
        "running_mean": norm.running_mean,
        "running_var": norm.running_var,
        "eval": norm.eval()(images).detach(),
    }


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=len(IMAGES_PER_PROCESS)
    )
    images, weights = (part.split(IMAGES_PER_PROCESS)[rank] for part in joint_batch())
    results = [run(build(SyncBatchNorm2d, momentum), images, weights) for momentum in MOMENTA]
    empty = build(SyncBatchNorm2d, 0.1)
    images, weights = (part if rank else part[:0] for part in joint_batch())  # the first process has no image at all
    torch.save([*results, run(empty, images, weights)], f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_compute_what_one_computes_on_the_joint_batch(tmp_path: Path):
    mp.start_processes(worker, args=(str(tmp_path),), nprocs=len(IMAGES_PER_PROCESS), start_method="spawn")
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(len(IMAGES_PER_PROCESS))]
    for case, momentum in enumerate((*MOMENTA, 0.1)):
        expected = run(build(nn.BatchNorm2d, momentum), *joint_batch())
        parts = [rank[case] for rank in ranks]
        for name in ("output", "images", "eval"):
            torch.testing.assert_close(torch.cat([part[name] for part in parts]), expected[name], msg=name)
        for name in ("weight", "bias"):
            torch.testing.assert_close(sum(part[name] for part in parts), expected[name], msg=name)
        for name in ("running_mean", "running_var"):
            for part in parts:
                torch.testing.assert_close(part[name], expected[name], msg=name)


def test_one_process_is_plain_batch_norm():
    ours, plain = (run(build(kind, 0.1), *joint_batch()) for kind in (SyncBatchNorm2d, nn.BatchNorm2d))
    for name in plain:
        torch.testing.assert_close(ours[name], plain[name], rtol=0, atol=0)


def test_conversion_keeps_names_parameters_and_modes():
    class Frozen(nn.BatchNorm2d):
        pass

    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Sequential(nn.BatchNorm2d(3).eval(), Frozen(3)))
    model[1].weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    weight = model[1].weight
    converted = convert_sync_batchnorm(model)
    assert converted is model
    assert [type(m) for m in (model[1], model[2][0], model[2][1])] == [SyncBatchNorm2d, SyncBatchNorm2d, Frozen]
    assert model[1].weight is weight and not weight.requires_grad
    assert model[1].training and not model[2][0].training
    assert list(model.state_dict()) == list(before)
    model.load_state_dict(before)
    assert isinstance(convert_sync_batchnorm(nn.BatchNorm2d(2, eps=0.5)), SyncBatchNorm2d)
    assert convert_sync_batchnorm(nn.BatchNorm2d(2, eps=0.5)).eps == 0.5


def test_wrong_rank_is_refused():
    with pytest.raises(ValueError, match="4D"):
        SyncBatchNorm2d(3)(torch.zeros(2, 3))
