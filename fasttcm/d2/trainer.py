"""Training of our heads and of any detectron2 meta-architecture on text, with detectron2's loop."""

import difflib
import logging
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader, build_detection_train_loader
from detectron2.engine import DefaultTrainer
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY
from detectron2.utils import comm
from fvcore.common.registry import Registry
from torch import nn

from fasttcm.d2.checkpoint import TextCheckpointer
from fasttcm.d2.config import is_own_head, to_fasttcm_config
from fasttcm.d2.datasets import register_dataset_path
from fasttcm.d2.evaluator import TextEvaluator
from fasttcm.d2.mapper import TextMapper
from fasttcm.data.loading import build_train_loader
from fasttcm.engine.build import build_train_mapper, build_train_order, load_train_dataset
from fasttcm.engine.clipping import clip_before_step
from fasttcm.engine.seed import seed_iteration
from fasttcm.engine.solver import optimizer_of, scheduler_of
from fasttcm.errors import ConfigError
from fasttcm.layers.sync_batch_norm import convert_sync_batchnorm

__all__ = ["TextTrainer"]

_LOG = logging.getLogger(__name__)


class TextTrainer(DefaultTrainer):
    """``DefaultTrainer`` with our data, optimiser groups, clipping, checkpoints and evaluation.

    Our heads get the batches and random numbers of ``fasttcm train``, addressed by iteration, so both hosts train alike
    and a resumed run repeats what an uninterrupted one does. Other meta-architectures get detectron2's sampler with
    :class:`~fasttcm.d2.mapper.TextMapper`.

    Args:
        cfg: from :func:`fasttcm.d2.load_d2_config`.
    """

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__(cfg)
        if cfg.SOLVER.PRECISION == "bf16":
            self._trainer.precision = torch.bfloat16
            self._trainer.grad_scaler = torch.amp.GradScaler(enabled=False)
        self.checkpointer: TextCheckpointer = TextCheckpointer(
            self._trainer.model, cfg.OUTPUT_DIR, trainer=weakref.proxy(self)
        )
        self._hooks: list[Any] = []
        self.register_hooks(self.build_hooks())  # detectron2's hooks hold the checkpointer they were built with

    def resume_or_load(self, resume: bool = True) -> None:
        """As detectron2's, then continue our stream of batches at the iteration reached."""
        super().resume_or_load(resume)
        if self.start_iter and is_own_head(self.cfg.MODEL.META_ARCHITECTURE):
            self._trainer.reset_data_loader(lambda: _own_train_loader(self.cfg, self.start_iter))

    def run_step(self) -> None:
        """One iteration with its own random numbers."""
        if is_own_head(self.cfg.MODEL.META_ARCHITECTURE):
            _ = self._trainer._data_loader_iter  # starting a loader draws a random number: not from the iteration's
            seed = max(self.cfg.SEED, 0)
            seed_iteration(seed, self.iter, rank=comm.get_rank(), world_size=comm.get_world_size())
        super().run_step()

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        """detectron2's, with our synchronised normalisation over several processes.

        Raises:
            ConfigError: names that nobody has registered.
        """
        _check_registered(META_ARCH_REGISTRY, "MODEL.META_ARCHITECTURE", cfg.MODEL.META_ARCHITECTURE)
        if not is_own_head(cfg.MODEL.META_ARCHITECTURE):
            _check_registered(BACKBONE_REGISTRY, "MODEL.BACKBONE.NAME", cfg.MODEL.BACKBONE.NAME)
        model: nn.Module = super().build_model(cfg)
        own = is_own_head(cfg.MODEL.META_ARCHITECTURE)
        return (
            convert_sync_batchnorm(model)
            if own and comm.get_world_size() > 1 and cfg.MODEL.BACKBONE.SYNC_NORM
            else model
        )

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        """Our groups for our heads (``SOLVER.LR_MULTIPLIERS``, ...), detectron2's for others."""
        if not is_own_head(cfg.MODEL.META_ARCHITECTURE):
            return super().build_optimizer(cfg, model)  # type: ignore[no-any-return]
        optimizer = optimizer_of(cfg, model)
        clip = cfg.SOLVER.CLIP_GRADIENTS
        return clip_before_step(optimizer, kind=clip.CLIP_TYPE, value=clip.CLIP_VALUE) if clip.ENABLED else optimizer

    @classmethod
    def build_lr_scheduler(cls, cfg: CfgNode, optimizer: torch.optim.Optimizer) -> Any:
        """Our schedules for our heads, detectron2's for others."""
        if not is_own_head(cfg.MODEL.META_ARCHITECTURE):
            return super().build_lr_scheduler(cfg, optimizer)
        return scheduler_of(cfg, optimizer)

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Iterable[list[dict[str, Any]]]:
        """Endless batches for this process."""
        if is_own_head(cfg.MODEL.META_ARCHITECTURE):
            return _own_train_loader(cfg, 0)
        _register_paths(cfg.DATASETS.TRAIN)
        loader: Iterable[list[dict[str, Any]]] = build_detection_train_loader(cfg, mapper=TextMapper(cfg, True))
        return loader

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Iterable[list[dict[str, Any]]]:
        """Every image once, over all processes."""
        _register_paths([dataset_name])
        loader: Iterable[list[dict[str, Any]]] = build_detection_test_loader(
            cfg, dataset_name, mapper=TextMapper(cfg, False)
        )
        return loader

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> TextEvaluator:
        """Our protocols, whatever the meta-architecture."""
        return TextEvaluator(dataset_name, cfg)


def _check_registered(registry: Registry, key: str, name: str) -> None:
    if name not in registry:
        known = [registered for registered, _ in registry]
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(sorted(known))}"
        raise ConfigError(f"{key} is {name!r}, which is not registered in detectron2; {hint}")


def _own_train_loader(cfg: CfgNode, start: int) -> Iterable[list[dict[str, Any]]]:
    own = to_fasttcm_config(cfg)
    dataset = load_train_dataset(own)
    return build_train_loader(
        dataset,
        build_train_mapper(own),
        order=build_train_order(own, dataset),
        batch_size=own.SOLVER.IMS_PER_BATCH,
        seed=max(own.SEED, 0),
        start_iteration=start,
        num_workers=own.DATALOADER.NUM_WORKERS,
        rank=comm.get_rank(),
        world_size=comm.get_world_size(),
    )


def _register_paths(names: Iterable[str]) -> None:
    for name in names:
        if Path(name).exists():
            register_dataset_path(name)
