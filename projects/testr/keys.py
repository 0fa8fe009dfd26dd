"""Published names (TESTR, polygon variant) of the weights, and ours: a pure renaming, no tensor changes.

The published model registers shared modules several times, so its files hold 48 tensors twice or more often, and it
keeps the frequencies of its text positions, which are constants here.
"""

import re
from collections.abc import Collection, Mapping

from torch import Tensor

from fasttcm.charset import named_by_size
from fasttcm.layers.image_batch import IMAGENET_PIXEL_MEAN, IMAGENET_PIXEL_STD
from fasttcm.layers.query_keys import count_layers, merge_aliases, rename_query_key

__all__ = ["from_published", "matches", "published_options", "rename_published"]

_ROOT = "testr."
_CONSTANTS = ("testr.text_pos_embed.inv_freq", "pixel_mean", "pixel_std")
"""Entries of published files that are settings or constants here."""

_DECODER = r"transformer\.decoder\.layers\.(\d+)\."
_RULES: tuple[tuple[str, str], ...] = (
    (r"transformer\.enc_output\.", "proposals.tokens.linear."),
    (r"transformer\.enc_output_norm\.", "proposals.tokens.norm."),
    (r"(?:bbox_class|transformer\.bbox_class_embed)\.", "proposals.classifier."),
    (r"(?:bbox_coord|transformer\.bbox_embed)\.", "proposals.box."),
    (r"transformer\.pos_trans\.", "decoder.box_position."),
    (r"transformer\.pos_trans_norm\.", "decoder.box_position_norm."),
    (r"ctrl_point_embed\.", "decoder.point_embed."),
    (r"text_embed\.", "decoder.text_embed."),
    (rf"{_DECODER}attn_(intra|inter|cross)\.", "decoder.point_layers.{0}.{1}."),
    (rf"{_DECODER}norm_(intra|inter|cross)\.", "decoder.point_layers.{0}.norm_{1}."),
    (rf"{_DECODER}linear(\d)\.", "decoder.point_layers.{0}.feedforward.linear{1}."),
    (rf"{_DECODER}norm3\.", "decoder.point_layers.{0}.feedforward.norm."),
    (rf"{_DECODER}attn_(intra|inter|cross)_text\.", "decoder.text_layers.{0}.{1}."),
    (rf"{_DECODER}norm_(intra|inter|cross)_text\.", "decoder.text_layers.{0}.norm_{1}."),
    (rf"{_DECODER}linear(\d)_text\.", "decoder.text_layers.{0}.feedforward.linear{1}."),
    (rf"{_DECODER}norm3_text\.", "decoder.text_layers.{0}.feedforward.norm."),
    (r"ctrl_point_class\.\d+\.", "head.classifier."),
    (r"ctrl_point_coord\.\d+\.", "head.point."),
    (r"text_class\.", "head.text."),
)
"""(regular expression after ``testr.``, what replaces it), beside the shared rules."""


def rename_published(key: str) -> str | None:
    """Our name of a published weight, the same for all its aliases; ``None`` when it has none."""
    return rename_query_key(key, _ROOT, _RULES)


def matches(keys: Collection[str]) -> bool:
    """Whether these are the names of a published TESTR."""
    return {"testr.ctrl_point_embed.weight", "testr.text_embed.weight", "testr.text_class.weight"} <= set(keys)


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a published state dict (the content of ``model`` in the file); see :func:`merge_aliases`."""
    return merge_aliases(state, rename_published, skipped=_CONSTANTS, project="TESTR")


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
        "MODEL.TESTR.ENC_LAYERS": count_layers(state, _ROOT, "encoder"),
        "MODEL.TESTR.DEC_LAYERS": count_layers(state, _ROOT, "decoder"),
    }
