"""Published names (AdelaiDet, ABCNet v1) of the weights, and ours: a pure renaming, no tensor changes."""

import re
from collections.abc import Mapping
from typing import TypeVar

__all__ = ["from_published", "rename_published"]

Value = TypeVar("Value")

_BOTTOM_UP = r"backbone\.bottom_up"

_RULES: tuple[tuple[str, str], ...] = (
    # ResNet: detectron2's stages and blocks to torchvision's
    (rf"{_BOTTOM_UP}\.stem\.conv1\.norm\.", "backbone.bottom_up.bn1."),
    (rf"{_BOTTOM_UP}\.stem\.conv1\.", "backbone.bottom_up.conv1."),
    (rf"{_BOTTOM_UP}\.res(\d)\.(\d+)\.shortcut\.norm\.", "backbone.bottom_up.layer{0}.{1}.downsample.1."),
    (rf"{_BOTTOM_UP}\.res(\d)\.(\d+)\.shortcut\.", "backbone.bottom_up.layer{0}.{1}.downsample.0."),
    (rf"{_BOTTOM_UP}\.res(\d)\.(\d+)\.conv(\d)\.norm\.", "backbone.bottom_up.layer{0}.{1}.bn{2}."),
    (rf"{_BOTTOM_UP}\.res(\d)\.(\d+)\.conv(\d)\.", "backbone.bottom_up.layer{0}.{1}.conv{2}."),
    # pyramid
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

_STAGE_OFFSET = 1
"""detectron2 counts stages from res2, torchvision from layer1."""

_NOT_WEIGHTS = ("pixel_mean", "pixel_std")
"""Buffers in old checkpoints that are settings here."""


def rename_published(key: str) -> str | None:
    """Our name of a published weight; ``None`` when it has none."""
    for pattern, replacement in _RULES:
        match = re.match(pattern, key)
        if match:
            groups = list(match.groups())
            if "layer{0}" in replacement:
                groups[0] = str(int(groups[0]) - _STAGE_OFFSET)
            return replacement.format(*groups) + key[match.end() :]
    return None


def from_published(state: Mapping[str, Value]) -> tuple[dict[str, Value], list[str]]:
    """Rename a published state dict (the content of ``model`` in the file).

    Returns:
        The renamed entries, and the names that are not of ABCNet v1; ``pixel_mean`` and ``pixel_std`` are passed over.
    """
    renamed: dict[str, Value] = {}
    unknown = []
    for key, value in state.items():
        ours = rename_published(key)
        if ours is not None:
            renamed[ours] = value
        elif key not in _NOT_WEIGHTS:
            unknown.append(key)
    return renamed, unknown
