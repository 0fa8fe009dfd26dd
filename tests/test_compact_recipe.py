"""The recipe of the shipped model, in miniature: two separate trainings, joined, trained on, frozen and halved."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from fasttcm.cli.main import main
from fasttcm.config import load_config
from fasttcm.engine.build import build_model
from fasttcm.engine.checkpoint import read_checkpoint, save_model

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs" / "compact"
SCRIPT = "import os, pathlib, sys; pathlib.Path(sys.argv[1]).write_text(os.environ['OMP_NUM_THREADS']); sys.exit({})"


@pytest.fixture(scope="module")
def recipe():
    spec = importlib.util.spec_from_file_location("train_compact", ROOT / "scripts" / "train_compact.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_joined_weights_are_the_detectors_with_the_readers_reader(recipe, tmp_path: Path) -> None:
    parts = {}
    for seed, name in enumerate(("detector", "recognizer_refine")):
        torch.manual_seed(seed)
        cfg = load_config(CONFIGS / f"{name}.yaml")
        parts[name] = build_model(cfg)
        save_model(tmp_path / f"{name}.safetensors", parts[name], cfg, 7 + seed)
    joined = tmp_path / "joined.safetensors"
    recipe.join(tmp_path / "detector.safetensors", tmp_path / "recognizer_refine.safetensors", joined)
    stored = read_checkpoint(joined)
    assert stored.iteration == 7 and stored.config.MODEL.ABCNET.TRAIN == "all"
    for key, value in stored.weights.items():
        source = "recognizer_refine" if key.startswith("recognizer.") else "detector"
        assert torch.equal(value, parts[source].state_dict()[key]), key

    small = tmp_path / "small.safetensors"
    assert main(["convert", str(joined), str(small), "--half", "--freeze-text"]) == 0
    half = read_checkpoint(small)
    assert not half.config.MODEL.TCM.TEXT_TOWER
    assert not any("text.encoder" in key or "meta_query" in key for key in half.weights)
    assert {value.dtype for value in half.weights.values() if value.is_floating_point() and value.ndim > 1} == {
        torch.float16
    }
    assert half.weights["recognizer.encoder.convs.0.1.running_var"].dtype == torch.float32
    assert small.stat().st_size < 0.55 * joined.stat().st_size
    assert sum(value.numel() for value in half.weights.values()) < 12e6


def test_freezing_is_for_fasttcm_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg = load_config(CONFIGS / "detector.yaml", ["MODEL.BACKBONE.NAME", "tcm_cr50"])
    save_model(tmp_path / "tcm.safetensors", build_model(cfg), cfg, 0)
    assert main(["convert", str(tmp_path / "tcm.safetensors"), str(tmp_path / "out.safetensors"), "--freeze-text"]) == 2
    assert "only its texts do not depend on the image" in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()


def test_every_stage_names_its_files(recipe, tmp_path: Path) -> None:
    options = type("Options", (), {"scale": 0.5, "device": "cpu"})
    words = recipe.training("detector", tmp_path / "scenes", tmp_path, options)
    assert words[:3] == ["train", "--config-file", str(CONFIGS / "detector.yaml")] and "--resume" in words
    assert words[words.index("SOLVER.MAX_ITER") + 1] == str(load_config(CONFIGS / "detector.yaml").SOLVER.MAX_ITER // 2)
    assert words[words.index("OUTPUT_DIR") + 1] == str(tmp_path / "detector")


def test_lanes_run_in_turn_and_a_failure_ends_its_own_only(recipe, tmp_path: Path, monkeypatch) -> None:
    def command(name: str, code: int = 0) -> list[str]:
        return [sys.executable, "-c", SCRIPT.format(code), str(tmp_path / name)]

    monkeypatch.setattr(recipe, "command", command)
    recipe.run_together([[("first",), ("second",)], [("beside",)]])
    assert all((tmp_path / name).read_text().isdigit() for name in ("first", "second", "beside"))
    with pytest.raises(SystemExit, match="a training failed"):
        recipe.run_together([[("broken", 1), ("never",)], [("other",)]])
    assert (tmp_path / "other").exists() and (tmp_path / "broken").exists() and not (tmp_path / "never").exists()
