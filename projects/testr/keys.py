"""Published names (TESTR, polygon variant) of the weights, and ours: a pure renaming, no tensor changes.

The published model registers shared modules several times, so its files hold 48 tensors twice or more often, and it
keeps the frequencies of its text positions, which are constants here.
"""

import re
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from fasttcm.charset import named_by_size
from fasttcm.errors import CheckpointError
from fasttcm.layers.image_batch import IMAGENET_PIXEL_MEAN, IMAGENET_PIXEL_STD
from fasttcm.layers.resnet_keys import from_detectron2

__all__ = ["from_published", "matches", "published_options", "rename_published"]

_BACKBONE = "testr.backbone.0.backbone."
_CONSTANTS = ("testr.text_pos_embed.inv_freq", "pixel_mean", "pixel_std")
"""Entries of published files that are settings or constants here."""

_ENCODER = r"testr\.transformer\.encoder\.layers\.(\d+)\."
_DECODER = r"testr\.transformer\.decoder\.layers\.(\d+)\."
_RULES: tuple[tuple[str, str], ...] = (
    (r"testr\.input_proj\.(\d+)\.(\d+)\.", "projection.projections.{0}.{1}."),
    (r"testr\.transformer\.level_embed$", "projection.level_embed"),
    (rf"{_ENCODER}self_attn\.", "encoder.layers.{0}.attention."),
    (rf"{_ENCODER}norm1\.", "encoder.layers.{0}.norm."),
    (rf"{_ENCODER}linear(\d)\.", "encoder.layers.{0}.feedforward.linear{1}."),
    (rf"{_ENCODER}norm2\.", "encoder.layers.{0}.feedforward.norm."),
    (r"testr\.transformer\.enc_output\.", "proposals.tokens.linear."),
    (r"testr\.transformer\.enc_output_norm\.", "proposals.tokens.norm."),
    (r"testr\.(?:bbox_class|transformer\.bbox_class_embed)\.", "proposals.classifier."),
    (r"testr\.(?:bbox_coord|transformer\.bbox_embed)\.", "proposals.box."),
    (r"testr\.transformer\.pos_trans\.", "decoder.box_position."),
    (r"testr\.transformer\.pos_trans_norm\.", "decoder.box_position_norm."),
    (r"testr\.ctrl_point_embed\.", "decoder.point_embed."),
    (r"testr\.text_embed\.", "decoder.text_embed."),
    (rf"{_DECODER}attn_(intra|inter|cross)\.", "decoder.point_layers.{0}.{1}."),
    (rf"{_DECODER}norm_(intra|inter|cross)\.", "decoder.point_layers.{0}.norm_{1}."),
    (rf"{_DECODER}linear(\d)\.", "decoder.point_layers.{0}.feedforward.linear{1}."),
    (rf"{_DECODER}norm3\.", "decoder.point_layers.{0}.feedforward.norm."),
    (rf"{_DECODER}attn_(intra|inter|cross)_text\.", "decoder.text_layers.{0}.{1}."),
    (rf"{_DECODER}norm_(intra|inter|cross)_text\.", "decoder.text_layers.{0}.norm_{1}."),
    (rf"{_DECODER}linear(\d)_text\.", "decoder.text_layers.{0}.feedforward.linear{1}."),
    (rf"{_DECODER}norm3_text\.", "decoder.text_layers.{0}.feedforward.norm."),
    (r"testr\.ctrl_point_class\.\d+\.", "head.classifier."),
    (r"testr\.ctrl_point_coord\.\d+\.", "head.point."),
    (r"testr\.text_class\.", "head.text."),
)
"""(regular expression at the start of a published name, what replaces it; ``{i}`` is group i)."""


def rename_published(key: str) -> str | None:
    """Our name of a published weight, the same for all its aliases; ``None`` when it has none."""
    if key.startswith(_BACKBONE):
        inner = from_detectron2(key.removeprefix(_BACKBONE))
        return None if inner is None else f"backbone.{inner}"
    for pattern, replacement in _RULES:
        match = re.match(pattern, key)
        if match:
            return replacement.format(*match.groups()) + key[match.end() :]
    return None


def matches(keys: Collection[str]) -> bool:
    """Whether these are the names of a published TESTR."""
    return {"testr.ctrl_point_embed.weight", "testr.text_embed.weight", "testr.text_class.weight"} <= set(keys)


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a published state dict (the content of ``model`` in the file).

    Args:
        state: every entry of the file.

    Returns:
        Entries for the whole model on the ImageNet backbone, counters of batches included, which published frozen
        normalisations do not have. What has no name here keeps its own, so that a strict loader lists it.

    Raises:
        CheckpointError: two names of one shared weight hold different values.
    """
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        if key in _CONSTANTS:
            continue
        ours = rename_published(key) or key
        if ours in renamed and not torch.equal(renamed[ours], value):
            raise CheckpointError(
                f"{key} differs from another name of the same weight ({ours} here); this is no published TESTR, whose "
                "layers share their heads"
            )
        renamed[ours] = value
    norms = [key.removesuffix("running_mean") for key in renamed if key.endswith("running_mean")]
    return renamed | {f"{norm}num_batches_tracked": torch.zeros((), dtype=torch.int64) for norm in norms}


def published_options(state: Mapping[str, Tensor]) -> dict[str, object]:
    """Configuration keys of the model that a published state dict fits."""
    levels = sum(bool(re.fullmatch(r"testr\.input_proj\.\d+\.0\.weight", key)) for key in state)
    return {
        "MODEL.META_ARCHITECTURE": "TESTR",
        "MODEL.BACKBONE.NAME": "imagenet_r50",
        "MODEL.BACKBONE.FREEZE_AT": 2,
        "MODEL.BACKBONE.FROZEN_NORM": True,
        "MODEL.PIXEL_MEAN": list(IMAGENET_PIXEL_MEAN),
        "MODEL.PIXEL_STD": list(IMAGENET_PIXEL_STD),
        "MODEL.TEXT.CHARSET": named_by_size(len(state["testr.text_class.weight"])),
        "MODEL.TEXT.MAX_LENGTH": len(state["testr.text_embed.weight"]),
        "MODEL.TESTR.NUM_CTRL_POINTS": len(state["testr.ctrl_point_embed.weight"]),
        "MODEL.TESTR.HIDDEN_DIM": state["testr.text_embed.weight"].shape[1],
        "MODEL.TESTR.NUM_FEATURE_LEVELS": levels,
        "MODEL.TESTR.IN_LEVELS": ["res5"] if levels == 1 else ["res3", "res4", "res5"],
        "MODEL.TESTR.ENC_LAYERS": _layers(state, "encoder"),
        "MODEL.TESTR.DEC_LAYERS": _layers(state, "decoder"),
    }


def _layers(state: Mapping[str, Tensor], part: str) -> int:
    """Number of layers of the encoder or decoder."""
    found = (re.match(rf"testr\.transformer\.{part}\.layers\.(\d+)\.", key) for key in state)
    return 1 + max((int(match.group(1)) for match in found if match), default=-1)
