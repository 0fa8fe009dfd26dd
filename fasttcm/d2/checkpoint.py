"""detectron2's checkpointer, reading also our files, published checkpoints and CLIP's RN50.pt."""

import zipfile
from pathlib import Path
from typing import Any

from detectron2.checkpoint import DetectionCheckpointer
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from fasttcm.clip import ClipResNet, load_clip
from fasttcm.clip.archive import is_torchscript
from fasttcm.d2.meta_arch import FastTCMModel
from fasttcm.engine.checkpoint import (
    METADATA_KEY,
    Checkpoint,
    check_same_inputs,
    load_weights,
    metadata,
    read_checkpoint,
)
from fasttcm.errors import CheckpointError
from fasttcm.tcm import TCMBackbone

__all__ = ["TextCheckpointer"]


class TextCheckpointer(DetectionCheckpointer):
    """Saves and loads as ``DetectionCheckpointer``; for our heads with the facts that the other host needs.

    A file written here loads with ``Spotter.from_checkpoint`` and ``fasttcm eval``, and theirs load here. ``RN50.pt``
    as ``MODEL.WEIGHTS`` goes into our backbone, wherever in the model it is.
    """

    def save(self, name: str, **kwargs: Any) -> None:
        """Write ``<name>.pth`` with weights, states and, for our heads, the configuration."""
        model = _unwrapped(self.model)
        if isinstance(model, FastTCMModel):
            kwargs[METADATA_KEY] = metadata(model.config, int(kwargs.get("iteration", -1)) + 1)
        super().save(name, **kwargs)

    def load(self, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Load ``path``; see the class.

        Raises:
            CheckpointError: a file that cannot be read or does not fit, with the names of what is missing or left over.
        """
        model = _unwrapped(self.model)
        file = Path(path) if path else None
        if file is not None and not (file.suffix == ".pth" and file.parent == Path(self.save_dir)):
            if zipfile.is_zipfile(file) and is_torchscript(file):
                _load_clip_into(model, file)
                return {}
            if isinstance(model, FastTCMModel):
                _load_into(model, read_checkpoint(file), file)
                return {}
        return super().load(path, *args, **kwargs)  # type: ignore[no-any-return]


def _unwrapped(model: nn.Module) -> nn.Module:
    return model.module if isinstance(model, DistributedDataParallel) else model


def _load_into(model: FastTCMModel, stored: Checkpoint, file: Path) -> None:
    if stored.config is not None:
        check_same_inputs(stored.config, model.config, file, keys=stored.travelling)
    load_weights(model.model, stored.weights, file)


def _load_clip_into(model: nn.Module, file: Path) -> None:
    """CLIP's towers into the first of our backbones that takes them."""
    for body in model.modules():
        if isinstance(body, ClipResNet | TCMBackbone):
            break
    else:
        raise CheckpointError(f"{file} is a CLIP archive, but the model has no CLIP backbone to put it into")
    towers = load_clip(file)
    if isinstance(body, ClipResNet):
        load_weights(body, towers.trunk.state_dict(), file)
        return
    encoder = body.matching.text.encoder
    if encoder is None:
        raise CheckpointError(f"{file} is a CLIP archive, but the model's texts are constants without a text tower")
    tower = encoder.tower
    load_weights(body.trunk, towers.trunk.state_dict(), file)
    load_weights(body.pool, towers.pool.resize_grid_(*body.pool.grid).state_dict(), file)
    load_weights(tower, towers.text.truncate_context_(tower.context_length).state_dict(), file)
    body.reset_text_cache()
