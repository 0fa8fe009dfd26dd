"""Our datasets in ``DatasetCatalog`` and ``MetadataCatalog``, in detectron2's standard form."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from fasttcm.charset import Charset
from fasttcm.data.catalog import known_datasets, load_dataset, resolve_dataset
from fasttcm.data.coco import Record

__all__ = ["EVALUATOR_TYPE", "register_dataset_path", "register_datasets"]

EVALUATOR_TYPE = "fasttcm"
CHARSET, MAX_LENGTH = "ascii", 25
"""Of the class numbers ``rec``, as in AdelaiDet's files."""


def register_datasets(names: Iterable[str] | None = None) -> list[str]:
    """Register datasets by name; a name that somebody else has registered is left to them.

    Args:
        names: of :mod:`fasttcm.data.catalog`; ``None`` for all. Files are looked for when a dataset is used.

    Returns:
        The names registered now.
    """
    new = [name for name in (known_datasets() if names is None else names) if name not in DatasetCatalog]
    for name in new:
        DatasetCatalog.register(name, partial(_load, name))
        MetadataCatalog.get(name).set(evaluator_type=EVALUATOR_TYPE, thing_classes=["text"])
    return new


def register_dataset_path(path: str) -> str:
    """Register a dataset folder or JSON file under its own path, for ``DATASETS.TRAIN`` and ``DATASETS.TEST``.

    Raises:
        DataError: no dataset is there.
    """
    if path not in DatasetCatalog:
        resolve_dataset(path)
        register_datasets([path])
    return path


def _load(name: str) -> list[dict[str, Any]]:
    dataset = load_dataset(name)
    charset = Charset.named(CHARSET)
    return [_to_dict(dataset[i], charset) for i in range(len(dataset))]


def _to_dict(record: Record, charset: Charset) -> dict[str, Any]:
    """A record in detectron2's form, with AdelaiDet's ``beziers`` and ``rec`` and the record itself for our mapper."""
    targets = record.targets
    annotations = []
    for i, text in enumerate(targets.texts):
        annotations.append(
            {
                "bbox": targets.boxes[i].tolist(),
                "bbox_mode": BoxMode.XYXY_ABS,
                "category_id": int(targets.labels[i]),
                "iscrowd": int(targets.ignore[i]),
                "segmentation": [np.asarray(targets.polygons[i], np.float64).reshape(-1).tolist()],
                "beziers": targets.beziers[i].tolist(),
                "rec": charset.encode(text, MAX_LENGTH),
                "text": text,
            }
        )
    return {
        "file_name": str(record.file_path),
        "height": record.height,
        "width": record.width,
        "image_id": record.image_id,
        "annotations": annotations,
        "dataset_file_name": record.file_name,
    }
