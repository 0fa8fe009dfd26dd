"""Batch normalisation over the images of all processes, on any device and backend.

``torch.nn.SyncBatchNorm`` refuses tensors on the CPU; this one computes with ordinary tensor operations and an
all-reduce that has a gradient, so it also runs on gloo. Ranks may hold different numbers of images, also none.
"""

from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = ["SyncBatchNorm2d", "convert_sync_batchnorm"]

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class _SumOverProcesses(torch.autograd.Function):
    """All-reduce by sum; the gradient of a sum that every rank receives is the sum of all ranks' gradients."""

    @staticmethod
    def forward(_ctx: object, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_ctx: object, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


class SyncBatchNorm2d(nn.BatchNorm2d):
    """``nn.BatchNorm2d`` whose training statistics are those of all processes of the default group together.

    Arguments and state-dict names are those of ``nn.BatchNorm2d``; with one process, without a process group, or in
    eval mode it is one. Statistics are computed in float32 in two passes (mean, then squared deviations), and the
    gradients are those of one process that holds the joint batch and the sum of all losses.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C, H, W); B may differ between processes."""
        alone = not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1
        if not self.training or alone:
            return super().forward(input)
        self._check_input_dim(input)
        x = input.float()
        own_count = x.new_full((1,), x.numel() // x.shape[1])
        sums = _SumOverProcesses.apply(torch.cat([x.sum(dim=(0, 2, 3)), own_count]))
        count = sums[-1].detach().clamp_min(1)
        centred = x - (sums[:-1] / count).view(1, -1, 1, 1)
        variance = _SumOverProcesses.apply(centred.square().sum(dim=(0, 2, 3))) / count
        self._update_running(sums[:-1].detach() / count, variance.detach(), sums[-1].detach())
        output = centred * torch.rsqrt(variance + self.eps).view(1, -1, 1, 1)
        if self.affine:
            output = output * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        return output.to(input.dtype)

    @torch.no_grad()
    def _update_running(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Move the running statistics towards those of the joint batch (unbiased variance), as PyTorch does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        step = momentum * (count > 0).to(mean.dtype)  # nothing to learn when every process is out of images
        unbiased = variance * count / (count - 1).clamp_min(1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), step.to(self.running_mean.dtype))
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), step.to(self.running_var.dtype))


def convert_sync_batchnorm(module: ModuleT) -> ModuleT:
    """Replace every plain ``nn.BatchNorm2d`` inside a module by :class:`SyncBatchNorm2d`, in place.

    Parameters, buffers and mode are taken over, so optimisers and checkpoints stay valid, and a normalisation that a
    backbone keeps in eval mode stays frozen. Subclasses are left alone.

    Returns:
        The module; a new one only when it is itself a batch normalisation.
    """
    if type(module) is nn.BatchNorm2d:
        return cast(ModuleT, _converted(cast(nn.BatchNorm2d, module)))
    for name, child in module.named_children():
        setattr(module, name, convert_sync_batchnorm(child))
    return module


def _converted(norm: nn.BatchNorm2d) -> SyncBatchNorm2d:
    synced = SyncBatchNorm2d(
        norm.num_features,
        eps=norm.eps,
        momentum=norm.momentum,
        affine=norm.affine,
        track_running_stats=norm.track_running_stats,
    )
    # Sharing the dictionaries' entries keeps the identity of parameters that an optimiser may already hold.
    synced._parameters.update(norm._parameters)
    synced._buffers.update(norm._buffers)
    return synced.train(norm.training)
