"""A DBNet trained as published: its own augmentation, Ranger, polynomial decay; broken off and resumed."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import OVERRIDES, pairs

from fasttcm.config import load_config
from fasttcm.engine.train import train
from fasttcm.projects.dbnet.model import DBNet

ITERATIONS, PERIOD = 8, 4
"""Lookahead steps at 6, between the checkpoint and the end."""


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Four 64 x 64 pictures with one word each."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(4):
        picture = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        cv2.rectangle(picture, (8, 20), (54, 40), (255, 255, 255), -1)
        cv2.imwrite(str(folder / "images" / f"{number}.png"), picture)
        images.append({"id": number, "file_name": f"{number}.png", "height": 64, "width": 64})
        outline = [8, 20, 54, 20, 54, 40, 8, 40]
        annotation = {"id": number + 1, "image_id": number, "category_id": 1, "iscrowd": 0, "area": 920}
        annotations.append(annotation | {"bbox": [8, 20, 46, 20], "segmentation": [outline], "polys": outline})
        annotations[-1]["text"] = "ABC"
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "text"}]}
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder


def settings(dataset: Path, output: Path) -> list[str]:
    changes = {
        "MODEL.META_ARCHITECTURE": "DBNet",
        "MODEL.BACKBONE.NAME": "fasttcm_cr50",
        "MODEL.TCM.LOSS": "balanced_bce",
        "INPUT.PIPELINE": "dbnet",
        "INPUT.TRAIN_SIZE": 64,
        "INPUT.COLOR_JITTER.BRIGHTNESS": 0.1,
        "DATASETS.TRAIN": f"['{dataset}']",
        "DATASETS.TEST": f"['{dataset}']",
        "SOLVER.OPTIMIZER": "Ranger",
        "SOLVER.LR_SCHEDULER_NAME": "WarmupPolyLR",
        "SOLVER.POLY_PERIOD": 2,
        "SOLVER.MIN_LR": 1e-7,
        "SOLVER.CLIP_GRADIENTS.ENABLED": False,
        "SOLVER.MAX_ITER": ITERATIONS,
        "SOLVER.CHECKPOINT_PERIOD": PERIOD,
        "OUTPUT_DIR": output,
    }
    return pairs({**OVERRIDES, **changes})


def test_dbnet_broken_off_and_resumed_ends_like_uninterrupted(dataset, tmp_path, monkeypatch):
    train(load_config(None, settings(dataset, tmp_path / "whole")), device="cpu")
    healthy, calls = DBNet.forward, []

    def breaks(model, samples):
        calls.append(samples)
        if len(calls) == PERIOD + 2:
            raise RuntimeError("power cut")
        return healthy(model, samples)

    monkeypatch.setattr(DBNet, "forward", breaks)
    cfg = load_config(None, settings(dataset, tmp_path / "parts"))
    with pytest.raises(RuntimeError, match="power cut"):
        train(cfg, device="cpu")
    state = torch.load(tmp_path / "parts" / "last.ckpt", weights_only=True)["optimizer_states"][0]
    assert all({"slow", "exp_avg", "exp_avg_sq", "step"} == set(entry) for entry in state["state"].values())
    monkeypatch.setattr(DBNet, "forward", healthy)
    train(cfg, resume=True, device="cpu")
    expected, actual = (load_file(tmp_path / run / "model_final.safetensors") for run in ("whole", "parts"))
    assert expected.keys() == actual.keys() and all(torch.equal(expected[key], actual[key]) for key in expected)
