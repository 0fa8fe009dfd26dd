"""Training as a person runs it: the command in its own process, killed, resumed, interrupted, in two processes."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import OVERRIDES, pairs

from fasttcm.config import load_config
from fasttcm.engine.train import train
from fasttcm.errors import FastTCMError
from fasttcm.projects.abcnet.model import ABCNet

ITERATIONS = 9
PERIOD = 3


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five 64 x 64 pictures with one word each, in AdelaiDet's format."""
    folder = tmp_path_factory.mktemp("dataset")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(5):
        picture = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        cv2.putText(picture, "ABC", (8, 36), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2)
        cv2.imwrite(str(folder / "images" / f"{number}.png"), picture)
        images.append({"id": number, "file_name": f"{number}.png", "height": 64, "width": 64})
        top = [(8 + 15 * i, 18 + number) for i in range(4)]
        bottom = [(53 - 15 * i, 38 + number) for i in range(4)]
        annotations.append(
            {
                "id": number + 1,
                "image_id": number,
                "category_id": 1,
                "iscrowd": 0,
                "area": 900,
                "bbox": [8, 18 + number, 45, 20],
                "bezier_pts": [value for point in top + bottom for value in point],
                "text": "ABC",
            }
        )
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "text"}]}
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder


def command(dataset: Path, output: Path, *more: str, **changes: object) -> list[str]:
    options = {
        **OVERRIDES,
        "DATASETS.TRAIN": f"['{dataset}']",
        "DATASETS.TEST": f"['{dataset}']",
        "OUTPUT_DIR": output,
        "SOLVER.MAX_ITER": ITERATIONS,
        "SOLVER.CHECKPOINT_PERIOD": PERIOD,
        "SOLVER.EMA.ENABLED": True,
        "INPUT.CROP.ENABLED": True,
        "INPUT.ROTATE": 10.0,
        **{key.replace("__", "."): value for key, value in changes.items()},
    }
    return [sys.executable, "-m", "fasttcm", "train", "--device", "cpu", *more, *pairs(options)]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def finish(arguments: list[str]) -> str:
    process = start(arguments)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "train.csv", newline="") as file:
        return list(csv.DictReader(file))


def wait_for_rows(process: subprocess.Popen[str], folder: Path, count: int) -> None:
    for _ in range(1200):
        if (folder / "train.csv").is_file() and len((folder / "train.csv").read_text().splitlines()) > count:
            return
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    raise AssertionError("training did not get that far")


