"""Write and read checkpoints: always whole, never pickled code.

Two kinds of file of our own. ``last.ckpt`` resumes a training: model, optimiser, schedule and iteration, a torch file
that loads with ``weights_only=True``. ``*.safetensors`` holds a model for use. Both carry the configuration, the
character set and the weights' normalisation, so that a file alone rebuilds its model. Published checkpoints are
recognised by :mod:`fasttcm.engine.published`.
"""

import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn

import fasttcm
from fasttcm import __version__
from fasttcm.config import apply_overrides, config_from_yaml
from fasttcm.engine.published import Published, read_published
from fasttcm.engine.vocabulary import charset_difference, with_characters
from fasttcm.errors import CheckpointError

__all__ = [
    "DEFAULT_MODEL",
    "SHIPPED",
    "Checkpoint",
    "check_same_inputs",
    "load_weights",
    "read_checkpoint",
    "read_torch_file",
    "save_model",
    "write_atomically",
]

_LOG = logging.getLogger(__name__)

METADATA_KEY = "fasttcm"
SHIPPED = {"compact": Path(fasttcm.__file__).parent / "models" / "compact.safetensors"}
"""Models that come with the package: a word for ``MODEL.WEIGHTS`` and ``--weights`` -> file."""
DEFAULT_MODEL = "compact"
CHARSET_KEY = "MODEL.TEXT.CHARSET"
TRAVELLING_KEYS = (
    CHARSET_KEY,
    "MODEL.TEXT.MAX_LENGTH",
    "MODEL.PIXEL_MEAN",
    "MODEL.PIXEL_STD",
    "INPUT.FORMAT",
)
"""Settings that are part of what the weights mean."""
MAX_LISTED_KEYS = 8
"""Missing or left-over keys named in a message before "and n more"."""
_PICKLES = (".pkl", ".pickle")
_SCALAR_TYPES = (np.float64, np.float32, np.int64, np.int32, np.bool_)
"""NumPy scalars that training files hold: learning rates, figures, counters."""


@dataclass
class Checkpoint:
    """Weights and what they were trained as.

    Attributes:
        weights: state dict of the model.
        config: the configuration it was trained with; ``None`` in a file of another project.
        iteration: optimiser steps done.
        travelling: settings that the file determines, see :func:`check_same_inputs`; a published one does not tell all.
    """

    weights: dict[str, Tensor]
    config: CfgNode | None
    iteration: int = 0
    travelling: tuple[str, ...] = TRAVELLING_KEYS


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
    # Strict whatever the weights that it started from lacked.
    whole = with_characters(apply_overrides(cfg, ["MODEL.WEIGHTS_STRICT", "True"]))
    return {
        "version": __version__,
        "config": whole.dump(),
        "charset": whole.MODEL.TEXT.CHARSET,
        "max_length": str(cfg.MODEL.TEXT.MAX_LENGTH),
        "prompts": json.dumps(list(cfg.MODEL.TCM.CLASS_TEXTS)),
        "iteration": str(iteration),
    }


def save_model(path: Path, model: nn.Module, cfg: CfgNode, iteration: int, *, half: bool = False) -> None:
    """Write a model for use as safetensors.

    Args:
        path: the file.
        model: its state dict is written.
        cfg: the configuration that rebuilds it.
        iteration: optimiser steps done.
        half: matrices and kernels as float16, half the size. Vectors stay: they are small, and a variance near zero
            would vanish.

    Raises:
        CheckpointError: the disk is full.
    """

    def stored(value: Tensor) -> Tensor:
        value = value.detach().cpu().contiguous()
        return value.half() if half and value.is_floating_point() and value.ndim > 1 else value

    weights = {key: stored(value) for key, value in model.state_dict().items()}
    content = metadata(cfg, iteration)
    write_atomically(path, lambda file: safetensors.torch.save_file(weights, str(file), metadata=content))


