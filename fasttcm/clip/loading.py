"""CLIP's towers from OpenAI's RN50.pt, from plain weights under its names, or newly initialised.

Nothing is ever downloaded, and no code stored in a weight file is run (see :mod:`fasttcm.clip.archive`).
"""

import hashlib
import logging
import math
import os
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from open_clip.factory import load_state_dict
from torch import Tensor, nn

from fasttcm.clip.archive import is_torchscript, read_torchscript_tensors
from fasttcm.clip.attention_pool import DenseAttentionPool
from fasttcm.clip.sizes import ClipSizes
from fasttcm.clip.text import TextTower
from fasttcm.clip.trunk import ClipResNet
from fasttcm.errors import CheckpointError

__all__ = ["RANDOM", "RN50_SHA256", "RN50_URL", "ClipTowers", "load_clip", "towers_from_state_dict"]

RANDOM = "random"
"""The word that asks for newly initialised towers instead of a file."""
RN50_SHA256 = "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"
RN50_URL = f"https://openaipublic.azureedge.net/clip/models/{RN50_SHA256}/RN50.pt"
INITIAL_LOGIT_SCALE = math.log(1 / 0.07)
"""CLIP's initial log temperature (paper, section 2.5); trained, it is ln(100) at most."""

_TRUNK = "visual."
_POOL = "visual.attnpool."
_LOGIT_SCALE = "logit_scale"
_NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size", "attn_mask")
"""Sizes that OpenAI's archive stores as integers among the weights (the shapes tell the same), and the causal mask that
archives traced from open_clip's model hold."""
_RN50_SIZES = ClipSizes()
_NAMED_IN_MESSAGE = 6
"""Keys written out in an error before "and N more"."""
_SNIFFED_BYTES = 64
_HASH_BLOCK_BYTES = 1 << 20

_logger = logging.getLogger(__name__)


@dataclass
class ClipTowers:
    """CLIP in parts, float32 on the CPU.

    Attributes:
        trunk: image trunk, ``res2`` .. ``res5``.
        pool: attention pool of its last level into the shared embedding space.
        text: text tower.
        logit_scale: logarithm of the factor of cosine logits: ``exp(logit_scale) * image . text`` of unit vectors.
        sizes: widths and depths.
        sha256: hexadecimal digest of the file the weights came from; ``None`` for new towers.
    """

    trunk: ClipResNet
    pool: DenseAttentionPool
    text: TextTower
    logit_scale: float
    sizes: ClipSizes
    sha256: str | None = None


def load_clip(weights: str | os.PathLike[str], *, sizes: ClipSizes | None = None) -> ClipTowers:
    """Build CLIP's towers.

    Args:
        weights: path of a local file (OpenAI's RN50.pt or another TorchScript archive of that layout; a safetensors
            or ``torch.save`` file of a state dict under the same names), or the word ``random`` for new towers:
            PyTorch's Kaiming initialisation for the trunk with zero for the last normalisation weight of every
            bottleneck, CLIP's normal distributions for pool and text tower, ln(1/0.07) for the temperature.
        sizes: what the towers must be. ``None``: a file's own sizes, or those of RN50 for new towers.

    Returns:
        The towers in eval mode, with the file's weights cast to float32.

    Raises:
        CheckpointError: the file is missing, damaged, not CLIP's layout, or contradicts ``sizes``.
    """
    if weights == RANDOM:
        return _evaluating(_new_towers(sizes or _RN50_SIZES))
    path = Path(weights)
    towers = towers_from_state_dict(_read(path), source=str(path))
    differences = towers.sizes.contradictions(sizes) if sizes else []
    if differences:
        raise CheckpointError(f"{path} is another CLIP than asked for (file against request): {'; '.join(differences)}")
    towers.sha256 = _sha256(path)
    if towers.sizes == _RN50_SIZES and towers.sha256 != RN50_SHA256:
        _logger.warning(
            "%s has RN50's sizes but is not OpenAI's file; its weights are used as they are: SHA-256 %s, published %s",
            path,
            towers.sha256,
            RN50_SHA256,
        )
    return towers


