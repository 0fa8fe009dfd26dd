"""Checkpoints of the published projects, recognised by the names of their weights.

Every project's ``keys.py`` offers ``matches(keys)``, ``from_published(state)`` (their names to ours) and
``published_options(state)`` (configuration keys: what the shapes tell, and published settings such as the
normalisation).
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from fasttcm.config import apply_overrides, get_defaults
from fasttcm.engine.build import project_names
from fasttcm.errors import CheckpointError

__all__ = ["Published", "published_heads", "read_published"]

_CONTAINERS = ("model", "state_dict")
"""Where a file keeps its weights: detectron2 and AdelaiDet, mmcv; a bare state dict has neither."""
_PARALLEL = "module."
"""Before every name in files that were saved from a data-parallel model."""
_MATCHING = "text_encoder.text_projection"
"""A weight of every TCM checkpoint."""


@dataclass
class Published:
    """A published model in our terms.

    Attributes:
        head: name of the project.
        weights: state dict under our names; what has no name here keeps its own, so that loading names it.
        options: configuration keys that the checkpoint determines.
        config: the complete configuration: ``options`` over the defaults.
        iteration: optimiser steps done, 0 when the file does not say.
    """

    head: str
    weights: dict[str, Tensor]
    options: dict[str, object]
    config: CfgNode
    iteration: int


def published_heads() -> dict[str, ModuleType]:
    """``keys.py`` of every project that has published checkpoints."""
    found = {}
    for name in project_names():
        module = f"fasttcm.projects.{name}.keys"
        try:
            found[name] = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:  # something that the module itself needs
                raise
    return found


def read_published(content: Mapping[str, Any]) -> Published | None:
    """Recognise the content of a weight file.

    Args:
        content: a state dict, or what AdelaiDet, detectron2 or mmcv wrap around one.

    Returns:
        The model; ``None`` when no project knows the names.

    Raises:
        CheckpointError: a known format with a vocabulary, part or value that cannot be used.
    """
    state = _state_dict(content)
    for head, keys in published_heads().items():
        if not keys.matches(state.keys()):
            continue
        _check_tensors(state)
        options = keys.published_options(state)
        overrides = [str(item) for pair in options.items() for item in pair]
        iteration = content.get("iteration")
        return Published(
            head,
            _with_counters(keys.from_published(state)),
            options,
            apply_overrides(get_defaults(), overrides),
            iteration if isinstance(iteration, int) else 0,
        )
    if any(key.endswith(_MATCHING) for key in state):
        raise CheckpointError(
            "it holds TCM's matching, but no detector or spotter known here "
            f"({', '.join(published_heads())}); only whole models can be read"
        )
    return None


def _state_dict(content: Mapping[str, Any]) -> dict[str, Any]:
    """The weights of a file under the names they were trained with."""
    inner = next((content[name] for name in _CONTAINERS if isinstance(content.get(name), Mapping)), content)
    state = {key: value for key, value in inner.items() if isinstance(key, str)}
    if state and all(key.startswith(_PARALLEL) for key in state):
        return {key[len(_PARALLEL) :]: value for key, value in state.items()}
    return state


def _check_tensors(state: Mapping[str, Any]) -> None:
    others = [key for key, value in state.items() if not isinstance(value, Tensor)]
    if others:
        raise CheckpointError(f"{others[0]} is a {type(state[others[0]]).__name__}, not a tensor")


def _with_counters(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add the batch counters that detectron2's frozen normalisations do without."""
    norms = [key.removesuffix("running_mean") for key in weights if key.endswith(".running_mean")]
    return {f"{norm}num_batches_tracked": torch.zeros((), dtype=torch.int64) for norm in norms} | weights
