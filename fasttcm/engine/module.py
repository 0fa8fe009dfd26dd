"""The Lightning module: one training step of any model that returns a dictionary of losses."""

import logging
from typing import Any

import lightning as L
import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fasttcm.engine.checkpoint import METADATA_KEY, metadata
from fasttcm.engine.seed import seed_iteration
from fasttcm.engine.solver import optimizer_of, scheduler_of
from fasttcm.errors import FastTCMError
from fasttcm.structures import Sample

__all__ = ["TrainingModule"]

_LOG = logging.getLogger(__name__)


class TrainingModule(L.LightningModule):
    """Trains ``model``, which maps a list of samples to ``{name: scalar loss}``; the losses are added.

    Every random number of iteration t (dropout, teacher forcing) depends on ``SEED``, t and the process alone, so a
    resumed run repeats exactly what an uninterrupted one does.
    """

    def __init__(self, model: nn.Module, cfg: CfgNode) -> None:
        super().__init__()
        self.model = model
        self.cfg = cfg
        self._images = ""
        self.ema: AveragedModel | None = None
        if cfg.SOLVER.EMA.ENABLED:
            average = get_ema_multi_avg_fn(cfg.SOLVER.EMA.DECAY)
            self.ema = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
            self.ema.requires_grad_(False)

    @property
    def deployed(self) -> nn.Module:
        """The weights to evaluate and ship: the moving average if there is one."""
        return self.model if self.ema is None else self.ema.module

    def on_train_batch_start(self, batch: list[Sample], batch_idx: int) -> None:
        """Seed this iteration."""
        seed_iteration(self.cfg.SEED, self.global_step, rank=self.global_rank, world_size=self.trainer.world_size)

    def training_step(self, batch: list[Sample], batch_idx: int) -> dict[str, Tensor]:
        """Add the losses of one batch.

        Raises:
            FastTCMError: a loss is not finite; names the images of the batch.
        """
        self._images = ", ".join(f"{sample['file_name']} (id {sample['image_id']})" for sample in batch)
        losses: dict[str, Tensor] = self.model(batch)
        total = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(total):
            bad = ", ".join(name for name, value in losses.items() if not torch.isfinite(value))
            raise self._not_finite(bad or "the total loss")
        self.log_dict({f"loss/{name}": value.detach() for name, value in losses.items()})
        self.log("loss/total", total.detach(), prog_bar=True)
        return {"loss": total, **{name: value.detach() for name, value in losses.items()}}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Keep the weights, and so the next checkpoint, from a gradient that is not finite.

        Raises:
            FastTCMError: names the images of the batch. Under fp16 the loss scaler skips such a step by itself.
        """
        if self.cfg.SOLVER.PRECISION == "fp16":
            return
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if not torch.isfinite(torch.stack([torch.linalg.vector_norm(g) for g in gradients]).sum()):
            raise self._not_finite("the gradient")

    def _not_finite(self, what: str) -> FastTCMError:
        return FastTCMError(
            f"iteration {self.global_step}: {what} is not finite on {self._images}; "
            "lower SOLVER.BASE_LR or clip the gradients, then --resume from the last checkpoint"
        )

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Update the moving average right after the weights, so that every checkpoint holds both of one iteration."""
        super().optimizer_step(*args, **kwargs)
        if self.ema is not None:
            self.ema.update_parameters(self.model)

    def configure_optimizers(self) -> Any:
        """Optimiser groups and the schedule, stepped every iteration."""
        optimizer = optimizer_of(self.cfg, self.model)
        scheduler = scheduler_of(self.cfg, optimizer)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    def transfer_batch_to_device(self, batch: list[Sample], device: torch.device, dataloader_idx: int) -> list[Sample]:
        """Move images and targets; the rest of a sample stays on the CPU."""
        return [
            {**sample, "image": sample["image"].to(device, non_blocking=True), "targets": sample["targets"].to(device)}
            for sample in batch
        ]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add configuration, charset and iteration, so that the file alone rebuilds the model."""
        checkpoint[METADATA_KEY] = metadata(self.cfg, self.global_step)
