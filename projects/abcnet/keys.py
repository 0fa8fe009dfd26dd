"""Published ABCNet checkpoints (AdelaiDet's v1 and v2, and TCM's with the matching on p4): their names and settings."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

from torch import Tensor

from fasttcm.charset import named_by_size
from fasttcm.layers.resnet_keys import from_detectron2
from fasttcm.tcm import spotter_key, spotter_options

__all__ = ["from_published", "matches", "published_options", "rename_published"]

Value = TypeVar("Value")

_CLASSES = "roi_heads.recognizer.attention.out.weight"
_SIGNATURE = ("proposal_generator.fcos_head.cls_logits.weight", "top_module.weight", _CLASSES)
"""Names that no other published model has together."""

_RULES: tuple[tuple[str, str], ...] = (
    # pyramid of v1
    (r"backbone\.fpn_lateral(\d)\.", "backbone.lateral{0}."),
    (r"backbone\.fpn_output(\d)\.", "backbone.output{0}."),
    (r"backbone\.top_block\.p(\d)\.", "backbone.top{0}."),
    # head
    (r"proposal_generator\.fcos_head\.cls_tower\.", "head.cls_tower."),
    (r"proposal_generator\.fcos_head\.bbox_tower\.", "head.box_tower."),
    (r"proposal_generator\.fcos_head\.cls_logits\.", "head.cls_logits."),
    (r"proposal_generator\.fcos_head\.bbox_pred\.", "head.box_pred."),
    (r"proposal_generator\.fcos_head\.ctrness\.", "head.ctrness."),
    (r"top_module\.", "head.bezier_pred."),
    # recogniser
    (r"roi_heads\.mask_head\.mask_convs\.", "recognizer.refine.convs."),
    (r"roi_heads\.tower\.", "recognizer.tower."),
    (r"roi_heads\.recognizer\.CRNN\.convs\.", "recognizer.encoder.convs."),
    (r"roi_heads\.recognizer\.CRNN\.rnn\.rnn\.", "recognizer.encoder.rnn."),
    (r"roi_heads\.recognizer\.CRNN\.rnn\.embedding\.", "recognizer.encoder.projection."),
    (r"roi_heads\.recognizer\.attention\.embedding\.", "recognizer.decoder.embedding."),
    (r"roi_heads\.recognizer\.attention\.vat\.", "recognizer.decoder.score."),
    (r"roi_heads\.recognizer\.attention\.attn_combine\.", "recognizer.decoder.combine."),
    (r"roi_heads\.recognizer\.attention\.gru\.(\w+)_l0", "recognizer.decoder.cell.{0}"),
    (r"roi_heads\.recognizer\.attention\.out\.", "recognizer.decoder.classifier."),
)
"""(regular expression at the start of a published name, what replaces it; ``{i}`` is group i)."""

_TRUNK = re.compile(r"backbone\.bottom_up\.(?:backbone\.)?(?=stem\.|res[2-5]\.)")
"""Before the ResNet's own names: v2's lies one module deeper."""

_REDUCTION = "backbone.bottom_up.res6.reduction."
_BIFPN = re.compile(r"backbone\.repeated_bifpn\.(\d)\.(weights|outputs|lateral)_(\w+)")
_NODES = {
    "f4_4_5": "down6",
    "f3_3_6": "down5",
    "f2_2_7": "down4",
    "f1_1_8": "down3",
    "f0_0_9": "down2",
    "f1_1_9_10": "up3",
    "f2_2_8_11": "up4",
    "f3_3_7_12": "up5",
    "f4_4_6_13": "up6",
    "f5_5_14": "up7",
}
"""v2's nodes: feature level and the slots that are fused (SPEC ``abcnet`` 3.3), to ours."""
_LATERALS = {"1_f1": "lateral3", "2_f2": "lateral4", "3_f3": "lateral5"}

_MATCHING = "clip_pix_cls."
_UNUSED_MATCHING = ("score_map_concat_gamma", "pix_w")
"""Weights that every checkpoint with a matching holds, and that no published configuration uses."""

_NOT_WEIGHTS = ("pixel_mean", "pixel_std")
"""Buffers in old checkpoints that are settings here."""

_BLOCKS_TO_DEPTH = {6: 50, 23: 101, 36: 152}
"""Blocks of res4 to layers of the ResNet."""


def matches(keys: Collection[str]) -> bool:
    """Whether a published state dict with these names is an ABCNet's."""
    return all(key in keys for key in _SIGNATURE)


def rename_published(key: str) -> str | None:
    """Our name of a published weight; ``None`` when it has none."""
    trunk = _TRUNK.match(key)
    if trunk:
        inner = from_detectron2(key[trunk.end() :])
        return None if inner is None else f"backbone.bottom_up.{inner}"
    if key.startswith(_REDUCTION):
        return f"backbone.reduction.{key[len(_REDUCTION) :]}"
    node = _BIFPN.match(key)
    if node:
        repeat, kind, name = node.groups()
        return _rename_bifpn(repeat, kind, name, key[node.end() :])
    for pattern, replacement in _RULES:
        match = re.match(pattern, key)
        if match:
            return replacement.format(*match.groups()) + key[match.end() :]
    return None