def towers_from_state_dict(state: Mapping[str, Tensor], *, source: str = "state dict") -> ClipTowers:
    """Build towers around weights under OpenAI's names.

    Args:
        state: ``visual.*``, ``transformer.*``, ``token_embedding.weight``, ... in any floating type.
        source: what error messages call it.

    Returns:
        The towers in eval mode, weights copied as float32.

    Raises:
        CheckpointError: a tensor is missing, left over or of another shape; each is named.
    """
    state = {key: value for key, value in state.items() if key not in _NOT_WEIGHTS}
    try:
        sizes = ClipSizes.from_state_dict(state)
    except CheckpointError as error:
        raise _unusable(source, str(error)) from error
    towers = _new_towers(sizes)
    wanted = {_LOGIT_SCALE: torch.tensor(0.0)}
    for prefix, part in _parts(towers):
        wanted |= {prefix + key: value for key, value in part.state_dict().items()}
    _check_keys(state, wanted, source)
    for prefix, part in _parts(towers):
        part.load_state_dict({key: state[prefix + key] for key in part.state_dict()})
    towers.logit_scale = float(state[_LOGIT_SCALE])
    return _evaluating(towers)


def _new_towers(sizes: ClipSizes) -> ClipTowers:
    return ClipTowers(
        trunk=ClipResNet(layers=sizes.layers, width=sizes.width),
        pool=DenseAttentionPool(
            in_channels=sizes.stage_channels[-1],
            embed_dim=sizes.embed_dim,
            num_heads=sizes.pool_heads,
            grid=sizes.grid,
        ),
        text=TextTower(
            embed_dim=sizes.embed_dim,
            context_length=sizes.context_length,
            vocab_size=sizes.vocab_size,
            width=sizes.text_width,
            heads=sizes.text_heads,
            layers=sizes.text_layers,
        ),
        logit_scale=INITIAL_LOGIT_SCALE,
        sizes=sizes,
    )


def _parts(towers: ClipTowers) -> tuple[tuple[str, nn.Module], ...]:
    """Every part and the prefix of its names in OpenAI's layout."""
    return (_TRUNK, towers.trunk), (_POOL, towers.pool), ("", towers.text)


def _evaluating(towers: ClipTowers) -> ClipTowers:
    for _, part in _parts(towers):
        part.eval()
    return towers


def _check_keys(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str) -> None:
    shapes = [
        f"{key} {tuple(state[key].shape)} (expected {tuple(wanted[key].shape)})"
        for key in wanted
        if key in state and state[key].shape != wanted[key].shape
    ]
    faults = {
        "missing": [key for key in wanted if key not in state],
        "left over": [key for key in state if key not in wanted],
        "of another shape": shapes,
    }
    found = [f"{fault}: {_listed(names)}" for fault, names in faults.items() if names]
    if found:
        raise _unusable(source, "it does not hold exactly the weights of a CLIP ResNet; " + "; ".join(found))


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = len(names) - _NAMED_IN_MESSAGE
    return ", ".join(names[:_NAMED_IN_MESSAGE]) + (f" and {more} more" if more > 0 else "")


def _read(path: Path) -> Mapping[str, Tensor]:
    """Tensors of a weight file of any accepted format."""
    # A bare name such as "RN50" must never reach a library that would download it.
    if not path.is_file():
        raise _unusable(path, "there is no such file")
    try:
        if path.suffix != ".safetensors":
            if not zipfile.is_zipfile(path):
                raise CheckpointError(_instead_of_zip(path))
            if is_torchscript(path):
                return read_torchscript_tensors(path)
        state = load_state_dict(str(path), weights_only=True)
        return {key: value for key, value in state.items() if isinstance(value, Tensor)}
    # The readers of untrusted files raise almost anything; for the user every case is the same.
    except Exception as error:
        raise _unusable(path, str(error) or f"it cannot be read ({type(error).__name__})") from error


def _instead_of_zip(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(_SNIFFED_BYTES).lstrip()
    if not start:
        return "it is empty"
    if start.startswith(b"<"):
        return "it is a web page, not weights"
    return "it is not a complete zip archive (damaged, or a download that was cut short)"


def _unusable(source: str | os.PathLike[str], why: str) -> CheckpointError:
    """The error for a source that is no CLIP: which one, why, and where the right file comes from."""
    # Messages of the libraries below may run over several lines.
    reason = " ".join(why.split())
    return CheckpointError(
        f"cannot load CLIP from {os.fspath(source)}: {reason}. "
        f"OpenAI publishes RN50.pt at {RN50_URL} (SHA-256 {RN50_SHA256})"
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
