import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fasttcm.config import load_config
from fasttcm.engine.build import build_train_order, load_train_dataset
from fasttcm.errors import ConfigError


def write(folder: Path, images: int) -> Path:
    (folder / "images").mkdir(parents=True)
    entries, words = [], []
    for number in range(images):
        width, height = (32, 24) if number % 2 else (24, 32)
        Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(folder / "images" / f"{number}.png")
        entries.append({"id": number, "file_name": f"{number}.png", "width": width, "height": height})
        words.append({"id": number, "image_id": number, "bbox": [2, 2, 9, 5], "text": "a"})
    (folder / "annotations.json").write_text(json.dumps({"images": entries, "annotations": words}))
    return folder


@pytest.fixture
def datasets(tmp_path: Path) -> list[str]:
    return [str(write(tmp_path / "a", 40)), str(write(tmp_path / "b", 10))]


def test_few_shot_training_takes_a_share_of_every_dataset(datasets: list[str]) -> None:
    few = load_config(None, ["DATASETS.TRAIN", str(datasets), "DATASETS.TRAIN_FRACTION", "0.1"])
    chosen = load_train_dataset(few)
    assert [len(table) for table in chosen.tables] == [4, 1]
    fewer = load_train_dataset(load_config(None, ["DATASETS.TRAIN", str(datasets), "DATASETS.TRAIN_FRACTION", "0.05"]))
    assert {str(fewer[k].file_path) for k in range(3)} <= {str(chosen[k].file_path) for k in range(5)}
    another = ["DATASETS.TRAIN", str(datasets), "DATASETS.TRAIN_FRACTION", "0.1", "DATASETS.FRACTION_SEED", "1"]
    other = load_train_dataset(load_config(None, another))
    assert [other[k].file_name for k in range(5)] != [chosen[k].file_name for k in range(5)]


def test_orders_follow_the_configuration(datasets: list[str]) -> None:
    base = ["DATASETS.TRAIN", str(datasets), "SOLVER.IMS_PER_BATCH", "4"]
    plain = load_config(None, [*base, "DATALOADER.ASPECT_RATIO_GROUPING", "False"])
    dataset = load_train_dataset(plain)
    order = build_train_order(plain, dataset)
    assert order is not None and sorted(order(p) for p in range(50)) == list(range(50))
    weighted = load_config(None, [*base, "DATASETS.SAMPLING_WEIGHTS", "[1, 3]"])
    order = build_train_order(weighted, dataset)
    assert order is not None
    images = np.array([order(p) for p in range(2000)])
    assert (images >= 40).mean() == pytest.approx(0.75, abs=0.02)
    kinds = (images % 2).reshape(-1, 4).sum(axis=1)
    assert ((kinds == 0) | (kinds == 4)).mean() > 0.98
    wrong = load_config(None, [*base, "DATASETS.SAMPLING_WEIGHTS", "[1, 2, 3]"])
    with pytest.raises(ConfigError, match="2 datasets need as many"):
        build_train_order(wrong, dataset)
