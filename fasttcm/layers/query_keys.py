"""Published names of what DeepSolo and TESTR share: their code has one ancestor, and so have their checkpoints."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from fasttcm.errors import CheckpointError
from fasttcm.layers.resnet_keys import from_detectron2

__all__ = ["SHARED_RULES", "count_layers", "merge_aliases", "rename_query_key"]

_ENCODER = r"transformer\.encoder\.layers\.(\d+)\."

SHARED_RULES: tuple[tuple[str, str], ...] = (
    (r"input_proj\.(\d+)\.(\d+)\.", "projection.projections.{0}.{1}."),
    (r"transformer\.level_embed$", "projection.level_embed"),
    (rf"{_ENCODER}self_attn\.", "encoder.layers.{0}.attention."),
    (rf"{_ENCODER}norm1\.", "encoder.layers.{0}.norm."),
    (rf"{_ENCODER}linear(\d)\.", "encoder.layers.{0}.feedforward.linear{1}."),
    (rf"{_ENCODER}norm2\.", "encoder.layers.{0}.feedforward.norm."),
)
"""(regular expression behind the model's own prefix, what replaces it; ``{i}`` is group i): tokens and encoder."""


def rename_query_key(key: str, root: str, rules: Sequence[tuple[str, str]]) -> str | None:
    """Our name of a published weight; ``None`` when it has none.

    Args:
        key: the published name.
        root: what all published names start with.
        rules: as :data:`SHARED_RULES`, tried after those; the trunk has rules of its own.
    """
    if not key.startswith(root):
        return None
    name = key.removeprefix(root)
    trunk = "backbone.0.backbone."
    if name.startswith(trunk):
        inner = from_detectron2(name.removeprefix(trunk))
        return None if inner is None else f"backbone.{inner}"
    for pattern, replacement in (*SHARED_RULES, *rules):
        match = re.match(pattern, name)
        if match:
            return replacement.format(*match.groups()) + name[match.end() :]
    return None


def merge_aliases(
    state: Mapping[str, Tensor], rename: Callable[[str], str | None], *, skipped: Collection[str], project: str
) -> dict[str, Tensor]:
    """A published state dict under our names, each shared weight once.

    Args:
        state: every entry of the file; a weight that layers share stands in it under several names.
        rename: published name to ours, the same for all names of a weight.
        skipped: published names that are settings or constants here.
        project: for messages.

    Returns:
        Entries for the whole model on the ImageNet backbone, counters of batches included, which published frozen
        normalisations do not have. What has no name here keeps its own, so that a strict loader lists it.

    Raises:
        CheckpointError: two names of one shared weight hold different values.
    """
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        if key in skipped:
            continue
        ours = rename(key) or key
        if ours in renamed and not torch.equal(renamed[ours], value):
            raise CheckpointError(
                f"{key} differs from another name of the same weight ({ours} here); this is no published {project}, "
                "whose layers share their heads"
            )
        renamed[ours] = value
    norms = [key.removesuffix("running_mean") for key in renamed if key.endswith("running_mean")]
    return renamed | {f"{norm}num_batches_tracked": torch.zeros((), dtype=torch.int64) for norm in norms}


def count_layers(keys: Iterable[str], root: str, part: str) -> int:
    """How many layers the ``encoder`` or the ``decoder`` of a published state dict has."""
    found = (re.match(rf"{re.escape(root)}transformer\.{part}\.layers\.(\d+)\.", key) for key in keys)
    return len({match[1] for match in found if match})
