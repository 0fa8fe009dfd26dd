"""Published names (DeepSolo) of the weights, and ours: a pure renaming, no tensor changes.

The published model registers shared modules several times, so its files hold 124 tensors twice or more often.
"""

from collections.abc import Collection, Mapping

from torch import Tensor

from fasttcm.charset import named_by_size
from fasttcm.layers.image_batch import IMAGENET_PIXEL_MEAN, IMAGENET_PIXEL_STD
from fasttcm.layers.query_keys import count_layers, merge_aliases, rename_query_key

__all__ = ["from_published", "matches", "published_options", "rename_published"]

_ROOT = "detection_transformer."
_BACKBONE = f"{_ROOT}backbone.0.backbone."
_POINT_EMBED = f"{_ROOT}point_embed.weight"
_CHARACTERS = f"{_ROOT}ctrl_point_text.0.weight"
_SIGNATURE = (_POINT_EMBED, _CHARACTERS, f"{_ROOT}boundary_offset.0.layers.0.weight")
"""Names that no other published model has together."""

_NUM_QUERIES = 100
"""Of every published model; the embedding of the points holds the product with their number."""
_NUM_POINTS_OF_LINES = 50
"""Of the models for CTW1500, which reads whole lines."""
_HEADS = 8
"""Of every published model; no shape tells it."""
_NOT_WEIGHTS = ("pixel_mean", "pixel_std")
"""Buffers in old checkpoints that are settings here."""

_DECODER = r"transformer\.decoder\.layers\.(\d+)\."
_RULES: tuple[tuple[str, str], ...] = (
    (r"transformer\.enc_output\.", "proposals.features.linear."),
    (r"transformer\.enc_output_norm\.", "proposals.features.norm."),
    (r"(?:bezier_proposal_class|transformer\.bezier_class_embed)\.", "proposals.class_logit."),
    (r"(?:bezier_proposal_coord|transformer\.bezier_coord_embed)\.", "proposals.curve."),
    (r"point_embed\.", "decoder.point_embed."),
    (r"transformer\.decoder\.ref_point_head\.", "decoder.position."),
    (rf"{_DECODER}attn_(intra|inter|cross)\.", "decoder.layers.{0}.{1}."),
    (rf"{_DECODER}norm_(intra|inter|cross)\.", "decoder.layers.{0}.norm_{1}."),
    (rf"{_DECODER}linear(\d)\.", "decoder.layers.{0}.feedforward.linear{1}."),
    (rf"{_DECODER}norm3\.", "decoder.layers.{0}.feedforward.norm."),
    (r"(?:transformer\.decoder\.)?ctrl_point_coord\.\d+\.", "decoder.coordinates."),
    (r"ctrl_point_class\.\d+\.", "heads.text."),
    (r"ctrl_point_text\.\d+\.", "heads.characters."),
    (r"boundary_offset\.\d+\.", "heads.boundary."),
)
"""(regular expression after ``detection_transformer.``, what replaces it), beside the shared rules."""


def rename_published(key: str) -> str | None:
    """Our name of a published weight, the same for all its aliases; ``None`` when it has none."""
    return rename_query_key(key, _ROOT, _RULES)


def matches(keys: Collection[str]) -> bool:
    """Whether a published state dict with these names is a DeepSolo's."""
    return all(key in keys for key in _SIGNATURE)


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a published state dict (the content of ``model`` in the file); see :func:`merge_aliases`."""
    return merge_aliases(state, rename_published, skipped=_NOT_WEIGHTS, project="DeepSolo")


def published_options(state: Mapping[str, Tensor]) -> dict[str, object]:
    """Configuration keys of a published state dict: what its shapes tell, and the published test sizes.

    Models with 50 points are CTW1500's, the others' sizes are those of Total-Text. ICDAR 2015 has other sizes and
    another threshold, which its configuration knows.
    """
    rows, channels = state[_POINT_EMBED].shape
    levels = len(state[f"{_ROOT}transformer.level_embed"])
    weights = "attention_weights.weight"
    sampled = [
        len(state[f"{_ROOT}transformer.{part}.{weights}"]) // (_HEADS * levels)
        for part in ("encoder.layers.0.self_attn", "decoder.layers.0.attn_cross")
    ]
    num_points = rows // _NUM_QUERIES
    return {
        "MODEL.META_ARCHITECTURE": "DeepSolo",
        "MODEL.BACKBONE.NAME": "imagenet_r50",
        "MODEL.BACKBONE.FREEZE_AT": 2,
        "MODEL.BACKBONE.FROZEN_NORM": True,
        "MODEL.RESNET.DEPTH": 101 if f"{_BACKBONE}res4.6.conv1.weight" in state else 50,
        "MODEL.PIXEL_MEAN": list(IMAGENET_PIXEL_MEAN),
        "MODEL.PIXEL_STD": list(IMAGENET_PIXEL_STD),
        "MODEL.TEXT.CHARSET": named_by_size(len(state[_CHARACTERS])),
        "MODEL.TEXT.MAX_LENGTH": num_points,
        "MODEL.DEEPSOLO.NUM_QUERIES": _NUM_QUERIES,
        "MODEL.DEEPSOLO.NUM_POINTS": num_points,
        "MODEL.DEEPSOLO.HIDDEN_DIM": channels,
        "MODEL.DEEPSOLO.NHEADS": _HEADS,
        "MODEL.DEEPSOLO.NUM_FEATURE_LEVELS": levels,
        "MODEL.DEEPSOLO.DIM_FEEDFORWARD": len(state[f"{_ROOT}transformer.encoder.layers.0.linear1.weight"]),
        "MODEL.DEEPSOLO.ENC_LAYERS": count_layers(state, _ROOT, "encoder"),
        "MODEL.DEEPSOLO.DEC_LAYERS": count_layers(state, _ROOT, "decoder"),
        "MODEL.DEEPSOLO.ENC_N_POINTS": sampled[0],
        "MODEL.DEEPSOLO.DEC_N_POINTS": sampled[1],
        "INPUT.MIN_SIZE_TEST": 1000,
        "INPUT.MAX_SIZE_TEST": 1200 if num_points == _NUM_POINTS_OF_LINES else 1892,
    }