def read_torch_file(path: Path) -> dict[str, Any]:
    """A torch file of plain tensors, containers and NumPy scalars (which optimisers and schedules leave behind).

    Raises:
        CheckpointError: missing, truncated, or with anything else in it.
    """
    if not path.is_file():
        raise CheckpointError(f"checkpoint {str(path)!r} does not exist")
    if path.suffix in _PICKLES:
        raise CheckpointError(
            f"checkpoint {str(path)!r} is a pickle (as in detectron2's model zoo), which runs code when it is read; "
            "where you trust it, turn it into a torch file first: torch.save({k: torch.as_tensor(v) for k, v in "
            "pickle.load(open('in.pkl', 'rb'))['model'].items()}, 'out.pth')"
        )
    try:
        with _numpy_scalars_allowed():
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for damaged files
        raise CheckpointError(f"checkpoint {str(path)!r} cannot be read safely: {_first_reason(error)}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"checkpoint {str(path)!r} holds a {type(content).__name__}, not a dictionary of weights")
    return content


@contextmanager
def _numpy_scalars_allowed() -> Iterator[None]:
    """Let torch's restricted loader make NumPy scalars, nothing else more than it does by itself.

    This is ``torch.serialization.safe_globals``, which PyTorch 2.4 does not have.
    """
    before = torch.serialization.get_safe_globals()
    dtypes = [type(np.dtype(kind)) for kind in _SCALAR_TYPES]
    makers = [_scalar_maker(module) for module in ("numpy.core.multiarray", "numpy._core.multiarray")]
    torch.serialization.add_safe_globals([*makers, np.dtype, *dtypes])
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def _scalar_maker(module: str) -> Callable[..., np.generic]:
    """What NumPy calls to unpickle a scalar, under the name of NumPy 1 or 2, whichever is installed."""
    make = np.float64(0).__reduce__()[0]

    def scalar(dtype: np.dtype, content: bytes) -> np.generic:
        value: np.generic = make(dtype, content)
        return value

    scalar.__module__, scalar.__qualname__ = module, "scalar"
    return scalar


def _first_reason(error: Exception) -> str:
    """What torch says, without its advice to switch the protection off."""
    refused = re.search(r"WeightsUnpickler error: ([^\n]+?)(?: was not an allowed|\n|$)", str(error))
    return refused[1] if refused else str(error).split("\n", 1)[0]


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint: ours, of either kind (the averaged weights when there are any), or a published one.

    Args:
        path: a file, or a word of :data:`SHIPPED`.

    Raises:
        CheckpointError: missing, damaged, or of a format not recognised.
    """
    path = SHIPPED.get(str(path), Path(path))
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    content = read_torch_file(path)
    if METADATA_KEY in content and "model" in content:  # written under detectron2, where our model is a part of theirs
        content["state_dict"] = content["model"]
    if "state_dict" not in content or METADATA_KEY not in content:
        published = _published(content, path)
        if published is None:
            raise CheckpointError(
                f"checkpoint {str(path)!r} is not of a format known here (keys: {_some(list(content))})"
            )
        return published
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
    if "config" not in about:
        return _published(weights, path) or Checkpoint(weights, None)
    return Checkpoint(weights, config_from_yaml(about["config"], str(path)), int(about.get("iteration", 0)))


def _published(content: Mapping[str, Any], path: Path) -> Checkpoint | None:
    try:
        found: Published | None = read_published(content)
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {str(path)!r} cannot be used: {error}") from error
    if found is None:
        return None
    _LOG.info("%s: a published checkpoint of %s", path, found.head)
    travelling = tuple(key for key in TRAVELLING_KEYS if key in found.options)
    return Checkpoint(found.weights, found.config, found.iteration, travelling)


def check_same_inputs(
    stored: CfgNode,
    given: CfgNode,
    source: str | Path,
    *,
    keys: Sequence[str] = TRAVELLING_KEYS,
    strict: bool = True,
) -> None:
    """Refuse to run weights with another alphabet, longest text or normalisation than they were trained with.

    Args:
        stored: configuration of the checkpoint.
        given: configuration of the model.
        source: the checkpoint's file, for the message.
        keys: what must agree: :attr:`Checkpoint.travelling`.
        strict: ``False`` reports differences and goes on.

    Raises:
        CheckpointError: names every setting that differs, with both values.
    """
    differences = []
    for key in keys:
        theirs, ours = (reduce(getitem, key.split("."), node) for node in (stored, given))
        if key == CHARSET_KEY:
            differences += charset_difference(theirs, ours)
        elif theirs != ours:
            differences.append(f"{key} is {theirs!r} in the checkpoint and {ours!r} in the configuration")
    if differences:
        problem = f"checkpoint {str(source)!r} does not fit the configuration: {'; '.join(differences)}"
        if strict:
            raise CheckpointError(problem)
        _LOG.warning("%s", problem)


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], source: str | Path, *, strict: bool = True) -> None:
    """Copy weights into a model.

    Args:
        model: the receiver.
        weights: state dict.
        source: where the weights come from, for messages.
        strict: ``False`` reports missing and left-over keys and goes on (other shapes stay an error).

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
    for what, keys in (("missing, so they keep their initial values", missing), ("left over", unexpected)):
        if keys:
            _LOG.warning("checkpoint %s: %d weights are %s: %s", source, len(keys), what, _some(keys))
    model.load_state_dict(dict(weights), strict=False)


def _some(names: list[str]) -> str:
    rest = len(names) - MAX_LISTED_KEYS
    return ", ".join(names[:MAX_LISTED_KEYS]) + (f" and {rest} more" if rest > 0 else "")
