"""Published names (mmocr, TCM) of DBNet's weights, and ours, and the settings that they imply."""

import re
from collections.abc import Collection, Mapping
from typing import TypeVar

from torch import Tensor

from fasttcm.tcm import backbone_key, matching_options

__all__ = ["from_published", "matches", "published_options", "rename_published"]

Value = TypeVar("Value")

_SIGNATURE = ("neck.smooth_convs.0.conv.weight", "bbox_head.binarize.0.weight", "bbox_head.threshold.0.weight")
"""Names that no other published model has together."""
_NECK = re.compile(r"neck\.(lateral_convs|smooth_convs)\.(\d+)\.conv\.")
_HEAD = "bbox_head."
_BACKBONE = "backbone."
_STEM_OF_CLIP = "backbone.conv3.weight"
"""CLIP's stem has three convolutions, the ImageNet ResNet's one."""
_DEFORMABLE = "backbone.layer{}.0.conv2.conv_offset.weight"
_TEXT = "text_encoder.text_projection"
_POOL_TABLE = "backbone.attnpool.positional_embedding"
_GRID_CELL = 32
"""Input pixels per cell of the attention pool's table."""
_BLOCKS_TO_DEPTH = {(2, 2): 18, (2, 6): 34, (3, 6): 50, (3, 23): 101, (3, 36): 152}
"""Convolutions of a block, and blocks of layer3, to layers of the ResNet."""


def matches(keys: Collection[str]) -> bool:
    """Whether a published state dict with these names is a DBNet's, with or without TCM."""
    return all(key in keys for key in _SIGNATURE)


def rename_published(key: str, *, matched: bool = False) -> str | None:
    """Our name of a published weight; ``None`` when it has none.

    Args:
        key: published name.
        matched: the model has an instance-language matching, whose backbone has several parts.
    """
    neck = _NECK.match(key)
    if neck:
        return f"neck.{neck[1]}.{neck[2]}." + key[neck.end() :]
    if key.startswith(_HEAD):
        return "head." + key[len(_HEAD) :]
    if not matched:
        return key if key.startswith(_BACKBONE) else None
    own = backbone_key(key)
    return None if own is None else _BACKBONE + own


def from_published(state: Mapping[str, Value]) -> dict[str, Value]:
    """A published state dict (the content of ``state_dict`` in the file) under our names; no value changes.

    What has no name here keeps its own, so that loading names it; FastTCM's ``pix_w``, which has no use, is left out.
    """
    matched = _TEXT in state
    return {rename_published(key, matched=matched) or key: value for key, value in state.items() if key != "pix_w"}


def published_options(state: Mapping[str, Tensor]) -> dict[str, object]:
    """Configuration keys of a published state dict: what its names and shapes tell, and the published normalisation.

    They do not tell the dataset: its test size and post-processing stand in the configurations under ``configs/dbnet``.
    """
    lateral = state["neck.lateral_convs.0.conv.weight"]
    options: dict[str, object] = {
        "MODEL.META_ARCHITECTURE": "DBNet",
        "MODEL.BACKBONE.NAME": "clip_r50" if _STEM_OF_CLIP in state else "imagenet_r50",
        "MODEL.BACKBONE.FREEZE_AT": 0,
        "MODEL.BACKBONE.FROZEN_NORM": False,
        "MODEL.PIXEL_MEAN": [122.67891434, 116.66876762, 104.00698793],
        "MODEL.PIXEL_STD": [58.395, 57.12, 57.375],
        "MODEL.DBNET.LATERAL_CHANNELS": int(lateral.shape[0]),
        "MODEL.DBNET.SMOOTH_CHANNELS": int(state[_SIGNATURE[0]].shape[0]),
        "INPUT.FORMAT": "RGB",
    }
    if _STEM_OF_CLIP not in state:
        options["MODEL.RESNET.DEPTH"] = _depth(state)
        options["MODEL.RESNET.DEFORMABLE_STAGES"] = [
            f"res{layer + 1}" for layer in range(1, 5) if _DEFORMABLE.format(layer) in state
        ]
    if _TEXT in state:
        options |= matching_options(state)
        options["MODEL.TCM.LOSS"] = "balanced_bce"
        options["MODEL.TCM.INPUT_RESOLUTION"] = _GRID_CELL * round((state[_POOL_TABLE].shape[0] - 1) ** 0.5)
    return options


def _depth(state: Mapping[str, object]) -> int:
    convs = 3 if "backbone.layer1.0.conv3.weight" in state else 2
    blocks = len({key.split(".")[2] for key in state if key.startswith("backbone.layer3.")})
    return _BLOCKS_TO_DEPTH.get((convs, blocks), 50)
