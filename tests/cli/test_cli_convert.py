from pathlib import Path

import numpy as np
import pytest
import torch
from reference import fill_state_dict, manifest

from fasttcm import Spotter
from fasttcm.cli.main import main


def test_a_converted_file_is_the_same_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "tt.pth", tmp_path / "tt.safetensors"
    torch.save({"model": fill_state_dict(manifest("abcnet", "abcnet_v1_r50")), "iteration": 9}, source)
    settings = ["INPUT.MIN_SIZE_TEST", "64", "INPUT.MAX_SIZE_TEST", "96", "MODEL.TEXT.MAX_LENGTH", "7"]
    assert main(["convert", str(source), str(target), *settings]) == 0
    assert "ABCNet on imagenet_r50, 36.9 M parameters" in capsys.readouterr().out
    picture = np.random.default_rng(0).integers(0, 255, (64, 80, 3), dtype=np.uint8)
    ours = Spotter.from_checkpoint(target, device="cpu")
    theirs = Spotter.from_checkpoint(source, device="cpu", overrides=settings)
    assert ours.config.INPUT.MIN_SIZE_TEST == 64 and ours.model.max_length == 7
    here, there = ours(picture), theirs(picture)
    assert len(here) > 0 and here.texts == there.texts and torch.equal(here.beziers, there.beziers)


def test_our_own_checkpoints_convert_too(tiny_weights: Path, tmp_path: Path) -> None:
    target = tmp_path / "again.safetensors"
    assert main(["convert", str(tiny_weights), str(target), "INPUT.MIN_SIZE_TEST", "48"]) == 0
    assert Spotter.from_checkpoint(target, device="cpu").config.INPUT.MIN_SIZE_TEST == 48


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.pth", "out.safetensors"], "nowhere.pth"),
        (["{weights}", "out.pth"], "must be a .safetensors file"),
        (["{weights}", "out.safetensors", "MODEL.TEXT.CHARSET", "lower36"], "'ascii' in the checkpoint and 'lower36'"),
        (["{weights}", "out.safetensors", "MODEL.FPN.OUT_CHANNELS", "24"], "other shapes: backbone.lateral2.weight"),
        (["{plain}", "out.safetensors"], "holds no configuration; add --config-file"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str],
    message: str,
    tiny_weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from safetensors.torch import save_file

    monkeypatch.chdir(tmp_path)
    save_file({"weight": torch.zeros(1)}, "plain.safetensors")
    known = {"weights": tiny_weights, "plain": "plain.safetensors"}
    assert main(["convert", *(argument.format(**known) for argument in arguments)]) == 2
    assert message in capsys.readouterr().err and not Path("out.safetensors").exists()
