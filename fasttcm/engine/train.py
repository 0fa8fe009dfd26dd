"""Training: data, model and callbacks put together; the same on a laptop and on a cluster."""

import logging
import random
import signal
import warnings
from pathlib import Path

import lightning as L
import numpy as np
import torch
from fvcore.common.config import CfgNode
from lightning.pytorch.loggers import TensorBoardLogger
from rich import get_console
from torch import nn

from fasttcm.data.loading import build_train_loader
from fasttcm.engine.build import (
    build_model,
    build_train_mapper,
    build_train_order,
    load_test_datasets,
    load_train_dataset,
    resolve_device,
)
from fasttcm.engine.callbacks import (
    LAST_CHECKPOINT,
    AtomicCheckpointIO,
    CheckpointCallback,
    EvaluationCallback,
    LossLog,
    ProgressBar,
    StopOnSignal,
)
from fasttcm.engine.checkpoint import (
    METADATA_KEY,
    check_same_inputs,
    load_weights,
    read_checkpoint,
    read_torch_file,
    write_atomically,
)
from fasttcm.engine.evaluate import evaluate_model, figures
from fasttcm.engine.module import TrainingModule
from fasttcm.engine.vocabulary import with_characters
from fasttcm.errors import CheckpointError, ConfigError
from fasttcm.layers.sync_batch_norm import convert_sync_batchnorm

__all__ = ["Interrupted", "train"]

_LOG = logging.getLogger(__name__)
_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


_HARMLESS = (
    ".*ended before the epoch ended.*",  # the sampler is addressed by iteration, a mid-epoch checkpoint loses nothing
    ".*module.* in eval mode.*",  # frozen normalisation and the moving average are meant to be
    ".*LeafSpec.*",
    ".*does not have many workers.*",
)


class Interrupted(Exception):  # noqa: N818 (not an error)
    """Training was stopped by a signal after writing a checkpoint; the message says how to go on."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


def train(
    cfg: CfgNode, *, resume: bool = False, device: str = "auto", num_devices: int = 1, num_nodes: int = 1
) -> Path:
    """Train until ``SOLVER.MAX_ITER`` and return the output folder.

    Args:
        cfg: the configuration; also written to ``OUTPUT_DIR/config.yaml``.
        resume: go on from ``OUTPUT_DIR/last.ckpt`` when it exists. The iterations that follow are those of an
            uninterrupted run, to the last digit on the CPU.
        device: ``auto``, ``cpu`` or ``cuda``.
        num_devices: processes on each node, one a GPU (on the CPU: gloo processes).
        num_nodes: machines, as started by torchrun or SLURM.

    Raises:
        Interrupted: a signal stopped the run; the last checkpoint is written.
        FastTCMError: anything a user can mend.
    """
    folder = Path(cfg.OUTPUT_DIR)
    last = folder / LAST_CHECKPOINT
    start = _start_iteration(last, cfg) if resume and last.is_file() else 0
    if not resume and last.is_file():
        raise ConfigError(f"{last} exists: add --resume to go on from it, or choose another OUTPUT_DIR")
    cfg = with_characters(cfg)  # a file that changes meanwhile must not change what the weights mean
    world = num_devices * num_nodes
    _seed_everything(cfg.SEED)
    model = build_model(cfg, weights=start == 0 and not cfg.MODEL.WEIGHTS)
    if start == 0 and cfg.MODEL.WEIGHTS:
        stored = read_checkpoint(cfg.MODEL.WEIGHTS)
        if stored.config is not None:
            check_same_inputs(
                stored.config, cfg, cfg.MODEL.WEIGHTS, keys=stored.travelling, strict=cfg.MODEL.WEIGHTS_STRICT
            )
        load_weights(model, stored.weights, cfg.MODEL.WEIGHTS, strict=cfg.MODEL.WEIGHTS_STRICT)
    if world > 1 and cfg.MODEL.BACKBONE.SYNC_NORM:
        model = convert_sync_batchnorm(model)
    module = TrainingModule(model.train(), cfg)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # no tips and device lists
    signals = StopOnSignal()
    trainer = _trainer(cfg, folder, start, device=device, num_devices=num_devices, num_nodes=num_nodes, signals=signals)
    if trainer.is_global_zero:
        write_atomically(folder / "config.yaml", lambda file: file.write_text(cfg.dump()))
    dataset = load_train_dataset(cfg)
    loader = build_train_loader(
        dataset,
        build_train_mapper(cfg),
        batch_size=cfg.SOLVER.IMS_PER_BATCH,
        seed=cfg.SEED,
        start_iteration=start,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        rank=trainer.global_rank,
        world_size=world,
        pin_memory=trainer.strategy.root_device.type == "cuda",
        order=build_train_order(cfg, dataset),
    )
    if start < cfg.SOLVER.MAX_ITER:
        with warnings.catch_warnings():
            for message in _HARMLESS:
                warnings.filterwarnings("ignore", message=message)
            trainer.fit(module, train_dataloaders=loader, ckpt_path=str(last) if start else None)
    if signals.received is not None and trainer.global_step < cfg.SOLVER.MAX_ITER:
        name = signal.Signals(signals.received).name
        raise Interrupted(
            f"stopped by {name} at iteration {trainer.global_step}; go on with the same command and --resume",
            signals.received,
        )
    return folder


def _start_iteration(last: Path, cfg: CfgNode) -> int:
    about = read_torch_file(last).get(METADATA_KEY)
    if about is None:
        raise CheckpointError(f"{last} holds no iteration: it was not written by `fasttcm train`")
    start = int(about["iteration"])
    _LOG.info("resuming from %s at iteration %d of %d", last, start, cfg.SOLVER.MAX_ITER)
    return start


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _trainer(
    cfg: CfgNode, folder: Path, start: int, *, device: str, num_devices: int, num_nodes: int, signals: StopOnSignal
) -> L.Trainer:
    solver, world = cfg.SOLVER, num_devices * num_nodes

    callbacks: list[L.Callback] = [
        LossLog(folder / "train.csv", start_iteration=start, max_iter=solver.MAX_ITER),
        signals,
    ]
    datasets = load_test_datasets(cfg)
    if datasets:

        def evaluate(model: nn.Module) -> dict[str, dict[str, float]]:
            return {name: figures(result) for name, result in evaluate_model(model, cfg, datasets).items()}

        callbacks.append(EvaluationCallback(evaluate, folder, period=cfg.TEST.EVAL_PERIOD, start_iteration=start))
    callbacks.append(CheckpointCallback(folder, period=solver.CHECKPOINT_PERIOD))
    if get_console().is_terminal:
        callbacks.append(ProgressBar(start_iteration=start, max_iter=solver.MAX_ITER))
    clip = solver.CLIP_GRADIENTS
    return L.Trainer(
        accelerator="gpu" if resolve_device(device).type == "cuda" else "cpu",
        devices=num_devices,
        num_nodes=num_nodes,
        strategy="ddp" if world > 1 else "auto",
        precision=_PRECISION[solver.PRECISION],  # type: ignore[arg-type]
        max_steps=solver.MAX_ITER,
        max_epochs=-1,
        gradient_clip_val=clip.CLIP_VALUE if clip.ENABLED else None,
        gradient_clip_algorithm=clip.CLIP_TYPE if clip.ENABLED else None,
        logger=TensorBoardLogger(save_dir=str(folder), name="", version="tensorboard"),
        log_every_n_steps=10,
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=str(folder),
    )
