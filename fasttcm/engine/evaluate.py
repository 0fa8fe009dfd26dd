"""Run a model over a test set and score it with the protocol that the dataset declares."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from fvcore.common.config import CfgNode
from rich.progress import Progress
from torch import nn

from fasttcm.data.catalog import DatasetEntry
from fasttcm.data.coco import TextDataset
from fasttcm.data.loading import build_test_loader
from fasttcm.engine.build import TestDatasets, build_test_mapper
from fasttcm.evaluation import Lexicon, Result, score, targets_to_json
from fasttcm.structures import Sample

__all__ = ["Evaluation", "check_expected", "evaluate_dataset", "evaluate_model", "figures"]

_LOG = logging.getLogger(__name__)


@dataclass
class Evaluation:
    """One dataset, scored.

    Attributes:
        results: by lexicon, ``none`` first.
        ground_truth: the JSON that was scored against.
        predictions: the JSON that was scored.
        failed: one line for every image that could not be read; its words count as missed.
    """

    results: dict[str, Result]
    ground_truth: dict[str, Any]
    predictions: dict[str, Any]
    failed: list[str]


def evaluate_model(
    model: nn.Module, cfg: CfgNode, datasets: TestDatasets, *, progress: bool = False
) -> dict[str, Evaluation]:
    """Score every dataset; with several processes each predicts its share and all get the result."""
    return {name: evaluate_dataset(model, cfg, *dataset, progress=progress) for name, dataset in datasets.items()}


def evaluate_dataset(
    model: nn.Module, cfg: CfgNode, entry: DatasetEntry, dataset: TextDataset, *, progress: bool = False
) -> Evaluation:
    """Predict and score one dataset in eval mode; the model's mode is left at eval."""
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)
    loader = build_test_loader(
        dataset,
        build_test_mapper(cfg),
        batch_size=cfg.TEST.IMS_PER_BATCH,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        rank=rank,
        world_size=world,
    )
    model.eval()
    predictions, failed = _predict(model, loader, total=len(dataset), progress=progress and rank == 0)
    if world > 1:
        parts: list[Any] = [None] * world
        dist.all_gather_object(parts, (predictions, failed))
        predictions = {key: value for part, _ in parts for key, value in part.items()}
        failed = [line for _, part in parts for line in part]
    for line in failed:
        _LOG.warning("not evaluated: %s", line)
    records = [dataset[i] for i in range(len(dataset))]
    ground_truth = {
        "images": [
            targets_to_json(r.targets, image_id=r.image_id, height=r.height, width=r.width, file_name=r.file_name)
            for r in records
        ]
    }
    found = {"images": [predictions[r.image_id] for r in records if r.image_id in predictions]}
    lexicons: dict[str, Lexicon | None] = {"none": None}
    lexicons |= {name: Lexicon.from_files(file) for name, file in entry.lexicons.items()}
    results = {
        name: score(ground_truth, found, protocol=entry.protocol, lexicon=lexicon, confidence=cfg.TEST.CONFIDENCE)
        for name, lexicon in lexicons.items()
    }
    return Evaluation(results, ground_truth, found, failed)


@torch.inference_mode()
def _predict(
    model: nn.Module, loader: Iterable[list[Sample]], *, total: int, progress: bool
) -> tuple[dict[int, dict[str, Any]], list[str]]:
    predictions: dict[int, dict[str, Any]] = {}
    failed: list[str] = []
    with Progress(disable=not progress, transient=True) as bar:
        task = bar.add_task("evaluating", total=total)
        for batch in loader:
            failed += [sample["error"] for sample in batch if "error" in sample]
            good = [sample for sample in batch if "error" not in sample]
            if good:
                for sample, found in zip(good, model(good), strict=True):
                    entry = found.to_json(image_id=sample["image_id"], file_name=sample["file_name"])
                    predictions[sample["image_id"]] = entry
            bar.advance(task, len(batch))
    return predictions, failed


def figures(evaluation: Evaluation) -> dict[str, float]:
    """Flat figures of a scored dataset: ``detection/hmean``, ``end_to_end/hmean``, ``end_to_end_full/hmean``, ..."""
    flat: dict[str, float] = {}
    none = evaluation.results["none"]
    for key in ("precision", "recall", "hmean"):
        flat[f"detection/{key}"] = getattr(none.detection, key)
    for name, result in evaluation.results.items():
        group = "end_to_end" if name == "none" else f"end_to_end_{name}"
        for key in ("precision", "recall", "hmean"):
            flat[f"{group}/{key}"] = getattr(result.end_to_end, key)
    return flat


def check_expected(cfg: CfgNode, results: dict[str, dict[str, float]]) -> list[str]:
    """The lines of ``TEST.EXPECTED_RESULTS`` ([dataset, metric, value, tolerance]) that do not hold."""
    wrong = []
    for dataset, metric, value, tolerance in cfg.TEST.EXPECTED_RESULTS:
        actual = results.get(dataset, {}).get(metric)
        if actual is None or abs(actual - value) > tolerance:
            wrong.append(f"{dataset} {metric}: expected {value} +- {tolerance}, got {actual}")
    return wrong
