"""From an entry of ``DatasetCatalog`` to what a model eats, with our decoding and augmentation."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode

from fasttcm.charset import Charset
from fasttcm.d2.instances import targets_to_instances
from fasttcm.data.coco import Record
from fasttcm.engine.build import build_test_mapper, build_train_mapper
from fasttcm.errors import ImageError
from fasttcm.structures import Sample, TextTargets

__all__ = ["TextMapper"]

_LOG = logging.getLogger(__name__)
BLANK = 64
"""Side in pixels of what stands for an image that cannot be read."""


class TextMapper:
    """Replaces ``DatasetMapper`` for text: no mirroring, crops that cut no word, curves and polygons kept.

    The result has ``image`` uint8 (3, H, W) in the order of ``INPUT.FORMAT``, ``height``, ``width``, ``file_name``,
    ``image_id`` and, in training, ``instances`` and our ``targets``. An image that cannot be read is reported and
    stands in as a blank one, with the reason under ``error``; the evaluator counts it as failed.

    Args:
        cfg: reads ``INPUT`` and ``MODEL.TEXT``.
        is_train: augment, and give the ground truth.
    """

    def __init__(self, cfg: CfgNode, is_train: bool = True) -> None:
        self.is_train = is_train
        self.bgr = cfg.INPUT.FORMAT == "BGR"
        self.charset = Charset.named(cfg.MODEL.TEXT.CHARSET)
        self.max_length = cfg.MODEL.TEXT.MAX_LENGTH
        self._map = build_train_mapper(cfg) if is_train else build_test_mapper(cfg)

    def __call__(self, entry: dict[str, Any]) -> Sample:
        """The sample of one dataset entry."""
        record = _record(entry)
        try:
            sample = self._map(record, np.random.default_rng(np.random.randint(2**31)))
        except ImageError as error:
            _LOG.warning("%s", error)
            sample = _blank(record, str(error))
        if self.bgr:
            sample["image"] = sample["image"].flip(0)
        if self.is_train:
            size = (sample["image"].shape[-2], sample["image"].shape[-1])
            sample["instances"] = targets_to_instances(sample["targets"], size, self.charset, self.max_length)
        return sample


def _blank(record: Record, error: str) -> Sample:
    return {
        "image": torch.full((3, BLANK, BLANK), 127, dtype=torch.uint8),
        "height": record.height,
        "width": record.width,
        "file_name": record.file_name,
        "image_id": record.image_id,
        "targets": TextTargets.empty(),
        "error": error,
    }


def _record(entry: dict[str, Any]) -> Record:
    words = entry.get("annotations", [])
    targets = TextTargets.empty()
    if words:
        targets = TextTargets(
            polygons=[np.asarray(word["segmentation"][0], np.float32).reshape(-1, 2) for word in words],
            beziers=torch.tensor([word["beziers"] for word in words], dtype=torch.float32),
            boxes=torch.tensor([word["bbox"] for word in words], dtype=torch.float32),
            texts=[word["text"] for word in words],
            ignore=torch.tensor([bool(word["iscrowd"]) for word in words]),
            labels=torch.tensor([word["category_id"] for word in words], dtype=torch.int64),
        )
    return Record(
        file_path=Path(entry["file_name"]),
        file_name=entry.get("dataset_file_name", entry["file_name"]),
        image_id=entry["image_id"],
        height=entry["height"],
        width=entry["width"],
        targets=targets,
    )
