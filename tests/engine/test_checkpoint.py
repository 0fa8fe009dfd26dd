import errno
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fasttcm.config import load_config
from fasttcm.engine.callbacks import AtomicCheckpointIO
from fasttcm.engine.checkpoint import METADATA_KEY, load_weights, metadata, read_checkpoint, save_model
from fasttcm.errors import CheckpointError


def test_model_file_brings_weights_config_and_iteration(tmp_path: Path) -> None:
    cfg = load_config(None, ["SEED", "7"])
    net = nn.Linear(2, 3)
    save_model(tmp_path / "m.safetensors", net, cfg, 12)
    stored = read_checkpoint(tmp_path / "m.safetensors")
    assert stored.config == cfg and stored.iteration == 12
    assert all(torch.equal(stored.weights[key], value) for key, value in net.state_dict().items())
    assert [f.name for f in tmp_path.iterdir()] == ["m.safetensors"]


def test_training_checkpoint_prefers_the_moving_average(tmp_path: Path) -> None:
    cfg = load_config(None)
    state = {"model.w": torch.zeros(1), "ema.module.w": torch.ones(1), "ema.n_averaged": torch.tensor(3)}
    io = AtomicCheckpointIO()
    io.save_checkpoint({"state_dict": state, METADATA_KEY: metadata(cfg, 4)}, tmp_path / "last.ckpt")
    stored = read_checkpoint(tmp_path / "last.ckpt")
    assert stored.weights == {"w": torch.ones(1)} and stored.iteration == 4
    del state["ema.module.w"]
    io.save_checkpoint({"state_dict": state, METADATA_KEY: metadata(cfg, 4)}, tmp_path / "last.ckpt")
    assert read_checkpoint(tmp_path / "last.ckpt").weights == {"w": torch.zeros(1)}


def test_what_does_not_fit_is_listed_and_nothing_is_loaded() -> None:
    net = nn.Linear(2, 3)
    before = net.weight.clone()
    with pytest.raises(
        CheckpointError,
        match=r"w.pt.*other shapes: weight \(3, 5\) instead of \(3, 2\).*missing: bias.*left over: extra",
    ):
        load_weights(net, {"weight": torch.zeros(3, 5), "extra": torch.zeros(1)}, "w.pt")
    load_weights(net, {"bias": torch.full((3,), 2.0)}, "w.pt", strict=False)
    assert torch.equal(net.weight, before) and net.bias.tolist() == [2.0] * 3


def test_long_lists_are_cut() -> None:
    with pytest.raises(CheckpointError, match="k7 and 12 more"):
        load_weights(nn.Identity(), {f"k{i}": torch.zeros(1) for i in range(20)}, "x")


@pytest.mark.parametrize("name", ["a.ckpt", "a.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"not a checkpoint" * 10])
def test_missing_and_damaged_files(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(tmp_path / name)
    assert name in str(error.value) and "\n" not in str(error.value)


def test_truncated_files(tmp_path: Path) -> None:
    cfg = load_config(None)
    save_model(tmp_path / "m.safetensors", nn.Linear(20, 30), cfg, 1)
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"model.w": torch.zeros(999)}}, tmp_path / "m.ckpt")
    for file in (tmp_path / "m.safetensors", tmp_path / "m.ckpt"):
        file.write_bytes(file.read_bytes()[:-500])
        with pytest.raises(CheckpointError, match="cannot be read"):
            read_checkpoint(file)


class Harmful:
    def __reduce__(self):
        return (Path.touch, (Path("harm_was_done"),))


def test_pickled_code_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Harmful()}, tmp_path / "evil.ckpt")
    with pytest.raises(CheckpointError, match="cannot be read safely"):
        read_checkpoint(tmp_path / "evil.ckpt")
    assert not (tmp_path / "harm_was_done").exists()


def test_files_of_other_projects_are_named(tmp_path: Path) -> None:
    torch.save({"model": {}}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"not of a format known here.*model"):
        read_checkpoint(tmp_path / "x.pth")
    save_file({"w": torch.zeros(1)}, tmp_path / "x.safetensors")
    assert read_checkpoint(tmp_path / "x.safetensors").config is None


class FullDisk:
    """Writes half of a file, then reports a full disk."""

    def __call__(self, content: object, path: object, **_: object) -> None:
        Path(str(path)).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")


def test_full_disk_keeps_the_previous_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = load_config(None)
    file = tmp_path / "m.safetensors"
    save_model(file, nn.Linear(2, 2), cfg, 1)
    whole = file.read_bytes()
    monkeypatch.setattr("safetensors.torch.save_file", FullDisk())
    with pytest.raises(CheckpointError, match=r"No space left on device.*previous one is kept"):
        save_model(file, nn.Linear(2, 2), cfg, 2)
    assert file.read_bytes() == whole and [f.name for f in tmp_path.iterdir()] == ["m.safetensors"]

    monkeypatch.setattr("torch.save", FullDisk())
    with pytest.raises(CheckpointError, match="No space left on device"):
        AtomicCheckpointIO().save_checkpoint({"a": 1}, tmp_path / "last.ckpt")
    assert [f.name for f in tmp_path.iterdir()] == ["m.safetensors"]