@pytest.fixture(scope="module")
def uninterrupted(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    finish(command(dataset, folder))
    return folder


def test_a_run_leaves_logs_checkpoints_and_figures(uninterrupted: Path) -> None:
    names = {path.name for path in uninterrupted.iterdir()}
    assert {"train.csv", "eval.csv", "config.yaml", "last.ckpt", "model_final.safetensors", "tensorboard"} <= names
    assert not [name for name in names if name.endswith(".tmp")]
    assert [int(row["iteration"]) for row in rows(uninterrupted)] == list(range(1, ITERATIONS + 1))
    assert all(np.isfinite(float(value)) for row in rows(uninterrupted) for value in row.values())
    assert list((uninterrupted / "tensorboard").glob("events*"))
    with open(uninterrupted / "eval.csv", newline="") as file:
        (figures,) = csv.DictReader(file)
    assert int(figures["iteration"]) == ITERATIONS and 0 <= float(figures["detection/hmean"]) <= 1


def test_killed_and_resumed_ends_like_uninterrupted(dataset: Path, uninterrupted: Path, tmp_path: Path) -> None:
    slow = command(dataset, tmp_path, DATALOADER__NUM_WORKERS=1)
    process = start(slow)
    wait_for_rows(process, tmp_path, PERIOD + 2)
    process.kill()  # SIGKILL: no chance to tidy up
    process.communicate()
    assert len(rows(tmp_path)) < ITERATIONS, "the run was over before it could be killed"
    finish(command(dataset, tmp_path, "--resume"))
    assert rows(tmp_path) == rows(uninterrupted)
    expected = load_file(uninterrupted / "model_final.safetensors")
    actual = load_file(tmp_path / "model_final.safetensors")
    assert all(torch.equal(actual[key], value) for key, value in expected.items()) and len(actual) == len(expected)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_cleanly_with_a_checkpoint(dataset: Path, tmp_path: Path, number: int, code: int) -> None:
    process = start(command(dataset, tmp_path, SOLVER__MAX_ITER=500, SOLVER__CHECKPOINT_PERIOD=400))
    wait_for_rows(process, tmp_path, 2)
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == code, output
    assert "--resume" in output and "Traceback" not in output
    stored = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert int(stored["fasttcm"]["iteration"]) == len(rows(tmp_path)) < 500
    assert not (tmp_path / "model_final.safetensors").exists()


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = load_config(None, command(dataset, tmp_path, SOLVER__MAX_ITER=5, SOLVER__CHECKPOINT_PERIOD=2)[6:])
    healthy, calls = ABCNet.forward, []

    def spoiled(model: ABCNet, samples: list[dict[str, object]], **options: object) -> object:
        calls.append(samples)
        losses = healthy(model, samples, **options)
        return {name: value * float("nan") for name, value in losses.items()} if len(calls) == 4 else losses

    monkeypatch.setattr(ABCNet, "forward", spoiled)
    with pytest.raises(FastTCMError, match=r"iteration 3: .*not finite on .*--resume") as error:
        train(cfg, device="cpu")
    assert all(f"{sample['file_name']} (id {sample['image_id']})" in str(error.value) for sample in calls[-1])
    stored = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert int(stored["fasttcm"]["iteration"]) == 2
    assert all(torch.isfinite(value).all() for value in stored["state_dict"].values() if value.is_floating_point())
    monkeypatch.setattr(ABCNet, "forward", healthy)
    train(cfg, resume=True, device="cpu")
    assert len(rows(tmp_path)) == 5 and (tmp_path / "model_final.safetensors").is_file()


def test_an_earlier_run_is_not_overwritten(dataset: Path, uninterrupted: Path) -> None:
    process = start(command(dataset, uninterrupted))
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 2 and "add --resume" in output and "Traceback" not in output


def test_two_processes_end_where_one_with_the_joint_batch_ends(dataset: Path, tmp_path: Path) -> None:
    exact = {
        "SOLVER__MAX_ITER": 3,
        "SOLVER__OPTIMIZER": "SGD",
        "SOLVER__BASE_LR": 0.01,
        "SOLVER__WARMUP_ITERS": 0,
        "MODEL__TCM__DROPOUT": 0.0,
        "MODEL__ABCNET__RECOGNIZER_DROPOUT": 0.0,
        "MODEL__ABCNET__TEACHER_FORCING": 1.0,
        "SOLVER__CLIP_GRADIENTS__ENABLED": False,
        "INPUT__CROP__ENABLED": False,
        "INPUT__ROTATE": 0.0,
        "SOLVER__EMA__ENABLED": False,
    }
    one, two = tmp_path / "one", tmp_path / "two"
    finish(command(dataset, one, **exact))
    finish(command(dataset, two, "--num-devices", "2", **exact))
    initial = tmp_path / "initial"
    finish(command(dataset, initial, **{**exact, "SOLVER__MAX_ITER": 1, "SOLVER__BASE_LR": 1e-12}))
    start_weights, first, second = (load_file(f / "model_final.safetensors") for f in (initial, one, two))
    moved = 0
    for key, value in first.items():
        if not value.is_floating_point():
            continue
        step = (value - start_weights[key]).abs().max()
        moved += int(step > 1e-5)
        torch.testing.assert_close(
            second[key], value, rtol=0, atol=1e-3 * float(step) + 5e-7, msg=lambda m, k=key: f"{k}: {m}"
        )
    assert moved > len(first) / 3
