"""Read the tensors of a TorchScript archive such as RN50.pt without running anything stored in it.

``torch.jit.load`` compiles the code in an archive and may run its operators, and ``torch.load(weights_only=True)``
refuses archives. The weights need neither: ``<root>/data.pkl`` describes a tree of modules by opcodes and
``<root>/data/<n>`` hold the raw numbers. Here the description is read by an unpickler for which every name in the
file stands for an inert placeholder, except storages and "tensor of this storage"; nothing is imported or called.
"""

import pickle
import sys
import zipfile
from collections.abc import Iterator
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fasttcm.errors import CheckpointError

__all__ = ["is_torchscript", "read_torchscript_tensors"]

_STORAGE_DTYPES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class _Inert:
    """What any other name of the file becomes: takes arguments and state, does nothing with them."""

    def __new__(cls, *_args: object) -> "_Inert":
        return super().__new__(cls)

    def __init__(self, *_args: object) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class _TensorReader(pickle.Unpickler):
    """Unpickler of ``data.pkl`` that can build containers, placeholders and tensors, and nothing else."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        self._archive = archive
        self._root = root
        self._storages: dict[str, Tensor] = {}
        # Opcodes can set attributes of a plain function: hand out a wrapper that only this reader uses.
        self._rebuild = partial(_tensor_of_storage)
        super().__init__(archive.open(f"{root}data.pkl"))

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGE_DTYPES:
            return _STORAGE_DTYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._rebuild
        return _Inert

    def persistent_load(self, pid: Any) -> Tensor:
        """A flat tensor for ``("storage", type, entry, device, number of elements)``; the device is ignored."""
        kind, dtype, entry, _device, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise ValueError(f"unknown entry {kind!r} in data.pkl")
        if entry not in self._storages:
            self._storages[entry] = self._read_storage(f"{self._root}data/{entry}", dtype, int(count))
        return self._storages[entry]

    def _read_storage(self, name: str, dtype: torch.dtype, count: int) -> Tensor:
        info = self._archive.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{name} is compressed; archives store their tensors as they are")
        if info.file_size < count * dtype.itemsize:
            raise ValueError(f"{name} has {info.file_size} bytes, {count} elements of {dtype} are announced")
        if count == 0:
            return torch.empty(0, dtype=dtype)
        return torch.frombuffer(bytearray(self._archive.read(info)), dtype=dtype, count=count)


def _tensor_of_storage(
    storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_hooks: object
) -> Tensor:
    if prod(size) > storage.numel() or len(size) != len(stride):
        raise ValueError(f"a tensor of shape {size} and strides {stride} exceeds its {storage.numel()} stored elements")
    return storage.as_strided(size, stride, offset)


def _named_tensors(module: object, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """Tensors of a tree of placeholders under dotted names, as ``state_dict`` would name them."""
    if isinstance(module, _Inert) and isinstance(module.state, dict):
        for name, value in module.state.items():
            if isinstance(value, Tensor):
                yield prefix + name, value
            else:
                yield from _named_tensors(value, f"{prefix}{name}.")


def _root(archive: zipfile.ZipFile) -> str | None:
    """Folder of the archive's entries with its slash, if they are those of TorchScript."""
    names = archive.namelist()
    root = next((name.removesuffix("data.pkl") for name in names if name.endswith("data.pkl")), None)
    if root is None or not any(name.startswith(f"{root}code/") for name in names):
        return None
    return root


def is_torchscript(path: Path) -> bool:
    """Whether the zip file at ``path`` is a TorchScript archive rather than one of ``torch.save``."""
    with zipfile.ZipFile(path) as archive:
        return _root(archive) is not None


def read_torchscript_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of the archive's modules, {dotted name: tensor on the CPU in its stored type}.

    They are those of ``torch.jit.load(path).state_dict()``, which also lists every tensor attribute.

    Raises:
        CheckpointError: the file is damaged or not a TorchScript archive.
    """
    if sys.byteorder != "little":
        raise CheckpointError(f"{path.name}: TorchScript archives are little-endian and this machine is not")
    try:
        with zipfile.ZipFile(path) as archive:
            root = _root(archive)
            if root is None:
                raise ValueError("no TorchScript code in it")
            return dict(_named_tensors(_TensorReader(archive, root).load(), ""))
    # Damaged opcodes can make the unpickler raise almost anything.
    except Exception as error:
        raise CheckpointError(f"{path.name} is not a readable TorchScript archive: {error!r}") from error
