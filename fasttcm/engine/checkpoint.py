"""Write and read checkpoints: always whole, never pickled code.

Two kinds of file. ``last.ckpt`` resumes a training: model, optimiser, schedule and iteration, a torch file that loads
with ``weights_only=True``. ``*.safetensors`` holds a model for use. Both carry the configuration, the character set
and the weights' normalisation, so that a file alone rebuilds its model.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from fasttcm import __version__
from fasttcm.config import config_from_yaml
from fasttcm.errors import CheckpointError

__all__ = [
    "Checkpoint",
    "check_same_inputs",
    "load_weights",
    "read_checkpoint",
    "read_torch_file",
    "save_model",
    "write_atomically",
]

METADATA_KEY = "fasttcm"
TRAVELLING_KEYS = (
    "MODEL.TEXT.CHARSET",
    "MODEL.TEXT.MAX_LENGTH",
    "MODEL.PIXEL_MEAN",
    "MODEL.PIXEL_STD",
    "INPUT.FORMAT",
)
"""Settings that are part of what the weights mean."""
MAX_LISTED_KEYS = 8
"""Missing or left-over keys named in a message before "and n more"."""


@dataclass
class Checkpoint:
    """Weights and what they were trained as.

    Attributes:
        weights: state dict of the model.
        config: the configuration it was trained with; ``None`` in a file of another project.
        iteration: optimiser steps done.
    """

    weights: dict[str, Tensor]
    config: CfgNode | None
    iteration: int = 0


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name, flush it to disk, then rename: a reader never sees half a file.

    Raises:
        CheckpointError: the disk is full or not writable; an earlier file of that name is still whole.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        kept = "; the previous one is kept" if path.exists() else ""
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path} could not be written ({reason}){kept}; free some space and resume") from error


def metadata(cfg: CfgNode, iteration: int) -> dict[str, str]:
    """What a checkpoint says about itself, as text: configuration, charset, longest text, normalisation."""
    return {
        "version": __version__,
        "config": cfg.dump(),
        "charset": cfg.MODEL.TEXT.CHARSET,
        "max_length": str(cfg.MODEL.TEXT.MAX_LENGTH),
        "prompts": json.dumps(list(cfg.MODEL.TCM.CLASS_TEXTS)),
        "iteration": str(iteration),
    }


def save_model(path: Path, model: nn.Module, cfg: CfgNode, iteration: int) -> None:
    """Write a model for use as safetensors; raises CheckpointError when the disk is full."""
    weights = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    content = metadata(cfg, iteration)
    write_atomically(path, lambda file: safetensors.torch.save_file(weights, str(file), metadata=content))


def read_torch_file(path: Path) -> dict[str, Any]:
    """A torch file of plain tensors and containers.

    Raises:
        CheckpointError: missing, truncated, or with anything but plain data in it.
    """
    if not path.is_file():
        raise CheckpointError(f"checkpoint {str(path)!r} does not exist")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for damaged files
        reason = str(error).split("\n", 1)[0]
        raise CheckpointError(f"checkpoint {str(path)!r} cannot be read safely: {reason}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"checkpoint {str(path)!r} holds a {type(content).__name__}, not a dictionary of weights")
    return content


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of ours, of either kind; the averaged weights when there are any.

    Raises:
        CheckpointError: missing, damaged, or of a format not recognised.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    content = read_torch_file(path)
    if "state_dict" not in content or METADATA_KEY not in content:
        raise CheckpointError(f"checkpoint {str(path)!r} is not of a format known here (keys: {_some(list(content))})")
    state = content["state_dict"]
    prefix = "ema.module." if any(key.startswith("ema.module.") for key in state) else "model."
    weights = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
    about = content[METADATA_KEY]
    return Checkpoint(weights, config_from_yaml(about["config"], str(path)), int(about["iteration"]))


def _read_safetensors(path: Path) -> Checkpoint:
    if not path.is_file():
        raise CheckpointError(f"checkpoint {str(path)!r} does not exist")
    try:
        with safetensors.safe_open(str(path), "pt") as file:
            about = file.metadata() or {}
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"checkpoint {str(path)!r} cannot be read: {error}") from error
    config = config_from_yaml(about["config"], str(path)) if "config" in about else None
    return Checkpoint(weights, config, int(about.get("iteration", 0)))


def check_same_inputs(stored: CfgNode, given: CfgNode, source: str | Path) -> None:
    """Refuse to run weights with another alphabet or normalisation than they were trained with.

    Raises:
        CheckpointError: names every setting of :data:`TRAVELLING_KEYS` that differs, with both values.
    """
    differences = []
    for key in TRAVELLING_KEYS:
        values = []
        for node in (stored, given):
            for part in key.split("."):
                node = node[part]
            values.append(node)
        if values[0] != values[1]:
            differences.append(f"{key} is {values[0]!r} in the checkpoint and {values[1]!r} in the configuration")
    if differences:
        raise CheckpointError(f"checkpoint {str(source)!r} does not fit the configuration: {'; '.join(differences)}")


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], source: str | Path, *, strict: bool = True) -> None:
    """Copy weights into a model.

    Args:
        model: the receiver.
        weights: state dict.
        source: where the weights come from, for messages.
        strict: ``False`` accepts missing and left-over keys (not other shapes).

    Raises:
        CheckpointError: the keys or shapes that do not fit, by name; the model is unchanged.
    """
    own = model.state_dict()
    missing = [key for key in own if key not in weights]
    unexpected = [key for key in weights if key not in own]
    shapes = [
        f"{key} {tuple(weights[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in weights and weights[key].shape != own[key].shape
    ]
    problems = []
    if shapes:
        problems.append(f"other shapes: {_some(shapes)}")
    if strict and missing:
        problems.append(f"missing: {_some(missing)}")
    if strict and unexpected:
        problems.append(f"left over: {_some(unexpected)}")
    if problems:
        raise CheckpointError(f"checkpoint {str(source)!r} does not fit the model; {'; '.join(problems)}")
    model.load_state_dict(dict(weights), strict=False)


def _some(names: list[str]) -> str:
    rest = len(names) - MAX_LISTED_KEYS
    return ", ".join(names[:MAX_LISTED_KEYS]) + (f" and {rest} more" if rest > 0 else "")
