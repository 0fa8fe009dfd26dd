"""The reader of TorchScript archives: same tensors as torch.jit, and nothing in the file is run."""

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from fasttcm.clip.archive import _tensor_of_storage, is_torchscript, read_torchscript_tensors
from fasttcm.errors import CheckpointError

ARCHIVE = Path(__file__).parents[1] / "golden" / "clip_rn50" / "tiny_rn.pt"


def rewritten(path: Path, *, compression: int = zipfile.ZIP_STORED, **entries: bytes | None) -> Path:
    """The small archive with some entries (named by their last part) replaced, or left out for ``None``."""
    with zipfile.ZipFile(ARCHIVE) as source, zipfile.ZipFile(path, "w", compression) as target:
        for name in source.namelist():
            content = entries.get(Path(name).stem, source.read(name))
            if content is not None:
                target.writestr(name, content)
    return path


def test_same_names_types_and_values_as_torch():
    expected = torch.jit.load(ARCHIVE).state_dict()
    actual = read_torchscript_tensors(ARCHIVE)
    assert set(actual) == set(expected)
    for name, value in expected.items():
        assert actual[name].dtype == value.dtype
        assert torch.equal(actual[name], value), name
    assert {value.dtype for value in actual.values()} == {torch.float16, torch.float32, torch.int64}


def test_views_buffers_and_shared_storage(tmp_path):
    class Sample(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            base = torch.arange(12.0)
            self.register_buffer("turned", base.view(3, 4).T)
            self.register_buffer("tail", base[8:])
            self.register_buffer("none", torch.zeros(0, 2))
            self.child = torch.nn.Linear(2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.child(x) + self.turned.sum() + self.tail.sum() + self.none.sum()

    model = Sample()
    torch.jit.trace(model, torch.ones(1, 2)).save(tmp_path / "sample.pt")
    actual = read_torchscript_tensors(tmp_path / "sample.pt")
    assert set(actual) == {"turned", "tail", "none", "child.weight", "child.bias"}
    for name, value in model.state_dict().items():
        assert torch.equal(actual[name], value), name


def test_a_call_hidden_in_the_description_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    path = rewritten(tmp_path / "trap.pt", data=pickle.dumps(Trap(), protocol=2))
    assert pickle.loads(pickle.dumps(Trap(), protocol=2)) is None and (tmp_path / "sprung").is_dir()  # the trap works
    (tmp_path / "sprung").rmdir()
    assert read_torchscript_tensors(path) == {}
    assert not (tmp_path / "sprung").exists()


def test_attributes_set_by_one_file_do_not_reach_the_next(tmp_path):
    """Opcodes: take the tensor builder, set an attribute of it (as the BUILD opcode does for functions)."""
    description = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(N}U\x04flagK\x01stb."
    with zipfile.ZipFile(tmp_path / "sly.pt", "w") as archive:
        archive.writestr("sly/data.pkl", description)
        archive.writestr("sly/code/m.py", "")
    with pytest.raises(CheckpointError, match="partial"):
        read_torchscript_tensors(tmp_path / "sly.pt")
    assert not hasattr(_tensor_of_storage, "flag")


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"data": b"garbage"}, "Unpickling|pickle"),
        ({"0": None}, "data/0"),
        ({"0": b"\0\0"}, "2 bytes, 1024 elements"),
    ],
)
def test_damaged_entries_are_reported(tmp_path, entries, reason):
    with pytest.raises(CheckpointError, match=reason):
        read_torchscript_tensors(rewritten(tmp_path / "damaged.pt", **entries))


def test_compressed_tensors_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="compressed"):
        read_torchscript_tensors(rewritten(tmp_path / "packed.pt", compression=zipfile.ZIP_DEFLATED))


def test_changed_bytes_are_noticed(tmp_path):
    content = bytearray(ARCHIVE.read_bytes())
    with zipfile.ZipFile(ARCHIVE) as archive:
        content[archive.getinfo("tiny_rn/data/1").header_offset + 200] ^= 0xFF
    path = tmp_path / "changed.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="CRC"):
        read_torchscript_tensors(path)


def test_files_of_torch_save_are_told_apart(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "plain.pth")
    assert is_torchscript(ARCHIVE)
    assert not is_torchscript(tmp_path / "plain.pth")
    with pytest.raises(CheckpointError, match="no TorchScript code"):
        read_torchscript_tensors(tmp_path / "plain.pth")
