"""Run a model over a test set and score it with every protocol and lexicon that the dataset declares."""

import logging
from collections.abc import Iterable, Mapping, Sequence
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
from fasttcm.evaluation import Lexicon, Protocol, Result, targets_to_json
from fasttcm.evaluation.lexicon_files import load_lexicon
from fasttcm.evaluation.protocol import find_rules
from fasttcm.evaluation.run import NONE, score_with_lexicons
from fasttcm.structures import Sample

__all__ = [
    "Evaluation",
    "Lexicons",
    "check_expected",
    "evaluate_dataset",
    "evaluate_model",
    "figures",
    "load_lexicons",
    "score_predictions",
]

_LOG = logging.getLogger(__name__)

GENERIC = "generic"
"""Name of the lexicon for which TESTR has a rule of its own."""

Lexicons = dict[str, Lexicon | dict[Any, Lexicon]]
"""Name to one lexicon, or to one for each image."""


@dataclass
class Evaluation:
    """One dataset, scored.

    Attributes:
        results: by lexicon, ``none`` first; those of further protocols with the protocol before it: ``mmocr/none``.
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
    flavour = cfg.TEST.FLAVOUR or None
    # Before the long part: a missing file should not cost a prediction run.
    lexicons = load_lexicons(entry, dataset, flavour)
    model.eval()
    predictions, failed = _predict(model, loader, total=len(dataset), progress=progress and rank == 0)
    if world > 1:
        parts: list[Any] = [None] * world
        dist.all_gather_object(parts, (predictions, failed))
        predictions = {key: value for part, _ in parts for key, value in part.items()}
        failed = [line for _, part in parts for line in part]
    return score_predictions(
        entry, dataset, predictions, lexicons, failed=failed, confidence=cfg.TEST.CONFIDENCE, flavour=flavour
    )


def score_predictions(
    entry: DatasetEntry,
    dataset: TextDataset,
    predictions: Mapping[Any, dict[str, Any]],
    lexicons: Lexicons,
    *,
    failed: Sequence[str] = (),
    confidence: float = 0.0,
    flavour: str | None = None,
) -> Evaluation:
    """Score predictions by every protocol of a dataset.

    Args:
        entry: the dataset's protocols.
        dataset: its images and words.
        predictions: image id to :meth:`TextPredictions.to_json`.
        lexicons: of :func:`load_lexicons`.
        failed: one line for every image without a prediction, for the log.
        confidence: words with a lower score are not counted.
        flavour: published project whose evaluation to follow (spotting protocols); ``None``: our own.
    """
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
    results: dict[str, Result] = {}
    for protocol in (entry.protocol, *entry.more_protocols):
        prefix = "" if protocol == entry.protocol else f"{protocol}/"
        spotting = isinstance(find_rules(protocol), Protocol)
        scored = score_with_lexicons(
            ground_truth,
            found,
            lexicons if spotting else {},
            protocol=protocol,
            flavour=flavour if spotting else None,
            confidence=confidence,
        )
        results |= {prefix + name: result for name, result in scored.items()}
    return Evaluation(results, ground_truth, found, list(failed))


def load_lexicons(entry: DatasetEntry, dataset: TextDataset, flavour: str | None = None) -> Lexicons:
    """Every lexicon the dataset declares, by name, as the flavour reads it; raises DataError for a missing file."""
    if not entry.lexicons:
        return {}
    image_ids = [dataset[i].image_id for i in range(len(dataset))]
    published = {"protocol": entry.protocol, "flavour": flavour} if flavour else {}
    return {
        name: load_lexicon(
            file,
            entry.lexicon_pairs.get(name),
            kind=GENERIC if flavour and name == GENERIC else "",
            image_ids=image_ids,
            **published,
        )
        for name, file in entry.lexicons.items()
    }


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
    """Flat figures of a scored dataset: ``detection/hmean``, ``end_to_end/hmean``, ``end_to_end_full/hmean``, ...

    Those of a further protocol start with its name: ``mmocr/detection/hmean``. A detection-only protocol gives
    ``detection/...`` alone.
    """
    flat: dict[str, float] = {}
    for name, result in evaluation.results.items():
        protocol, slash, lexicon = name.rpartition("/")
        groups = {f"{protocol}{slash}detection": result.detection} if lexicon == NONE else {}
        if result.end_to_end is not None:
            suffix = "" if lexicon == NONE else f"_{lexicon}"
            groups[f"{protocol}{slash}end_to_end{suffix}"] = result.end_to_end
        for group, values in groups.items():
            flat |= {f"{group}/{key}": getattr(values, key) for key in ("precision", "recall", "hmean")}
    return flat


def check_expected(cfg: CfgNode, results: dict[str, dict[str, float]]) -> list[str]:
    """The lines of ``TEST.EXPECTED_RESULTS`` ([dataset, metric, value, tolerance]) that do not hold."""
    wrong = []
    for dataset, metric, value, tolerance in cfg.TEST.EXPECTED_RESULTS:
        actual = results.get(dataset, {}).get(metric)
        if actual is None or abs(actual - value) > tolerance:
            wrong.append(f"{dataset} {metric}: expected {value} +- {tolerance}, got {actual}")
    return wrong