def _rename_bifpn(repeat: str, kind: str, name: str, rest: str) -> str | None:
    if kind == "lateral":
        return f"backbone.cells.{repeat}.{_LATERALS[name]}{rest}" if name in _LATERALS else None
    if name not in _NODES:
        return None
    return f"backbone.cells.{repeat}.{_NODES[name]}." + ("weights" if kind == "weights" else "conv") + rest


def from_published(state: Mapping[str, Value]) -> dict[str, Value]:
    """A published state dict (the content of ``model`` in the file) under our names; no value changes.

    What has no name here keeps its own, so that loading names it; ``pixel_mean`` and ``pixel_std`` are passed over.
    """
    matched = any(key.startswith(_MATCHING) for key in state)
    renamed: dict[str, Value] = {}
    for key, value in state.items():
        if key in _NOT_WEIGHTS:
            continue
        ours = rename_published(key)
        if ours is not None and matched and ours.startswith("backbone."):
            ours = ours.replace("backbone.", "backbone.bottom_up.", 1)  # the matching lies around the pyramid
        elif key.startswith(_MATCHING):
            inner = spotter_key(key)
            if inner is not None and inner.endswith(_UNUSED_MATCHING):
                continue
            ours = None if inner is None else f"backbone.{_MATCHING}{inner}"
        renamed[ours or key] = value
    return renamed


def published_options(state: Mapping[str, Tensor]) -> dict[str, object]:
    """Configuration keys of a published state dict: what its shapes tell, and the published test settings.

    The shapes do not tell pooler resolution and longest text (CTW1500: 8 x 128 and 100; ICDAR 2015: 16 x 64), nor the
    dataset's test size: those of Total-Text are the defaults, and a configuration of the dataset has the others.
    """
    second = any(key.startswith("backbone.repeated_bifpn.") for key in state)
    threshold = 0.5 if second else 0.45
    options: dict[str, object] = {
        "MODEL.META_ARCHITECTURE": "ABCNet",
        "MODEL.BACKBONE.NAME": "imagenet_r50",
        "MODEL.BACKBONE.FREEZE_AT": 2,
        "MODEL.BACKBONE.FROZEN_NORM": True,
        "MODEL.RESNET.DEPTH": _BLOCKS_TO_DEPTH.get(_count(state, r".*\bres4\.(\d+)\.conv1\.weight"), 50),
        "MODEL.RESNET.STRIDE_IN_1X1": True,
        "MODEL.PIXEL_MEAN": [103.53, 116.28, 123.675],
        "MODEL.PIXEL_STD": [1.0, 1.0, 1.0],
        "MODEL.TEXT.CHARSET": named_by_size(len(state[_CLASSES])),
        "MODEL.FPN.KIND": "bifpn" if second else "fpn",
        "MODEL.FPN.OUT_CHANNELS": int(state["proposal_generator.fcos_head.cls_logits.weight"].shape[1]),
        "MODEL.FPN.NORM": "BN" if second else "none",
        "MODEL.ABCNET.NUM_CONVS": _count(state, r"proposal_generator\.fcos_head\.cls_tower\.(\d+)\.weight") // 2,
        "MODEL.ABCNET.RECOGNIZER_CHANNELS": int(state[_CLASSES].shape[1]),
        "MODEL.ABCNET.TOWER_CONVS": _count(state, r"roi_heads\.tower\.(\d+)\.0\.weight"),
        "MODEL.ABCNET.COORD_CONVS": _count(state, r"roi_heads\.mask_head\.mask_convs\.(\d+)\.0\.weight"),
        "MODEL.ABCNET.ADAPTIVE_TRAINING": second,
        "MODEL.ABCNET.INFERENCE_TH_TEST": threshold,
        "INPUT.FORMAT": "BGR",
        "INPUT.MIN_SIZE_TEST": 1000,
        "INPUT.MAX_SIZE_TEST": 1824,
        "TEST.CONFIDENCE": threshold,
    }
    if second:
        options["MODEL.FPN.REPEATS"] = _count(state, r"backbone\.repeated_bifpn\.(\d+)\.weights_")
    for buffer in _NOT_WEIGHTS:
        if buffer in state:
            options[f"MODEL.{buffer.upper()}"] = [round(float(value), 4) for value in state[buffer].flatten()]
    return options | spotter_options(state, prefix=_MATCHING, level="p4")


def _count(keys: Iterable[str], pattern: str) -> int:
    """How many different numbers the group of a pattern takes in names that it matches from their start."""
    return len({match[1] for match in (re.match(pattern, key) for key in keys) if match})
