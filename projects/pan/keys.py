"""Published names (mmocr, TCM) of PAN's weights, and ours."""

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

from torch import Tensor

from fasttcm.tcm import backbone_key, matching_options

__all__ = ["from_published", "matches", "published_options", "rename_published"]

Value = TypeVar("Value")

_MARK = re.compile(r"neck\.fpems\.\d+\.up_add1\.")
_BACKBONE = "backbone."
_NECK = "neck."
_HEAD = "bbox_head."
_STEM_OF_CLIP = "backbone.conv3.weight"
"""CLIP's stem has three convolutions, the ImageNet ResNet's one."""
_DEPTHS = {(2, False): 18, (6, False): 34, (6, True): 50, (23, True): 101, (36, True): 152}
"""Blocks of the third stage, and whether they are bottlenecks, to the depth of an ImageNet ResNet."""
_GRID_CELL = 32
"""Input pixels per cell of the attention pool's table."""
_UNUSED = "pix_w"


def matches(keys: Iterable[str]) -> bool:
    """Whether a published state dict is one of PAN, with or without TCM."""
    names = list(keys)
    return any(_MARK.match(name) for name in names) and f"{_HEAD}out_conv.weight" in names


def rename_published(key: str, *, tcm: bool) -> str | None:
    """Our name of a published weight; ``None`` when it has none.

    Args:
        key: published name.
        tcm: the model has an instance-language matching, whose backbone has two parts.
    """
    if key.startswith(_NECK):
        return key
    if key.startswith(_HEAD):
        return "head." + key.removeprefix(_HEAD)
    if not tcm:
        return key if key.startswith(_BACKBONE) else None
    own = backbone_key(key)
    return None if own is None else _BACKBONE + own


def from_published(state: Mapping[str, Value]) -> dict[str, Value]:
    """A published state dict (the content of ``state_dict`` in the file) under our names; no value changes.

    What has no name here keeps its own, so that loading names it; FastTCM's ``pix_w``, which has no use, is left out.
    """
    tcm = _has_matching(state)
    return {rename_published(key, tcm=tcm) or key: value for key, value in state.items() if key != _UNUSED}


def published_options(state: Mapping[str, Tensor]) -> dict[str, object]:
    """Configuration keys of a published state dict: what its names and shapes tell, and the published normalisation.

    They do not tell the dataset: its test size and post-processing stand in the configurations under ``configs/pan``.
    """
    neck = state["neck.reduce_conv_c2.0.weight"]
    repeats = 1 + max(int(key.split(".")[2]) for key in state if _MARK.match(key))
    options: dict[str, object] = {
        "MODEL.META_ARCHITECTURE": "PAN",
        "MODEL.BACKBONE.NAME": "clip_r50" if _STEM_OF_CLIP in state else "imagenet_r50",
        "MODEL.BACKBONE.FREEZE_AT": 0,
        "MODEL.BACKBONE.FROZEN_NORM": False,
        "MODEL.PIXEL_MEAN": [123.675, 116.28, 103.53],
        "MODEL.PIXEL_STD": [58.395, 57.12, 57.375],
        "INPUT.FORMAT": "RGB",
        "MODEL.PAN.NECK_CHANNELS": int(neck.shape[0]),
        "MODEL.PAN.NECK_REPEATS": repeats,
        "MODEL.PAN.PUBLISHED_MEMORY_ORDER": True,
    }
    if _STEM_OF_CLIP not in state:
        blocks = len({key.split(".")[2] for key in state if key.startswith("backbone.layer3.")})
        options["MODEL.RESNET.DEPTH"] = _DEPTHS.get((blocks, "backbone.layer1.0.conv3.weight" in state), 50)
    if _has_matching(state):
        cells = int(state["backbone.attnpool.positional_embedding"].shape[0]) - 1
        options |= matching_options(state)
        options["MODEL.TCM.INPUT_RESOLUTION"] = round(cells**0.5) * _GRID_CELL
        options["MODEL.TCM.LOSS"] = "ohem_dice"
    return options


def _has_matching(state: Mapping[str, object]) -> bool:
    return "contexts" in state
