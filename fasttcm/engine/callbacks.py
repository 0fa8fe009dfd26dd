"""What happens between iterations: checkpoints, evaluation, logs, a clean stop on Ctrl-C."""

import csv
import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins.io import CheckpointIO
from rich.progress import Progress, TextColumn

from fasttcm.charset import TextEncoder
from fasttcm.engine.checkpoint import read_torch_file, save_model, write_atomically
from fasttcm.errors import CheckpointError

__all__ = [
    "AtomicCheckpointIO",
    "CheckpointCallback",
    "CsvLog",
    "EvaluationCallback",
    "LossLog",
    "ProgressBar",
    "StopOnSignal",
]

_LOG = logging.getLogger(__name__)
LAST_CHECKPOINT = "last.ckpt"
FINAL_MODEL = "model_final.safetensors"
BEST_MODEL = "model_best.safetensors"


class AtomicCheckpointIO(CheckpointIO):
    """Lightning's checkpoint files written whole or not at all, and read without running code from them."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write ``checkpoint`` under a temporary name, then rename it to ``path``."""
        write_atomically(Path(path), lambda file: torch.save(checkpoint, file))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        """Read a checkpoint of plain tensors and containers."""
        return read_torch_file(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint file."""
        Path(path).unlink(missing_ok=True)


class CsvLog:
    """A CSV file with the columns of its first row; rows of iterations to be repeated are dropped on opening."""

    def __init__(self, path: Path, *, start_iteration: int) -> None:
        self.path = path
        self.columns: list[str] | None = None
        if path.is_file():
            with open(path, newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["iteration"]) <= start_iteration]
            path.unlink()
            for row in rows:
                self.append(row)

    def append(self, row: dict[str, Any]) -> None:
        """Add a row; its keys are the columns of the first row, ``iteration`` among them."""
        first = self.columns is None
        self.columns = self.columns or list(row)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a", newline="") as file:
            writer = csv.DictWriter(file, self.columns, extrasaction="ignore", lineterminator="\n")
            if first:
                writer.writeheader()
            writer.writerow(row)


class LossLog(L.Callback):
    """One row of ``train.csv`` an iteration, and a line on the log every ``period`` iterations.

    The row of iteration t (counted from 1) holds the losses that step t was made from, and its learning rate.
    """

    def __init__(self, path: Path, *, start_iteration: int, max_iter: int, period: int = 20) -> None:
        self.path, self.start_iteration, self.max_iter, self.period = path, start_iteration, max_iter, period
        self.table: CsvLog | None = None
        self.learning_rate = 0.0
        self.started = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the file."""
        self.started = time.monotonic()
        if trainer.is_global_zero:
            self.table = CsvLog(self.path, start_iteration=self.start_iteration)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note the learning rate before the schedule moves on."""
        self.learning_rate = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the row."""
        if self.table is None:
            return
        iteration = trainer.global_step
        values = {name: float(value) for name, value in outputs.items() if name != "loss"}
        total = float(outputs["loss"])
        self.table.append(
            {"iteration": iteration, "lr": repr(self.learning_rate), "loss": repr(total)}
            | {k: repr(v) for k, v in values.items()}
        )
        if iteration % self.period == 0 or iteration == self.max_iter:
            pace = (time.monotonic() - self.started) / (iteration - self.start_iteration)
            parts = "  ".join(f"{name.removeprefix('loss_')} {value:.3f}" for name, value in values.items())
            left = pace * (self.max_iter - iteration) / 60
            _LOG.info(
                "iteration %d/%d  loss %.3f  (%s)  lr %.2g  %.2f s/it  %.1f min left",
                iteration,
                self.max_iter,
                total,
                parts,
                self.learning_rate,
                pace,
                left,
            )

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Say how many texts did not fit, in this process."""
        encoder = getattr(pl_module.model, "encode", None)
        if isinstance(encoder, TextEncoder) and encoder.summary():
            _LOG.warning("in this run (a text counts each time it is read): %s", encoder.summary())


class ProgressBar(L.Callback):
    """A bar over the iterations of the whole training, with the loss and the time left."""

    def __init__(self, *, start_iteration: int, max_iter: int) -> None:
        numbers = TextColumn("{task.completed}/{task.total}  loss {task.fields[loss]:.3f}")
        self.bar = Progress(*Progress.get_default_columns(), numbers)
        self.task = self.bar.add_task("training", total=max_iter, completed=start_iteration, loss=float("nan"))

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the bar in the first process."""
        if trainer.is_global_zero:
            self.bar.start()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move on."""
        self.bar.update(self.task, completed=trainer.global_step, loss=float(outputs["loss"]))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the terminal as it was."""
        self.bar.stop()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Leave the terminal as it was."""
        self.bar.stop()


class CheckpointCallback(L.Callback):
    """``last.ckpt`` every ``period`` iterations, on a stop and at the end, where ``model_final.safetensors`` joins it.

    A periodic checkpoint that cannot be written (full disk) is reported and training goes on with the previous one
    kept; at the end it is an error.
    """

    def __init__(self, folder: Path, *, period: int) -> None:
        self.folder, self.period = folder, period

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the periodic checkpoint."""
        if self.period and trainer.global_step % self.period == 0 and trainer.global_step < trainer.max_steps:
            try:
                trainer.save_checkpoint(self.folder / LAST_CHECKPOINT)
            except CheckpointError as error:
                _LOG.error("%s", error)

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Write the last checkpoint, and the model for use when training is complete."""
        trainer.save_checkpoint(self.folder / LAST_CHECKPOINT)
        if trainer.is_global_zero and trainer.global_step >= trainer.max_steps:
            save_model(self.folder / FINAL_MODEL, pl_module.deployed, pl_module.cfg, trainer.global_step)


class EvaluationCallback(L.Callback):
    """Score the deployed weights every ``period`` iterations and at the end; rows go to ``eval.csv``.

    Args:
        evaluate: maps the model to ``{dataset: {metric: value}}``; called on every process.
        folder: where ``eval.csv`` and the best model go.
        period: iterations; 0 evaluates at the end only.
        start_iteration: of this run.
    """

    def __init__(
        self,
        evaluate: Callable[[torch.nn.Module], dict[str, dict[str, float]]],
        folder: Path,
        *,
        period: int,
        start_iteration: int,
    ) -> None:
        self.evaluate, self.folder, self.period, self.start_iteration = evaluate, folder, period, start_iteration
        self.table: CsvLog | None = None
        self.best = -1.0

    def state_dict(self) -> dict[str, Any]:
        """The best figure so far."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best figure."""
        self.best = float(state_dict["best"])

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Evaluate when due."""
        last = trainer.global_step >= trainer.max_steps
        if not last and (not self.period or trainer.global_step % self.period):
            return
        random_state = torch.get_rng_state()
        training = pl_module.training
        results = self.evaluate(pl_module.deployed)
        pl_module.train(training)
        torch.set_rng_state(random_state)
        if trainer.is_global_zero:
            self._record(trainer, pl_module, results)

    def _record(self, trainer: L.Trainer, pl_module: Any, results: dict[str, dict[str, float]]) -> None:
        self.table = self.table or CsvLog(self.folder / "eval.csv", start_iteration=self.start_iteration)
        for name, figures in results.items():
            self.table.append({"iteration": trainer.global_step, "dataset": name, **figures})
            _LOG.info(
                "iteration %d  %s  %s", trainer.global_step, name, "  ".join(f"{k} {v:.3f}" for k, v in figures.items())
            )
            for logger in trainer.loggers:
                logger.log_metrics({f"{name}/{k}": v for k, v in figures.items()}, trainer.global_step)
        hmeans = [f[key] for f in results.values() for key in ("detection/hmean", "end_to_end/hmean") if key in f]
        mean = sum(hmeans) / len(hmeans)
        if mean > self.best:
            self.best = mean
            try:
                save_model(self.folder / BEST_MODEL, pl_module.deployed, pl_module.cfg, trainer.global_step)
            except CheckpointError as error:
                _LOG.error("%s", error)


class StopOnSignal(L.Callback):
    """Ctrl-C and SIGTERM finish the current iteration and then stop; a second one stops at once."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take over the signals."""

        def stop(number: int, frame: FrameType | None) -> None:
            self.received = number
            signal.signal(number, self._previous[number])
            _LOG.warning("stopping after this iteration; once more stops at once")

        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.getsignal(number)
            signal.signal(number, stop)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop all processes after the same iteration when one of them was told to."""
        if trainer.strategy.reduce_boolean_decision(self.received is not None, all=False):
            trainer.should_stop = True

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Give the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
