"""Published names (mmocr, TCM) of FCENet's weights, and ours."""

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

from torch import Tensor

from fasttcm.tcm import backbone_key, matching_options

__all__ = ["from_published", "matches", "published_options", "rename_published"]

Value = TypeVar("Value")

_BACKBONE = "backbone."
_BOTTOM_UP = "backbone.bottom_up."
_NECK = re.compile(r"neck\.(lateral|fpn)_convs\.(\d)\.conv\.")
_PARTS = {"lateral": "lateral", "fpn": "output"}
_FINEST = 3
"""Logarithm of the stride of the neck's first level."""
_HEAD = "bbox_head."
_STEM_OF_CLIP = "backbone.conv3.weight"
"""CLIP's stem has three convolutions, the ImageNet ResNet's one."""
_GRID_CELL = 32
"""Input pixels per cell of the attention pool's table."""
_UNUSED = "pix_w"


def matches(keys: Iterable[str]) -> bool:
    """Whether a published state dict is one of FCENet, with or without TCM."""
    names = set(keys)
    return {f"{_HEAD}out_conv_cls.weight", f"{_HEAD}out_conv_reg.weight", "neck.fpn_convs.0.conv.weight"} <= names


def rename_published(key: str, *, tcm: bool) -> str | None:
    """Our name of a published weight; ``None`` when it has none.

    Args:
        key: published name.
        tcm: the model has an instance-language matching, whose backbone has two parts.
    """
    neck = _NECK.match(key)
    if neck:
        part, level = neck.groups()
        return f"{_BACKBONE}{_PARTS[part]}{int(level) + _FINEST}." + key[neck.end() :]
    if key.startswith(_HEAD):
        return "head." + key.removeprefix(_HEAD)
    if not tcm:
        return _BOTTOM_UP + key.removeprefix(_BACKBONE) if key.startswith(_BACKBONE) else None
    own = backbone_key(key)
    return None if own is None else _BOTTOM_UP + own


def from_published(state: Mapping[str, Value]) -> dict[str, Value]:
    """A published state dict (the content of ``state_dict`` in the file) under our names; no value changes.

    What has no name here keeps its own, so that loading names it; FastTCM's ``pix_w``, which has no use, is left out.
    """
    tcm = _has_matching(state)
    return {rename_published(key, tcm=tcm) or key: value for key, value in state.items() if key != _UNUSED}


def published_options(state: Mapping[str, Tensor]) -> dict[str, object]:
    """Configuration keys of a published state dict: what its names and shapes tell, and the published normalisation.

    They do not tell the dataset: its test size and post-processing stand in the configurations of ``configs/fcenet``.
    """
    numbers = int(state[f"{_HEAD}out_conv_reg.weight"].shape[0])
    options: dict[str, object] = {
        "MODEL.META_ARCHITECTURE": "FCENet",
        "MODEL.BACKBONE.NAME": "clip_r50" if _STEM_OF_CLIP in state else "imagenet_r50",
        "MODEL.BACKBONE.FREEZE_AT": 0,
        "MODEL.BACKBONE.FROZEN_NORM": False,
        "MODEL.PIXEL_MEAN": [123.675, 116.28, 103.53],
        "MODEL.PIXEL_STD": [58.395, 57.12, 57.375],
        "INPUT.FORMAT": "RGB",
        "MODEL.FCENET.NECK_CHANNELS": int(state["neck.fpn_convs.0.conv.weight"].shape[0]),
        "MODEL.FCENET.FOURIER_DEGREE": (numbers - 2) // 4,
    }
    if _has_matching(state):
        cells = int(state["backbone.attnpool.positional_embedding"].shape[0]) - 1
        options |= matching_options(state)
        options["MODEL.TCM.INPUT_RESOLUTION"] = round(cells**0.5) * _GRID_CELL
        options["MODEL.TCM.LOSS"] = "balanced_bce"
    return options


def _has_matching(state: Mapping[str, object]) -> bool:
    return "contexts" in state
